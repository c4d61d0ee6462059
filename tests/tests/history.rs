//! What is known of a change afterwards, asked of a real node.

use anyhow::{Context, Result, ensure};
use tests::builder::Workshop;
use tests::node::{Node, list};

const DAEMON: &str = "#include <unistd.h>\nint value(void);\n\
                      int main(void) { for (;;) if (value()) pause(); }\n";

/// A node on which a process was restarted for a library, in change 2.
fn node() -> Result<Node> {
    let workshop = Workshop::new()?;
    let library = |version: &str| {
        let code = format!("int value(void) {{ return {version}; }}\n");
        workshop
            .package("libvalue", version)?
            .library("libvalue.so.1", &code, &[])?
            .build()
    };
    let (old, new) = (library("1")?, library("2")?);
    let uses = [old.part("libvalue.so.1")];
    let app = workshop
        .package("app", "1")?
        .requires(&["libvalue"])
        .program("appd", DAEMON, &uses)?
        .process("appd")
        .build()?;
    let base = workshop.base()?;
    let node = Node::start()?;
    node.add(&[&base.file, &old.file, &new.file, &app.file])?;
    node.activate(&["base", "app", "libvalue=1"])?;
    node.activate(&["libvalue=2"])?;
    Ok(node)
}

#[test]
fn a_change_is_found_by_what_it_did_and_told_with_its_times() -> Result<()> {
    let node = node()?;
    let found = |words: &[&str]| -> Result<Vec<u64>> {
        let all = node.json(&[&["history"], words].concat())?;
        Ok(list(&all)?
            .iter()
            .filter_map(|one| one["change"].as_u64())
            .collect())
    };
    ensure!(found(&[])? == [2, 1]);
    ensure!(found(&["--process", "appd", "-n", "1"])? == [2]);
    ensure!(found(&["--package", "libvalue"])? == [2, 1]);
    ensure!(found(&["--package", "app"])? == [1]);
    ensure!(found(&["--process", "other"])?.is_empty());
    ensure!(found(&["--outcome", "rolled-back"])?.is_empty());

    let record = node.json(&["history", "show", "2"])?;
    let phases = list(&record["report"]["phases"])?;
    for phase in ["stage", "switch", "persist"] {
        let known = phases.iter().any(|one| one["phase"] == phase);
        ensure!(known, "{phase} in {record}");
    }
    let steps = list(&record["steps"])?;
    ensure!(
        steps.iter().all(|step| step["done"].is_string()),
        "{record}"
    );
    let process = list(&record["report"]["processes"])?
        .iter()
        .find(|one| one["name"] == "appd")
        .context("no appd")?;
    let whats: Vec<&str> = list(&process["moments"])?
        .iter()
        .filter_map(|one| one["what"].as_str())
        .collect();
    for what in ["stopping", "stopped", "started", "ready"] {
        ensure!(whats.contains(&what), "{what} in {whats:?}");
    }
    ensure!(
        node.json(&["history", "2"])? == record,
        "a number is enough"
    );

    let text = node.ok(&["pkgtool", "history", "show", "2"])?;
    ensure!(text.contains("libvalue.so.1 changed"), "the plan: {text}");
    ensure!(text.contains("\nappd     restart"), "the process: {text}");
    let picture = node.ok(&["pkgtool", "history", "plot", "2"])?;
    ensure!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"));
    ensure!(
        picture.contains("<title>appd: runs changed for"),
        "{picture}"
    );
    let missing = node.fails(1, &["pkgtool", "history", "show", "9"])?;
    ensure!(missing.contains("there is no change 9"), "{missing}");
    Ok(())
}
