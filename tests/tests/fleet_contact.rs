//! Nodes that are away, and nodes that are cut off.

use anyhow::{Result, ensure};
use tests::fleet::house::{House, TWO, all_run, phase, runs};
use tests::wait;

#[test]
fn a_node_whose_cable_is_pulled_runs_on_and_is_asked_itself_when_it_returns() -> Result<()> {
    let fleet = House::shared()?.networked(&TWO)?;
    fleet.network()?.cut("two")?;
    fleet.await_presence("two", "away")?;
    let pid = fleet.node("two")?.pid("app")?;
    let words = ["update", "--all", "--absent", "skip", "--yes", "--wait"];
    fleet.ends(8, &words)?;
    ensure!(runs(&fleet, "one", "g=2")?, "one");
    ensure!(runs(&fleet, "two", "g=1")?, "two was not there");
    ensure!(fleet.node("two")?.pid("app")? == pid, "two runs on");
    fleet.network()?.mend("two")?;
    wait::until("two has it, too", || {
        Ok(runs(&fleet, "two", "g=2")?.then_some(()))
    })?;
    fleet.await_phase(3, "done")?;
    let third = fleet.ok(&["show", "3"])?;
    ensure!(third.contains("two was away in update 2"), "{third}");
    Ok(())
}

#[test]
fn a_node_that_is_away_holds_an_update_until_somebody_decides() -> Result<()> {
    let mut fleet = House::shared()?.fleet(&TWO)?;
    fleet.stop_node("two")?;
    let id = fleet.begin(&["--all", "--vote-timeout", "1s"])?;
    let held = fleet.await_phase(id, "held")?;
    ensure!(phase(&held, "two")? == "absent", "{held}");
    ensure!(runs(&fleet, "one", "g=1")?, "one was touched");
    fleet.wake_node("two")?;
    // It is asked itself when it returns; the decision is still an operator's.
    wait::until("two has answered", || {
        Ok((phase(&fleet.update(id)?, "two")? == "accepted").then_some(()))
    })?;
    if fleet.update(id)?["phase"] == "held" {
        fleet.run(&["decide", &id.to_string(), "--accepting"])?;
    }
    fleet.await_phase(id, "done")?;
    all_run(&fleet, &["one", "two"], "g=2")
}

#[test]
fn a_node_that_is_away_aborts_an_update_that_says_so() -> Result<()> {
    let mut fleet = House::shared()?.fleet(&TWO)?;
    fleet.stop_node("two")?;
    let words = [
        "update",
        "--all",
        "--absent",
        "abort",
        "--vote-timeout",
        "1s",
    ];
    let said = fleet.ends(3, &[&words[..], &["--yes", "--wait"]].concat())?;
    ensure!(said.contains("two"), "{said}");
    ensure!(fleet.update(2)?["phase"] == "aborted", "{said}");
    ensure!(runs(&fleet, "one", "g=1")?, "one was touched");
    fleet.wake_node("two")?;
    ensure!(runs(&fleet, "two", "g=1")?, "nothing was decided for two");
    Ok(())
}
