//! The power is cut in the middle of changes: the node is on a disk that then has all that was
//! flushed and any part of what was only written. Mounted again, after a reboot, it runs wholly the
//! old or wholly the new set, and the new one where the change was said to be done.
//!
//! `CHANGEOVER_POWER_ROUNDS` says how often, `CHANGEOVER_SEED` repeats.

use std::rc::Rc;

use anyhow::{Context, Result, ensure};
use tests::disk::{Disk, formatted, own_mounts};
use tests::house::{Before, Dice, Goods, House, Plan, at_once, ended, setting};
use tests::node::Node;

fn node_on(disk: &Disk) -> Result<Node> {
    let dir = disk.path().join("n");
    fs_err::create_dir_all(&dir)?;
    Node::start_at(&dir, at_once(), &["--restart-daemons"])
}

/// Starts what is left after the cut; whether the change has happened.
fn boot(house: &House, image: Vec<u8>, before: &Before) -> Result<bool> {
    let dir = tempfile::Builder::new().prefix("cut-").tempdir()?;
    let disk = Disk::mount(dir.path(), image)?;
    // Written by the one that still runs: this sandbox would wait for its end.
    drop(fs_err::remove_file(
        disk.path().join("n/root/.sandbox/running"),
    ));
    let node = node_on(&disk)?;
    let mut after = Rc::clone(&house.goods).live_in(node);
    let known = Before {
        pids: Vec::new(),
        ..*before
    };
    let happened = after.settle(&known)?;
    // And it can be changed.
    let next = 3 - after.active()?;
    let report = after.node.activate(&[&format!("libanswer={next}")])?;
    ensure!(report["outcome"] == "done", "{report}");
    after.node.end()?;
    drop(after);
    disk.check()?;
    Ok(happened)
}

/// Changes to the other version; what was before, and whether it happened.
fn change(house: &House) -> Result<(Before, bool)> {
    let before = house.before(3 - house.active()?)?;
    ended(&mut house.begin(before.new)?)?;
    let happened = house.settle(&before)?;
    Ok((before, happened))
}

#[expect(clippy::print_stderr, reason = "the seed repeats a failure")]
#[test]
fn a_node_whose_power_is_cut_has_one_whole_set_after_the_reboot() -> Result<()> {
    let rounds = setting("CHANGEOVER_POWER_ROUNDS").unwrap_or(3);
    let mut dice = Dice::new()?;
    let plan = Plan {
        versions: 2,
        told: false,
    };
    let goods = Goods::build(plan)?;
    own_mounts()?;
    let dir = tempfile::Builder::new().prefix("power-").tempdir()?;
    let disk = Disk::mount(dir.path(), formatted(96)?)?;
    let mut house = goods.move_in(node_on(&disk)?)?;
    // An undisturbed change tells how often the disk is written to in one.
    let first = disk.events();
    ensure!(change(&house)?.1, "undisturbed, it is done");
    let events = disk.events() - first;
    ensure!(events > 10, "{events} writes and flushes");
    let mut happened = 0;
    for round in 0..rounds {
        let event = dice.below(events);
        disk.cut_after(event);
        let (before, done) = change(&house)?;
        ensure!(done, "undisturbed, it is done");
        let (image, amidst) = disk.cut(&mut dice);
        let told = format!("{round}: cut after {event} of {events} writes, amidst: {amidst}");
        let new = boot(&house, image, &before).with_context(|| told.clone())?;
        eprintln!(
            "{told}; afterwards the {} set",
            if new { "new" } else { "old" }
        );
        ensure!(new || amidst, "{told}: it was said to be done");
        happened += u64::from(new);
    }
    eprintln!("{happened} of {rounds} changes happened");
    house.node.end()?;
    drop(house);
    disk.check()
}
