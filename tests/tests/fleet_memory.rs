//! Software that is loaded into memory at each boot, and of which nothing is kept on the node.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use tests::fleet::Fleet;
use tests::fleet::house::{House, TWO, all_run, phase, runs};
use tests::wait;

/// Every file on the node's disk below the state directory, and where memory is to be mounted.
fn on_disk(fleet: &Fleet, node: &str) -> Result<Vec<PathBuf>> {
    let root = fleet.node(node)?.root();
    let mut found = Vec::new();
    // What is in a tmpfs of the node's is not seen from here.
    let mut left = vec![root.join("var/lib/changeover")];
    left.extend(Some(root.join("run/changeover/memory")).filter(|one| one.exists()));
    while let Some(directory) = left.pop() {
        for entry in fs_err::read_dir(&directory)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                left.push(entry.path());
            } else {
                found.push(entry.path());
            }
        }
    }
    Ok(found)
}

/// What of software is on the disk: objects, manifests, trees, and what is on its way.
fn software_on_disk(fleet: &Fleet, node: &str) -> Result<Vec<PathBuf>> {
    let mut all = on_disk(fleet, node)?;
    let is_one = |path: &Path| {
        ["store/", "generations/", "spool/", "memory/"]
            .iter()
            .any(|part| path.to_string_lossy().contains(part))
    };
    ensure!(
        all.iter().any(|path| path.ends_with("state.db")),
        "the wrong directory was looked at: {all:?}"
    );
    all.retain(|path| is_one(path));
    Ok(all)
}

/// A fleet whose class keeps nothing, running `app` on `g=1` with `g=2` assigned.
fn fleet(nodes: &[(&str, &[&str])]) -> Result<Fleet> {
    let house = House::shared()?;
    let mut fleet = Fleet::start()?;
    house.import(&fleet)?;
    fleet.add_nodes(nodes)?;
    fleet.ok(&["assign", "class/edge", "--store", "memory"])?;
    fleet.ok(&["assign", "fleet", "app", "g=1", "base"])?;
    fleet.ok(&["update", "--all", "--yes", "--wait"])?;
    for (name, _) in nodes {
        ensure!(runs(&fleet, name, "g=1")?, "{}", fleet.view(name)?);
    }
    fleet.ok(&["assign", "fleet", "g=2"])?;
    Ok(fleet)
}

const ONE: [(&str, &[&str]); 1] = [("one", &["--class", "edge"])];

#[test]
fn software_that_is_not_to_be_stored_runs_and_no_object_of_it_is_on_the_disk() -> Result<()> {
    let fleet = fleet(&ONE)?;
    fleet.node("one")?.pid("app")?;
    ensure!(
        software_on_disk(&fleet, "one")?.is_empty(),
        "{:?}",
        software_on_disk(&fleet, "one")?
    );
    // It is no trial, and the fleet sees nothing that it should not.
    let view = fleet.view("one")?;
    ensure!(view["installed"]["trial"] == false, "{view}");
    ensure!(view["installed"]["software"] == view["wanted"], "{view}");
    let status = fleet.json(&["status"])?;
    ensure!(
        status["as-wanted"] == 1 && status["trials"] == serde_json::json!([]),
        "{status}"
    );
    ensure!(status["discrepancies"] == serde_json::json!([]), "{status}");
    // An update goes the same way, back too.
    fleet.ok(&["update", "--all", "--yes", "--wait"])?;
    all_run(&fleet, &["one"], "g=2")?;
    fleet.ok(&["rollback", "2", "--yes", "--wait"])?;
    all_run(&fleet, &["one"], "g=1")?;
    ensure!(
        software_on_disk(&fleet, "one")?.is_empty(),
        "{:?}",
        software_on_disk(&fleet, "one")?
    );
    Ok(())
}

#[test]
fn after_a_reboot_it_is_fetched_anew_and_runs() -> Result<()> {
    let mut fleet = fleet(&ONE)?;
    fleet.stop_node("one")?;
    // Without its master the node has nothing to run, and says so.
    fleet.kill_master()?;
    fleet.boot_node("one")?;
    let status = fleet.node("one")?.json(&["status"])?;
    ensure!(status["active"] == serde_json::json!([]), "{status}");
    fleet.start_master()?;
    wait::until("one runs it again", || {
        Ok(runs(&fleet, "one", "g=1")?.then_some(()))
    })?;
    fleet.node("one")?.pid("app")?;
    ensure!(
        software_on_disk(&fleet, "one")?.is_empty(),
        "{:?}",
        software_on_disk(&fleet, "one")?
    );
    wait::until("the master knows", || {
        let status = fleet.json(&["status"])?;
        Ok((status["as-wanted"] == 1).then_some(()))
    })
}

#[test]
fn a_change_may_be_one_that_is_not_stored_over_software_that_is() -> Result<()> {
    let mut fleet = House::shared()?.fleet(&TWO)?;
    let words = ["update", "--all", "--store", "memory", "--yes", "--wait"];
    fleet.ok(&words)?;
    all_run(&fleet, &["one", "two"], "g=2")?;
    let kept = fleet.node("one")?.json(&["status"])?["committed"].clone();
    let has = |package: &str| -> Result<bool> {
        let all = software_on_disk(&fleet, "one")?;
        let found = all
            .iter()
            .any(|path| path.to_string_lossy().contains(package));
        Ok(found)
    };
    ensure!(has("packages/g_1_")?, "g=1 was stored");
    ensure!(!has("packages/g_2_")?, "g=2 is on the disk");
    // After a reboot what is stored runs first, and then what is wanted comes again.
    fleet.stop_node("one")?;
    fleet.wake_node("one")?;
    wait::until("one runs it again", || {
        Ok(runs(&fleet, "one", "g=2")?.then_some(()))
    })?;
    let status = fleet.node("one")?.json(&["status"])?;
    ensure!(status["committed"] == kept, "{status}");
    // Without its master it runs what is stored.
    fleet.stop_node("two")?;
    fleet.kill_master()?;
    fleet.boot_node("two")?;
    let status = fleet.node("two")?.json(&["status"])?;
    ensure!(status["active"].to_string().contains("g=1"), "{status}");
    Ok(())
}

#[test]
fn what_was_in_memory_comes_onto_the_disk_when_it_is_to_be_stored() -> Result<()> {
    let mut fleet = fleet(&ONE)?;
    fleet.ok(&["assign", "class/edge", "--store", "keep"])?;
    fleet.ok(&["update", "--all", "--yes", "--wait"])?;
    all_run(&fleet, &["one"], "g=2")?;
    fleet.stop_node("one")?;
    fleet.kill_master()?;
    fleet.boot_node("one")?;
    let status = fleet.node("one")?.json(&["status"])?;
    ensure!(status["active"].to_string().contains("g=2"), "{status}");
    fleet.node("one")?.pid("app")?;
    Ok(())
}

#[test]
fn what_goes_back_by_itself_goes_back_to_what_was_in_memory() -> Result<()> {
    let fleet = fleet(&ONE)?;
    let bad = fleet.node("one")?.root().join("var/lib/bad");
    fs_err::write(bad, "not so\n")?;
    let check = ["--trial", "--check", "/usr/bin/may /var/lib/bad"];
    let id = fleet.begin(&[&["--all"], &check[..]].concat())?;
    wait::until("one went back", || {
        let phase = phase(&fleet.update(id)?, "one")?;
        Ok(["went-back", "failed"]
            .contains(&phase.as_str())
            .then_some(()))
    })?;
    wait::until("one runs what it ran", || {
        Ok(runs(&fleet, "one", "g=1")?.then_some(()))
    })?;
    fleet.node("one")?.pid("app")?;
    let on_disk = software_on_disk(&fleet, "one")?;
    ensure!(on_disk.is_empty(), "{on_disk:?}");
    wait::until("nothing is as it should not be", || {
        let status = fleet.json(&["status"])?;
        Ok((status["as-wanted"] == 1).then_some(()))
    })
}

#[test]
fn installd_finds_what_is_in_memory_again_and_old_sets_do_not_stay_there() -> Result<()> {
    let fleet = fleet(&ONE)?;
    for version in ["g=2", "g=1", "g=2"] {
        fleet.ok(&["assign", "fleet", version])?;
        fleet.ok(&["update", "--all", "--yes", "--wait"])?;
        all_run(&fleet, &["one"], version)?;
    }
    let node = fleet.node("one")?;
    let trees = node.root().join("run/changeover/memory/trials");
    let trees = node.ok(&["ls".as_ref(), trees.as_os_str()])?;
    let count = trees.split_whitespace().count();
    ensure!((1..=2).contains(&count), "{trees}");
    let pid = node.pid("app")?;
    let installd = node.daemon("installd")?.context("no installd")?;
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(installd),
        nix::sys::signal::Signal::SIGKILL,
    )?;
    wait::until("another installd answers", || {
        let other = node.daemon("installd")?.filter(|pid| *pid != installd);
        Ok(other.and(runs(&fleet, "one", "g=2").ok()))
    })?;
    fleet.await_presence("one", "connected")?;
    all_run(&fleet, &["one"], "g=2")?;
    ensure!(node.pid("app")? == pid, "app runs on");
    fleet.ok(&["assign", "fleet", "g=1"])?;
    fleet.ok(&["update", "--all", "--yes", "--wait"])?;
    all_run(&fleet, &["one"], "g=1")
}
