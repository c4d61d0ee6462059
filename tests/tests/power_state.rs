//! The power is cut in the middle of a change that takes a database over to another schema. After
//! the reboot the program and its database are of one schema, the old one or the new one, and what
//! was in the database before is there.
//!
//! `CHANGEOVER_POWER_ROUNDS` says how often, `CHANGEOVER_SEED` repeats.

use anyhow::{Context, Result, ensure};
use tests::disk::{Disk, formatted, own_mounts};
use tests::house::{Dice, at_once, setting};
use tests::ledger::{Ledgers, MIGRATE, MIGRATE_BACK, SNAPSHOT, entries};
use tests::node::Node;
use tests::wait;

fn node_on(disk: &Disk) -> Result<Node> {
    let dir = disk.path().join("n");
    fs_err::create_dir_all(&dir)?;
    Node::start_at(&dir, at_once(), &["--restart-daemons"])
}

/// The schema that the ledger runs with, when nothing is going on any more.
fn settled(node: &Node) -> Result<u32> {
    wait::until("no change is going on", || {
        let status = node.json(&["status"])?;
        let quiet = status["change"].is_null() && status["sysmgrd"] == true;
        Ok(quiet.then_some(()))
    })?;
    node.pid("ledger")?;
    let status = node.json(&["status"])?;
    let active = status["active"].as_array().context("a set")?;
    let schema = if active.iter().any(|one| one == "ledger=2") {
        2
    } else {
        1
    };
    let (found, rows) = entries(node)?;
    ensure!(
        found == schema,
        "{status} with a database of schema {found}"
    );
    ensure!(
        rows.first().is_some_and(|row| row == "1"),
        "lost what was there: {rows:?}"
    );
    let history = node.json(&["history", "-n", "1"])?;
    ensure!(!history[0]["ended"].is_null(), "{history}");
    Ok(schema)
}

/// Starts what is left after the cut; the schema that it comes up with.
fn boot(image: Vec<u8>) -> Result<u32> {
    let dir = tempfile::Builder::new().prefix("cut-").tempdir()?;
    let disk = Disk::mount(dir.path(), image)?;
    // Written by the one that still runs: this sandbox would wait for its end.
    drop(fs_err::remove_file(
        disk.path().join("n/root/.sandbox/running"),
    ));
    let mut node = node_on(&disk)?;
    let schema = settled(&node)?;
    // And it can be changed, there or back.
    let words: &[&str] = if schema == 1 {
        &["activate", "--yes", "ledger=2"]
    } else {
        &["rollback", "--yes"]
    };
    let report = node.json(words)?;
    ensure!(report["outcome"] == "done", "{report}");
    ensure!(settled(&node)? == 3 - schema, "{report}");
    node.end()?;
    drop(node);
    disk.check()?;
    Ok(schema)
}

#[expect(clippy::print_stderr, reason = "the seed repeats a failure")]
fn cut_while_it_migrates(lines: &str) -> Result<()> {
    let rounds = setting("CHANGEOVER_POWER_ROUNDS").unwrap_or(2);
    let mut dice = Dice::new()?;
    let ledgers = Ledgers::build()?;
    let new = ledgers.ledger("2", 2, false, lines)?;
    own_mounts()?;
    let dir = tempfile::Builder::new().prefix("power-").tempdir()?;
    let disk = Disk::mount(dir.path(), formatted(96)?)?;
    let mut node = node_on(&disk)?;
    ledgers.move_in(&node)?;
    node.add(&[&new.file])?;
    let there = |node: &Node| -> Result<()> {
        let report = node.activate(&["ledger=2"])?;
        ensure!(report["outcome"] == "done", "{report}");
        ensure!(settled(node)? == 2, "{report}");
        Ok(())
    };
    let back = |node: &Node| -> Result<()> {
        let report = node.json(&["rollback", "--yes"])?;
        ensure!(report["outcome"] == "done", "{report}");
        ensure!(settled(node)? == 1, "{report}");
        Ok(())
    };
    // Undisturbed, they tell how often the disk is written to.
    let first = disk.events();
    there(&node)?;
    let forth = disk.events() - first;
    back(&node)?;
    let all = disk.events() - first;
    for round in 0..rounds {
        // In the change, or in the way back.
        let on_the_way_back = round % 2 == 1;
        let events = if on_the_way_back { all - forth } else { forth };
        let event = dice.below(events);
        if on_the_way_back {
            there(&node)?;
        }
        disk.cut_after(event);
        if on_the_way_back {
            back(&node)?;
        } else {
            there(&node)?;
        }
        let (image, amidst) = disk.cut(&mut dice);
        let told = format!(
            "{round}: cut after {event} of {events} writes, way back: {on_the_way_back}, amidst: {amidst}"
        );
        let schema = boot(image).with_context(|| told.clone())?;
        eprintln!("{told}; afterwards schema {schema}");
        let done = if on_the_way_back { 1 } else { 2 };
        ensure!(schema == done || amidst, "{told}: it was said to be done");
        if !on_the_way_back {
            back(&node)?;
        }
    }
    node.end()?;
    drop(node);
    disk.check()
}

#[test]
fn a_database_that_is_copied_and_migrated_survives_a_power_cut_with_its_program() -> Result<()> {
    cut_while_it_migrates(&format!("{MIGRATE}{SNAPSHOT}"))
}

#[test]
fn a_database_that_is_migrated_forth_and_back_survives_a_power_cut_with_its_program() -> Result<()>
{
    cut_while_it_migrates(&format!("{MIGRATE}{MIGRATE_BACK}"))
}
