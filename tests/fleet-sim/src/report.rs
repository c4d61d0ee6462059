//! The run, and what it prints.

#![expect(
    clippy::print_stdout,
    reason = "the figures are what one wants to know"
)]

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use model::change::PackageRef;
use model::wire::{Choice, Decision, RolloutView, Selector, Update};

use crate::args::Args;
use crate::crowd::Crowd;
use crate::http::{self, Master};
use crate::link::What;
use crate::measure::{self, Watch, percentile};
use crate::tls::Ground;
use crate::{bare, enrol};

fn row(what: &str, figure: &str) {
    println!("  {what:<44} {figure}");
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn each(bytes: u64, count: usize) -> f64 {
    bytes as f64 / 1024.0 / count as f64
}

/// Everything, in order.
pub(crate) async fn run(args: &Args) -> Result<()> {
    let ground = Ground::new(&fs_err::read(&args.ca)?)?;
    let master = Master {
        address: args.master,
        name: args.server_name.clone(),
    };
    println!("\n== {} simulated nodes", args.nodes);
    let watch = Watch::start();
    let nodes = enrol::all(&master, &ground, &args.enrol_token, args.nodes).await?;
    row("enrolment of all", &seconds(watch.elapsed()));
    let server = nodes.first().context("no nodes")?;
    let bare = bare::handshakes(&ground, &nodes, server, args.at_once).await?;
    row("bare mutual-TLS handshakes", &seconds(bare));
    let (before, sockets) = (measure::pss(args.pid)?, measure::socket_memory()?);
    let spent = measure::cpu(args.pid)?;
    let (mut crowd, storm) = Crowd::storm(&master, &ground, &nodes, args.at_once).await?;
    let spent = measure::cpu(args.pid)?.saturating_sub(spent);
    let ratio = bare.as_secs_f64() / storm.as_secs_f64();
    row(
        "boot storm: handshake, hello, answer",
        &format!("{}, ratio {ratio:.2} (goal 0.7)", seconds(storm)),
    );
    row("  masterd's processor time", &seconds(spent));
    tokio::time::sleep(Duration::from_secs(args.idle)).await;
    let (after, full) = (measure::pss(args.pid)?, measure::socket_memory()?);
    let own = each(after.saturating_sub(before), args.nodes);
    row(
        "masterd, PSS per idle node",
        &format!("{own:.1} KiB (goal 24)"),
    );
    row("masterd, PSS in all", &format!("{} MiB", after >> 20));
    let kernel = each(full.saturating_sub(sockets), args.nodes);
    row(
        "kernel socket memory per node, both ends",
        &format!("{kernel:.1} KiB"),
    );
    if let Some(package) = &args.package {
        update(args, &master, &ground, &mut crowd, package).await?;
    }
    Ok(())
}

/// An update of all: one node objects, the operator takes the others.
async fn update(
    args: &Args,
    master: &Master,
    ground: &Ground,
    crowd: &mut Crowd,
    package: &PackageRef,
) -> Result<()> {
    let tls = Arc::new(ground.nobody()?);
    let update = Update {
        nodes: Selector {
            all: true,
            ..Selector::default()
        },
        packages: vec![package.clone()],
        reason: "a measurement".to_owned(),
        ..Update::default()
    };
    let token = Some(args.operator_token.as_str());
    let began = crowd.watch.elapsed();
    let request = http::json("POST", "/v1/updates", token, serde_json::to_vec(&update)?)?;
    let view: RolloutView = http::ask(master, Arc::clone(&tls), request).await?;
    let asked = crowd.wait(What::Asked, crowd.count).await?;
    let mut asked: Vec<_> = asked
        .into_iter()
        .map(|at| at.saturating_sub(began))
        .collect();
    row("update asked: each node, p50 and p99", &both(&mut asked));
    let path = format!("/v1/rollouts/{}", view.id);
    loop {
        let request = http::json("GET", &path, token, Vec::new())?;
        let now: RolloutView = http::ask(master, Arc::clone(&tls), request).await?;
        if now.tally.open == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let collected = crowd.watch.elapsed().saturating_sub(began);
    row("all votes collected", &seconds(collected));
    let decision = Decision {
        choice: Choice::Accepting,
        reason: "a measurement".to_owned(),
        carries_over: false,
        signed: None,
    };
    let path = format!("/v1/rollouts/{}/decision", view.id);
    let body = serde_json::to_vec(&decision)?;
    let decided = crowd.watch.elapsed();
    let request = http::json("POST", &path, token, body)?;
    let ask = http::ask::<serde_json::Value>(master, Arc::clone(&tls), request);
    let (answer, told) = tokio::join!(ask, crowd.wait(What::Wanted, crowd.count - 1));
    answer?;
    let mut told: Vec<_> = told?
        .into_iter()
        .map(|at| at.saturating_sub(decided))
        .collect();
    row(
        "decision reaches each, p50 and p99",
        &format!("{} (goal 2 s)", both(&mut told)),
    );
    crowd.wait(What::Committed, crowd.count - 1).await?;
    let ended = crowd.watch.elapsed().saturating_sub(decided);
    row("all have ended and were told to stay", &seconds(ended));
    Ok(())
}

fn both(times: &mut [Duration]) -> String {
    let half = percentile(times, 50);
    let most = percentile(times, 99);
    format!("{} and {}", seconds(half), seconds(most))
}
