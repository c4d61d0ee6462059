//! No file changes under a process that did not ask, and none under one that did outside the
//! window that it gave; nor by what is done to the machine's own files.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::binaries;
use tests::builder::{Built, Workshop};
use tests::counts::Counts;
use tests::node::{Node, list};

const CHANGES: u64 = 50;

/// Reads both files by absolute path without pause; both must hold what stood there at first.
/// The counts are written whole or not at all.
const READER: &str = r#"
#include <stdio.h>
#include <string.h>
static void slurp(const char *path, char *to)
{
	FILE *file = fopen(path, "r");
	memset(to, 0, 64);
	if (file) { fread(to, 1, 63, file); fclose(file); }
}
int main(int count, char **words)
{
	const char *counts = words[1];
	char new[256], left[64], right[64], first[64], wrong[200] = "";
	unsigned long reads = 0, mismatches = 0;
	snprintf(new, sizeof new, "%s.new", counts);
	slurp("/usr/share/pair/left.txt", first);
	for (;;) {
		slurp("/usr/share/pair/left.txt", left);
		slurp("/usr/share/pair/right.txt", right);
		reads++;
		if (!*left || strcmp(left, right) || strcmp(left, first)) {
			mismatches++;
			snprintf(wrong, sizeof wrong, "left %s right %s first %s", left, right, first);
		}
		if (reads % 200 == 0) {
			FILE *file = fopen(new, "w");
			fprintf(file, "reads=%lu mismatches=%lu %s\n", reads, mismatches, wrong);
			fclose(file);
			rename(new, counts);
		}
	}
}
"#;

/// Two packages with a file each that must always match, in many versions.
struct Pair {
    workshop: Workshop,
    packages: Vec<Built>,
}

impl Pair {
    fn build(versions: u64) -> Result<Self> {
        let workshop = Workshop::new()?;
        let mut packages = vec![workshop.base()?];
        for version in 1..=versions {
            let text = format!("version {version}\n");
            for side in ["left", "right"] {
                let version = version.to_string();
                let file = format!("{side}.txt");
                let recipe = workshop.package(side, &version)?;
                packages.push(recipe.text(&file, &text, "/usr/share/pair/")?.build()?);
            }
        }
        Ok(Self { workshop, packages })
    }

    /// The process that did not ask.
    fn reader(&self) -> Result<Built> {
        let process = "[[process]]\nname = \"reader\"\n\
                       exec = [\"/usr/bin/reader\", \"/var/lib/reader.counts\"]\n";
        self.workshop
            .package("reader", "1")?
            .requires(&["left", "right", "base"])
            .program("reader", READER, &[])?
            .lines(process)
            .build()
    }

    /// The process that did.
    fn watcher(&self) -> Result<Built> {
        let program = example("pair-watch")?;
        let to = format!("{}/", self.workshop.library_dir());
        let lib = PathBuf::from(self.workshop.library_dir().replacen("/usr", "", 1));
        let process = "[[process]]\nname = \"watcher\"\nexec = [\"/usr/bin/pair-watch\"]\n\
                       kind = \"self-managing\"\nuses-files = [\"/usr/share/pair/**\"]\n\
                       environment = { PAIR_WATCH_COUNTS = \"/var/lib/watcher.counts\" }\n";
        self.workshop
            .package("watcher", "1")?
            .requires(&["left", "right", "base"])
            .copy(&program, "/usr/bin/")?
            .copy(&lib.join("libgcc_s.so.1"), &to)?
            .copy(&lib.join("libm.so.6"), &to)?
            .lines(process)
            .build()
    }
}

fn example(name: &str) -> Result<PathBuf> {
    let program = binaries::dir()?.join("examples").join(name);
    let missing = "cargo build -p tests --examples";
    ensure!(
        program.exists(),
        "{} is not there: {missing}",
        program.display()
    );
    Ok(program)
}

fn counts(node: &Node, process: &str) -> Counts {
    Counts::at(&node.root().join(format!("var/lib/{process}.counts")))
}

fn status_of(node: &Node, process: &str) -> Result<Value> {
    let all = node.json(&["ps"])?;
    let one = list(&all)?.iter().find(|one| one["name"] == process);
    one.cloned()
        .with_context(|| format!("{process} is not supervised: {all}"))
}

fn verdict<'a>(report: &'a Value, process: &str) -> Result<&'a Value> {
    let mut all = list(&report["processes"])?.iter();
    let found = all.find(|one| one["name"] == process);
    found.with_context(|| format!("{process}: {report}"))
}

#[test]
fn through_fifty_changeovers_nobody_sees_two_files_that_do_not_match() -> Result<()> {
    let pair = Pair::build(CHANGES + 1)?;
    let (reader, watcher) = (pair.reader()?, pair.watcher()?);
    let node = Node::start()?;
    let all = pair.packages.iter().chain([&reader, &watcher]);
    node.add(&all.map(|built| built.file.as_path()).collect::<Vec<_>>())?;
    let report = node.activate(&["reader", "watcher", "left=1", "right=1"])?;
    assert_eq!(report["outcome"], "done", "{report}");
    let (reads, watched) = (counts(&node, "reader"), counts(&node, "watcher"));
    reads.reach("reads", 1)?;
    watched.reach("reads", 1)?;
    let before = status_of(&node, "reader")?;
    let told = node.pid("watcher")?;

    for version in 2..=CHANGES + 1 {
        let wanted = ["left", "right"].map(|side| format!("{side}={version}"));
        let report = node.activate(&[&wanted[0], &wanted[1]])?;
        assert_eq!(report["outcome"], "done", "{report}");
        let said = verdict(&report, "watcher")?;
        assert_eq!(said["verdict"], "notify", "{report}");
    }

    // Both go on after the last change: the counts are of a process that lives.
    let seen = reads.go_on("reads", 1000)?;
    assert_eq!(seen.get("mismatches")?, 0, "{}", seen.text);
    assert!(seen.get("reads")? > 5000, "{}", seen.text);
    let after = status_of(&node, "reader")?;
    for field in ["pid", "state", "restarts", "generation", "since"] {
        assert_eq!(before[field], after[field], "{field} of reader");
    }

    let seen = watched.go_on("reads", 1000)?;
    assert_eq!(seen.get("violations")?, 0, "{}", seen.text);
    assert_eq!(seen.get("back")?, 0, "{}", seen.text);
    assert_eq!(seen.get("changes")?, CHANGES, "{}", seen.text);
    assert!(seen.get("reads")? > 5000, "{}", seen.text);
    assert_eq!(node.pid("watcher")?, told);

    // The reader did not see them because it did not ask, not because nothing was there.
    node.json(&["restart", "reader"])?;
    let pid = node.pid("reader")?;
    let file = format!("/proc/{pid}/root/usr/share/pair/left.txt");
    assert_eq!(node.ok(&["cat", &file])?, "version 51\n");
    Ok(())
}

#[test]
fn a_told_process_sees_a_change_that_is_taken_back_as_two_changes() -> Result<()> {
    let pair = Pair::build(2)?;
    let (reader, watcher) = (pair.reader()?, pair.watcher()?);
    let fails = pair
        .workshop
        .package("fails", "1")?
        .requires(&["base"])
        .program("fails", "int main(void) { return 3; }\n", &[])?
        .lines("[[process]]\nname = \"fails\"\nexec = [\"/usr/bin/fails\"]\nready = \"notify\"\nafter = [\"watcher\"]\n")
        .build()?;
    let node = Node::start()?;
    let all = pair.packages.iter().chain([&reader, &watcher, &fails]);
    node.add(&all.map(|built| built.file.as_path()).collect::<Vec<_>>())?;
    node.activate(&["reader", "watcher", "left=1", "right=1"])?;
    let (reads, watched) = (counts(&node, "reader"), counts(&node, "watcher"));
    let before = (node.pid("reader")?, node.pid("watcher")?);
    watched.reach("reads", 1)?;
    let words = ["pkgtool", "activate", "--yes", "left=2", "right=2", "fails"];
    node.fails(7, &words)?;
    assert_eq!((node.pid("reader")?, node.pid("watcher")?), before);
    let seen = reads.go_on("reads", 1000)?;
    assert_eq!(seen.get("mismatches")?, 0, "{}", seen.text);
    let seen = watched.go_on("reads", 1000)?;
    assert_eq!(seen.get("changes")?, 2, "{}", seen.text);
    assert_eq!(seen.get("violations")?, 0, "{}", seen.text);
    Ok(())
}
