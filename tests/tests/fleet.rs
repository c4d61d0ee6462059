//! A fleet end to end: a real master, real nodes, real processes that vote.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tests::builder::{Built, Workshop};
use tests::fleet::Fleet;
use tests::wait;

/// Prints the file's text and refuses, or agrees where there is no such file.
const MAY: &str = r#"#include <stdio.h>
int main(int c, char **v) {
    char text[200];
    FILE *file = fopen(v[c - 1], "r");
    if (!file || !fgets(text, sizeof text, file)) return 0;
    puts(text);
    return 1;
}
"#;

/// A process that links its library; what it votes is in a file of the test's.
const APP: &str = r"#include <unistd.h>
int g(void);
int main(void) { int value = g(); if (value > 99) return 1; for (;;) pause(); }
";

/// Packages: `app` links `g` of `g=1` or `g=2`; `extra` goes to nodes with a feature.
struct House {
    dir: TempDir,
    packages: Vec<Built>,
    _workshop: Workshop,
}

impl House {
    fn build() -> Result<Self> {
        let workshop = Workshop::new()?;
        let dir = tempfile::Builder::new().prefix("fleet-votes-").tempdir()?;
        let g = library(&workshop, "1")?;
        // Each node is a host name of its own to nobody: it looks for its own directory's file.
        let app = workshop
            .package("app", "1")?
            .requires(&["g", "base"])
            .program("app", APP, &[g.part("libg.so.1")])?
            .program("may", MAY, &[])?
            .lines("[[process]]\nname = \"app\"\nexec = [\"/usr/bin/app\"]\n")
            .lines("evaluate = [\"/usr/bin/may\", \"/var/lib/veto\"]\n")
            .build()?;
        let extra = workshop
            .package("extra", "1")?
            .requires(&["base"])
            .program("extra", "int main(void) { return 0; }\n", &[])?
            .build()?;
        let packages = vec![workshop.base()?, g, library(&workshop, "2")?, app, extra];
        Ok(Self {
            dir,
            packages,
            _workshop: workshop,
        })
    }

    /// A fleet of these nodes that runs `app` on `g=1`.
    fn fleet(&self, nodes: &[(&str, &[&str])]) -> Result<Fleet> {
        let mut fleet = Fleet::start()?;
        let files: Vec<&Path> = (self.packages.iter())
            .map(|built| built.file.as_path())
            .collect();
        fleet.import(&files)?;
        for (name, options) in nodes {
            fleet.add_node(name, options)?;
        }
        fleet.ok(&["assign", "fleet", "app", "g=1", "base"])?;
        fleet.ok(&["update", "--all", "--yes", "--wait"])?;
        for (name, _) in nodes {
            ensure!(runs(&fleet, name, "g=1")?, "{}", fleet.view(name)?);
        }
        fleet.ok(&["assign", "fleet", "g=2"])?;
        ensure!(self.dir.path().exists(), "the house stands");
        Ok(fleet)
    }
}

fn library(workshop: &Workshop, version: &str) -> Result<Built> {
    let code = format!("int g(void) {{ return {version}; }}\n");
    workshop
        .package("g", version)?
        .requires(&["base"])
        .library("libg.so.1", &code, &[])?
        .build()
}

/// Whether a package is active on the node itself, whatever the master says.
fn runs(fleet: &Fleet, node: &str, package: &str) -> Result<bool> {
    let status = fleet.node(node)?.json(&["status"])?;
    let active = tests::node::list(&status["active"])?;
    Ok(active.iter().any(|one| one == package))
}

fn veto_file(fleet: &Fleet, node: &str) -> Result<PathBuf> {
    Ok(fleet.node(node)?.root().join("var/lib/veto"))
}

fn object(fleet: &Fleet, node: &str, reason: &str) -> Result<()> {
    Ok(fs_err::write(veto_file(fleet, node)?, reason)?)
}

fn phase(view: &Value, node: &str) -> Result<String> {
    Ok(Fleet::part(view, node)?["phase"]
        .as_str()
        .unwrap_or_default()
        .to_owned())
}

const TWO: [(&str, &[&str]); 2] = [("one", &["--class", "edge"]), ("two", &["--class", "edge"])];

#[test]
fn all_accept_and_all_change_over() -> Result<()> {
    let fleet = House::build()?.fleet(&TWO)?;
    let said = fleet.ok(&["update", "--all", "--yes", "--wait"])?;
    ensure!(said.contains("done"), "{said}");
    for node in ["one", "two"] {
        ensure!(runs(&fleet, node, "g=2")?, "{node}");
    }
    let status = fleet.json(&["status"])?;
    ensure!(status["as-wanted"] == 2, "{status}");
    ensure!(
        status["software"]
            .as_array()
            .is_some_and(|all| all.len() == 1),
        "{status}"
    );
    Ok(())
}

#[test]
fn one_veto_and_nothing_is_touched_until_somebody_decides() -> Result<()> {
    let fleet = House::build()?.fleet(&TWO)?;
    object(&fleet, "two", "call in progress")?;
    let pid = fleet.node("one")?.pid("app")?;
    let said = fleet.ends(3, &["update", "--all", "--yes", "--wait"])?;
    ensure!(said.contains("call in progress"), "{said}");
    for node in ["one", "two"] {
        ensure!(runs(&fleet, node, "g=1")?, "{node} was touched");
    }
    ensure!(fleet.node("one")?.pid("app")? == pid, "app was restarted");
    let held = fleet.update(2)?;
    ensure!(held["phase"] == "held", "{held}");
    ensure!(held["tally"]["reasons"][0]["nodes"] == 1, "{held}");
    fleet.ends(3, &["decide", "2", "--abort", "--wait"])?;
    ensure!(runs(&fleet, "one", "g=1")?, "one");
    Ok(())
}

#[test]
fn of_a_held_update_only_those_that_accept_may_be_taken() -> Result<()> {
    let fleet = House::build()?.fleet(&TWO)?;
    object(&fleet, "two", "call in progress")?;
    let id = fleet.begin(&["--all"])?;
    fleet.await_phase(id, "held")?;
    let id_text = id.to_string();
    let said = fleet.run(&["decide", &id_text, "--accepting", "--wait"])?;
    ensure!(
        matches!(said.status.code(), Some(0 | 8)),
        "{:?}",
        said.status
    );
    ensure!(runs(&fleet, "one", "g=2")?, "one accepted");
    ensure!(runs(&fleet, "two", "g=1")?, "two objected");
    Ok(())
}

#[test]
fn a_veto_that_is_overridden_is_recorded_with_who_did_it() -> Result<()> {
    let fleet = House::build()?.fleet(&TWO)?;
    object(&fleet, "two", "call in progress")?;
    let id = fleet.begin(&["--all"])?;
    fleet.await_phase(id, "held")?;
    let number = id.to_string();
    let words = [
        "decide",
        &number,
        "--force",
        "two",
        "--reason",
        "a test call",
    ];
    fleet.ok(&[&words[..], &["--wait"]].concat())?;
    for node in ["one", "two"] {
        ensure!(runs(&fleet, node, "g=2")?, "{node}");
    }
    let done = fleet.update(id)?;
    ensure!(Fleet::part(&done, "two")?["forced"] == true, "{done}");
    let audit = fleet.ok(&["audit"])?;
    ensure!(audit.contains("a test call"), "{audit}");
    Ok(())
}

#[test]
fn a_node_that_is_away_holds_the_update_or_is_left_out() -> Result<()> {
    let mut fleet = House::build()?.fleet(&TWO)?;
    fleet.stop_node("two")?;
    let id = fleet.begin(&["--all", "--vote-timeout", "2s"])?;
    let held = fleet.await_phase(id, "held")?;
    ensure!(phase(&held, "two")? == "absent", "{held}");
    ensure!(runs(&fleet, "one", "g=1")?, "one was touched");
    fleet.run(&["decide", &id.to_string(), "--abort"])?;
    fleet.await_phase(id, "aborted")?;
    let words = ["update", "--all", "--absent", "skip", "--yes", "--wait"];
    let skipped = fleet.run(&words)?;
    ensure!(
        matches!(skipped.status.code(), Some(0 | 8)),
        "{:?}",
        skipped.status
    );
    ensure!(runs(&fleet, "one", "g=2")?, "one");
    Ok(())
}

#[test]
fn one_of_two_nodes_of_a_type_is_assigned_a_package_more() -> Result<()> {
    let nodes: [(&str, &[&str]); 2] = [
        ("one", &["--type", "router"]),
        ("two", &["--type", "router"]),
    ];
    let fleet = House::build()?.fleet(&nodes)?;
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
    let fleet = House::build()?.fleet(&nodes)?;
    fleet.ok(&["assign", "class/lab", "g=1"])?;
    fleet.ok(&["update", "--all", "--yes", "--wait"])?;
    ensure!(runs(&fleet, "one", "g=2")?, "edge is as the fleet");
    ensure!(runs(&fleet, "two", "g=1")?, "lab is as its class");
    Ok(())
}

#[test]
fn an_update_is_taken_back_by_another() -> Result<()> {
    let fleet = House::build()?.fleet(&TWO)?;
    let id = fleet.begin(&["--all"])?;
    fleet.await_phase(id, "done")?;
    fleet.ok(&["rollback", &id.to_string(), "--yes", "--wait"])?;
    for node in ["one", "two"] {
        ensure!(runs(&fleet, node, "g=1")?, "{node}");
    }
    Ok(())
}

#[test]
fn a_master_that_is_killed_in_the_middle_goes_on_where_it_was() -> Result<()> {
    let mut fleet = House::build()?.fleet(&TWO)?;
    object(&fleet, "two", "call in progress")?;
    let id = fleet.begin(&["--all"])?;
    fleet.await_phase(id, "held")?;
    fleet.kill_master()?;
    fleet.start_master()?;
    for node in ["one", "two"] {
        fleet.await_presence(node, "connected")?;
        ensure!(runs(&fleet, node, "g=1")?, "{node} was touched");
    }
    let held = fleet.update(id)?;
    ensure!(held["phase"] == "held", "{held}");
    fleet.run(&["decide", &id.to_string(), "--force-all"])?;
    fleet.kill_master()?;
    fleet.start_master()?;
    fleet.await_phase(id, "done")?;
    for node in ["one", "two"] {
        wait::until("both run it", || {
            Ok(runs(&fleet, node, "g=2")?.then_some(()))
        })?;
    }
    Ok(())
}
