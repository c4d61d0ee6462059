//! An update of all nodes, from the question to the end.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use model::change::PackageRef;
use model::wire::{Choice, Decision, RolloutView, Selector, Update};

use crate::args::Run;
use crate::crowd::Crowd;
use crate::http::{self, Master};
use crate::link::What;
use crate::report::{both, row, seconds};
use crate::tls::Ground;

/// An update of all: one node objects, the operator takes the others.
pub(crate) async fn update(
    args: &Run,
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
