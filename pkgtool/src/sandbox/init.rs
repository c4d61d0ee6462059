//! The inner init: pid 1 of a node. It makes the node's world, runs its daemons and the user's
//! command, buries what ends, and takes everything with it when it goes.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::daemon::{Daemon, Which};
use super::layout::Layout;
use super::store::Store;
use super::{Net, OnDeath, Plan, config, mounts, network};
use crate::outcome::{CommandError, Outcome};
use crate::show::Show;

/// How long the daemons may take to end when the node ends, and then everything else.
const GRACE_MS: u16 = 2_000;

/// So many daemons that end before they are ready say that none will ever be.
const MOST_UNREADY: u32 = 20;

/// Runs a node from its first mount to its end. Only ever called in a process that
/// [`super::outer`] started.
pub fn run(plan: &Plan, command: &[OsString], show: &mut Show) -> Result<Outcome, CommandError> {
    if std::process::id() != 1 {
        return Err(CommandError::usage(
            "sandbox-init is started by `pkgtool sandbox` only",
        ));
    }
    // The outer process blocks what it takes by other means; here and in our children nothing is.
    SigSet::empty().thread_set_mask().context("sigprocmask")?;
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .context("prctl")?;
    let layout = Layout::new(&plan.root);
    // Refused when the outer process has already gone.
    let control =
        UnixStream::connect(layout.own("control")).context("the outer process has gone")?;
    let world = make_world(&layout, plan);
    world.map_err(|error| not_possible(error, plan))?;
    let mut node = Node {
        layout,
        plan,
        daemons: Vec::new(),
        unready: 0,
        store: Arc::default(),
    };
    let end = node.start().and_then(|()| {
        wait_for_go(control)?;
        node.run_command(command, show)
    });
    node.shut_down();
    end
}

fn make_world(layout: &Layout, plan: &Plan) -> Result<()> {
    let mut spaces = CloneFlags::CLONE_NEWNS;
    if plan.net == Net::Own {
        spaces |= CloneFlags::CLONE_NEWNET;
    }
    unshare(spaces).context("could not make the node's namespaces")?;
    mounts::set_up(layout, plan)?;
    if plan.net == Net::Own {
        network::bring_loopback_up()?;
    }
    config::write(layout, plan)?;
    let bus = layout.run().join("dbus");
    fs_err::create_dir(bus)?;
    Ok(())
}

fn not_possible(error: anyhow::Error, plan: &Plan) -> CommandError {
    let error = CommandError::from(error);
    if plan.user_namespace {
        error.hint("run it as root: sudo pkgtool sandbox …")
    } else {
        error
    }
}

/// Tells the outer process that the node is ready, and waits until it has written that down.
fn wait_for_go(mut control: UnixStream) -> Result<(), CommandError> {
    let doing = "the outer process has gone";
    control.write_all(b"ready\n").context(doing)?;
    let mut answer = String::new();
    BufReader::new(control)
        .read_line(&mut answer)
        .context(doing)?;
    if answer == "go\n" {
        Ok(())
    } else {
        Err(CommandError::failed(doing))
    }
}

struct Node<'a> {
    layout: Layout,
    plan: &'a Plan,
    daemons: Vec<Daemon>,
    /// How many daemons ended one after the other before they were ready.
    unready: u32,
    /// What `sysmgrd` has kept over its restarts.
    store: Arc<Store>,
}

impl Node<'_> {
    fn start(&mut self) -> Result<(), CommandError> {
        for which in Which::ALL {
            // The log of the last boot stays readable beside this one's.
            let log = self.layout.log(which.name());
            drop(fs_err::rename(&log, log.with_extension("log.1")));
            let daemon = Daemon::start(which, &self.layout, self.plan, &self.store)?;
            self.daemons.push(daemon);
        }
        Ok(())
    }

    /// Runs the user's command to its end and answers its status; buries everybody else.
    fn run_command(
        &mut self,
        words: &[OsString],
        show: &mut Show,
    ) -> Result<Outcome, CommandError> {
        let mut command = command(words, &self.layout, &self.plan.binaries);
        let child = match command.spawn() {
            Ok(child) => Pid::from_raw(i32::try_from(child.id())?),
            Err(error) => {
                let (status, error) = could_not_run(command.get_program(), &error);
                show.error(&error);
                return Ok(Outcome::Status(status));
            }
        };
        loop {
            let (pid, status, how) = match waitpid(None, None) {
                Ok(WaitStatus::Exited(pid, code)) => (
                    pid,
                    u8::try_from(code & 0xff).unwrap_or(1),
                    format!("exit status {code}"),
                ),
                Ok(WaitStatus::Signaled(pid, signal, _)) => {
                    let code = u8::try_from(128 + signal as i32).unwrap_or(1);
                    (pid, code, format!("killed by {signal}"))
                }
                Ok(_) | Err(Errno::EINTR) => continue,
                Err(error) => return Err(error.into()),
            };
            if pid == child {
                return Ok(Outcome::Status(status));
            }
            self.buried(pid, &how)?;
        }
    }

    /// If it was a daemon, it is started again or the node ends, as the plan says.
    fn buried(&mut self, pid: Pid, how: &str) -> Result<(), CommandError> {
        let Some(place) = self
            .daemons
            .iter()
            .position(|daemon| daemon.pid == pid.as_raw())
        else {
            return Ok(());
        };
        let mut dead = self.daemons.remove(place);
        if self.plan.on_death == OnDeath::End {
            return Err(dead.failed(
                &format!("ended ({how}), and the node with it"),
                &self.layout,
                self.plan,
            ));
        }
        self.unready = if dead.was_ready() {
            0
        } else {
            self.unready + 1
        };
        if self.unready > MOST_UNREADY {
            return Err(dead.failed(
                &format!("ends again and again before it is ready ({how})"),
                &self.layout,
                self.plan,
            ));
        }
        // Whoever else ends meanwhile has to be started too: a daemon may wait for another to be ready.
        let again = Daemon::spawn(dead.which, &self.layout, self.plan, &self.store)?;
        self.daemons.insert(place, again);
        Ok(())
    }

    /// Daemons first, so that nothing is started again; then everything else; what is left dies
    /// with this process.
    fn shut_down(&mut self) {
        for daemon in self
            .daemons
            .iter()
            .rev()
            .filter(|one| one.which != Which::Bus)
        {
            daemon.terminate();
            let mut ended = [PollFd::new(daemon.as_fd(), PollFlags::POLLIN)];
            let _ = poll(&mut ended, PollTimeout::from(GRACE_MS));
        }
        // -1: everybody in this pid namespace but its init.
        let _ = kill(Pid::from_raw(-1), Signal::SIGTERM);
        for _ in 0..GRACE_MS / 10 {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) => {
                    let _ = poll(&mut [], PollTimeout::from(10_u8));
                }
                Ok(_) => {}
                Err(_) => return,
            }
        }
    }
}

/// A command, or the user's shell, with the environment that points every tool at the node.
pub fn command(words: &[OsString], layout: &Layout, binaries: &Path) -> Command {
    let mut command = match words.split_first() {
        Some((program, arguments)) => {
            let mut command = Command::new(program);
            command.args(arguments);
            command
        }
        None => shell(layout),
    };
    command
        .env("CHANGEOVER_BUS", layout.bus_address())
        .env("CHANGEOVER_ROOT", layout.root())
        .env("PATH", path_with(binaries));
    command
}

/// The user's shell, with a prompt that says where one is.
fn shell(layout: &Layout) -> Command {
    let shell = std::env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into());
    let mut command = Command::new(&shell);
    command.env("PS1", "(changeover) \\w \\$ ");
    if Path::new(&shell).file_name() == Some(OsStr::new("bash")) {
        // The user's own file sets the prompt again.
        command.arg("--rcfile").arg(layout.own("bashrc"));
    }
    command
}

/// The error for a command that could not be started, with its exit status.
pub fn could_not_run(program: &OsStr, error: &std::io::Error) -> (u8, CommandError) {
    let status = if error.kind() == std::io::ErrorKind::NotFound {
        127
    } else {
        126
    };
    let message = format!("could not run {}: {error}", program.to_string_lossy());
    (status, CommandError::failed(message))
}

fn path_with(binaries: &Path) -> OsString {
    let old = std::env::var_os("PATH").unwrap_or_else(|| "/usr/sbin:/usr/bin:/sbin:/bin".into());
    let own = std::env::current_exe()
        .ok()
        .and_then(|own| own.parent().map(Path::to_owned));
    let first = own.into_iter().chain([binaries.to_owned()]);
    let dirs = first.chain(std::env::split_paths(&old));
    std::env::join_paths(dirs).unwrap_or(old)
}

/// Whether this process already lives in the node at `root`.
pub fn is_inside(root: &Path) -> bool {
    std::env::var_os("CHANGEOVER_ROOT").is_some_and(|inside| Path::new(&inside) == root)
        && Layout::new(root).bus_socket().exists()
}

/// Reads the plan that the outer process wrote.
pub fn parse_plan(text: &str) -> Result<Plan> {
    let plan: Plan = serde_json::from_str(text).context("not a plan of `pkgtool sandbox`")?;
    if !plan.root.is_absolute() {
        bail!("{}: not an absolute path", plan.root.display());
    }
    Ok(plan)
}
