//! Updates that nodes run as trials: a check decides, then an operator does.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::fleet::Fleet;
use tests::fleet::house::{House, TWO, all_run, phase, runs};
use tests::node::list;
use tests::wait;

/// A program of the new set that is well unless `/var/lib/bad` says why not.
const CHECK: &str = "/usr/bin/may /var/lib/bad";

fn begin(fleet: &Fleet, more: &[&str]) -> Result<u64> {
    let words = ["--all", "--trial", "--check", CHECK];
    fleet.begin(&[&words[..], more].concat())
}

/// Names of the nodes that the fleet lists as running a trial.
fn trials(fleet: &Fleet) -> Result<Vec<String>> {
    let all = fleet.json(&["nodes", "--trial"])?;
    let names = list(&all)?.iter().filter_map(|one| one["name"].as_str());
    Ok(names.map(str::to_owned).collect())
}

fn committed(fleet: &Fleet, node: &str) -> Result<Value> {
    Ok(fleet.node(node)?.json(&["status"])?["committed"].clone())
}

#[test]
fn a_trial_whose_check_is_well_is_listed_until_it_is_committed() -> Result<()> {
    let mut fleet = House::shared()?.fleet(&TWO)?;
    let before = committed(&fleet, "one")?;
    let id = begin(&fleet, &[])?;
    let view = fleet.await_phase(id, "trial")?;
    for node in ["one", "two"] {
        ensure!(Fleet::part(&view, node)?["check"][0] == 0, "{view}");
    }
    all_run(&fleet, &["one", "two"], "g=2")?;
    ensure!(trials(&fleet)? == ["one", "two"], "{:?}", trials(&fleet)?);
    ensure!(committed(&fleet, "one")? == before, "nothing is committed");
    fleet.ok(&["commit", &id.to_string()])?;
    fleet.await_phase(id, "done")?;
    wait::until("no trial is left", || {
        Ok(trials(&fleet)?.is_empty().then_some(()))
    })?;
    ensure!(committed(&fleet, "one")? != before, "it is committed");
    fleet.stop_node("one")?;
    fleet.wake_node("one")?;
    all_run(&fleet, &["one"], "g=2")
}

#[test]
fn a_check_that_fails_takes_its_node_back_and_the_master_has_what_it_said() -> Result<()> {
    let fleet = House::shared()?.fleet(&TWO)?;
    let bad = fleet.node("two")?.root().join("var/lib/bad");
    fs_err::write(bad, "no route to the mainframe\n")?;
    let id = begin(&fleet, &["--max-failed", "2"])?;
    let view = wait::until("two went back", || {
        let view = fleet.update(id)?;
        let back = ["went-back", "failed"].contains(&phase(&view, "two")?.as_str());
        Ok(back.then_some(view))
    })?;
    let part = Fleet::part(&view, "two")?;
    ensure!(part["check"][0] == 1, "{part}");
    let lines = part["check"][1].as_str().unwrap_or_default();
    ensure!(lines.contains("no route to the mainframe"), "{part}");
    let shown = fleet.ok(&["show", &id.to_string()])?;
    ensure!(shown.contains("exit status 1"), "{shown}");
    wait::until("two runs what it ran", || {
        Ok(runs(&fleet, "two", "g=1")?.then_some(()))
    })?;
    ensure!(!trials(&fleet)?.contains(&"two".to_owned()), "two is back");
    let history = fleet.node("two")?.ok(&["pkgtool", "history"])?;
    ensure!(!history.is_empty(), "it is in the node's history");
    Ok(())
}

#[test]
fn a_trial_is_taken_back_by_an_operator() -> Result<()> {
    let fleet = House::shared()?.fleet(&TWO)?;
    let id = begin(&fleet, &[])?;
    fleet.await_phase(id, "trial")?;
    all_run(&fleet, &["one", "two"], "g=2")?;
    let number = id.to_string();
    fleet.run(&["rollback", &number, "--yes", "--wait"])?;
    fleet.await_phase(id, "taken-back")?;
    all_run(&fleet, &["one", "two"], "g=1")?;
    ensure!(trials(&fleet)?.is_empty(), "{:?}", trials(&fleet)?);
    let status = fleet.json(&["status"])?;
    ensure!(status["as-wanted"] == 2, "{status}");
    ensure!(status["discrepancies"] == json!([]), "{status}");
    Ok(())
}

#[test]
fn a_trial_ends_with_the_boot_that_it_ran_in() -> Result<()> {
    let mut fleet = House::shared()?.fleet(&TWO)?;
    let id = begin(&fleet, &[])?;
    fleet.await_phase(id, "trial")?;
    fleet.stop_node("two")?;
    fleet.wake_node("two")?;
    wait::until("the master knows that two is back", || {
        let view = fleet.update(id)?;
        let back = ["went-back", "failed"].contains(&phase(&view, "two")?.as_str());
        Ok(back.then_some(()))
    })?;
    all_run(&fleet, &["one"], "g=2")?;
    all_run(&fleet, &["two"], "g=1")
}
