//! All at one moment: ready, waiting, the decision stored, go; and what becomes of those that fail
//! on the way.

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::fleet::Fleet;
use tests::fleet::house::{House, THREE, TWO, all_run, phase, runs, sicken, slow};
use tests::wait;

/// Waits until a node of an update is where it is to be.
fn await_part(fleet: &Fleet, id: u64, node: &str, wanted: &str) -> Result<()> {
    wait::until(&format!("{node} is {wanted}"), || {
        let view = fleet.update(id)?;
        Ok((phase(&view, node)? == wanted).then_some(()))
    })
}

fn installd(fleet: &Fleet, node: &str) -> Result<Pid> {
    let pid = fleet.node(node)?.daemon("installd")?;
    Ok(Pid::from_raw(pid.context("installd does not run")?))
}

#[test]
fn nobody_switches_before_all_are_ready_and_then_all_do() -> Result<()> {
    let fleet = House::shared()?.fleet(&TWO)?;
    slow(&fleet, "one", 1500)?;
    let id = fleet.begin(&["--all", "--together"])?;
    await_part(&fleet, id, "two", "waiting")?;
    ensure!(runs(&fleet, "two", "g=1")?, "two waits for one");
    fleet.await_phase(id, "done")?;
    all_run(&fleet, &["one", "two"], "g=2")
}

#[test]
fn a_group_of_which_one_cannot_get_ready_stays_as_it_is() -> Result<()> {
    let mut fleet = House::shared()?.fleet(&TWO)?;
    slow(&fleet, "one", 1500)?;
    let id = fleet.begin(&["--all", "--together", "--go-timeout", "3s"])?;
    await_part(&fleet, id, "two", "waiting")?;
    fleet.stop_node("one")?;
    let view = wait::until("it has ended", || {
        let view = fleet.update(id)?;
        let phase = view["phase"].as_str().unwrap_or_default();
        Ok(["taking-back", "taken-back", "partial", "aborted"]
            .contains(&phase)
            .then_some(view.clone()))
    })?;
    ensure!(runs(&fleet, "two", "g=1")?, "two switched alone: {view}");
    fleet.wake_node("one")?;
    wait::until("the update has ended", || {
        let status = fleet.json(&["status"])?;
        Ok((status["rollouts"] == serde_json::json!([])).then_some(()))
    })?;
    all_run(&fleet, &["one", "two"], "g=1")
}

#[test]
fn a_node_killed_before_its_go_is_a_named_discrepancy_and_follows_alone() -> Result<()> {
    let fleet = House::shared()?.fleet(&TWO)?;
    slow(&fleet, "one", 2000)?;
    let id = fleet.begin(&["--all", "--together"])?;
    await_part(&fleet, id, "two", "waiting")?;
    let two = installd(&fleet, "two")?;
    // What is sent to it from now on it never reads.
    kill(two, Signal::SIGSTOP)?;
    await_part(&fleet, id, "one", "done")?;
    ensure!(runs(&fleet, "one", "g=2")?, "one has switched");
    kill(two, Signal::SIGKILL)?;
    let view = fleet.await_phase(id, "done")?;
    all_run(&fleet, &["one", "two"], "g=2")?;
    let said = view["discrepancies"].to_string();
    ensure!(said.contains("two missed go"), "{view}");
    let shown = fleet.ok(&["show", &id.to_string()])?;
    ensure!(shown.contains("two missed go"), "{shown}");
    Ok(())
}

#[test]
fn a_failure_after_go_takes_the_whole_group_back() -> Result<()> {
    let fleet = House::shared()?.fleet(&THREE)?;
    sicken(&fleet, "two")?;
    let id = fleet.begin(&["--all", "--together"])?;
    let view = wait::until("it has ended", || {
        let view = fleet.update(id)?;
        let phase = view["phase"].as_str().unwrap_or_default();
        Ok(["taken-back", "partial"]
            .contains(&phase)
            .then_some(view.clone()))
    })?;
    for node in ["one", "two", "three"] {
        wait::until(
            "it is back",
            || Ok(runs(&fleet, node, "g=1")?.then_some(())),
        )?;
    }
    let shown = fleet.ok(&["show", &id.to_string()])?;
    ensure!(shown.contains("after go"), "{shown}");
    ensure!(phase(&view, "one")? == "went-back", "{view}");
    Ok(())
}
