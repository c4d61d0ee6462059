//! Trials, commits and ways back on a node with its real daemons.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tests::builder::{Built, Workshop};
use tests::node::{Node, list};

/// The call stands before the endless loop: else the compiler drops it, and the linker the library.
const WAITS: &str = "if (value > 99) return 1; for (;;) pause(); }\n";

fn waits(declaration: &str, value: &str) -> String {
    format!("#include <unistd.h>\n{declaration}\nint main(void) {{ int value = {value}; {WAITS}")
}

/// A library in three versions, a program that links it, and one that does not.
struct House {
    workshop: Workshop,
    packages: Vec<Built>,
}

impl House {
    fn build() -> Result<Self> {
        let workshop = Workshop::new()?;
        let mut packages = vec![workshop.base()?];
        for (version, value) in [("1", 41), ("2", 42), ("3", 43)] {
            let code = format!("int answer(void) {{ return {value}; }}\n");
            let library = workshop
                .package("libanswer", version)?
                .requires(&["base"])
                .library("libanswer.so.1", &code, &[])?
                .text(&format!("only-{version}"), version, "/usr/share/answer/")?
                .build()?;
            packages.push(library);
        }
        let library = packages.last().context("a library")?.part("libanswer.so.1");
        let programs = workshop
            .package("programs", "1")?
            .requires(&["libanswer", "base"])
            .program(
                "direct",
                &waits("int answer(void);", "answer()"),
                &[library],
            )?
            .program("apart", &waits("", "0"), &[])?
            .process("direct")
            .process("apart")
            .build()?;
        packages.push(programs);
        Ok(Self { workshop, packages })
    }

    /// A node on which the first version runs.
    fn node(&self) -> Result<Node> {
        let node = Node::start()?;
        let files: Vec<_> = self.packages.iter().map(|one| one.file.as_path()).collect();
        node.add(&files)?;
        let report = node.activate(&["programs", "libanswer=1"])?;
        assert_eq!(report["outcome"], "done", "{report}");
        Ok(node)
    }

    fn library(&self) -> String {
        format!("{}/libanswer.so.1", self.workshop.library_dir())
    }
}

/// Everything below the state directory but the database: names, and of files also inodes, modes,
/// sizes and times.
fn storage(node: &Node) -> Result<String> {
    let state = node.root().join("var/lib/changeover");
    let state = state.to_str().context("a path")?;
    let what = r"-type d -printf '%p %m\n' -o -printf '%p %i %m %n %s %T@\n'";
    let find = format!("find {state} -mindepth 1 -not -name 'state.db*' \\( {what} \\) | sort");
    node.ok(&["sh", "-c", &find])
}

/// Device and inode of the library that a process has mapped.
fn mapped(node: &Node, process: &str) -> Result<Option<String>> {
    let maps = node.maps(node.pid(process)?)?;
    let line = maps.lines().find(|line| line.ends_with("libanswer.so.1"));
    let fields = line.map(|line| line.split_whitespace().skip(3).take(2).collect::<Vec<_>>());
    Ok(fields.map(|fields| fields.join(" ")))
}

fn clean(report: &Value) {
    assert_eq!(report["outcome"], "done", "{report}");
    assert_eq!(report["discrepancies"], Value::Null, "{report}");
}

fn active(node: &Node) -> Result<Value> {
    let status = node.json(&["status"])?;
    let all = list(&status["active"])?.iter();
    let found = all
        .filter_map(Value::as_str)
        .find(|one| one.starts_with("libanswer="));
    Ok(json!(found))
}

#[test]
fn a_trial_is_seen_as_any_other_set_and_gone_after_a_reboot() -> Result<()> {
    let house = House::build()?;
    let node = house.node()?;
    let (before, apart, old) = (
        storage(&node)?,
        node.pid("apart")?,
        mapped(&node, "direct")?,
    );
    let direct = node.pid("direct")?;
    let report = node.activate(&["--trial", "libanswer=2"])?;
    clean(&report);
    assert_eq!(report["trial"], true, "{report}");
    assert_eq!(storage(&node)?, before, "persistent storage differs");
    assert_ne!(node.pid("direct")?, direct, "direct was not restarted");
    assert_eq!(node.pid("apart")?, apart, "apart was restarted");
    assert_ne!(mapped(&node, "direct")?, old);

    // The proof of old mappings rests on it: maps and stat name a file alike.
    let root = node.root().join("run/changeover/trials/2/root");
    let library = format!("{}{}", root.display(), house.library());
    let stat = node.ok(&["stat", "-c", "%Hd:%Ld %i", &library])?;
    let maps = mapped(&node, "direct")?.context("the library is not mapped")?;
    let (device, inode) = maps.split_once(' ').context("two fields")?;
    let (major, minor) = device.split_once(':').context("a device")?;
    let number = |text| u32::from_str_radix(text, 16);
    let seen = format!("{}:{} {inode}", number(major)?, number(minor)?);
    assert_eq!(seen, stat.trim());

    let text = node.ok(&["pkgtool", "status"])?;
    assert!(text.contains("as a trial"), "{text}");
    let node = node.reboot()?;
    assert_eq!(active(&node)?, "libanswer=1");
    let status = node.json(&["status"])?;
    assert_eq!(status["trial"], false, "{status}");
    assert!(mapped(&node, "direct")?.is_some());
    assert_eq!(storage(&node)?, before, "the trial left something");
    let history = node.json(&["history"])?;
    assert!(
        list(&history)?
            .iter()
            .any(|one| one["report"]["trial"] == true),
        "{history}"
    );
    Ok(())
}

#[test]
fn a_commit_keeps_the_trial_and_every_process_as_it_is() -> Result<()> {
    let house = House::build()?;
    let node = house.node()?;
    clean(&node.activate(&["--trial", "libanswer=2"])?);
    let pids = [node.pid("direct")?, node.pid("apart")?];
    let refused = node.fails(1, &["pkgtool", "activate", "--yes", "libanswer=3"])?;
    assert!(refused.contains("pkgtool commit"), "{refused}");
    let report = node.json(&["commit"])?;
    clean(&report);
    assert_eq!([node.pid("direct")?, node.pid("apart")?], pids);
    let took: u64 = list(&report["phases"])?
        .iter()
        .filter_map(|one| one["took-us"].as_u64())
        .sum();
    assert!(took < 1_000_000, "{took} µs: {report}");
    let again = node.json(&["commit"])?;
    assert!(
        again["detail"]
            .as_str()
            .context("a detail")?
            .contains("already"),
        "{again}"
    );
    // It lives in the trial's tree still; its old mappings are found there, and let go.
    clean(&node.activate(&["libanswer=3"])?);
    assert_ne!(node.pid("direct")?, pids[0], "direct was not restarted");
    assert_eq!(node.pid("apart")?, pids[1], "apart was restarted");
    clean(&node.json(&["rollback", "--yes"])?);
    assert_eq!(active(&node)?, "libanswer=2");
    let node = node.reboot()?;
    assert_eq!(active(&node)?, "libanswer=2");
    assert!(mapped(&node, "direct")?.is_some());
    Ok(())
}

#[test]
fn a_rollback_ends_a_trial_and_goes_to_any_kept_generation() -> Result<()> {
    let house = House::build()?;
    let node = house.node()?;
    let (before, old) = (storage(&node)?, mapped(&node, "direct")?);
    clean(&node.activate(&["--trial", "libanswer=2"])?);
    clean(&node.activate(&["--trial", "libanswer=3"])?);
    assert_eq!(active(&node)?, "libanswer=3");
    clean(&node.json(&["rollback", "--yes"])?);
    assert_eq!(active(&node)?, "libanswer=1");
    assert_eq!(mapped(&node, "direct")?, old, "the old one is mapped again");
    assert_eq!(storage(&node)?, before);

    clean(&node.activate(&["libanswer=2"])?);
    clean(&node.activate(&["libanswer=3"])?);
    let plan = node.json(&["plan", "rollback", "1"])?;
    assert!(plan.to_string().contains("libanswer=1"), "{plan}");
    clean(&node.json(&["rollback", "--yes", "1"])?);
    assert_eq!(mapped(&node, "direct")?, old, "the old one is mapped again");
    let said = node.fails(2, &["pkgtool", "remove", "libanswer=2"])?;
    assert!(said.contains("cannot be gone back to"), "{said}");
    node.ok(&["pkgtool", "pin", "4"])?;
    node.fails(1, &["pkgtool", "remove", "--yes", "libanswer=2"])?;
    node.ok(&["pkgtool", "unpin", "4"])?;
    node.ok(&["pkgtool", "remove", "--yes", "libanswer=2"])?;
    node.fails(1, &["pkgtool", "plan", "activate", "libanswer=2"])?;
    Ok(())
}

#[test]
fn what_does_not_come_up_is_taken_back_and_says_why() -> Result<()> {
    let house = House::build()?;
    let bad =
        "#include <stdio.h>\nint main(void) { fprintf(stderr, \"no such table\\n\"); return 3; }\n";
    let programs = house
        .workshop
        .package("programs", "2")?
        .requires(&["libanswer", "base"])
        .program("direct", bad, &[])?
        .program("apart", &waits("", "0"), &[])?
        .lines("[[process]]\nname = \"direct\"\nexec = [\"/usr/bin/direct\"]\nready = \"notify\"\nrestart = \"no\"\n")
        .process("apart")
        .build()?;
    let node = house.node()?;
    node.add(&[&programs.file])?;
    let apart = node.pid("apart")?;
    for trial in [&["--trial"][..], &[]] {
        let words = [
            &["pkgtool", "--json", "activate", "--yes", "programs=2"],
            trial,
        ]
        .concat();
        let output = node.run(&words)?;
        assert_eq!(output.status.code(), Some(7), "{output:?}");
        let report = String::from_utf8(output.stdout)?;
        assert!(report.contains("no such table"), "{report}");
        assert!(mapped(&node, "direct")?.is_some(), "the old one runs again");
        assert_eq!(node.pid("apart")?, apart, "apart was restarted");
        let status = node.json(&["status"])?;
        assert_eq!(
            (&status["generation"], &status["trial"]),
            (&json!(1), &json!(false))
        );
    }
    let output = node.run(&[
        "pkgtool",
        "activate",
        "--yes",
        "--on-failure=keep",
        "programs=2",
    ])?;
    assert_eq!(output.status.code(), Some(8), "{output:?}");
    clean(&node.json(&["rollback", "--yes"])?);
    assert!(mapped(&node, "direct")?.is_some());
    Ok(())
}
