//! State that an older program cannot read, with a real database: it is copied, migrated, brought
//! back, or the change is refused before it begins.

use anyhow::Result;
use tests::ledger::{Ledgers, MIGRATE, MIGRATE_BACK, SNAPSHOT, entries, texts};

#[test]
fn a_copy_of_the_state_is_put_back_by_a_rollback() -> Result<()> {
    let house = Ledgers::build()?;
    let node = house.node()?;
    let new = house.ledger("2", 2, false, &format!("{MIGRATE}{SNAPSHOT}"))?;
    node.add(&[&new.file])?;
    node.activate(&["ledger=2"])?;
    assert_eq!(entries(&node)?, (2, texts(&["1", "2"])));
    let report = node.json(&["rollback", "--yes"])?;
    assert_eq!(report["outcome"], "done", "{report}");
    node.pid("ledger")?;
    // What schema 2 wrote is gone with it; the old program has added its row again.
    assert_eq!(entries(&node)?, (1, texts(&["1", "1"])));
    Ok(())
}

#[test]
fn migrate_back_keeps_what_the_newer_program_wrote() -> Result<()> {
    let house = Ledgers::build()?;
    let node = house.node()?;
    let new = house.ledger("2", 2, false, &format!("{MIGRATE}{MIGRATE_BACK}"))?;
    node.add(&[&new.file])?;
    node.activate(&["ledger=2"])?;
    node.json(&["rollback", "--yes"])?;
    node.pid("ledger")?;
    assert_eq!(entries(&node)?, (1, texts(&["1", "2", "1"])));
    Ok(())
}

#[test]
fn a_program_that_fails_after_it_migrated_leaves_the_state_as_it_was() -> Result<()> {
    let house = Ledgers::build()?;
    for (lines, expected) in [
        (format!("{MIGRATE}{SNAPSHOT}"), texts(&["1", "1"])),
        (format!("{MIGRATE}{MIGRATE_BACK}"), texts(&["1", "2", "1"])),
    ] {
        let node = house.node()?;
        let failing = house.ledger("2", 2, true, &lines)?;
        node.add(&[&failing.file])?;
        let said = node.run(&["pkgtool", "--json", "activate", "--yes", "ledger=2"])?;
        assert_eq!(said.status.code(), Some(7), "rolled back");
        let said = String::from_utf8(said.stdout)?;
        assert!(said.contains("cannot come up"), "{said}");
        node.pid("ledger")?;
        assert_eq!(entries(&node)?, (1, expected));
    }
    Ok(())
}

#[test]
fn what_cannot_be_taken_back_is_refused_until_it_is_asked_for_and_then_kept() -> Result<()> {
    let house = Ledgers::build()?;
    let node = house.node()?;
    let failing = house.ledger("2", 2, true, MIGRATE)?;
    node.add(&[&failing.file])?;
    let words = ["pkgtool", "activate", "--yes", "ledger=2"];
    let refused = node.run(&words)?;
    assert_eq!(refused.status.code(), Some(4));
    let shown = String::from_utf8(refused.stdout)? + &String::from_utf8(refused.stderr)?;
    assert!(shown.contains("--one-way"), "{shown}");
    assert_eq!(entries(&node)?, (1, texts(&["1"])), "nothing was touched");
    let mut words = words.to_vec();
    words.extend(["--one-way", "--json"]);
    let kept = node.run(&words)?;
    assert_eq!(kept.status.code(), Some(8), "not rolled back by itself");
    assert_eq!(entries(&node)?.0, 2);
    Ok(())
}

#[test]
fn a_migration_that_fails_costs_nothing() -> Result<()> {
    let house = Ledgers::build()?;
    let node = house.node()?;
    let lines = format!("migrate = [\"/usr/bin/absent\"]\n{SNAPSHOT}");
    let new = house.ledger("2", 2, false, &lines)?;
    node.add(&[&new.file])?;
    let said = node.run(&["pkgtool", "--json", "activate", "--yes", "ledger=2"])?;
    assert_eq!(said.status.code(), Some(7));
    let said = String::from_utf8(said.stdout)?;
    assert!(said.contains("/usr/bin/absent"), "{said}");
    node.pid("ledger")?;
    assert_eq!(entries(&node)?, (1, texts(&["1", "1"])));
    Ok(())
}
