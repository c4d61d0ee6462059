//! The Self-Managing example application on a node: asked, told, moved, and proven; or restarted.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tests::binaries;
use tests::builder::{Built, Workshop};
use tests::node::{Node, list};

const EXAMPLE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../libselfmanage/examples/plugin-host"
);

/// The example's packages in version 1 and 2, and what they need.
struct House {
    dir: TempDir,
    needs: [Built; 2],
    /// Holds the files of `needs`.
    _workshop: Workshop,
}

impl House {
    /// `options` go to the example's Makefile, for both versions.
    fn build(options: &[&str]) -> Result<Self> {
        let workshop = Workshop::new()?;
        let lib = PathBuf::from(workshop.library_dir().replacen("/usr", "", 1));
        let to = format!("{}/", workshop.library_dir());
        let runtime = workshop
            .package("runtime", "1")?
            .requires(&["base"])
            .copy(&lib.join("libgcc_s.so.1"), &to)?
            .copy(&lib.join("libm.so.6"), &to)?
            .build()?;
        let dir = tempfile::Builder::new().prefix("greeting-").tempdir()?;
        let house = Self {
            dir,
            needs: [workshop.base()?, runtime],
            _workshop: workshop,
        };
        house.make("1", options)?;
        house.make("2", options)?;
        Ok(house)
    }

    fn make(&self, version: &str, options: &[&str]) -> Result<()> {
        let out = self.dir.path().join(version);
        let program = binaries::dir()?.join("examples/plugin-host");
        let missing = "cargo build -p selfmanage --example plugin-host";
        ensure!(
            program.exists(),
            "{} is not there: {missing}",
            program.display()
        );
        let output = Command::new("make")
            .args(["-C", EXAMPLE])
            .arg(format!("VERSION={version}"))
            .arg(format!("OUT={}", out.display()))
            .arg(format!("PROGRAM={}", program.display()))
            .arg(format!("SOCKET={}", self.socket().display()))
            .args(options)
            .env_remove("MAKEFLAGS")
            .output()?;
        ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        for part in ["host", "plugins", "libgreeting"] {
            let built = Command::new(binaries::pkgtool()?)
                .args(["--quiet", "build"])
                .arg(out.join(part))
                .arg("-o")
                .arg(self.package(part, version))
                .output()?;
            let said = String::from_utf8_lossy(&built.stderr);
            ensure!(
                built.status.success(),
                "{part} {version} could not be built: {said}"
            );
        }
        Ok(())
    }

    /// Where the host listens: a directory that the node shares with this test.
    fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    fn package(&self, part: &str, version: &str) -> PathBuf {
        self.dir.path().join(format!("{part}-{version}.pkg"))
    }

    /// A node that runs version 1 and has version 2 in its store.
    fn node(&self) -> Result<Node> {
        self.fill(Node::start()?)
    }

    fn fill(&self, node: Node) -> Result<Node> {
        let all = ["host", "plugins", "libgreeting"]
            .map(|part| ["1", "2"].map(|version| self.package(part, version)));
        let mut files: Vec<&Path> = all.iter().flatten().map(PathBuf::as_path).collect();
        files.extend(self.needs.iter().map(|built| built.file.as_path()));
        node.add(&files)?;
        let set = [
            "plugin-host=1",
            "plugin-host-plugins=1",
            "libgreeting=1",
            "runtime",
            "base",
        ];
        let report = node.activate(&set)?;
        ensure!(report["outcome"] == "done", "{report}");
        Ok(node)
    }
}

struct Client {
    stream: UnixStream,
    answers: BufReader<UnixStream>,
}

impl Client {
    fn connect(house: &House) -> Result<Self> {
        let stream = UnixStream::connect(house.socket()).context("the host's socket")?;
        Ok(Self {
            answers: BufReader::new(stream.try_clone()?),
            stream,
        })
    }

    fn ask(&mut self, request: &str) -> Result<String> {
        writeln!(self.stream, "{request}")?;
        let mut line = String::new();
        ensure!(
            self.answers.read_line(&mut line)? > 0,
            "the host closed the connection"
        );
        Ok(line.trim_end().to_owned())
    }
}

fn said_of<'a>(report: &'a Value, process: &str) -> Result<&'a Value> {
    let all = list(&report["processes"])?;
    all.iter()
        .find(|one| one["name"] == process)
        .with_context(|| format!("{process}: {report}"))
}

/// Asks without pause until told to stop; every request must be answered, in order. Answers how
/// many there were.
fn load(mut client: Client, begun: &mpsc::Sender<()>, stop: &AtomicBool) -> Result<usize> {
    let mut asked = 0;
    while !stop.load(Ordering::Acquire) {
        asked += 1;
        let answer = client.ask("hello Ada")?;
        ensure!(
            answer.ends_with(&format!("no. {asked})")),
            "request {asked}: {answer}"
        );
        let _gone = begun.send(());
    }
    Ok(asked)
}

/// Sets a flag when it goes.
struct Sets<'a>(&'a AtomicBool);

impl Drop for Sets<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[test]
fn it_keeps_its_pid_runs_the_new_plugin_and_library_and_loses_no_request() -> Result<()> {
    let house = House::build(&[])?;
    let node = house.node()?;
    let pid = node.pid("plugin-host")?;
    let (mut client, loaded) = (Client::connect(&house)?, Client::connect(&house)?);
    assert_eq!(
        client.ask("goodbye Ada")?,
        "Goodbye, Ada! (goodbye 1, libgreeting 1, no. 1)"
    );
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| -> Result<()> {
        let sets = Sets(&stop);
        let (begun, beginning) = mpsc::channel();
        let stop = &stop;
        let load = scope.spawn(move || load(loaded, &begun, stop));
        beginning.recv()?;

        let report = node.activate(&["libgreeting=2"])?;
        assert_eq!(report["outcome"], "done", "{report}");
        assert_eq!(
            said_of(&report, "plugin-host")?["verdict"],
            "notify",
            "{report}"
        );
        let answer = client.ask("goodbye Ada")?;
        assert_eq!(answer, "Goodbye, Ada! (goodbye 1, libgreeting 2, no. 2)");

        let report = node.activate(&["plugin-host-plugins=2"])?;
        assert_eq!(report["outcome"], "done", "{report}");
        let answer = client.ask("goodbye Ada")?;
        assert_eq!(answer, "Goodbye, Ada! (goodbye 2, libgreeting 2, no. 3)");

        drop(sets);
        let asked = load.join().ok().context("the load failed")??;
        let next = client.ask("hello Ada")?;
        assert_eq!(
            next,
            format!("Hello, Ada! (hello 2, libgreeting 2, no. {})", asked + 1)
        );
        Ok(())
    })?;
    assert_eq!(node.pid("plugin-host")?, pid);
    Ok(())
}

#[test]
fn it_follows_a_change_back() -> Result<()> {
    let house = House::build(&[])?;
    let node = house.node()?;
    let pid = node.pid("plugin-host")?;
    let mut client = Client::connect(&house)?;
    for (version, number) in [("2", 1), ("1", 2), ("2", 3)] {
        let both = [
            format!("libgreeting={version}"),
            format!("plugin-host-plugins={version}"),
        ];
        let report = node.activate(&[&both[0], &both[1]])?;
        assert_eq!(report["outcome"], "done", "{report}");
        let answer = client.ask("hello Ada")?;
        let expected =
            format!("Hello, Ada! (hello {version}, libgreeting {version}, no. {number})");
        assert_eq!(answer, expected);
    }
    assert_eq!(node.pid("plugin-host")?, pid);
    Ok(())
}

#[test]
fn it_is_asked_and_told_by_a_sysmgrd_that_was_restarted() -> Result<()> {
    let house = House::build(&[])?;
    let node = house.fill(Node::start_with(&["--restart-daemons"])?)?;
    let pid = node.pid("plugin-host")?;
    let mut client = Client::connect(&house)?;
    for (version, number) in [("2", 1), ("1", 2)] {
        let file = node.root().join("run/sysmgrd.pid");
        let running = || node.ok(&[OsStr::new("cat"), file.as_os_str()]);
        let dead = running()?;
        node.ok(&["kill", "-9", dead.trim()])?;
        tests::wait::until("another sysmgrd runs", || {
            Ok((running()? != dead && node.json(&["ps"]).is_ok()).then_some(()))
        })?;
        let both = [
            format!("libgreeting={version}"),
            format!("plugin-host-plugins={version}"),
        ];
        let report = node.activate(&[&both[0], &both[1]])?;
        assert_eq!(report["outcome"], "done", "{report}");
        let answer = client.ask("hello Ada")?;
        let expected =
            format!("Hello, Ada! (hello {version}, libgreeting {version}, no. {number})");
        assert_eq!(answer, expected);
        assert_eq!(node.pid("plugin-host")?, pid);
    }
    Ok(())
}

#[test]
fn without_its_done_it_is_restarted_after_its_time_out() -> Result<()> {
    let silent = r#"ENVIRONMENT=, PLUGIN_HOST_SILENT = "1""#;
    let house = House::build(&["TIMEOUT=2s", silent])?;
    let node = house.node()?;
    let pid = node.pid("plugin-host")?;
    let report = node.activate(&["libgreeting=2"])?;
    assert_eq!(report["outcome"], "done", "{report}");
    let said = said_of(&report, "plugin-host")?;
    assert_eq!(said["verdict"], "restart", "{report}");
    assert!(
        said["detail"]
            .to_string()
            .contains("no done within 2000 ms"),
        "{report}"
    );
    assert_ne!(node.pid("plugin-host")?, pid);
    let answer = Client::connect(&house)?.ask("hello Ada")?;
    assert_eq!(answer, "Hello, Ada! (hello 1, libgreeting 2, no. 1)");
    Ok(())
}

#[test]
fn a_pinned_library_is_said_and_the_process_restarted() -> Result<()> {
    let house = House::build(&["LIBRARY_FLAGS=-Wl,-z,nodelete"])?;
    let node = house.node()?;
    let pid = node.pid("plugin-host")?;
    let report = node.activate(&["libgreeting=2"])?;
    assert_eq!(report["outcome"], "done", "{report}");
    let said = said_of(&report, "plugin-host")?;
    assert_eq!(said["verdict"], "restart", "{report}");
    assert!(
        said["detail"]
            .to_string()
            .contains("libgreeting.so.1 is never unloaded"),
        "{report}"
    );
    assert_ne!(node.pid("plugin-host")?, pid);
    let answer = Client::connect(&house)?.ask("hello Ada")?;
    assert_eq!(answer, "Hello, Ada! (hello 1, libgreeting 2, no. 1)");
    Ok(())
}

#[test]
fn its_veto_stops_the_change_and_says_why() -> Result<()> {
    let house = House::build(&[])?;
    let node = house.node()?;
    let pid = node.pid("plugin-host")?;
    let mut client = Client::connect(&house)?;
    assert_eq!(client.ask("busy on the phone")?, "busy");
    let words = ["pkgtool", "activate", "--yes", "libgreeting=2"];
    let output = node.run(&words)?;
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("on the phone"), "{said}");
    assert_eq!(
        client.ask("hello Ada")?,
        "Hello, Ada! (hello 1, libgreeting 1, no. 1)"
    );
    assert_eq!(client.ask("idle")?, "idle");
    let report = node.activate(&["libgreeting=2"])?;
    assert_eq!(report["outcome"], "done", "{report}");
    assert_eq!(
        client.ask("hello Ada")?,
        "Hello, Ada! (hello 1, libgreeting 2, no. 2)"
    );
    assert_eq!(node.pid("plugin-host")?, pid);
    Ok(())
}
