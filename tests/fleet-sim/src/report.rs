//! The run, and what it prints.

#![expect(
    clippy::print_stdout,
    reason = "the figures are what one wants to know"
)]

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::args::Run;
use crate::crowd::Crowd;
use crate::http::Master;
use crate::measure::{self, Watch, percentile};
use crate::tls::{Ground, Identity};
use crate::update::update;
use crate::{bare, checks, enrol};

pub(crate) fn row(what: &str, figure: &str) {
    println!("  {what:<44} {figure}");
}

pub(crate) fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn each(bytes: u64, count: usize) -> f64 {
    bytes as f64 / 1024.0 / count as f64
}

/// What memory there is.
struct Memory {
    masterd: u64,
    buffers: u64,
    slab: u64,
}

impl Memory {
    fn now(pid: u32) -> Result<Self> {
        Ok(Self {
            masterd: measure::pss(pid)?,
            buffers: measure::socket_memory()?,
            slab: measure::slab()?,
        })
    }
}

/// Everything, in order.
pub(crate) async fn run(args: &Run) -> Result<()> {
    ensure!(args.nodes >= 100, "fewer than 100 nodes say nothing");
    let ground = Ground::new(&fs_err::read(&args.ca)?)?;
    let master = Master {
        address: args.master,
        name: args.server_name.clone(),
    };
    println!("\n== {} simulated nodes", args.nodes);
    let fresh = Memory::now(args.pid)?;
    let watch = Watch::start();
    let nodes = enrol::all(&master, &ground, &args.enrol_token, args.nodes).await?;
    row("enrolment of all", &seconds(watch.elapsed()));
    let mut crowd = storm(args, (&master, &ground), &nodes).await?;
    memory(args, &fresh).await?;
    if let Some(package) = &args.package {
        update(args, &master, &ground, &mut crowd, package).await?;
        let full = each(measure::pss(args.pid)?, args.nodes);
        row("masterd, PSS per node after it", &format!("{full:.1} KiB"));
    }
    if let Some((peer, pid)) = args.peer.zip(args.peer_pid) {
        let runs = crowd.runs;
        let peer = Master {
            address: peer,
            name: args.server_name.clone(),
        };
        let both = [
            ("masterd", master.clone(), measure::family(args.pid)?),
            ("nginx", peer, measure::family(pid)?),
        ];
        compare(&both, &ground, (&nodes, runs)).await?;
    }
    Ok(())
}
/// Bare handshakes, then the boot storm; twice the bare ones, for the machine is not always as fast.
async fn storm(
    args: &Run,
    (master, ground): (&Master, &Ground),
    nodes: &[Arc<Identity>],
) -> Result<Crowd> {
    let bare = bare::handshakes(args, ground, nodes).await?;
    let spent = measure::cpu(args.pid)?;
    let (crowd, storm) = Crowd::storm(master, ground, nodes, args.at_once).await?;
    let spent = measure::cpu(args.pid)?.saturating_sub(spent);
    row(
        "bare mutual-TLS handshakes",
        &format!("{}, server {}", seconds(bare.took), seconds(bare.spent)),
    );
    let memory = each(bare.memory, args.nodes);
    row(
        "  the server's PSS per connection",
        &format!("{memory:.1} KiB"),
    );
    row(
        "boot storm: handshake, hello, answer",
        &format!("{}, masterd {}", seconds(storm), seconds(spent)),
    );
    let ratio = bare.took.as_secs_f64() / storm.as_secs_f64();
    row("  ratio", &format!("{ratio:.2} (goal 0.7)"));
    Ok(crowd)
}

async fn memory(args: &Run, fresh: &Memory) -> Result<()> {
    tokio::time::sleep(Duration::from_secs(args.idle)).await;
    let now = Memory::now(args.pid)?;
    let own = each(now.masterd.saturating_sub(fresh.masterd), args.nodes);
    row(
        "masterd, PSS per idle node, all that it has",
        &format!("{own:.1} KiB (goal 24)"),
    );
    row("masterd, PSS in all", &format!("{} MiB", now.masterd >> 20));
    let buffers = each(now.buffers.saturating_sub(fresh.buffers), args.nodes);
    let slab = each(now.slab.saturating_sub(fresh.slab), args.nodes);
    row(
        "kernel per node, both ends",
        &format!("socket buffers {buffers:.1} KiB, slab of the machine {slab:.1} KiB"),
    );
    Ok(())
}

/// A server that is asked: what it is called, where it is, its processes.
type Asked = (&'static str, Master, Vec<u32>);

/// Both in turn, three times; the middle counts.
async fn compare(
    both: &[Asked; 2],
    ground: &Ground,
    (nodes, runs): (&[Arc<Identity>], Option<model::Digest>),
) -> Result<()> {
    let mut rates = [Vec::new(), Vec::new()];
    let mut costs = [Duration::ZERO; 2];
    let mut answers = [0; 2];
    for _ in 0..3 {
        for (at, (_, server, pids)) in both.iter().enumerate() {
            let before = measure::cpu_of(pids)?;
            let turn = checks::turn(server, ground, nodes, runs).await?;
            costs[at] += measure::cpu_of(pids)?.saturating_sub(before);
            answers[at] += turn.answers;
            rates[at].push(turn.per_second());
        }
    }
    let mut middle = [0.0; 2];
    for (at, (name, ..)) in both.iter().enumerate() {
        rates[at].sort_by(f64::total_cmp);
        middle[at] = rates[at][1];
        let cost = costs[at].as_secs_f64() * 1e6 / f64::from(u32::try_from(answers[at])?);
        row(
            &format!("checks on open connections, {name}"),
            &format!("{:.0} a second, {cost:.0} µs of its time each", middle[at]),
        );
    }
    row(
        "  ratio",
        &format!("{:.2} (goal 0.5)", middle[0] / middle[1]),
    );
    Ok(())
}

pub(crate) fn both(times: &mut [Duration]) -> String {
    let half = percentile(times, 50);
    let most = percentile(times, 99);
    format!("{} and {}", seconds(half), seconds(most))
}
