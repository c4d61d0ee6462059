//! A fleet end to end: a real master, real nodes, real processes that vote.

use anyhow::{Result, ensure};
use tests::fleet::Fleet;
use tests::fleet::house::{House, TWO, all_run, object, runs};
use tests::wait;

#[test]
fn all_accept_and_all_change_over() -> Result<()> {
    let fleet = House::shared()?.fleet(&TWO)?;
    let said = fleet.ok(&["update", "--all", "--yes", "--wait"])?;
    ensure!(said.contains("done"), "{said}");
    all_run(&fleet, &["one", "two"], "g=2")?;
    let status = fleet.json(&["status"])?;
    ensure!(status["as-wanted"] == 2, "{status}");
    ensure!(
        status["software"]
            .as_array()
            .is_some_and(|all| all.len() == 1),
        "{status}"
    );
    Ok(())
}

#[test]
fn one_veto_and_nothing_is_touched_until_somebody_decides() -> Result<()> {
    let fleet = House::shared()?.fleet(&TWO)?;
    object(&fleet, "two", "call in progress")?;
    let pid = fleet.node("one")?.pid("app")?;
    let said = fleet.ends(3, &["update", "--all", "--yes", "--wait"])?;
    ensure!(said.contains("call in progress"), "{said}");
    for node in ["one", "two"] {
        ensure!(runs(&fleet, node, "g=1")?, "{node} was touched");
    }
    ensure!(fleet.node("one")?.pid("app")? == pid, "app was restarted");
    let held = fleet.update(2)?;
    ensure!(held["phase"] == "held", "{held}");
    ensure!(held["tally"]["reasons"][0]["nodes"] == 1, "{held}");
    fleet.ends(3, &["decide", "2", "--abort", "--wait"])?;
    ensure!(runs(&fleet, "one", "g=1")?, "one");
    Ok(())
}

#[test]
fn of_a_held_update_only_those_that_accept_may_be_taken() -> Result<()> {
    let fleet = House::shared()?.fleet(&TWO)?;
    object(&fleet, "two", "call in progress")?;
    let id = fleet.begin(&["--all"])?;
    fleet.await_phase(id, "held")?;
    let id_text = id.to_string();
    let said = fleet.run(&["decide", &id_text, "--accepting", "--wait"])?;
    ensure!(
        matches!(said.status.code(), Some(0 | 8)),
        "{:?}",
        said.status
    );
    ensure!(runs(&fleet, "one", "g=2")?, "one accepted");
    ensure!(runs(&fleet, "two", "g=1")?, "two objected");
    Ok(())
}

#[test]
fn a_veto_that_is_overridden_is_recorded_with_who_did_it() -> Result<()> {
    let fleet = House::shared()?.fleet(&TWO)?;
    object(&fleet, "two", "call in progress")?;
    let id = fleet.begin(&["--all"])?;
    fleet.await_phase(id, "held")?;
    let number = id.to_string();
    let words = [
        "decide",
        &number,
        "--force",
        "two",
        "--reason",
        "a test call",
    ];
    fleet.ok(&[&words[..], &["--wait"]].concat())?;
    all_run(&fleet, &["one", "two"], "g=2")?;
    let done = fleet.update(id)?;
    ensure!(Fleet::part(&done, "two")?["forced"] == true, "{done}");
    let audit = fleet.ok(&["audit"])?;
    ensure!(audit.contains("a test call"), "{audit}");
    Ok(())
}

#[test]
fn an_update_is_taken_back_by_another() -> Result<()> {
    let fleet = House::shared()?.fleet(&TWO)?;
    let id = fleet.begin(&["--all"])?;
    fleet.await_phase(id, "done")?;
    fleet.ok(&["rollback", &id.to_string(), "--yes", "--wait"])?;
    all_run(&fleet, &["one", "two"], "g=1")?;
    Ok(())
}

#[test]
fn a_master_that_is_killed_in_the_middle_goes_on_where_it_was() -> Result<()> {
    let mut fleet = House::shared()?.fleet(&TWO)?;
    object(&fleet, "two", "call in progress")?;
    let id = fleet.begin(&["--all"])?;
    fleet.await_phase(id, "held")?;
    fleet.kill_master()?;
    fleet.start_master()?;
    for node in ["one", "two"] {
        fleet.await_presence(node, "connected")?;
        ensure!(runs(&fleet, node, "g=1")?, "{node} was touched");
    }
    let held = fleet.update(id)?;
    ensure!(held["phase"] == "held", "{held}");
    fleet.run(&["decide", &id.to_string(), "--force-all"])?;
    fleet.kill_master()?;
    fleet.start_master()?;
    fleet.await_phase(id, "done")?;
    for node in ["one", "two"] {
        wait::until("both run it", || {
            Ok(runs(&fleet, node, "g=2")?.then_some(()))
        })?;
    }
    Ok(())
}
