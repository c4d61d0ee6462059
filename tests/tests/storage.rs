//! A disk that is full, and one that breaks down in the middle of a change: a clear error, what runs
//! keeps running, and when the disk is well again so is the node.

use std::rc::Rc;

use anyhow::{Context, Result, ensure};
use tests::disk::{Disk, fill, formatted, own_mounts};
use tests::house::{Before, Dice, Goods, House, Plan, at_once, ended, setting};
use tests::node::Node;
use tests::wait;

const PLAN: Plan = Plan {
    versions: 2,
    told: false,
};

fn node_on(disk: &Disk) -> Result<Node> {
    let dir = disk.path().join("n");
    fs_err::create_dir_all(&dir)?;
    drop(fs_err::remove_file(dir.join("root/.sandbox/running")));
    Node::start_at(&dir, at_once(), &["--restart-daemons"])
}

/// How many of its processes run, told without a word to the node: nothing can be written there.
fn alive(house: &House, init: &str) -> Result<usize> {
    let space = |pid: &str| fs_err::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let own = space(init).context("the node's init has ended")?;
    let mut count = 0;
    for entry in fs_err::read_dir("/proc")? {
        let pid = entry?.file_name().to_string_lossy().into_owned();
        let comm = fs_err::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let ours = house.names.contains(&comm.trim_end());
        count += usize::from(ours && space(&pid).as_ref() == Some(&own));
    }
    Ok(count)
}

fn pids(house: &House) -> Result<Vec<u64>> {
    house
        .names
        .iter()
        .map(|name| house.node.pid(name))
        .collect()
}

#[test]
fn on_a_full_disk_an_add_and_a_change_say_so_and_touch_nothing() -> Result<()> {
    let goods = Goods::build(PLAN)?;
    let extra = goods.extra(1)?;
    own_mounts()?;
    let dir = tempfile::Builder::new().prefix("full-").tempdir()?;
    let disk = Disk::mount(dir.path(), formatted(96)?)?;
    let mut house = goods.move_in(node_on(&disk)?)?;
    let (ran, before) = (pids(&house)?, house.before(2)?);
    let ballast = fill(disk.path())?;
    let file = extra.to_string_lossy();
    let attempts: [&[&str]; 2] = [&["add", &file], &["activate", "--yes", "libanswer=2"]];
    for words in attempts {
        let output = house.node.run(&[&["pkgtool"], words].concat())?;
        let said = [&output.stdout[..], &output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let clear = said.contains("No space left") || said.contains("bytes are free");
        ensure!(
            !output.status.success() && clear,
            "{words:?} on a full disk: {}: {said}",
            output.status
        );
    }
    ensure!(pids(&house)? == ran, "somebody was restarted");
    drop(ballast);
    house.settle(&Before {
        either: true,
        ..before
    })?;
    house.node.add(&[&extra])?;
    let before = house.before(3 - house.active()?)?;
    ended(&mut house.begin(before.new)?)?;
    ensure!(house.settle(&before)?, "with room again, it is done");
    house.node.end()?;
    drop(house);
    disk.check()
}

/// The disk takes so many writes of a change and no more; then it is well again, after a reboot.
fn breaks_down(goods: &Rc<Goods>, image: Vec<u8>, after: usize) -> Result<(Vec<u8>, usize)> {
    let dir = tempfile::Builder::new().prefix("broken-").tempdir()?;
    let disk = Disk::mount(dir.path(), image)?;
    let mut house = Rc::clone(goods).live_in(node_on(&disk)?);
    let before = house.before(3 - house.active()?)?;
    let first = disk.events();
    let init = fs_err::read_to_string(house.node.root().join(".sandbox/running"))?;
    disk.break_down_after(after);
    ended(&mut house.begin(before.new)?)?;
    let events = disk.events() - first;
    // Whatever became of it: all of them run, or are just being started.
    wait::until("all of them run", || {
        Ok((alive(&house, init.trim())? == 3).then_some(()))
    })?;
    house.node.end()?;
    drop(house);
    let image = disk.repair()?;
    let dir = tempfile::Builder::new().prefix("repaired-").tempdir()?;
    let disk = Disk::mount(dir.path(), image)?;
    let mut house = Rc::clone(goods).live_in(node_on(&disk)?);
    house.settle(&Before {
        pids: Vec::new(),
        ..before
    })?;
    let report = {
        let next = format!("libanswer={}", 3 - house.active()?);
        house.node.activate(&[&next])?
    };
    ensure!(report["outcome"] == "done", "{report}");
    house.node.end()?;
    drop(house);
    Ok((disk.unmount()?, events))
}

#[expect(clippy::print_stderr, reason = "the seed repeats a failure")]
#[test]
fn a_disk_that_breaks_down_in_a_change_leaves_one_whole_set() -> Result<()> {
    let rounds = setting("CHANGEOVER_POWER_ROUNDS").unwrap_or(3);
    let mut dice = Dice::new()?;
    let goods = Goods::build(PLAN)?;
    own_mounts()?;
    let dir = tempfile::Builder::new().prefix("whole-").tempdir()?;
    let disk = Disk::mount(dir.path(), formatted(96)?)?;
    let mut house = Rc::clone(&goods).move_in(node_on(&disk)?)?;
    house.node.end()?;
    drop(house);
    // One in which it holds tells how much is written.
    let (mut image, events) = breaks_down(&goods, disk.unmount()?, usize::MAX / 2)?;
    for round in 0..rounds {
        let after = dice.below(events);
        eprintln!("{round}: it breaks down after {after} of {events} writes");
        (image, _) = breaks_down(&goods, image, after).with_context(|| format!("{after}"))?;
    }
    Ok(())
}
