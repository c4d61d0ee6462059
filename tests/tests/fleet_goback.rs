//! Whether nodes can go back to a version now, asked before anybody is troubled.

use std::path::Path;

use anyhow::{Result, ensure};
use serde_json::Value;
use tests::fleet::Fleet;
use tests::fleet::house::{House, runs};
use tests::node::list;

/// The document of `fleet goback`, which ends with this exit code.
fn asked(fleet: &Fleet, code: i32, words: &[&str]) -> Result<Value> {
    let text = fleet.ends(code, &[&["--json", "goback"], words].concat())?;
    tests::node::last_document(&text)
}

fn of<'a>(document: &'a Value, node: &str) -> Result<&'a Value> {
    let all = list(&document["nodes"])?;
    let one = all.iter().find(|one| one["node"] == node);
    one.ok_or_else(|| anyhow::anyhow!("{node} is not in {document}"))
}

#[test]
fn each_node_is_told_of_with_yes_or_no_and_the_reason_and_a_yes_is_true() -> Result<()> {
    let house = House::shared()?;
    let mut fleet = house.fleet(&[("one", &[]), ("two", &[])])?;
    let needs = house
        .workshop
        .package("needs", "1")?
        .requires(&["g >= 2"])
        .text("needs", "new\n", "/usr/share/needs/")?
        .build()?;
    fleet.import(&[Path::new(&needs.file)])?;
    fleet.ok(&["assign", "node/two", "needs"])?;
    // Before the update, both run it; nobody has the newer one.
    let before = asked(&fleet, 0, &["g=1"])?;
    ensure!(before["run-it"] == 2, "{before}");
    fleet.ok(&["update", "--all", "--yes", "--wait"])?;
    ensure!(runs(&fleet, "two", "needs=1")?, "two");

    let text = fleet.ends(4, &["goback", "g=1"])?;
    for word in [
        "g=1 on 2 nodes: 1 can go back, 1 cannot",
        "two  no: needs 1 needs g >= 2",
        "one  yes: its store has everything",
    ] {
        ensure!(text.contains(word), "{word}: {text}");
    }
    let document = asked(&fleet, 4, &["g=1"])?;
    ensure!(of(&document, "one")?["answer"] == "yes", "{document}");
    ensure!(of(&document, "two")?["answer"] == "no", "{document}");
    // Only those that are meant are answered for; one alone can, and what was said is true.
    let one = asked(&fleet, 0, &["g=1", "--node", "one"])?;
    ensure!(list(&one["nodes"])?.len() == 1 && one["can"] == 1, "{one}");
    fleet.ok(&["update", "g=1", "--node", "one", "--yes", "--wait"])?;
    ensure!(runs(&fleet, "one", "g=1")?, "one went back");
    ensure!(asked(&fleet, 4, &["g=1"])?["run-it"] == 1, "one runs it");

    // What nobody has, what the master lacks, a node that is away, a name without a version.
    let none = asked(&fleet, 1, &["extra=1"])?;
    ensure!(none["have-none"] == 2, "{none}");
    let lacks = fleet.ends(4, &["goback", "g=0", "--node", "one"])?;
    ensure!(lacks.contains("the master has no g=0"), "{lacks}");
    fleet.stop_node("one")?;
    let away = fleet.ends(4, &["goback", "g=2", "--node", "one"])?;
    ensure!(away.contains("one  no: it is away"), "{away}");
    let no_version = fleet.ends(2, &["goback", "g"])?;
    ensure!(no_version.contains("goback g=VERSION"), "{no_version}");
    fleet.ends(1, &["goback", "g=1", "--node", "nowhere"])?;
    Ok(())
}
