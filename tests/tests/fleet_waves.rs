//! Waves: canaries first, a threshold that stops, the way back, pauses.

use anyhow::{Context, Result, ensure};
use tests::fleet::Fleet;
use tests::fleet::house::{House, THREE, all_run, object, of_wave, phase, runs, sicken};
use tests::wait;

const CANARY: [&str; 3] = ["--all", "--canary", "1"];

/// Three nodes, the one that goes first, and the others.
fn fleet() -> Result<(Fleet, String, Vec<String>)> {
    let fleet = House::shared()?.fleet(&THREE)?;
    let plan = fleet.json(&[&["plan"], &CANARY[..]].concat())?;
    let first = of_wave(&plan, 0)?;
    let others = of_wave(&plan, 1)?;
    ensure!(first.len() == 1 && others.len() == 2, "{plan}");
    let first = first.into_iter().next().context("a canary")?;
    Ok((fleet, first, others))
}

fn names(nodes: &[String]) -> Vec<&str> {
    nodes.iter().map(String::as_str).collect()
}

#[test]
fn a_canary_that_fails_stops_the_update_and_nobody_else_is_touched() -> Result<()> {
    let (fleet, canary, others) = fleet()?;
    sicken(&fleet, &canary)?;
    let words = [&["update"], &CANARY[..], &["--yes", "--wait"]].concat();
    let said = fleet.ends(8, &words)?;
    ensure!(said.contains("failed"), "{said}");
    let view = fleet.update(2)?;
    ensure!(view["phase"] == "stopped", "{view}");
    ensure!(phase(&view, &canary)? == "failed", "{view}");
    all_run(&fleet, &["one", "two", "three"], "g=1")?;
    // The operator has a look at the canary, and goes on.
    fleet.run(&["resume", "2"])?;
    fleet.await_phase(2, "partial")?;
    all_run(&fleet, &names(&others), "g=2")?;
    all_run(&fleet, &[&canary], "g=1")
}

#[test]
fn a_later_wave_that_fails_takes_back_the_earlier_ones_where_that_is_wanted() -> Result<()> {
    let (fleet, canary, others) = fleet()?;
    let sick = others.first().context("a second")?;
    sicken(&fleet, sick)?;
    let words = [&CANARY[..], &["--take-back"]].concat();
    let id = fleet.begin(&words)?;
    let view = wait::until("it has ended", || {
        let view = fleet.update(id)?;
        let phase = view["phase"].as_str().unwrap_or_default();
        Ok(["taken-back", "partial"]
            .contains(&phase)
            .then_some(view.clone()))
    })?;
    ensure!(phase(&view, &canary)? == "went-back", "{view}");
    all_run(&fleet, &["one", "two", "three"], "g=1")
}

#[test]
fn a_node_of_a_later_wave_that_objects_by_then_holds_it() -> Result<()> {
    let (fleet, canary, others) = fleet()?;
    let words = [&CANARY[..], &["--soak", "2s"]].concat();
    let id = fleet.begin(&words)?;
    fleet.await_phase(id, "soaking")?;
    let late = others.first().context("a second")?;
    object(&fleet, late, "backup runs")?;
    let held = fleet.await_phase(id, "held")?;
    ensure!(phase(&held, late)? == "vetoed", "{held}");
    ensure!(runs(&fleet, &canary, "g=2")?, "the canary has it");
    all_run(&fleet, &names(&others), "g=1")?;
    fleet.run(&["decide", &id.to_string(), "--accepting"])?;
    let view = fleet.await_phase(id, "partial")?;
    ensure!(phase(&view, late)? == "left-out", "{view}");
    all_run(&fleet, &[late], "g=1")
}

#[test]
fn an_update_is_paused_resumed_and_taken_back_on_its_way() -> Result<()> {
    let (fleet, canary, others) = fleet()?;
    let words = [&CANARY[..], &["--soak", "1s"]].concat();
    let id = fleet.begin(&words)?;
    fleet.await_phase(id, "soaking")?;
    let number = id.to_string();
    fleet.ok(&["pause", &number])?;
    ensure!(fleet.update(id)?["paused"] == true, "it is paused");
    all_run(&fleet, &names(&others), "g=1")?;
    ensure!(runs(&fleet, &canary, "g=2")?, "the canary has it");
    fleet.run(&["rollback", &number, "--yes"])?;
    let view = fleet.await_phase(id, "taken-back")?;
    ensure!(phase(&view, &canary)? == "went-back", "{view}");
    all_run(&fleet, &["one", "two", "three"], "g=1")
}
