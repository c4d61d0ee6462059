//! What a node costs the master while nothing happens.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_precision_loss,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a test, and a fleet that several of them share"
)]

mod fleet;

use std::time::Duration;

use fleet::{Master, Scripted};
use model::wire::Verdict;

/// Kilobytes of a process's memory, what it shares counted in part.
fn pss(process: u32) -> u64 {
    let text = fs_err::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    line.unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}

async fn more(master: &Master, nodes: &mut Vec<Scripted>, count: usize) {
    for _ in 0..count {
        let name = format!("node-{:05}", nodes.len());
        let mut node = master.node(&name, "edge").await;
        assert_eq!(node.connect().await, Verdict::Unassigned);
        nodes.push(node);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_node_costs_less_than_24_kilobytes() {
    let wide = "[limits]\nrequests-per-second = 1000000\n";
    let arenas = ("MALLOC_ARENA_MAX".to_owned(), "2".to_owned());
    let master = Master::with(wide, &[arenas]).await;
    let mut nodes = Vec::new();
    more(&master, &mut nodes, 150).await;
    let before = pss(master.process());
    more(&master, &mut nodes, 500).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let grown = pss(master.process()) - before;
    let each = grown as f64 / 500.0;
    println!("{each:.1} KiB for each idle node");
    assert!(each < 24.0, "{each} KiB");
}
