//! A node of a fleet, as somebody at the node sees and changes it.

use anyhow::{Result, ensure};
use tests::fleet::house::{House, TWO, all_run, runs};
use tests::wait;

#[test]
fn a_node_of_a_fleet_is_changed_at_the_node_only_with_a_reason_that_the_fleet_shows() -> Result<()>
{
    let house = House::shared()?;
    let fleet = house.fleet(&TWO)?;
    let node = fleet.node("two")?;
    node.add(&[&house.file("g=2")?])?;
    let words = ["pkgtool", "activate", "--yes", "g=2"];
    let said = node.fails(6, &words)?;
    ensure!(said.contains("--override"), "{said}");
    ensure!(runs(&fleet, "two", "g=1")?, "two was changed");
    let alone = node.fails(2, &[&words[..], &["--override", "a test"]].concat())?;
    ensure!(alone.contains("--until"), "{alone}");
    let why = ["--override", "a broken disk", "--until", "1h"];
    node.ok(&[&words[..], &why].concat())?;
    ensure!(runs(&fleet, "two", "g=2")?, "two runs g=2");
    // The fleet shows it, and leaves the node alone.
    wait::until("the hold is shown", || {
        let status = fleet.json(&["status"])?["discrepancies"].to_string();
        let shown = fleet.ok(&["nodes", "show", "two"])?;
        Ok((status.contains("a broken disk") && shown.contains("held locally")).then_some(()))
    })?;
    let status = node.ok(&["pkgtool", "status"])?;
    for word in ["Fleet", "connected for", "held locally", "a broken disk"] {
        ensure!(status.contains(word), "{word}: {status}");
    }
    // While it is held it can be changed again without a word.
    node.ok(&["pkgtool", "rollback", "--yes"])?;
    ensure!(runs(&fleet, "two", "g=1")?, "two is back");
    Ok(())
}

#[test]
fn the_status_of_a_node_says_how_it_stands_to_its_fleet() -> Result<()> {
    let mut fleet = House::shared()?.fleet(&TWO)?;
    let status = fleet.node("one")?.json(&["status"])?;
    let part = &status["fleet"];
    ensure!(part["url"] == fleet.url(), "{status}");
    ensure!(
        part["node"] == "one" && part["connected"] == true,
        "{status}"
    );
    ensure!(part["connected-since"].is_string(), "{status}");
    ensure!(part["wanted"] == fleet.view("one")?["wanted"], "{status}");
    let text = fleet.node("one")?.ok(&["pkgtool", "status"])?;
    ensure!(text.contains("is wanted, and runs here"), "{text}");
    fleet.kill_master()?;
    wait::until("the node sees that its master is away", || {
        let text = fleet.node("one")?.ok(&["pkgtool", "status"])?;
        Ok(text.contains("not connected").then_some(()))
    })?;
    fleet.start_master()?;
    fleet.await_presence("one", "connected")?;
    all_run(&fleet, &["one", "two"], "g=1")
}
