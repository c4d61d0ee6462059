//! Who is in the fleet: nodes that come, are replaced and retired.

use anyhow::{Result, ensure};
use tests::fleet::Fleet;
use tests::fleet::house::{House, TWO, all_run, runs};
use tests::wait;

/// Until the fleet's status and the node's own view both name this of the node.
fn is_shown(fleet: &Fleet, node: &str, words: &[&str]) -> Result<()> {
    wait::until(&format!("{words:?} is shown of {node}"), || {
        let status = fleet.json(&["status"])?["discrepancies"].to_string();
        let shown = fleet.ok(&["nodes", "show", node])?;
        let both = words.iter().all(|word| status.contains(word));
        // Lines of a terminal are wrapped.
        let shown = shown.split_whitespace().collect::<Vec<_>>().join(" ");
        Ok((both && status.contains(node) && shown.contains("wanted state")).then_some(()))
    })
}

#[test]
fn an_old_wanted_state_that_comes_again_is_refused_and_shown() -> Result<()> {
    let mut fleet = House::shared()?.fleet(&TWO)?;
    let store = fleet.state().join("state.db");
    let files = ["", "-wal", "-shm"].map(|end| format!("{}{end}", store.display()));
    fleet.kill_master()?;
    let old = files.iter().map(|file| fs_err::read(file).ok());
    let old: Vec<Option<Vec<u8>>> = old.collect();
    fleet.start_master()?;
    fleet.ok(&["update", "--all", "--yes", "--wait"])?;
    all_run(&fleet, &["one", "two"], "g=2")?;
    // The store as it was, without the new epoch that masterd restore would give it: what the
    // master has signed for g=1 goes out again.
    fleet.kill_master()?;
    for (file, bytes) in files.iter().zip(&old) {
        match bytes {
            Some(bytes) => fs_err::write(file, bytes)?,
            None if fs_err::exists(file)? => fs_err::remove_file(file)?,
            None => {}
        }
    }
    fleet.start_master()?;
    is_shown(&fleet, "two", &["not newer than"])?;
    all_run(&fleet, &["one", "two"], "g=2")
}

#[test]
fn a_wanted_state_that_another_key_has_signed_is_refused_and_shown() -> Result<()> {
    let house = House::shared()?;
    let mut fleet = Fleet::start()?;
    house.import(&fleet)?;
    fleet.add_node("one", &["--class", "edge"])?;
    fleet.ok(&["assign", "fleet", "app", "g=1", "base"])?;
    // Whoever has the master's place and its certificate, and not the key that signs.
    let stranger = Fleet::start()?;
    let key = |fleet: &Fleet| fleet.state().join("trust/master.sec");
    fleet.kill_master()?;
    fs_err::copy(key(&stranger), key(&fleet))?;
    fleet.start_master()?;
    fleet.await_presence("one", "connected")?;
    fleet.begin(&["--all"])?;
    is_shown(&fleet, "one", &["sign"])?;
    ensure!(!runs(&fleet, "one", "g=1")?, "it took what it cannot trust");
    Ok(())
}

#[test]
fn a_retired_node_is_no_part_of_the_fleet_and_runs_on() -> Result<()> {
    let fleet = House::shared()?.fleet(&TWO)?;
    let pid = fleet.node("two")?.pid("app")?;
    fleet.ok(&["nodes", "retire", "two"])?;
    fleet.await_presence("two", "retired")?;
    fleet.ok(&["update", "--all", "--yes", "--wait"])?;
    ensure!(runs(&fleet, "one", "g=2")?, "one");
    ensure!(runs(&fleet, "two", "g=1")?, "two is in no fleet");
    ensure!(fleet.node("two")?.pid("app")? == pid, "two runs on");
    let status = fleet.json(&["status"])?;
    ensure!(status["nodes"] == 1 && status["as-wanted"] == 1, "{status}");
    Ok(())
}

#[test]
fn a_replaced_node_gets_what_its_name_is_assigned_and_the_old_one_is_out() -> Result<()> {
    let mut fleet = House::shared()?.fleet(&TWO)?;
    fleet.ok(&["update", "--all", "--yes", "--wait"])?;
    fleet.ok(&["nodes", "replace", "two"])?;
    let old = fleet.take_node("two")?;
    fleet.add_node("two", &["--class", "edge"])?;
    wait::until("the new machine runs it", || {
        // A fresh node is brought to what was decided for its name, or an update does it.
        fleet.run(&["update", "--all", "--yes", "--wait"])?;
        Ok(runs(&fleet, "two", "g=2")?.then_some(()))
    })?;
    let membership = old.json(&["status"])?;
    ensure!(
        membership["active"].to_string().contains("g=2"),
        "{membership}"
    );
    let status = fleet.json(&["status"])?;
    ensure!(status["nodes"] == 2 && status["connected"] == 2, "{status}");
    Ok(())
}

#[test]
fn a_node_that_waits_is_let_in_by_an_operator() -> Result<()> {
    let mut fleet = Fleet::start()?;
    fleet.start_node("shy", &[])?;
    let profile = fs_err::read_to_string(fleet.dir().join("operator.toml"))?;
    let from = profile.find("-----BEGIN").unwrap_or_default();
    let to = profile
        .rfind("-----END CERTIFICATE-----")
        .unwrap_or_default();
    let ca = fleet.node("shy")?.root().join("root/ca.pem");
    fs_err::create_dir_all(fleet.node("shy")?.root().join("root"))?;
    let pem = profile.get(from..to).unwrap_or_default();
    fs_err::write(&ca, format!("{pem}-----END CERTIFICATE-----\n"))?;
    let url = fleet.url();
    let ca = ca.to_string_lossy().into_owned();
    let join = [
        "pkgtool", "--json", "join", &url, "--ca", &ca, "--name", "shy",
    ];
    let said = tests::node::last_document(&fleet.node("shy")?.ok(&join)?)?;
    let fingerprint = said["fingerprint"].as_str().unwrap_or_default().to_owned();
    ensure!(!fingerprint.is_empty(), "{said}");
    fleet.ok(&["nodes", "accept", "shy"])?;
    fleet.await_presence("shy", "connected")
}
