//! A fleet to test on: a master and nodes on this machine's loopback, gone with the value.

pub mod house;
pub mod network;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::node::{Node, last_document, list};
use crate::{binaries, wait};
use network::Network;

/// A master that runs, and the nodes that have joined it.
///
/// Nodes end with this value; the master dies with the test's thread, however that ends.
#[derive(Debug)]
pub struct Fleet {
    nodes: BTreeMap<String, Node>,
    master: Option<Child>,
    network: Option<Network>,
    port: u16,
    begins_with: Vec<String>,
    dir: TempDir,
}

impl Fleet {
    /// A fresh master without nodes, on the machine's loopback.
    pub fn start() -> Result<Self> {
        // Nobody else on this machine is given the port in the next moment.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        Self::start_at(Self::empty()?, port, "")
    }

    /// A fresh master that begins with a composite image, and these options of `masterd init`.
    pub fn start_from(image: &Path, options: &[&str]) -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut fleet = Self::empty()?;
        let image = image.to_string_lossy().into_owned();
        let options = [&["--image", &image], options].concat();
        fleet.begins_with = options.into_iter().map(str::to_owned).collect();
        Self::start_at(fleet, port, "")
    }

    /// The same, with these lines more in its configuration.
    pub fn start_with(lines: &str) -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        Self::start_at(Self::empty()?, port, lines)
    }

    /// A fresh master on a network of its own, where a test pulls cables; with a size, on a disk
    /// of its own, too.
    pub fn start_on_network(disk: Option<&str>) -> Result<Self> {
        let mut fleet = Self::empty()?;
        let state = fleet.dir.path().join("master");
        fs_err::create_dir(&state)?;
        fleet.network = Some(Network::new(disk.map(|size| (size, state.as_path())))?);
        Self::start_at(fleet, 7443, "")
    }

    fn empty() -> Result<Self> {
        Ok(Self {
            nodes: BTreeMap::new(),
            master: None,
            network: None,
            port: 0,
            begins_with: Vec::new(),
            dir: tempfile::Builder::new().prefix("fleet-").tempdir()?,
        })
    }

    fn start_at(mut fleet: Self, port: u16, lines: &str) -> Result<Self> {
        fleet.port = port;
        let config = format!(
            "state-dir = \"{}\"\nlisten = \"{}:{port}\"\n{lines}\n\
             [limits]\nrequests-per-second = 1000\n\n\
             [link]\nping = \"2s\"\nretry-from = \"100ms\"\nretry-to = \"500ms\"\n",
            fleet.state().display(),
            fleet.host(),
        );
        fs_err::write(fleet.dir.path().join("masterd.toml"), config)?;
        let profile = fleet.profile();
        let mut init = fleet.masterd()?;
        init.args(["init", "--name", fleet.host(), "--profile"]);
        let init = init.arg(profile).args(&fleet.begins_with).output()?;
        ensure!(init.status.success(), "masterd init: {}", told(&init));
        fleet.start_master()?;
        Ok(fleet)
    }

    /// The master's address.
    fn host(&self) -> &'static str {
        if self.network.is_some() {
            network::MASTER
        } else {
            "127.0.0.1"
        }
    }

    /// Where the master keeps what it knows; on a disk of its own it is seen from there only.
    pub fn state(&self) -> PathBuf {
        self.dir.path().join("master")
    }

    /// The network, where the fleet has one of its own.
    pub fn network(&self) -> Result<&Network> {
        self.network.as_ref().context("no network of its own")
    }

    /// A command that runs on the master's machine.
    pub fn on_master(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        match &self.network {
            None => Command::new(program),
            Some(network) => {
                let mut command = network.inside();
                command.arg(program);
                command
            }
        }
    }

    /// The directory with the master's files and log.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// `https://HOST:PORT`
    pub fn url(&self) -> String {
        format!("https://{}:{}", self.host(), self.port)
    }

    fn profile(&self) -> PathBuf {
        self.dir.path().join("operator.toml")
    }

    /// masterd with this fleet's configuration.
    fn masterd(&self) -> Result<Command> {
        let program = binaries::dir()?.join("masterd");
        ensure!(
            program.exists(),
            "{} is not there: cargo build --bins",
            program.display()
        );
        // Whatever becomes of the test, the kernel ends the master with it.
        let mut command = self.on_master("setpriv");
        command
            .args(["--pdeathsig", "KILL"])
            .arg(program)
            .arg("--config")
            .arg(self.dir.path().join("masterd.toml"))
            .env("NO_COLOR", "1")
            .env_remove("JOURNAL_STREAM")
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null());
        Ok(command)
    }

    /// Starts the master, which does not run, and waits until it answers.
    pub fn start_master(&mut self) -> Result<()> {
        let log = fs_err::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir.path().join("masterd.log"))?;
        let child = self
            .masterd()?
            .arg("serve")
            .stdout(log.file().try_clone()?)
            .stderr(log.into_parts().0)
            .spawn()?;
        self.master = Some(child);
        wait::until("the master answers", || {
            if let Some(child) = &mut self.master
                && let Some(status) = child.try_wait()?
            {
                bail!("the master ended: {status}\n{}", self.log());
            }
            let answer = self.run(&["status"])?;
            Ok(answer.status.success().then_some(()))
        })
    }

    /// Kills the master as a power cut would.
    pub fn kill_master(&mut self) -> Result<()> {
        let mut master = self.master.take().context("the master does not run")?;
        master.kill()?;
        master.wait()?;
        Ok(())
    }

    /// What the master wrote.
    pub fn log(&self) -> String {
        fs_err::read_to_string(self.dir.path().join("masterd.log")).unwrap_or_default()
    }

    /// A command `pkgtool fleet …` as the first operator.
    pub fn command<S: AsRef<std::ffi::OsStr>>(&self, words: &[S]) -> Result<Command> {
        let mut command = self.on_master(binaries::pkgtool()?);
        command
            .env("CHANGEOVER_FLEET", self.profile())
            .env_remove("HTTPS_PROXY")
            .arg("fleet")
            .args(words)
            .stdin(Stdio::null());
        Ok(command)
    }

    /// Runs `pkgtool fleet …` to its end, whatever that is.
    pub fn run<S: AsRef<std::ffi::OsStr>>(&self, words: &[S]) -> Result<Output> {
        Ok(self.command(words)?.output()?)
    }

    /// Runs `pkgtool fleet …`, which must end with this exit code; all that it said.
    pub fn ends(&self, code: i32, words: &[&str]) -> Result<String> {
        let output = self.run(words)?;
        ensure!(
            output.status.code() == Some(code),
            "pkgtool fleet {} was to end with {code}: {}",
            words.join(" "),
            told(&output)
        );
        let (out, err) = (&output.stdout, &output.stderr);
        Ok(String::from_utf8_lossy(out).into_owned() + &String::from_utf8_lossy(err))
    }

    /// Runs `pkgtool fleet …`, which must succeed.
    pub fn ok(&self, words: &[&str]) -> Result<String> {
        self.ends(0, words)
    }

    /// Runs `pkgtool fleet --json …`, which must succeed; the last line, as a document.
    pub fn json(&self, words: &[&str]) -> Result<Value> {
        let output = self.run(&[&["--json"], words].concat())?;
        ensure!(
            output.status.success(),
            "pkgtool fleet --json {}: {}",
            words.join(" "),
            told(&output)
        );
        last_document(&String::from_utf8(output.stdout)?)
    }

    /// Brings packages to the master.
    pub fn import(&self, files: &[&Path]) -> Result<()> {
        let mut words = vec![std::ffi::OsString::from("import")];
        words.extend(files.iter().map(|file| file.as_os_str().to_owned()));
        let output = self.run(&words)?;
        ensure!(output.status.success(), "import: {}", told(&output));
        Ok(())
    }

    /// Starts a node with these options of `pkgtool sandbox` and brings it into the fleet.
    pub fn add_node(&mut self, name: &str, options: &[&str]) -> Result<()> {
        self.start_node(name, options)?;
        self.join(name)?;
        self.await_presence(name, "connected")
    }

    /// The same for several at once.
    pub fn add_nodes(&mut self, nodes: &[(&str, &[&str])]) -> Result<()> {
        for (name, options) in nodes {
            self.start_node(name, options)?;
            self.join(name)?;
        }
        for (name, _) in nodes {
            self.await_presence(name, "connected")?;
        }
        Ok(())
    }

    /// Starts a node that is in no fleet yet.
    pub fn start_node(&mut self, name: &str, options: &[&str]) -> Result<()> {
        self.start_node_with(name, options, &[])
    }

    /// The same with these in its environment.
    pub fn start_node_with(
        &mut self,
        name: &str,
        options: &[&str],
        environment: &[(&str, &str)],
    ) -> Result<()> {
        let options = [&NODE[..], options].concat();
        let mut below = self.below();
        below.envs(environment.iter().copied());
        let node = Node::start_within(below, &options)?;
        if let Some(network) = &mut self.network {
            network.plug_in(name, node.sandbox_pid())?;
        }
        self.nodes.insert(name.to_owned(), node);
        Ok(())
    }

    /// What a node's command is run by.
    fn below(&self) -> Command {
        if self.network.is_some() {
            Network::outside()
        } else {
            Command::new("env")
        }
    }

    /// Brings a node that runs into the fleet, by a token of its own.
    pub fn join(&self, name: &str) -> Result<()> {
        let token = self.ok(&["--quiet", "tokens", "add"])?;
        let (url, token) = (self.url(), token.trim());
        let join = ["pkgtool", "join", &url, "--token", token, "--name", name];
        (self.node(name)?.ok(&join))
            .with_context(|| format!("{name} could not join; the master: {}", self.log()))?;
        Ok(())
    }

    /// A node that was added.
    pub fn node(&self, name: &str) -> Result<&Node> {
        self.nodes
            .get(name)
            .with_context(|| format!("no node {name}"))
    }

    /// Ends a node: to the master it is away.
    pub fn stop_node(&mut self, name: &str) -> Result<()> {
        let node = self.nodes.get_mut(name).context("no such node")?;
        node.end()?;
        self.await_presence(name, "away")
    }

    /// Starts a node again that was ended, as after a power cut.
    pub fn wake_node(&mut self, name: &str) -> Result<()> {
        self.boot_node(name)?;
        self.await_presence(name, "connected")
    }

    /// The same, whatever the master says of it.
    pub fn boot_node(&mut self, name: &str) -> Result<()> {
        let node = self.nodes.remove(name).context("no such node")?;
        let node = node.reboot_within(self.below(), &NODE)?;
        if let Some(network) = &mut self.network {
            network.plug_in(name, node.sandbox_pid())?;
        }
        self.nodes.insert(name.to_owned(), node);
        Ok(())
    }

    /// A node leaves the test's hands, and ends with the value.
    pub fn take_node(&mut self, name: &str) -> Result<Node> {
        self.nodes.remove(name).context("no such node")
    }

    /// Another machine is meant by the name from now on; the one that was.
    pub fn swap_node(&mut self, name: &str, node: Node) -> Result<Node> {
        let before = self.nodes.insert(name.to_owned(), node);
        before.context("no such node")
    }

    /// Waits until the master says so of a node.
    pub fn await_presence(&self, name: &str, state: &str) -> Result<()> {
        wait::until(&format!("{name} is {state}"), || {
            let view = self.view(name)?;
            Ok((view["presence"]["state"] == state).then_some(()))
        })
    }

    /// A node as the master knows it.
    pub fn view(&self, name: &str) -> Result<Value> {
        self.json(&["nodes", "show", name])
    }

    /// An update as the master knows it.
    pub fn update(&self, id: u64) -> Result<Value> {
        self.json(&["show", &id.to_string()])
    }

    /// Begins an update and answers its number.
    pub fn begin(&self, words: &[&str]) -> Result<u64> {
        let view = self.json(&[&["update", "--yes"], words].concat())?;
        view["id"]
            .as_u64()
            .with_context(|| format!("no number: {view}"))
    }

    /// Waits until an update is there; the update.
    pub fn await_phase(&self, id: u64, phase: &str) -> Result<Value> {
        let found = wait::until(&format!("update {id} is {phase}"), || {
            let view = self.update(id)?;
            Ok((view["phase"] == phase).then_some(view))
        });
        found.with_context(|| {
            let view = self.ok(&["show", &id.to_string()]).unwrap_or_default();
            format!("{view}\n{}", self.log())
        })
    }

    /// One node's part of an update.
    pub fn part(view: &Value, node: &str) -> Result<Value> {
        let all = list(&view["nodes"])?;
        let one = all.iter().find(|one| one["node"] == node);
        one.cloned()
            .with_context(|| format!("{node} has no part in {view}"))
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show_log();
        }
        self.nodes.clear();
        if let Some(mut master) = self.master.take() {
            drop(master.kill());
            drop(master.wait());
        }
    }
}

impl Fleet {
    #[expect(
        clippy::print_stderr,
        reason = "the test harness shows it with the failure"
    )]
    fn show_log(&self) {
        eprintln!("--- masterd\n{}", self.log());
    }
}

/// Options of every node.
const NODE: [&str; 3] = ["--net", "host", "--restart-daemons"];

fn told(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    let (out, err) = (String::from_utf8_lossy(out), String::from_utf8_lossy(err));
    format!("{}\n{out}{err}", output.status)
}
