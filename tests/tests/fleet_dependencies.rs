//! What packages ask of other nodes: refused before an update where it would break, held before a
//! wave, shown where it stands.

use std::path::Path;

use anyhow::{Result, ensure};
use tests::builder::Built;
use tests::fleet::Fleet;
use tests::fleet::house::{House, all_run};
use tests::node::list;

/// `srv=1`, `srv=2`; `client=1` and `client=2`, which need them on all nodes of class `server`.
fn packages(house: &House) -> Result<Vec<Built>> {
    let workshop = &house.workshop;
    let mut built = Vec::new();
    for version in ["1", "2"] {
        let server = workshop.package("srv", version)?.requires(&["base"]).text(
            "srv.txt",
            version,
            "/usr/share/srv/",
        )?;
        built.push(server.build()?);
        let remote = format!(
            "[[requires-remote]]\nclass = \"server\"\npackages = [\"srv = {version}\"]\n\
             quantity = \"all\"\n"
        );
        let client = workshop
            .package("client", version)?
            .requires(&["base"])
            .text("client.txt", version, "/usr/share/client/")?
            .lines(&remote);
        built.push(client.build()?);
    }
    Ok(built)
}

/// `desk` runs `client=1`, and these servers `srv=1`.
fn offices(servers: &[&str]) -> Result<Fleet> {
    let house = House::shared()?;
    let mut fleet = Fleet::start()?;
    house.import(&fleet)?;
    let built = packages(&house)?;
    let files: Vec<&Path> = built.iter().map(|one| one.file.as_path()).collect();
    fleet.import(&files)?;
    fleet.add_node("desk", &["--class", "desk"])?;
    for server in servers {
        fleet.add_node(server, &["--class", "server"])?;
    }
    fleet.ok(&["assign", "class/server", "srv=1", "base"])?;
    fleet.ok(&["assign", "class/desk", "client=1", "base"])?;
    fleet.ok(&["update", "--all", "--yes", "--wait"])?;
    Ok(fleet)
}

#[test]
fn an_update_that_breaks_what_another_node_needs_is_refused_and_names_both() -> Result<()> {
    let fleet = offices(&["rack"])?;
    fleet.ok(&["assign", "class/server", "srv=2"])?;
    for words in [
        &["plan", "--all"][..],
        &["update", "--all", "--yes", "--wait"],
    ] {
        let said = fleet.ends(4, words)?;
        ensure!(said.contains("desk") && said.contains("rack"), "{said}");
        ensure!(said.contains("client 1") && said.contains("srv"), "{said}");
    }
    all_run(&fleet, &["rack"], "srv=1")?;
    ensure!(fleet.json(&["status"])?["rollouts"] == serde_json::json!([]));
    Ok(())
}

#[test]
fn both_ends_change_in_one_update_together_where_no_order_fits() -> Result<()> {
    let fleet = offices(&["rack"])?;
    fleet.ok(&["assign", "class/server", "srv=2"])?;
    fleet.ok(&["assign", "class/desk", "client=2"])?;
    // Each needs the other's new software: no order fits, and the master says what does.
    let said = fleet.ends(4, &["update", "--all", "--yes", "--wait"])?;
    for word in ["desk", "rack", "--together"] {
        ensure!(said.contains(word), "{word}: {said}");
    }
    let plan = fleet.json(&["plan", "--all", "--together"])?;
    ensure!(plan["discrepancies"].is_null(), "{plan}");
    fleet.ok(&["update", "--all", "--together", "--yes", "--wait"])?;
    all_run(&fleet, &["rack"], "srv=2")?;
    all_run(&fleet, &["desk"], "client=2")
}

#[test]
fn a_dependency_that_an_absent_node_leaves_unmet_is_shown_with_both_ends() -> Result<()> {
    let mut fleet = offices(&["rack", "far"])?;
    fleet.stop_node("far")?;
    fleet.ok(&["assign", "class/server", "srv=2"])?;
    fleet.ok(&["assign", "class/desk", "client=2"])?;
    let id = fleet.begin(&["--all", "--together", "--absent", "skip"])?;
    let view = tests::wait::until("the update comes to rest", || {
        let view = fleet.update(id)?;
        let phase = view["phase"].as_str().unwrap_or_default().to_owned();
        Ok(["held", "done", "partial", "stopped"]
            .contains(&phase.as_str())
            .then_some(view))
    })?;
    let shown = fleet.ok(&["show", &id.to_string()])?;
    let status = fleet.ok(&["status"])?;
    let said = format!("{shown}{status}");
    ensure!(
        said.contains("client") && said.contains("far") && said.contains("desk"),
        "{said}"
    );
    ensure!(!list(&view["nodes"])?.is_empty(), "{view}");
    Ok(())
}
