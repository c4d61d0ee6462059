//! The tutorial, typed as it stands: every `sh` block in order, in one shell, in an empty
//! directory; and what the page promises of each section.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use tests::binaries;

/// Stands alone on a line where a section's output begins.
const MARK: &str = "--- section ";

/// The page's `sh` blocks as one script that says where each section begins.
fn script(page: &str) -> Result<String> {
    let mut script = String::new();
    let (mut section, mut inside) = (0, false);
    for line in page.lines() {
        match (inside, line) {
            (false, "```sh") => {
                inside = true;
                writeln!(script, "echo '{MARK}{section}'")?;
            }
            (true, "```") => inside = false,
            (true, _) => writeln!(script, "{line}")?,
            (false, _) if line.starts_with("## ") => section += 1,
            (false, _) => {}
        }
    }
    ensure!(!inside, "a block is not closed");
    Ok(script)
}

/// What each section printed, by its number.
fn sections(output: &str) -> BTreeMap<usize, String> {
    let mut all: BTreeMap<usize, String> = BTreeMap::new();
    let mut at = 0;
    for line in output.lines() {
        if let Some(number) = line.strip_prefix(MARK) {
            at = number.parse().unwrap_or(at);
        } else {
            let text = all.entry(at).or_default();
            text.push_str(line);
            text.push('\n');
        }
    }
    all
}

/// Everything the page's commands print, by section.
fn typed() -> Result<BTreeMap<usize, String>> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/tutorial.md");
    let script = script(&fs_err::read_to_string(page)?)?;
    let room = tempfile::Builder::new().prefix("tutorial-").tempdir()?;
    let mut paths = vec![binaries::dir()?];
    paths.extend(std::env::split_paths(
        &std::env::var_os("PATH").context("PATH")?,
    ));
    let output = Command::new("timeout")
        .args(["300", "bash", "-e", "-c", &script])
        .current_dir(room.path())
        .env("PATH", std::env::join_paths(paths)?)
        .stdin(Stdio::null())
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(
        output.status.success(),
        "{}\n{text}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(sections(&text))
}

fn contains(text: &str, what: &str) -> Result<()> {
    ensure!(text.contains(what), "{what:?} is not in:\n{text}");
    Ok(())
}

#[test]
fn the_tutorial_works_as_it_stands() -> Result<()> {
    let printed = typed()?;
    let section = |number| {
        let text = printed.get(&number);
        text.with_context(|| format!("section {number} printed nothing"))
    };

    let inspected = section(2)?;
    contains(inspected, "libgreeting.so.1")?;
    contains(inspected, "libc.so.6")?;

    let first = section(3)?;
    contains(first, "start    hello")?;
    contains(first, "good morning")?;

    let rebuilt = section(4)?;
    contains(rebuilt, "1 library rebuilt")?;
    ensure!(!rebuilt.contains("restart  "), "{rebuilt}");

    let changed = section(5)?;
    contains(changed, "restart  hello")?;
    contains(changed, "libgreeting.so.1 changed")?;
    let evening = changed.find("good evening").context("no good evening")?;
    let morning = changed.find("good morning").context("no good morning")?;
    ensure!(evening < morning, "{changed}");

    let signed = section(6)?;
    contains(signed, "as it should be")?;
    contains(signed, "added libgreeting=1.1, signed by ")?;
    Ok(())
}
