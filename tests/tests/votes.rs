//! Processes are asked before anything is touched: objections, who goes over them, and what a
//! change leaves behind that did not happen.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::binaries;
use tests::builder::{Built, Workshop};
use tests::node::{Node, last_document, list};

/// `a` requires `g` and links nothing of it; `b` links its library and says by a program whether
/// it may be restarted.
struct House {
    dir: TempDir,
    packages: Vec<Built>,
    /// The packages are gone with it.
    _workshop: Workshop,
}

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

const B: &str = r"#include <unistd.h>
int g(void);
int main(void) { int value = g(); if (value > 99) return 1; for (;;) pause(); }
";

impl House {
    fn build() -> Result<Self> {
        let workshop = Workshop::new()?;
        let dir = tempfile::Builder::new().prefix("votes-").tempdir()?;
        let lib = PathBuf::from(workshop.library_dir().replacen("/usr", "", 1));
        let to = format!("{}/", workshop.library_dir());
        let runtime = workshop
            .package("runtime", "1")?
            .requires(&["base"])
            .copy(&lib.join("libgcc_s.so.1"), &to)?
            .copy(&lib.join("libm.so.6"), &to)?
            .build()?;
        let g = library(&workshop, "1")?;
        let voter = binaries::dir()?.join("examples/voter");
        let missing = "cargo build -p selfmanage --example voter";
        ensure!(
            voter.exists(),
            "{} is not there: {missing}",
            voter.display()
        );
        let a = workshop
            .package("a", "1")?
            .requires(&["g", "runtime", "base"])
            .copy(&voter, "/usr/bin/")?
            .lines(&process("a", "/usr/bin/voter", dir.path()))
            .lines("kind = \"self-managing\"\n")
            .build()?;
        let b = workshop
            .package("b", "1")?
            .requires(&["g", "base"])
            .program("b", B, &[g.part("libg.so.1")])?
            .program("may", MAY, &[])?
            .lines(&process("b", "/usr/bin/b", dir.path()))
            .lines(&format!(
                "evaluate = [\"/usr/bin/may\", \"{}/b\"]\n",
                dir.path().display()
            ))
            .build()?;
        let packages = vec![workshop.base()?, runtime, g, library(&workshop, "2")?, a, b];
        Ok(Self {
            dir,
            packages,
            _workshop: workshop,
        })
    }

    fn node(&self, set: &[&str]) -> Result<Node> {
        let node = Node::start()?;
        let files: Vec<&Path> = (self.packages.iter())
            .map(|built| built.file.as_path())
            .collect();
        node.add(&files)?;
        let report = node.activate(set)?;
        ensure!(report["outcome"] == "done", "{report}");
        Ok(node)
    }

    /// What a process does about changes from now on.
    fn behave(&self, process: &str, manner: &str) -> Result<()> {
        Ok(fs_err::write(self.dir.path().join(process), manner)?)
    }
}

fn process(name: &str, program: &str, dir: &Path) -> String {
    let file = dir.join(name);
    format!(
        "[[process]]\nname = \"{name}\"\nexec = [\"{program}\", \"{}\"]\n",
        file.display()
    )
}

fn library(workshop: &Workshop, version: &str) -> Result<Built> {
    let code = format!("int g(void) {{ return {version}; }}\n");
    workshop
        .package("g", version)?
        .requires(&["base"])
        .library("libg.so.1", &code, &[])?
        .build()
}

/// Asks for a change that must end with this exit code; its report.
fn ends_with(node: &Node, code: i32, words: &[&str]) -> Result<Value> {
    let all = [&["pkgtool", "--json", "activate", "--yes"], words].concat();
    let output = node.run(&all)?;
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(code),
        "{words:?}: {}\n{said}{errors}",
        output.status
    );
    last_document(&said)
}

/// Waits until `a` has registered.
fn registered(node: &Node) -> Result<()> {
    tests::wait::until("a has registered", || {
        let all = node.json(&["ps"])?;
        let there = list(&all)?.iter().any(|one| one["registered"] == true);
        Ok(there.then_some(()))
    })
}

/// Everything that a change could touch: every file of the node's state but the database, every
/// row of that but the history's, and every process.
fn everything(node: &Node) -> Result<BTreeMap<String, String>> {
    let state = node.root().join("var/lib/changeover");
    let mut all = BTreeMap::from([("ps".to_owned(), node.json(&["ps"])?.to_string())]);
    files(&state, &mut all)?;
    files(&node.root().join("etc"), &mut all)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let database = Connection::open_with_flags(state.join("state.db"), flags)?;
    let mut tables = database.prepare("SELECT name FROM sqlite_master WHERE type = 'table'")?;
    let tables = tables
        .query_map([], |row| row.get::<_, String>(0))?
        .collect::<Result<Vec<_>, _>>()?;
    ensure!(
        tables.iter().any(|name| name == "generations"),
        "{tables:?}"
    );
    let history = ["changes", "journal", "sqlite_sequence"];
    for table in tables
        .iter()
        .filter(|name| !history.contains(&name.as_str()))
    {
        let mut rows = database.prepare(&format!("SELECT * FROM {table}"))?;
        let width = rows.column_count();
        let text = rows.query_map([], |row| {
            let cells = (0..width).map(|at| row.get::<_, rusqlite::types::Value>(at));
            Ok(format!("{:?}", cells.collect::<Result<Vec<_>, _>>()?))
        })?;
        let mut text = text.collect::<Result<Vec<_>, _>>()?;
        text.sort();
        all.insert(format!("table {table}"), text.join("\n"));
    }
    Ok(all)
}

fn files(dir: &Path, all: &mut BTreeMap<String, String>) -> Result<()> {
    for entry in fs_err::read_dir(dir)? {
        let path = entry?.path();
        let data = fs_err::symlink_metadata(&path)?;
        let name = path.display().to_string();
        if name.contains("/state.db") {
            continue;
        }
        let content = if data.is_dir() {
            files(&path, all)?;
            String::new()
        } else if data.is_symlink() {
            fs_err::read_link(&path)?.display().to_string()
        } else {
            blake3::hash(&fs_err::read(&path)?).to_string()
        };
        let about = format!("{:o} {} {} {content}", data.mode(), data.ino(), data.uid());
        all.insert(name, about);
    }
    Ok(())
}

fn reason(report: &Value, process: &str) -> Result<String> {
    let vetoes = list(&report["vetoes"])?;
    let one = vetoes.iter().find(|one| one["process"] == process);
    let one = one.with_context(|| format!("no veto of {process}: {report}"))?;
    Ok(one["reason"].as_str().context("a reason")?.to_owned())
}

fn one_of<'a>(report: &'a Value, process: &str) -> Result<&'a Value> {
    let all = list(&report["processes"])?;
    let one = all.iter().find(|one| one["name"] == process);
    one.with_context(|| format!("no {process}: {report}"))
}

fn whats(report: &Value, process: &str) -> Result<Vec<String>> {
    let moments = list(&one_of(report, process)?["moments"])?;
    let what = moments.iter().map(|one| one["what"].as_str());
    let what: Option<Vec<&str>> = what.collect();
    Ok(what
        .context("a word")?
        .into_iter()
        .map(str::to_owned)
        .collect())
}

#[test]
fn one_that_only_requires_what_changes_is_asked_and_its_veto_leaves_nothing_touched() -> Result<()>
{
    let house = House::build()?;
    let node = house.node(&["a", "b", "g=1"])?;
    registered(&node)?;
    house.behave("a", "veto in a call")?;
    house.behave("b", "backing up")?;
    let before = everything(&node)?;
    let report = ends_with(&node, 3, &["g=2"])?;
    assert_eq!(everything(&node)?, before);
    assert_eq!(report["outcome"], "vetoed", "{report}");
    assert_eq!(reason(&report, "a")?, "in a call");
    assert_eq!(reason(&report, "b")?, "backing up");
    assert_eq!(report["overridden"], Value::Null, "{report}");
    assert_eq!(whats(&report, "a")?, ["asked", "objected"]);
    // For people: who, and why.
    let output = node.run(&["pkgtool", "activate", "--yes", "g=2"])?;
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    for word in ["in a call", "backing up", "--force"] {
        assert!(said.contains(word), "{word} is not in {said}");
    }
    assert_eq!(everything(&node)?, before);
    Ok(())
}

#[test]
fn force_asks_all_the_same_and_the_report_and_the_history_say_what_was_overridden() -> Result<()> {
    let house = House::build()?;
    let node = house.node(&["a", "b", "g=1"])?;
    registered(&node)?;
    let (a, b) = (node.pid("a")?, node.pid("b")?);
    house.behave("a", "veto in a call")?;
    house.behave("b", "backing up")?;
    // One of the two is not enough; a name that is nobody's is no consent.
    let report = ends_with(&node, 3, &["--force-process", "b", "g=2"])?;
    assert_eq!(report["overridden"], json!(["b"]), "{report}");
    let report = ends_with(&node, 1, &["--force-process", "c", "g=2"])?;
    assert!(
        report["detail"].to_string().contains("no process c"),
        "{report}"
    );
    assert_eq!((node.pid("a")?, node.pid("b")?), (a, b));

    let both = ["--force-process", "a", "--force-process", "b", "g=2"];
    let report = ends_with(&node, 0, &both)?;
    assert_eq!(report["outcome"], "done", "{report}");
    assert_eq!(report["overridden"], json!(["a", "b"]), "{report}");
    assert_eq!(reason(&report, "b")?, "backing up");
    assert_eq!(node.pid("a")?, a, "nothing of it changes");
    assert_ne!(node.pid("b")?, b);
    let expected = [
        "asked", "objected", "stopping", "stopped", "started", "ready",
    ];
    assert_eq!(whats(&report, "b")?, expected);

    let report = ends_with(&node, 0, &["--force", "g=1"])?;
    assert_eq!(report["overridden"], json!(["a", "b"]), "{report}");
    let history = node.json(&["history"])?;
    let newest = list(&history)?.first().context("a change")?;
    assert_eq!(
        newest["report"]["overridden"],
        json!(["a", "b"]),
        "{newest}"
    );
    Ok(())
}

#[test]
fn silence_is_a_veto_that_names_its_way_round_and_more_time_is_given() -> Result<()> {
    let house = House::build()?;
    let node = house.node(&["a", "b", "g=1"])?;
    registered(&node)?;
    house.behave("a", "slow 6000")?;
    let report = ends_with(&node, 0, &["g=2"])?;
    assert_eq!(report["vetoes"], Value::Null, "{report}");
    house.behave("a", "mute")?;
    let report = ends_with(&node, 3, &["g=1"])?;
    let why = reason(&report, "a")?;
    assert!(
        why.starts_with("no answer: nothing within 5000 ms"),
        "{why}"
    );
    assert!(why.contains("--force-process a"), "{why}");
    Ok(())
}

/// Watches the node's own bus.
const MONITOR: &str = r#"exec dbus-monitor --address "$CHANGEOVER_BUS" "$1""#;

#[test]
fn whoever_watches_the_bus_hears_how_each_change_ended() -> Result<()> {
    let house = House::build()?;
    let node = house.node(&["a", "b", "g=1"])?;
    registered(&node)?;
    let rule = "type='signal',interface='org.changeover.Install1.Manager',member='Ended'";
    let mut watch = node
        .command(&["sh", "-c", MONITOR, "sh", rule])?
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(watch.stdout.take().context("its output")?).lines();
    // What it says of itself comes when it listens.
    let first = lines.next().context("a first line")??;
    assert!(first.contains("NameAcquired"), "{first}");
    house.behave("a", "veto in a call")?;
    ends_with(&node, 3, &["g=2"])?;
    ends_with(&node, 0, &["--force", "g=2"])?;
    let mut told = Vec::new();
    for line in lines {
        let line = line?;
        if let Some(document) = line.trim().strip_prefix("string \"{") {
            let outcome = document
                .split("\"outcome\":\"")
                .nth(1)
                .context("an outcome")?;
            told.push(outcome.split('"').next().context("a word")?.to_owned());
        }
        if told.len() == 2 {
            break;
        }
    }
    watch.kill()?;
    watch.wait()?;
    assert_eq!(told, ["vetoed", "done"]);
    Ok(())
}
