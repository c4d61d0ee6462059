//! A node to disturb: a library in many versions, processes that a change of it restarts, tells or
//! leaves alone, a configuration file, and everything that must hold whatever happened.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::builder::{Built, Workshop};
use crate::node::{Node, list};
use crate::{binaries, wait};

mod programs;
mod whole;

/// A version of the library whose users do not come up.
pub const BAD: u64 = 666;

/// Those that a change of the library restarts.
pub const REACHED: [&str; 2] = ["behind", "direct"];

/// Small, good enough, and the same for the same seed.
#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    /// With the seed of the environment's `CHANGEOVER_SEED`, else another one each time; printed.
    #[expect(clippy::print_stderr, reason = "the seed repeats a failure")]
    pub fn new() -> Result<Self> {
        let now = std::time::UNIX_EPOCH.elapsed()?.subsec_nanos();
        let seed = setting("CHANGEOVER_SEED").unwrap_or(u64::from(now) | 1);
        eprintln!("CHANGEOVER_SEED={seed}");
        Ok(Self(seed))
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end.max(1) as u64).unwrap_or_default()
    }
}

/// A number in the environment.
pub fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// What a house has.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Versions of the library, from 1.
    pub versions: u64,
    /// Whether a Self-Managing process is told of its changes, and a configuration file changes
    /// with it.
    pub told: bool,
}

/// The node with its packages.
#[derive(Debug)]
pub struct House {
    /// The node.
    pub node: Node,
    /// The library's path on the node.
    pub library: String,
    /// The packages that it was filled with.
    pub goods: Rc<Goods>,
    /// The processes' names, sorted.
    pub names: Vec<&'static str>,
}

/// Built packages; gone with this value.
#[derive(Debug)]
pub struct Goods {
    workshop: Workshop,
    /// What the set begins with.
    first: Vec<Built>,
    /// Further versions.
    later: Vec<Built>,
    plan: Plan,
}

/// What was before a change.
#[derive(Debug)]
pub struct Before {
    /// The active version of the library.
    pub old: u64,
    /// The one that is wanted.
    pub new: u64,
    /// The last change in the history.
    pub change: u64,
    /// Who ran, and as whom.
    pub pids: Vec<u64>,
    /// Whether the set stays the same, so that it does not tell whether the change happened.
    pub either: bool,
}

impl Goods {
    /// Builds them.
    pub fn build(plan: Plan) -> Result<Rc<Self>> {
        let workshop = Workshop::new()?;
        let mut libraries = Vec::new();
        for version in (1..=plan.versions).chain([BAD]) {
            libraries.push(programs::library(&workshop, version, plan)?);
        }
        let one = libraries.first().context("a library")?;
        let base = workshop.base()?;
        let users = programs::users(&workshop, one)?;
        let mut first = vec![base, one.clone(), users];
        if plan.told {
            first.push(programs::listener(&workshop)?);
        }
        let later = libraries.split_off(1);
        Ok(Rc::new(Self {
            workshop,
            first,
            later,
            plan,
        }))
    }

    /// A package of one file that no process uses.
    pub fn extra(&self, version: u64) -> Result<PathBuf> {
        let recipe = self.workshop.package("extra", &version.to_string())?;
        let text = format!("nothing of interest: {version}\n");
        let built = recipe.text("extra.txt", &text, "/usr/share/extra/")?;
        Ok(built.build()?.file)
    }

    /// Fills a fresh node: version 1 runs, all others are in the store.
    pub fn move_in(self: Rc<Self>, node: Node) -> Result<House> {
        self.fill(&node)?;
        Ok(self.live_in(node))
    }

    /// Has version 1 run on a fresh node, and puts all others into its store.
    pub fn fill(&self, node: &Node) -> Result<()> {
        let all = self.first.iter().chain(&self.later);
        let files: Vec<&Path> = all.map(|built| built.file.as_path()).collect();
        node.add(&files)?;
        let mut set = vec!["programs", "libanswer=1"];
        set.extend(self.plan.told.then_some("listener"));
        let report = node.activate(&set)?;
        ensure!(report["outcome"] == "done", "{report}");
        fs_err::create_dir_all(node.root().join("var/lib/gates"))?;
        Ok(())
    }

    /// A node that was filled before.
    pub fn live_in(self: Rc<Self>, node: Node) -> House {
        let library = format!("{}/libanswer.so.1", self.workshop.library_dir());
        let mut names = vec!["apart", "behind", "direct"];
        names.extend(self.plan.told.then_some("listener"));
        House {
            node,
            library,
            goods: self,
            names,
        }
    }
}

/// The command below which a node's changes are done without time to settle.
pub fn at_once() -> Command {
    let mut command = Command::new("env");
    command.arg("CHANGEOVER_SETTLING=0");
    command
}

impl House {
    /// A node that runs version 1 and has all up to `versions` in its store.
    pub fn start(versions: u64) -> Result<Self> {
        let plan = Plan {
            versions,
            told: false,
        };
        Goods::build(plan)?.move_in(Node::start_within(at_once(), &["--restart-daemons"])?)
    }

    /// The packages, without the node, which ends.
    pub fn move_out(self) -> Rc<Goods> {
        self.goods
    }

    /// The active version of the library.
    pub fn active(&self) -> Result<u64> {
        active(&self.node.json(&["status"])?)
    }

    /// What is there before a change to version `new`.
    pub fn before(&self, new: u64) -> Result<Before> {
        let old = self.active()?;
        let pids: Result<_> = self.names.iter().map(|name| self.node.pid(name)).collect();
        Ok(Before {
            old,
            new,
            change: self.last_change()?,
            pids: pids?,
            either: old == new,
        })
    }

    fn last_change(&self) -> Result<u64> {
        let history = self.node.json(&["history", "-n", "1"])?;
        history[0]["change"].as_u64().context("a change")
    }

    /// Begins a change to this version.
    pub fn begin(&self, version: u64) -> Result<Child> {
        let wanted = format!("libanswer={version}");
        self.begin_command(&["activate", "--json", "--yes", "--progress", &wanted])
    }

    /// Begins a command of pkgtool; its standard output is a pipe.
    pub fn begin_command(&self, words: &[&str]) -> Result<Child> {
        let mut command = self.node.command(&[&["pkgtool"], words].concat())?;
        let errors = File::from(fs_err::File::create(self.node.root().join("client"))?);
        command.stdin(Stdio::null()).stderr(errors);
        Ok(command.stdout(Stdio::piped()).spawn()?)
    }

    /// Kills daemons as `kill -9` does, all before another is started.
    pub fn kill(&self, daemons: &[&str]) -> Result<()> {
        let pids: Result<Vec<i32>> = (daemons.iter())
            .map(|name| {
                self.node
                    .daemon(name)?
                    .with_context(|| format!("{name} does not run"))
            })
            .collect();
        let pids = pids?;
        for pid in &pids {
            kill(Pid::from_raw(*pid), Signal::SIGKILL)?;
        }
        // Until another one runs, what is asked may still be answered by nobody.
        for (daemon, pid) in daemons.iter().zip(pids) {
            wait::until(&format!("another {daemon} runs"), || {
                Ok(self.node.daemon(daemon)?.filter(|now| *now != pid))
            })?;
        }
        Ok(())
    }
}

/// The active version of the library.
pub fn active(status: &Value) -> Result<u64> {
    let names = list(&status["active"])?.iter().filter_map(Value::as_str);
    let versions: Vec<&str> = names
        .filter_map(|name| name.strip_prefix("libanswer="))
        .collect();
    let [version] = versions[..] else {
        bail!("one libanswer is to be active: {status}");
    };
    Ok(version.parse()?)
}

/// Whoever asked for the change is told something, whatever it is.
pub fn ended(client: &mut Child) -> Result<()> {
    drop(client.stdout.take());
    let end = wait::until("pkgtool has ended", || Ok(client.try_wait()?));
    if end.is_err() {
        client.kill()?;
        client.wait()?;
    }
    end.map(drop)
}

/// An example program of this crate.
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
