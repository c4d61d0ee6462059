//! A node to test on: a sandbox in a temporary directory, gone with its value.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::{binaries, wait};

/// A running node.
///
/// Its sandbox runs a `cat` that reads from a pipe of ours: it ends, and the node with it, when
/// this value goes, and also when the test is killed.
#[derive(Debug)]
pub struct Node {
    dir: PathBuf,
    /// Gone with this value, where the directory is ours.
    owned: Option<TempDir>,
    sandbox: Child,
    alive: Option<ChildStdin>,
}

impl Node {
    /// Starts a fresh one.
    pub fn start() -> Result<Self> {
        Self::start_with(&[])
    }

    /// Starts a fresh one with these options of `pkgtool sandbox`.
    pub fn start_with(options: &[&str]) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("node-").tempdir()?;
        let path = dir.path().to_owned();
        Self::start_in(path, Some(dir), options, Command::new(binaries::pkgtool()?))
    }

    /// Starts a fresh one below `wrapper`: a command that runs the command that follows it, in
    /// the same process.
    pub fn start_within(mut wrapper: Command, options: &[&str]) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("node-").tempdir()?;
        wrapper.arg(binaries::pkgtool()?);
        Self::start_in(dir.path().to_owned(), Some(dir), options, wrapper)
    }

    /// Starts the node that `dir` holds or will hold, below `wrapper`; the directory stays.
    pub fn start_at(dir: &Path, mut wrapper: Command, options: &[&str]) -> Result<Self> {
        wrapper.arg(binaries::pkgtool()?);
        Self::start_in(dir.to_owned(), None, options, wrapper)
    }

    /// Starts the node that `dir` holds.
    fn start_in(
        dir: PathBuf,
        owned: Option<TempDir>,
        options: &[&str],
        mut pkgtool: Command,
    ) -> Result<Self> {
        let errors = dir.join("stderr");
        // What a test waits for is what it says; nothing has to prove itself by staying up.
        let mut sandbox = pkgtool
            .env("CHANGEOVER_SETTLING", "0")
            .args(["sandbox", "--root"])
            .arg(dir.join("root"))
            .args(options)
            .args(["--", "sh", "-c", "echo up; exec cat >/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::from(fs_err::File::create(&errors)?))
            .spawn()?;
        let alive = sandbox.stdin.take();
        let output = sandbox.stdout.take().context("no standard output")?;
        let node = Self {
            dir,
            owned,
            sandbox,
            alive,
        };
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let said = || fs_err::read_to_string(&errors).unwrap_or_default();
        ensure!(line == "up\n", "the node did not come up: {}", said());
        Ok(node)
    }

    /// Its directory, from outside as from inside.
    pub fn root(&self) -> PathBuf {
        self.dir.join("root")
    }

    /// The pid of `pkgtool sandbox`.
    pub fn sandbox_pid(&self) -> u32 {
        self.sandbox.id()
    }

    /// A command that runs on the node.
    pub fn command<S: AsRef<OsStr>>(&self, words: &[S]) -> Result<Command> {
        let mut command = Command::new(binaries::pkgtool()?);
        command
            .args(["--quiet", "sandbox", "--root"])
            .arg(self.root())
            .arg("--")
            .args(words);
        Ok(command)
    }

    /// Runs a command on the node to its end, whatever that is.
    pub fn run<S: AsRef<OsStr>>(&self, words: &[S]) -> Result<Output> {
        Ok(self.command(words)?.stdin(Stdio::null()).output()?)
    }

    /// Runs a command that must succeed; what it printed.
    pub fn ok<S: AsRef<OsStr>>(&self, words: &[S]) -> Result<String> {
        let output = self.run(words)?;
        if output.status.success() {
            return Ok(String::from_utf8(output.stdout)?);
        }
        bail!("{}: {}", line_of(words), told(&output))
    }

    /// Runs a command that must fail with this exit code; what it said on standard error.
    pub fn fails<S: AsRef<OsStr>>(&self, code: i32, words: &[S]) -> Result<String> {
        let output = self.run(words)?;
        if output.status.code() == Some(code) {
            return Ok(String::from_utf8(output.stderr)?);
        }
        bail!(
            "{} was to fail with {code}: {}",
            line_of(words),
            told(&output)
        )
    }

    /// Runs `pkgtool --json …`, which must succeed; the last line, as a document.
    pub fn json(&self, words: &[&str]) -> Result<Value> {
        let mut all = vec!["pkgtool", "--json"];
        all.extend(words);
        last_document(&self.ok(&all)?)
    }

    /// Adds packages to the node's store.
    pub fn add(&self, packages: &[&Path]) -> Result<()> {
        let mut words: Vec<OsString> = vec!["pkgtool".into(), "add".into()];
        words.extend(
            packages
                .iter()
                .map(|package| package.as_os_str().to_owned()),
        );
        self.ok(&words)?;
        Ok(())
    }

    /// Activates packages; the report.
    pub fn activate(&self, packages: &[&str]) -> Result<Value> {
        self.json(&[&["activate", "--yes"], packages].concat())
    }

    /// The pid, on the node, of a process that is ready.
    pub fn pid(&self, process: &str) -> Result<u64> {
        wait::until(&format!("{process} is ready"), || {
            let all = self.json(&["ps"])?;
            let one = list(&all)?
                .iter()
                .find(|one| one["name"] == process)
                .cloned();
            let one = one.with_context(|| format!("{process} is not supervised"))?;
            Ok(if one["state"] == "ready" {
                one["pid"].as_u64()
            } else {
                None
            })
        })
    }

    /// What a process has mapped: a file of the node's `/proc`.
    pub fn maps(&self, pid: u64) -> Result<String> {
        self.ok(&["cat", &format!("/proc/{pid}/maps")])
    }

    /// Ends the node and starts it again in the same directory, as a reboot would.
    pub fn reboot(self) -> Result<Self> {
        self.reboot_within(Command::new("env"), &[])
    }

    /// The same below `wrapper`, with these options.
    pub fn reboot_within(mut self, mut wrapper: Command, options: &[&str]) -> Result<Self> {
        self.end()?;
        let (dir, owned) = (std::mem::take(&mut self.dir), self.owned.take());
        wrapper.arg(binaries::pkgtool()?);
        Self::start_in(dir, owned, options, wrapper)
    }

    /// A daemon's pid as it is seen here, outside the node.
    pub fn daemon(&self, name: &str) -> Result<Option<i32>> {
        let init = fs_err::read_to_string(self.root().join(".sandbox/running"))?;
        for entry in fs_err::read_dir("/proc")? {
            let path = entry?.path();
            let Ok(stat) = fs_err::read_to_string(path.join("stat")) else {
                continue;
            };
            // PID (COMMAND) STATE PARENT
            let Some((head, tail)) = stat.split_once(") ") else {
                continue;
            };
            let Some((pid, comm)) = head.split_once(" (") else {
                continue;
            };
            let mut tail = tail.split_whitespace();
            let alive = tail.next() != Some("Z");
            if alive && comm == name && tail.next() == Some(init.trim()) {
                return Ok(Some(pid.parse()?));
            }
        }
        Ok(None)
    }

    /// Ends the node; an error when it does not.
    pub fn end(&mut self) -> Result<()> {
        self.alive = None;
        let sandbox = &mut self.sandbox;
        wait::until("the sandbox has ended", || Ok(sandbox.try_wait()?)).map(drop)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if self.end().is_err() {
            // Its init dies with it, and with the init everything.
            drop(self.sandbox.kill());
            drop(self.sandbox.wait());
        }
        if std::thread::panicking() {
            self.show_logs();
        }
    }
}

impl Node {
    /// What the daemons wrote, where a test goes wrong.
    #[expect(
        clippy::print_stderr,
        reason = "the test harness shows it with the failure"
    )]
    pub fn show_logs(&self) {
        let mut names = vec![self.dir.join("stderr")];
        for daemon in ["dbus-daemon", "sysmgrd", "installd"] {
            names.push(
                self.root()
                    .join("var/log/changeover")
                    .join(format!("{daemon}.log")),
            );
        }
        for name in names {
            let mut text = String::new();
            if let Ok(mut file) = fs_err::File::open(&name) {
                drop(file.read_to_string(&mut text));
            }
            eprintln!("--- {}\n{text}", name.display());
        }
    }
}

/// The elements of a JSON list.
pub fn list(value: &Value) -> Result<&Vec<Value>> {
    value
        .as_array()
        .with_context(|| format!("not a list: {value}"))
}

/// The document on the last line of a command's output.
pub fn last_document(text: &str) -> Result<Value> {
    let line = text.lines().last().context("nothing was printed")?;
    serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))
}

fn line_of<S: AsRef<OsStr>>(words: &[S]) -> String {
    let words: Vec<_> = words
        .iter()
        .map(|word| word.as_ref().to_string_lossy())
        .collect();
    words.join(" ")
}

fn told(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    let (out, err) = (String::from_utf8_lossy(out), String::from_utf8_lossy(err));
    format!("{}\n{out}{err}", output.status)
}
