//! Nothing changes under a process that did not ask, and no daemon's death is half a change.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::builder::Workshop;
use tests::node::{Node, list};
use tests::wait;

/// Reads two files by their absolute paths, again and again; a difference is written and ends it.
const READER: &str = r#"
#include <stdio.h>
#include <string.h>
#include <unistd.h>
static void slurp(const char *path, char *to)
{
	FILE *file = fopen(path, "r");
	memset(to, 0, 64);
	if (file) { fread(to, 1, 63, file); fclose(file); }
}
int main(void)
{
	char left[64], right[64], first[64];
	slurp("/usr/share/pair/left", first);
	for (;;) {
		slurp("/usr/share/pair/left", left);
		slurp("/usr/share/pair/right", right);
		if (!*left || strcmp(left, right) || strcmp(left, first)) {
			printf("left %s right %s first %s\n", left, right, first);
			fflush(stdout);
			return 1;
		}
		usleep(200);
	}
}
"#;

struct Pair {
    workshop: Workshop,
    node: Node,
}

impl Pair {
    /// A reader, and two packages with a file each that must always match.
    fn start(options: &[&str]) -> Result<Self> {
        let workshop = Workshop::new()?;
        let base = workshop.base()?;
        let reader = workshop
            .package("reader", "1")?
            .requires(&["left", "right", "base"])
            .program("reader", READER, &[])?
            .process("reader")
            .build()?;
        let node = Node::start_with(options)?;
        node.add(&[&base.file, &reader.file])?;
        let pair = Self { workshop, node };
        pair.add("1")?;
        pair.add("2")?;
        let report = pair.node.activate(&["reader", "left=1", "right=1"])?;
        assert_eq!(report["outcome"], "done", "{report}");
        Ok(pair)
    }

    fn add(&self, version: &str) -> Result<()> {
        for side in ["left", "right"] {
            let text = format!("version {version}\n");
            let built = self
                .workshop
                .package(side, version)?
                .text(side, &text, "/usr/share/pair/")?
                .build()?;
            self.node.add(&[&built.file])?;
        }
        Ok(())
    }

    fn reader(&self) -> Result<Value> {
        let all = self.node.json(&["ps"])?;
        let one = list(&all)?
            .iter()
            .find(|one| one["name"] == "reader")
            .cloned();
        one.context("reader is not supervised")
    }
}

#[test]
fn a_process_that_did_not_ask_sees_one_generation_through_fifty_changeovers() -> Result<()> {
    let pair = Pair::start(&[])?;
    let before = pair.reader()?;
    for round in 0..50 {
        let version = if round % 2 == 0 { "2" } else { "1" };
        let (left, right) = (format!("left={version}"), format!("right={version}"));
        let report = pair.node.activate(&[&left, &right])?;
        assert_eq!(report["outcome"], "done", "{report}");
    }
    let after = pair.reader()?;
    let said = pair.node.ok(&["pkgtool", "logs", "reader"])?;
    for field in ["pid", "state", "restarts", "generation"] {
        assert_eq!(before[field], after[field], "{field}: {said}");
    }
    assert_eq!(said, "");
    // It reads the new files, both of them, once it is started again.
    pair.node.json(&["restart", "reader"])?;
    assert_ne!(
        pair.node.pid("reader")?,
        before["pid"].as_u64().context("a pid")?
    );
    Ok(())
}

#[test]
fn a_daemon_killed_in_mid_change_loses_no_process_and_leaves_a_whole_set() -> Result<()> {
    let pair = Pair::start(&["--restart-daemons"])?;
    let before = pair.reader()?;
    for step in 1..=3 {
        for daemon in ["installd", "sysmgrd"] {
            let version = if pair.has("1")? { "2" } else { "1" };
            pair.kill_in_change(daemon, version, step)?;
            pair.settle()?;
            assert!(
                pair.has("1")? || pair.has("2")?,
                "half a change: {daemon}, step {step}"
            );
            let after = pair.reader()?;
            assert_eq!(
                before["pid"], after["pid"],
                "{daemon}'s death cost a process"
            );
        }
    }
    let report = pair.node.activate(&["left=2", "right=2"])?;
    assert_eq!(report["outcome"], "done", "{report}");
    Ok(())
}

impl Pair {
    /// Begins a change and kills a daemon as soon as the change has told this many steps.
    fn kill_in_change(&self, daemon: &str, version: &str, steps: usize) -> Result<()> {
        let mut words = ["pkgtool", "--json", "activate", "--yes", "--progress"]
            .map(str::to_owned)
            .to_vec();
        words.extend(["left", "right"].map(|side| format!("{side}={version}")));
        let mut change = self.node.command(&words)?;
        let mut change = change
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let told = BufReader::new(change.stdout.take().context("no standard output")?);
        for line in told.lines().take(steps) {
            let line = line?;
            ensure!(
                line.starts_with("{\"progress\""),
                "the change ended before: {line}"
            );
        }
        let file = self.node.root().join(format!("run/{daemon}.pid"));
        self.node
            .ok(&["sh", "-c", &format!("kill -KILL $(cat {})", file.display())])?;
        change.wait()?;
        Ok(())
    }

    /// Waits until both daemons answer and no change is under way.
    fn settle(&self) -> Result<()> {
        wait::until("the node has settled", || {
            let output = self.node.run(&["pkgtool", "--json", "status"])?;
            let Ok(status) = serde_json::from_slice::<Value>(&output.stdout) else {
                return Ok(None);
            };
            let settled = status["change"].is_null() && status["sysmgrd"] == json!(true);
            Ok(settled.then_some(()))
        })
    }

    /// Whether both packages are active in this version.
    fn has(&self, version: &str) -> Result<bool> {
        let status = self.node.json(&["status"])?;
        let active = list(&status["active"])?;
        let has = |side| active.contains(&json!(format!("{side}={version}")));
        Ok(has("left") && has("right"))
    }
}
