//! A master and nodes on one machine, each with a network of its own.
//!
//! ```text
//! pkgtool sandbox --fleet FILE ── unshare net ──► the switch: a bridge, 10.87.0.1
//!   ├── masterd                                    listens there
//!   ├── pkgtool sandbox --net host (in a network namespace of its own, 10.87.0.2, …) for each node
//!   └── CMD, or a shell                            CHANGEOVER_FLEET, CHANGEOVER_NODES
//! ```
//!
//! Nothing of the machine's network is touched: the bridge is in a namespace that ends with this
//! process, and whatever becomes of it, the kernel ends master and nodes with it.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use model::wire::NodeName;
use nix::sched::{CloneFlags, unshare};
use serde::Deserialize;

use super::outer::binaries;
use super::signals::Signals;
use super::{NodeFacts, enter, network};
use crate::fleet::ProfileFile;
use crate::outcome::{CommandError, Kind, Outcome};
use crate::show::Show;

/// Where the master listens.
const MASTER: &str = "10.87.0.1";
const PORT: u16 = 7443;

/// Runs masterd (`$0`) on a configuration (`$1`) again and again; it dies with the shell.
const AGAIN: &str =
    r#"while :; do setpriv --pdeathsig KILL "$0" --config "$1" serve; sleep 0.2; done"#;

/// More nodes than this have no address.
const MOST_NODES: usize = 250;

/// `FILE`: the nodes of a fleet.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Spec {
    /// Lines for `masterd.toml`.
    #[serde(default)]
    pub master: toml::Table,
    /// The nodes.
    pub node: Vec<SpecNode>,
}

/// One node.
#[derive(Debug, Clone, Deserialize)]
pub struct SpecNode {
    /// Its name.
    pub name: NodeName,
    /// What it is.
    #[serde(flatten)]
    pub facts: NodeFacts,
}

/// Runs `command` beside a fleet in `root`: starts it, and ends it with the command.
pub fn run(
    spec: &Spec,
    root: &Path,
    command: &[OsString],
    show: &mut Show,
) -> Result<Outcome, CommandError> {
    if !nix::unistd::geteuid().is_root() {
        let words = "a fleet has networks of its own, which root alone can make";
        return Err(
            CommandError::new(Kind::NotAllowed, anyhow::Error::msg(words))
                .hint("run it as root: sudo pkgtool sandbox --fleet …"),
        );
    }
    if spec.node.len() > MOST_NODES {
        return Err(CommandError::usage(format!("at most {MOST_NODES} nodes")));
    }
    fs_err::create_dir_all(root)?;
    let root = fs_err::canonicalize(root)?;
    make_switch()?;
    let mut fleet = Running {
        binaries: binaries()?,
        root,
        master: None,
        nodes: Vec::new(),
    };
    fleet.start_master(spec)?;
    show.note(format_args!("the master is at https://{MASTER}:{PORT}"));
    for (number, node) in spec.node.iter().enumerate() {
        fleet.start_node(number, node)?;
        show.note(format_args!("{} is up and has joined", node.name));
    }
    let signals = Signals::take()?;
    let child = signals
        .spawn(&mut fleet.command(command))
        .context("could not run the command")?;
    enter::attend(child, &signals)
}

/// A network namespace with a bridge that has the master's address.
fn make_switch() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).context("could not make a network namespace")?;
    network::bring_loopback_up()?;
    ip(&["link", "add", "br0", "type", "bridge"])?;
    ip(&["addr", "add", &format!("{MASTER}/24"), "dev", "br0"])?;
    ip(&["link", "set", "br0", "up"])
}

fn ip(words: &[&str]) -> Result<()> {
    quiet(Command::new("ip").args(words)).context("apt-get install iproute2, if it is not there")
}

/// Runs a program that has nothing to say when it does well.
fn quiet(command: &mut Command) -> Result<()> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("could not run {}", command.get_program().display()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    bail!(
        "{} {}: {}",
        command.get_program().display(),
        output.status,
        said.trim()
    )
}

struct Running {
    binaries: PathBuf,
    root: PathBuf,
    master: Option<Child>,
    nodes: Vec<(Child, Option<ChildStdin>)>,
}

impl Running {
    fn profile(&self) -> PathBuf {
        self.root.join("operator.toml")
    }

    fn start_master(&mut self, spec: &Spec) -> Result<(), CommandError> {
        let mut config = spec.master.clone();
        let state = self.root.join("master");
        let state = state.to_string_lossy().into_owned();
        config.insert("state-dir".to_owned(), state.into());
        config.insert("listen".to_owned(), format!("{MASTER}:{PORT}").into());
        let text = toml::to_string(&config).context("masterd.toml")?;
        fs_err::write(self.root.join("masterd.toml"), text)?;
        if !self.profile().exists() {
            let mut init = Command::new(self.binaries.join("masterd"));
            init.arg("--config").arg(self.root.join("masterd.toml"));
            init.args(["init", "--name", MASTER, "--profile"]);
            quiet(init.arg(self.profile()))?;
        }
        let log = fs_err::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.root.join("masterd.log"))?;
        // It is started again when it dies, as a service manager would.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "sh", "-c", AGAIN])
            .arg(self.binaries.join("masterd"))
            .arg(self.root.join("masterd.toml"))
            .env("NO_COLOR", "1")
            .env_remove("JOURNAL_STREAM")
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null())
            .stdout(log.file().try_clone()?)
            .stderr(log.into_parts().0)
            .spawn()
            .context("could not start masterd")?;
        self.master = Some(child);
        self.await_master()
    }

    fn await_master(&self) -> Result<(), CommandError> {
        let master = ProfileFile::new(Some(&self.profile())).connect()?;
        let log = self.root.join("masterd.log");
        for _ in 0..300 {
            if master.get::<serde_json::Value>("/v1/fleet").is_ok() {
                return Ok(());
            }
            master.pause(Duration::from_millis(100));
        }
        let hint = format!("read why in {}", log.display());
        Err(CommandError::failed("the master does not answer").hint(hint))
    }

    fn start_node(&mut self, number: usize, node: &SpecNode) -> Result<(), CommandError> {
        let directory = self.root.join(node.name.as_str());
        fs_err::create_dir_all(&directory)?;
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "unshare", "--net", "--"])
            .arg(own_program()?)
            .args(["--quiet", "sandbox", "--net", "host", "--restart-daemons"])
            .arg("--root")
            .arg(&directory)
            .args(facts(&node.facts))
            .args(["--", "sh", "-c", "echo up; exec cat >/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().context("could not start a node")?;
        let alive = child.stdin.take();
        let output = child.stdout.take().context("a node has no output")?;
        let pid = child.id();
        self.nodes.push((child, alive));
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        if line != "up\n" {
            let words = format!("{} did not come up", node.name);
            return Err(CommandError::failed(words));
        }
        plug_in(number, pid)?;
        self.join(&node.name, &directory)
    }

    fn join(&self, name: &NodeName, directory: &Path) -> Result<(), CommandError> {
        let new = model::wire::NewToken {
            uses: 1,
            seconds: 600,
            classes: Vec::new(),
        };
        let on_node = || -> Result<Command> {
            let mut command = Command::new(own_program()?);
            command.args(["--quiet", "sandbox", "--root"]);
            command.arg(directory).args(["--", "pkgtool"]);
            Ok(command)
        };
        let master = ProfileFile::new(Some(&self.profile())).connect()?;
        let known: Vec<model::wire::NodeView> = master.get("/v1/nodes")?;
        if known.iter().any(|one| one.name == *name) {
            return Ok(());
        }
        let issued: model::wire::IssuedToken = master.post("/v1/tokens", &new)?;
        let url = format!("https://{MASTER}:{PORT}");
        let words = [
            "join",
            &url,
            "--name",
            name.as_str(),
            "--token",
            &issued.token.0,
        ];
        quiet(on_node()?.args(words)).with_context(|| format!("{name} could not join"))?;
        Ok(())
    }

    /// The user's command, or a shell, with all that points at the fleet.
    fn command(&self, words: &[OsString]) -> Command {
        let shell = std::env::var_os("SHELL").unwrap_or_else(|| OsStr::new("/bin/sh").to_owned());
        let mut command = match words.split_first() {
            Some((program, arguments)) => {
                let mut command = Command::new(program);
                command.args(arguments);
                command
            }
            None => Command::new(shell),
        };
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .env("CHANGEOVER_FLEET", self.profile())
            .env("CHANGEOVER_NODES", &self.root)
            .env("PATH", format!("{}:{path}", self.binaries.display()));
        command
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for (_, alive) in &mut self.nodes {
            // Its command reads from there: it ends, and the node with it.
            drop(alive.take());
        }
        for (node, _) in &mut self.nodes {
            drop(node.wait());
        }
        if let Some(master) = &mut self.master {
            drop(master.kill());
            drop(master.wait());
        }
    }
}

/// A cable from the node's network namespace to the bridge.
fn plug_in(number: usize, pid: u32) -> Result<()> {
    let (here, pid) = (format!("node{number}"), pid.to_string());
    let peer = ["peer", "name", "eth0", "netns", &pid];
    ip(&[&["link", "add", &here, "type", "veth"], &peer[..]].concat())?;
    ip(&["link", "set", &here, "master", "br0", "up"])?;
    let address = format!("10.87.0.{}/24", number + 2);
    let there = |words: &[&str]| {
        let mut command = Command::new("nsenter");
        quiet(command.args(["-t", &pid, "-n", "ip"]).args(words))
    };
    there(&["addr", "add", &address, "dev", "eth0"])?;
    there(&["link", "set", "eth0", "up"])?;
    there(&["link", "set", "lo", "up"])
}

fn own_program() -> Result<PathBuf> {
    std::env::current_exe().context("could not find pkgtool's own program")
}

fn facts(facts: &NodeFacts) -> Vec<String> {
    let one = |option: &str, value: &Option<String>| {
        value.as_ref().map(|value| format!("{option}={value}"))
    };
    let single = [
        one("--arch", &facts.arch),
        one("--type", &facts.node_type),
        one("--location", &facts.location),
    ];
    let classes = facts.class.iter().map(|name| format!("--class={name}"));
    let features = facts
        .features
        .iter()
        .map(|name| format!("--feature={name}"));
    (single.into_iter().flatten())
        .chain(classes)
        .chain(features)
        .collect()
}
