//! Nodes that leave the fleet while they are away.

use anyhow::{Result, ensure};
use tests::fleet::Fleet;
use tests::fleet::house::{House, TWO, all_run, runs};
use tests::wait;

/// Until the node itself says why its master does not let it in.
fn is_refused(fleet: &Fleet, node: &str, word: &str) -> Result<()> {
    wait::until(&format!("{node} says that it is {word}"), || {
        let status = fleet.node(node)?.json(&["status"])?;
        let problem = status["fleet"]["problem"].as_str().unwrap_or_default();
        Ok(problem.contains(word).then_some(()))
    })
}

#[test]
fn a_node_that_is_retired_while_it_is_away_is_not_let_in_again_and_runs_on() -> Result<()> {
    let mut fleet = House::shared()?.fleet(&TWO)?;
    fleet.stop_node("two")?;
    fleet.ok(&["nodes", "retire", "two"])?;
    fleet.await_presence("two", "retired")?;
    // Nobody waits for it any more.
    fleet.ok(&["update", "--all", "--yes", "--wait"])?;
    all_run(&fleet, &["one"], "g=2")?;
    let status = fleet.json(&["status"])?;
    ensure!(status["nodes"] == 1 && status["as-wanted"] == 1, "{status}");
    fleet.boot_node("two")?;
    is_refused(&fleet, "two", "retired")?;
    fleet.node("two")?.pid("app")?;
    ensure!(runs(&fleet, "two", "g=1")?, "two runs what it ran");
    fleet.await_presence("two", "retired")?;
    // Out of the fleet it is its own again.
    fleet.node("two")?.ok(&["pkgtool", "leave", "--yes"])?;
    fleet
        .node("two")?
        .ok(&["pkgtool", "deactivate", "--yes", "app"])?;
    Ok(())
}

#[test]
fn a_machine_that_comes_in_the_place_of_one_that_is_away_is_the_node_from_then_on() -> Result<()> {
    let mut fleet = House::shared()?.fleet(&TWO)?;
    fleet.stop_node("two")?;
    fleet.ok(&["nodes", "replace", "two"])?;
    let old = fleet.take_node("two")?;
    fleet.add_node("two", &["--class", "edge"])?;
    wait::until("the new machine runs what was decided for its name", || {
        Ok(runs(&fleet, "two", "g=1")?.then_some(()))
    })?;
    fleet.ok(&["update", "--all", "--yes", "--wait"])?;
    all_run(&fleet, &["one", "two"], "g=2")?;
    // The old machine is switched on again: it is nobody.
    let new = fleet.swap_node("two", old)?;
    fleet.boot_node("two")?;
    is_refused(&fleet, "two", "the master refused")?;
    let status = fleet.node("two")?.json(&["status"])?;
    ensure!(status["fleet"]["connected"] == false, "{status}");
    ensure!(runs(&fleet, "two", "g=1")?, "the old machine runs on");
    let view = fleet.view("two")?;
    ensure!(view["presence"]["state"] == "connected", "{view}");
    ensure!(view["installed"]["software"] == view["wanted"], "{view}");
    drop(new);
    fleet.await_presence("two", "away")
}
