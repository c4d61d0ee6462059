//! A library changes under running processes: who is told, who restarts, and the way back.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tests::builder::{Built, Workshop};
use tests::node::{Node, list};

/// The call stands before the endless loop: else the compiler drops it, and the linker the library.
const WAITS: &str = "if (value > 99) return 1; for (;;) pause(); }\n";

/// A library, one that uses it, and three programs: one links the first, one the second, one none.
struct House {
    workshop: Workshop,
    packages: Vec<Built>,
}

impl House {
    fn build() -> Result<Self> {
        let workshop = Workshop::new()?;
        let base = workshop.base()?;
        let answer = library(&workshop, "1", 41)?;
        let uses_answer = [answer.part("libanswer.so.1")];
        let middle = workshop
            .package("libmiddle", "1")?
            .requires(&["libanswer"])
            .library(
                "libmiddle.so.1",
                "int answer(void); int middle(void) { return answer() + 1; }\n",
                &uses_answer,
            )?
            .build()?;
        let programs = workshop
            .package("programs", "1")?
            .requires(&["libmiddle", "libanswer", "base"])
            .program(
                "direct",
                &waits("int answer(void);", "answer()"),
                &uses_answer,
            )?
            .program(
                "transitive",
                &waits("int middle(void);", "middle()"),
                &[middle.part("libmiddle.so.1")],
            )?
            .program("apart", &waits("", "0"), &[])?
            .program("five", "int main(void) { return 5; }\n", &[])?
            .process("direct")
            .process("transitive")
            .process("apart")
            .build()?;
        Ok(Self {
            workshop,
            packages: vec![base, answer, middle, programs],
        })
    }

    fn node(&self) -> Result<Node> {
        let node = Node::start()?;
        let files: Vec<_> = self
            .packages
            .iter()
            .map(|built| built.file.as_path())
            .collect();
        node.add(&files)?;
        let report = node.activate(&["programs", "libanswer=1"])?;
        assert_eq!(report["outcome"], "done", "{report}");
        Ok(node)
    }
}

fn waits(declaration: &str, value: &str) -> String {
    format!("#include <unistd.h>\n{declaration}\nint main(void) {{ int value = {value}; {WAITS}")
}

fn library(workshop: &Workshop, version: &str, value: i32) -> Result<Built> {
    let code = format!("int answer(void) {{ return {value}; }}\n");
    workshop
        .package("libanswer", version)?
        .requires(&["base"])
        .library("libanswer.so.1", &code, &[])?
        .build()
}

/// The processes with this verdict in a plan or report, sorted.
fn with_verdict(document: &Value, verdict: &str) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for one in list(&document["processes"])? {
        if one["verdict"] == verdict {
            names.push(one["name"].as_str().context("a name")?.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

const NOBODY: [&str; 0] = [];

#[test]
fn a_rebuilt_library_restarts_nobody() -> Result<()> {
    let house = House::build()?;
    let node = house.node()?;
    let pids = ["direct", "transitive", "apart"].map(|name| node.pid(name));
    // The same source, compiled in another directory: other debug information, same substance.
    let rebuilt = library(&house.workshop, "1.1", 41)?;
    node.add(&[&rebuilt.file])?;
    let plan = node.json(&["plan", "activate", "libanswer=1.1"])?;
    assert_eq!(with_verdict(&plan, "restart")?, NOBODY, "{plan}");
    assert_eq!(list(&plan["libraries"]["changed"])?.len(), 0, "{plan}");
    assert_eq!(list(&plan["libraries"]["rebuilt"])?.len(), 1, "{plan}");
    let report = node.activate(&["libanswer=1.1"])?;
    assert_eq!(report["outcome"], "done", "{report}");
    for (name, before) in ["direct", "transitive", "apart"].iter().zip(pids) {
        assert_eq!(node.pid(name)?, before?, "{name} was restarted");
    }
    Ok(())
}

#[test]
fn one_changed_constant_restarts_exactly_direct_and_transitive_users() -> Result<()> {
    let house = House::build()?;
    let node = house.node()?;
    let reached = ["direct", "transitive"];
    let before = [node.pid("direct")?, node.pid("transitive")?];
    let apart = node.pid("apart")?;
    let changed = library(&house.workshop, "2", 42)?;
    node.add(&[&changed.file])?;

    let plan = node.json(&["plan", "activate", "libanswer=2"])?;
    assert_eq!(with_verdict(&plan, "restart")?, reached, "{plan}");
    // Not reached, but its package requires a changed one: its veto would count.
    assert_eq!(with_verdict(&plan, "ask")?, ["apart"], "{plan}");
    let path = format!("{}/libanswer.so.1", house.workshop.library_dir());
    assert_eq!(plan["libraries"]["changed"], json!([path]), "{plan}");

    let report = node.activate(&["libanswer=2"])?;
    assert_eq!(report["outcome"], "done", "{report}");
    assert_eq!(with_verdict(&report, "restart")?, reached, "{report}");
    for (name, before) in reached.iter().zip(before) {
        assert_ne!(node.pid(name)?, before, "{name} was not restarted");
    }
    assert_eq!(node.pid("apart")?, apart, "apart was restarted");
    Ok(())
}

#[test]
fn deactivating_the_newer_version_goes_back_to_the_older() -> Result<()> {
    let house = House::build()?;
    let node = house.node()?;
    let apart = node.pid("apart")?;
    let old = mapped(&node, node.pid("transitive")?)?;
    assert_ne!(old, None, "transitive does not map the library");
    let changed = library(&house.workshop, "2", 42)?;
    node.add(&[&changed.file])?;
    node.activate(&["libanswer=2"])?;
    assert_ne!(mapped(&node, node.pid("transitive")?)?, old);

    let report = node.json(&["deactivate", "--yes", "libanswer=2"])?;
    assert_eq!(report["outcome"], "done", "{report}");
    assert_eq!(
        with_verdict(&report, "restart")?,
        ["direct", "transitive"],
        "{report}"
    );
    assert_eq!(
        mapped(&node, node.pid("transitive")?)?,
        old,
        "the old one is mapped again"
    );
    assert_eq!(node.pid("apart")?, apart, "apart was restarted");
    let status = node.json(&["status"])?;
    assert!(
        list(&status["active"])?.contains(&json!("libanswer=1")),
        "{status}"
    );
    Ok(())
}

/// Device and inode of the libanswer that a process has mapped.
fn mapped(node: &Node, pid: u64) -> Result<Option<String>> {
    let maps = node.maps(pid)?;
    let line = maps.lines().find(|line| line.ends_with("libanswer.so.1"));
    let fields = line.map(|line| line.split_whitespace().skip(3).take(2).collect::<Vec<_>>());
    Ok(fields.map(|fields| fields.join(" ")))
}

#[test]
fn exit_codes_tell_what_happened() -> Result<()> {
    let house = House::build()?;
    let node = Node::start()?;
    node.fails(2, &["pkgtool", "activate"])?;
    node.fails(2, &["pkgtool", "activate", "Not A Name"])?;
    node.fails(1, &["pkgtool", "activate", "--yes", "nobody-has-this"])?;
    let programs = house.packages.last().context("a package")?;
    node.add(&[&programs.file])?;
    // libmiddle, libanswer and base are not in the store.
    node.fails(4, &["pkgtool", "plan", "activate", "programs"])?;
    node.fails(4, &["pkgtool", "activate", "--yes", "programs"])?;
    node.fails(4, &["pkgtool", "--json", "activate", "--yes", "programs"])?;
    let said = node.fails(
        2,
        &["pkgtool", "activate", "programs=1", "--json", "--progres"],
    )?;
    assert!(said.contains("--progress"), "{said}");
    Ok(())
}

#[test]
fn a_dry_run_and_a_question_that_nobody_answers_change_nothing() -> Result<()> {
    let house = House::build()?;
    let node = house.node()?;
    let changed = library(&house.workshop, "2", 42)?;
    node.add(&[&changed.file])?;
    let before = node.json(&["status"])?;
    let text = node.ok(&["pkgtool", "activate", "--dry-run", "libanswer=2"])?;
    assert!(text.contains("libanswer  1 → 2"), "{text}");
    assert!(text.contains("restart  direct"), "{text}");
    let said = node.fails(2, &["pkgtool", "activate", "libanswer=2"])?;
    assert!(said.contains("--yes"), "{said}");
    assert_eq!(node.json(&["status"])?["generation"], before["generation"]);
    Ok(())
}

#[test]
fn a_batch_from_a_file_is_one_change() -> Result<()> {
    let house = House::build()?;
    let node = house.node()?;
    let changed = library(&house.workshop, "2", 42)?;
    let extra = house
        .workshop
        .package("extra", "1")?
        .requires(&["base"])
        .text("note", "extra\n", "/usr/share/extra/")?
        .build()?;
    node.add(&[&changed.file, &extra.file])?;
    let batch = node.root().join("batch");
    fs_err::write(&batch, "# both at once\nactivate libanswer=2 extra\n")?;
    let batch = batch.to_string_lossy().into_owned();
    let report = node.json(&["apply", "--yes", &batch])?;
    assert_eq!(report["outcome"], "done", "{report}");
    let history = node.json(&["history", "-n", "1"])?;
    assert_eq!(history[0]["change"], report["change"], "{history}");
    assert_eq!(
        list(&history[0]["request"]["actions"])?.len(),
        2,
        "{history}"
    );
    let status = node.json(&["status"])?;
    for wanted in ["libanswer=2", "extra=1"] {
        assert!(
            list(&status["active"])?.contains(&json!(wanted)),
            "{status}"
        );
    }
    Ok(())
}

#[test]
fn a_command_runs_in_the_view_with_its_own_exit_status() -> Result<()> {
    let house = House::build()?;
    let node = house.node()?;
    assert_eq!(
        node.run(&["pkgtool", "exec", "--", "five"])?.status.code(),
        Some(5)
    );
    // The machine's own programs are not in the view.
    let said = node.fails(127, &["pkgtool", "exec", "gcc"])?;
    assert!(said.contains("could not run gcc"), "{said}");
    Ok(())
}

#[test]
fn why_names_every_library_of_a_process_with_its_chain() -> Result<()> {
    let house = House::build()?;
    let node = house.node()?;
    let why = node.json(&["why", "transitive"])?;
    let uses = list(&why["process"]["uses"])?;
    let answer = uses.iter().find(|one| {
        one["path"]
            .as_str()
            .is_some_and(|path| path.ends_with("/libanswer.so.1"))
    });
    let chain = list(&answer.with_context(|| format!("libanswer: {why}"))?["because"])?;
    assert!(chain.len() >= 2, "through libmiddle: {why}");
    let text = node.ok(&["pkgtool", "why", "libanswer.so.1"])?;
    assert!(
        text.contains("direct") && text.contains("transitive"),
        "{text}"
    );
    assert!(!text.contains("apart"), "{text}");
    Ok(())
}

#[test]
fn an_output_that_is_closed_early_is_no_error() -> Result<()> {
    let house = House::build()?;
    let node = house.node()?;
    let script = "set -o pipefail; for i in 1 2 3; do pkgtool status | head -n 1 >/dev/null; done";
    let output = node.run(&["bash", "-c", script])?;
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
    Ok(())
}

#[test]
fn a_node_runs_its_set_again_after_a_reboot() -> Result<()> {
    let house = House::build()?;
    let node = house.node()?;
    let before = node.json(&["status"])?;
    let node = node.reboot()?;
    node.pid("direct")?;
    node.pid("apart")?;
    let after = node.json(&["status"])?;
    assert_eq!(before["active"], after["active"]);
    Ok(())
}

#[test]
fn restart_and_logs_reach_one_process() -> Result<()> {
    let house = House::build()?;
    let talker = house
        .workshop
        .package("talker", "1")?
        .requires(&["base"])
        .program(
            "talker",
            "#include <stdio.h>\n#include <unistd.h>\n\
             int main(void) { puts(\"hello from talker\"); fflush(stdout); for (;;) pause(); }\n",
            &[],
        )?
        .process("talker")
        .build()?;
    let node = house.node()?;
    node.add(&[&talker.file])?;
    node.activate(&["talker"])?;
    let (before, apart) = (node.pid("talker")?, node.pid("apart")?);
    node.json(&["restart", "talker"])?;
    assert_ne!(node.pid("talker")?, before);
    assert_eq!(node.pid("apart")?, apart);
    let said = tests::wait::until("both greetings are in the log", || {
        let said = node.ok(&["pkgtool", "logs", "talker"])?;
        Ok((said.matches("hello from talker").count() >= 2).then_some(said))
    })?;
    assert!(said.contains("hello from talker"));
    node.fails(1, &["pkgtool", "logs", "no-such-process"])?;
    Ok(())
}

#[test]
fn a_change_without_a_process_is_seen_by_commands_and_by_what_starts_later() -> Result<()> {
    let house = House::build()?;
    let tool = house
        .workshop
        .package("tool", "1")?
        .requires(&["base"])
        .program("tool", "int main(void) { return 7; }\n", &[])?
        .build()?;
    let node = house.node()?;
    node.add(&[&tool.file])?;
    node.activate(&["tool"])?;
    node.fails(7, &["pkgtool", "exec", "--", "/usr/bin/tool"])?;
    node.ok(&["pkgtool", "restart", "apart"])?;
    let processes = node.json(&["ps"])?;
    let apart = list(&processes)?.iter().find(|one| one["name"] == "apart");
    let newest = node.json(&["status"])?["generation"].clone();
    assert_eq!(apart.context("apart")?["generation"], newest);

    node.ok(&["pkgtool", "deactivate", "--yes", "programs"])?;
    let node = node.reboot()?;
    node.fails(7, &["pkgtool", "exec", "--", "/usr/bin/tool"])?;
    node.ok(&["pkgtool", "deactivate", "--yes", "tool"])?;
    node.fails(127, &["pkgtool", "exec", "--", "/usr/bin/tool"])?;
    Ok(())
}
