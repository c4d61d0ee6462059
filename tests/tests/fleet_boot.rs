//! A boot that asks its master first.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::fleet::Fleet;
use tests::fleet::house::{House, TWO, all_run, phase, runs};
use tests::node::list;
use tests::wait;

/// Two nodes that wait like this at each boot, on `g=1`; `g=2` is assigned.
fn waiting(gate: &str) -> Result<Fleet> {
    let house = House::shared()?;
    let mut fleet = Fleet::start()?;
    house.import(&fleet)?;
    fleet.add_nodes(&TWO)?;
    fleet.ok(&["assign", "fleet", "--boot-gate", gate])?;
    fleet.ok(&["assign", "fleet", "app", "g=1", "base"])?;
    fleet.ok(&["update", "--all", "--yes", "--wait"])?;
    all_run(&fleet, &["one", "two"], "g=1")?;
    fleet.ok(&["assign", "fleet", "g=2"])?;
    Ok(fleet)
}

/// The first node of an update that goes on with the other one only after a while.
fn canary(fleet: &Fleet) -> Result<(u64, &'static str)> {
    let id = fleet.begin(&["--all", "--canary", "1", "--soak", "10min"])?;
    let view = fleet.await_phase(id, "soaking")?;
    let done = |node: &&&str| phase(&view, node).is_ok_and(|phase| phase == "done");
    let first = ["one", "two"].iter().find(done).copied();
    let first = first.with_context(|| format!("none is done: {view}"))?;
    all_run(fleet, &[first], "g=2")?;
    Ok((id, first))
}

/// What the newest change of a node that touched `app` did to it.
fn done_to_app(fleet: &Fleet, node: &str) -> Result<Value> {
    let history = fleet.node(node)?.json(&["history"])?;
    let mut newest: Vec<&Value> = list(&history)?.iter().collect();
    newest.sort_by_key(|one| one["change"].as_u64());
    let of_app = newest.into_iter().rev().find_map(|one| {
        let processes = one["report"]["processes"].as_array()?;
        processes.iter().find(|one| one["name"] == "app")
    });
    let app = of_app.with_context(|| format!("app was not touched: {history}"))?;
    Ok(app["verdict"].clone())
}

/// Until the node runs this; or what the fleet and the node say of it.
fn comes_to(fleet: &Fleet, node: &str, package: &str, id: u64) -> Result<()> {
    let here = wait::until(&format!("{node} runs {package}"), || {
        Ok(runs(fleet, node, package)?.then_some(()))
    });
    here.with_context(|| {
        let log = "var/log/changeover/installd.log";
        let log = fleet.node(node).map(|node| node.root().join(log));
        let log = log.and_then(|log| Ok(fs_err::read_to_string(log)?));
        format!(
            "{}\n{}\n{}\n{}",
            fleet.ok(&["show", &id.to_string()]).unwrap_or_default(),
            fleet.ok(&["nodes", "show", node]).unwrap_or_default(),
            fleet.log(),
            log.unwrap_or_default()
        )
    })
}

#[test]
fn a_node_starts_what_is_wanted_of_it_and_not_first_what_it_ran() -> Result<()> {
    let mut fleet = waiting("wait")?;
    let (id, first) = canary(&fleet)?;
    fleet.stop_node(first)?;
    // What is wanted of it changes while it is away.
    fleet.run(&["rollback", &id.to_string(), "--yes"])?;
    wait::until("the update is being taken back", || {
        let now = fleet.update(id)?["phase"].clone();
        Ok((now == "taking-back" || now == "taken-back").then_some(()))
    })?;
    fleet.wake_node(first)?;
    comes_to(&fleet, first, "g=1", id)?;
    fleet.node(first)?.pid("app")?;
    // A set that had been started first would have been restarted.
    ensure!(
        done_to_app(&fleet, first)? == "start",
        "app: {}",
        done_to_app(&fleet, first)?
    );
    fleet.await_phase(id, "taken-back")?;
    let status = fleet.json(&["status"])?;
    ensure!(status["as-wanted"] == 2, "{status}");
    // It is what the next boot runs.
    fleet.stop_node(first)?;
    fleet.wake_node(first)?;
    fleet.node(first)?.pid("app")?;
    all_run(&fleet, &[first], "g=1")
}

#[test]
fn a_boot_that_does_not_wait_runs_what_is_committed_and_changes_over_then() -> Result<()> {
    let mut fleet = waiting("run")?;
    let (id, first) = canary(&fleet)?;
    fleet.stop_node(first)?;
    fleet.run(&["rollback", &id.to_string(), "--yes"])?;
    fleet.wake_node(first)?;
    comes_to(&fleet, first, "g=1", id)?;
    fleet.await_phase(id, "taken-back")?;
    ensure!(
        done_to_app(&fleet, first)? == "restart",
        "app: {}",
        done_to_app(&fleet, first)?
    );
    Ok(())
}

#[test]
fn a_node_whose_master_is_away_runs_what_is_committed_when_it_has_waited() -> Result<()> {
    let mut fleet = waiting("wait=2s")?;
    fleet.stop_node("one")?;
    fleet.kill_master()?;
    let began = Instant::now();
    fleet.boot_node("one")?;
    let node = fleet.node("one")?;
    node.pid("app")?;
    ensure!(
        began.elapsed() >= Duration::from_secs(2),
        "it did not wait: {:?}",
        began.elapsed()
    );
    let status = node.json(&["status"])?;
    ensure!(status["active"].to_string().contains("g=1"), "{status}");
    Ok(())
}
