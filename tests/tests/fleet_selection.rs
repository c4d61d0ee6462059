//! Which node gets which software: by what it is, by what is intended for it, and where that was
//! said.

use anyhow::{Result, ensure};
use tests::builder::Built;
use tests::fleet::Fleet;
use tests::fleet::house::{House, runs};

/// `router`, which needs `gateway-tools` where the node is a gateway; and those.
fn router(house: &House) -> Result<Vec<Built>> {
    let workshop = &house.workshop;
    let router = workshop
        .package("router", "1")?
        .requires(&["base"])
        .text("router.txt", "routes\n", "/usr/share/router/")?
        .lines("[[requires-when]]\nfeature = \"gateway\"\npackages = [\"gateway-tools\"]\n")
        .build()?;
    let tools = workshop
        .package("gateway-tools", "1")?
        .requires(&["base"])
        .text("tools.txt", "tools\n", "/usr/share/gateway/")?
        .build()?;
    Ok(vec![router, tools])
}

/// A fleet of two routers, of which `two` has a feature where these are its options.
fn routers(two: &[&str]) -> Result<Fleet> {
    let house = House::shared()?;
    let mut fleet = Fleet::start()?;
    house.import(&fleet)?;
    let more = router(&house)?;
    fleet.import(
        &more
            .iter()
            .map(|one| one.file.as_path())
            .collect::<Vec<_>>(),
    )?;
    let two = [&["--type", "router"], two].concat();
    fleet.add_nodes(&[("one", &["--type", "router"]), ("two", &two)])?;
    fleet.ok(&["assign", "fleet", "base"])?;
    fleet.ok(&["assign", "type/router", "router"])?;
    Ok(fleet)
}

#[test]
fn two_nodes_of_one_type_with_different_features_get_different_packages() -> Result<()> {
    let fleet = routers(&["--feature", "gateway"])?;
    fleet.ok(&["update", "--all", "--yes", "--wait"])?;
    ensure!(runs(&fleet, "one", "router=1")?, "one");
    ensure!(runs(&fleet, "two", "router=1")?, "two");
    ensure!(!runs(&fleet, "one", "gateway-tools=1")?, "one is none");
    ensure!(runs(&fleet, "two", "gateway-tools=1")?, "two is one");
    let status = fleet.json(&["status"])?;
    ensure!(status["as-wanted"] == 2, "{status}");
    let hashes = tests::node::list(&status["software"])?;
    ensure!(hashes.len() == 2, "two sets have two hashes: {status}");
    Ok(())
}

#[test]
fn a_role_that_the_master_assigns_brings_its_packages_and_takes_them_away_again() -> Result<()> {
    let fleet = routers(&[])?;
    fleet.ok(&["update", "--all", "--yes", "--wait"])?;
    ensure!(!runs(&fleet, "two", "gateway-tools=1")?, "nobody is one");
    fleet.ok(&["assign", "node/two", "--feature", "gateway"])?;
    let why = fleet.ok(&["nodes", "show", "two", "--why"])?;
    ensure!(why.contains("gateway") && why.contains("node/two"), "{why}");
    fleet.ok(&["update", "--all", "--yes", "--wait"])?;
    ensure!(runs(&fleet, "two", "gateway-tools=1")?, "two is one");
    ensure!(!runs(&fleet, "one", "gateway-tools=1")?, "one is none");
    fleet.ok(&["assign", "node/two", "--drop-feature", "gateway"])?;
    fleet.ok(&["update", "--all", "--yes", "--wait"])?;
    ensure!(!runs(&fleet, "two", "gateway-tools=1")?, "two was one");
    Ok(())
}

#[test]
fn a_type_that_an_operator_records_counts_and_the_difference_is_shown() -> Result<()> {
    let fleet = routers(&["--feature", "gateway"])?;
    fleet.ok(&["nodes", "label", "two", "--type", "switch", "rack=7"])?;
    fleet.ok(&["update", "--all", "--yes", "--wait"])?;
    ensure!(runs(&fleet, "one", "router=1")?, "one is a router");
    ensure!(!runs(&fleet, "two", "router=1")?, "two is a switch");
    let two = fleet.view("two")?;
    ensure!(two["facts"]["type"] == "switch", "{two}");
    let said = two["discrepancies"].to_string();
    ensure!(said.contains("router") && said.contains("switch"), "{said}");
    let listed = fleet.json(&["nodes", "--label", "rack=7"])?;
    ensure!(tests::node::list(&listed)?.len() == 1, "{listed}");
    Ok(())
}

#[test]
fn one_of_two_nodes_of_a_type_is_assigned_a_package_more() -> Result<()> {
    let nodes: [(&str, &[&str]); 2] = [
        ("one", &["--type", "router"]),
        ("two", &["--type", "router"]),
    ];
    let fleet = House::shared()?.fleet(&nodes)?;
    fleet.ok(&["assign", "node/two", "extra"])?;
    let why = fleet.ok(&["nodes", "show", "two", "--why"])?;
    ensure!(why.contains("extra") && why.contains("node/two"), "{why}");
    fleet.ok(&["update", "--all", "--yes", "--wait"])?;
    ensure!(runs(&fleet, "two", "extra=1")?, "two");
    ensure!(!runs(&fleet, "one", "extra=1")?, "one");
    Ok(())
}

#[test]
fn a_class_is_assigned_otherwise_than_the_fleet() -> Result<()> {
    let nodes: [(&str, &[&str]); 2] = [("one", &["--class", "edge"]), ("two", &["--class", "lab"])];
    let fleet = House::shared()?.fleet(&nodes)?;
    fleet.ok(&["assign", "class/lab", "g=1"])?;
    let why = fleet.ok(&["nodes", "show", "two", "--why"])?;
    let line = why.lines().find(|line| line.contains("g=1"));
    ensure!(line.is_some_and(|line| line.contains("class/lab")), "{why}");
    fleet.ok(&["update", "--all", "--yes", "--wait"])?;
    ensure!(runs(&fleet, "one", "g=2")?, "edge is as the fleet");
    ensure!(runs(&fleet, "two", "g=1")?, "lab is as its class");
    Ok(())
}
