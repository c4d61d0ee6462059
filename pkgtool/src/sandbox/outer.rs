//! The outer process of a node: starts its init in fresh namespaces, waits for it, and removes
//! what the kernel does not remove by itself.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tempfile::TempDir;

use super::cgroup::Cgroup;
use super::layout::Layout;
use super::signals::{Heard, Signals, shell_status};
use super::users::{self, Users};
use super::{Net, NodeFacts, OnDeath, Plan, enter, init};
use crate::outcome::{CommandError, Kind, Outcome};
use crate::show::Show;

/// What the user wants.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The node's directory; a temporary one where absent.
    pub root: Option<PathBuf>,
    /// Its network.
    pub net: Net,
    /// Whether a temporary directory stays.
    pub keep: bool,
    /// What to do when a daemon ends.
    pub on_death: OnDeath,
    /// Whether packages must be signed.
    pub signatures: bool,
    /// What the node is; nothing said: what it was said to be last.
    pub facts: NodeFacts,
}

/// Runs `command` in the node: starts it, or enters it where it already runs.
pub fn run(wish: &Wish, command: &[OsString], show: &mut Show) -> Result<Outcome, CommandError> {
    let (root, temporary) = directory(wish)?;
    let layout = Layout::create(&root).map_err(|error| {
        CommandError::from(error).hint("choose another directory with --root DIR")
    })?;
    if init::is_inside(layout.root()) {
        return enter::run_here(&layout, command, show);
    }
    // Held until the node is ready: who comes second waits here, then finds the lock held.
    let starting = open_lock(&layout, "starting")?;
    starting
        .lock()
        .context("could not lock the node's directory")?;
    let lock = open_lock(&layout, "lock")?;
    if lock.try_lock().is_err() {
        drop(starting);
        return enter::run(&layout, command, show);
    }
    let outcome = start(&layout, wish, starting, command, show);
    drop(lock);
    remove(temporary, wish, show);
    outcome
}

fn open_lock(layout: &Layout, name: &str) -> Result<File> {
    let (file, _) = fs_err::File::create(layout.own(name))?.into_parts();
    Ok(file)
}

fn directory(wish: &Wish) -> Result<(PathBuf, Option<TempDir>)> {
    if let Some(root) = &wish.root {
        return Ok((root.clone(), None));
    }
    let dir = tempfile::Builder::new()
        .prefix("changeover-")
        .tempdir()
        .context("could not make a temporary directory")?;
    Ok((dir.path().to_owned(), Some(dir)))
}

fn remove(temporary: Option<TempDir>, wish: &Wish, show: &mut Show) {
    let Some(dir) = temporary else { return };
    if wish.keep {
        let kept = dir.keep();
        show.note(format_args!("the node stays in {}", kept.display()));
    } else if let Err(error) = dir.close() {
        show.warn(format_args!(
            "could not remove the node's directory: {error}"
        ));
    }
}

fn start(
    layout: &Layout,
    wish: &Wish,
    starting: File,
    command: &[OsString],
    show: &mut Show,
) -> Result<Outcome, CommandError> {
    await_end_of_the_last(layout);
    let signals = Signals::take()?;
    let user_namespace = !nix::unistd::geteuid().is_root();
    if user_namespace {
        let hint = "run it as root: sudo pkgtool sandbox …";
        let users =
            users::enter_namespace().map_err(|error| CommandError::from(error).hint(hint))?;
        say_which_users(&users, show);
    }
    let cgroup = Cgroup::create();
    let plan = Plan {
        root: layout.root().to_owned(),
        net: wish.net,
        user_namespace,
        cgroup: cgroup.as_ref().map(|group| group.dir().to_owned()),
        binaries: binaries()?,
        temporary: wish.root.is_none() && !wish.keep,
        on_death: wish.on_death,
        signatures: wish.signatures,
        facts: (wish.facts != NodeFacts::default()).then(|| wish.facts.clone()),
    };
    drop(fs_err::remove_file(layout.own("control")));
    let listener = UnixListener::bind(layout.own("control")).context("control socket")?;
    let mut child = spawn_init(&plan, command, &signals)?;
    let end = match (command.is_empty(), plan.temporary) {
        (false, _) => "",
        (true, false) => "; exit ends it",
        (true, true) => "; exit ends it and removes the directory",
    };
    show.note(format_args!(
        "starting a node in {}{end}",
        layout.root().display()
    ));
    if !wish.signatures {
        show.note("it takes unsigned packages; with --require-signatures it does not");
    }
    let outcome = attend(&mut child, layout, &listener, starting, &signals);
    // Whatever went wrong, nothing may stay: the init takes its pid namespace with it.
    drop(child.kill());
    drop(child.wait());
    for name in ["running", "control"] {
        drop(fs_err::remove_file(layout.own(name)));
    }
    drop(cgroup);
    outcome
}

fn say_which_users(users: &Users, show: &mut Show) {
    if let Users::OnlyRoot(why) = users {
        show.warn(format_args!(
            "processes of this node can be root only, not another user ({why}); \
             root could give you a range: usermod --add-subuids 100000-165535 \
             --add-subgids 100000-165535 $USER"
        ));
    }
}

/// Where sysmgrd and installd are.
pub fn binaries() -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os("CHANGEOVER_BIN_DIR") {
        return Ok(fs_err::canonicalize(dir)?);
    }
    let own = std::env::current_exe().context("could not find pkgtool's own program")?;
    Ok(own.parent().unwrap_or(Path::new("/usr/bin")).to_owned())
}

/// A node whose outer process was killed is still being taken down by the kernel.
fn await_end_of_the_last(layout: &Layout) {
    let Some(pid) = enter::recorded_init(layout) else {
        return;
    };
    let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else {
        return;
    };
    let cmdline =
        fs_err::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
    if cmdline.windows(12).any(|part| part == b"sandbox-init") {
        let mut end = [PollFd::new(handle.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut end, PollTimeout::from(10_000_u16));
    }
}

fn spawn_init(plan: &Plan, command: &[OsString], signals: &Signals) -> Result<Child, CommandError> {
    // The next child is pid 1 of a new namespace; this process stays where it is.
    unshare(CloneFlags::CLONE_NEWPID).map_err(|error| {
        CommandError::new(Kind::NotAllowed, anyhow::Error::new(error))
            .context("could not make a pid namespace")
            .hint("a container must be allowed to make namespaces (CAP_SYS_ADMIN)")
    })?;
    let plan = serde_json::to_string(plan)?;
    let own = std::env::current_exe().context("could not find pkgtool's own program")?;
    let mut init = Command::new(own);
    init.arg("sandbox-init").arg(plan).arg("--").args(command);
    Ok(signals
        .spawn(&mut init)
        .context("could not start the node's init")?)
}

/// Sees the init through its life: ready, recorded, ended.
fn attend(
    child: &mut Child,
    layout: &Layout,
    listener: &UnixListener,
    starting: File,
    signals: &Signals,
) -> Result<Outcome, CommandError> {
    let mut control = match await_ready(child, listener, signals)? {
        Start::Ready(control) => control,
        Start::Ended(code) => return Ok(Outcome::Status(code)),
    };
    fs_err::write(layout.own("running"), format!("{}\n", child.id()))?;
    drop(starting);
    control
        .write_all(b"go\n")
        .context("the node's init has gone")?;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Outcome::Status(shell_status(status)));
        }
        match signals.next()? {
            Heard::End(signal) => return Ok(Outcome::Status(killed_by(signal))),
            Heard::Child | Heard::Terminal(_) => {}
        }
    }
}

fn killed_by(signal: Signal) -> u8 {
    u8::try_from(128 + signal as i32).unwrap_or(1)
}

enum Start {
    Ready(UnixStream),
    Ended(u8),
}

fn await_ready(child: &mut Child, listener: &UnixListener, signals: &Signals) -> Result<Start> {
    let mut control: Option<UnixStream> = None;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Start::Ended(shell_status(status)));
        }
        let from_init = control.as_ref().map_or(listener.as_fd(), UnixStream::as_fd);
        let mut events = [
            PollFd::new(from_init, PollFlags::POLLIN),
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
        ];
        poll(&mut events, PollTimeout::NONE).context("poll")?;
        let [said, signalled] = events.map(|event| event.any().unwrap_or(false));
        if signalled {
            match signals.next()? {
                Heard::End(signal) | Heard::Terminal(signal) => {
                    return Ok(Start::Ended(killed_by(signal)));
                }
                Heard::Child => {}
            }
        } else if said {
            match control.take() {
                None => control = Some(listener.accept()?.0),
                Some(mut stream) => {
                    let mut word = [0_u8; 6];
                    if stream.read_exact(&mut word).is_ok() {
                        return Ok(Start::Ready(stream));
                    }
                    // Closed without a word: it is ending.
                    return Ok(Start::Ended(shell_status(child.wait()?)));
                }
            }
        }
    }
}

/// The pid of a node's init as another process of the machine sees it.
pub fn pid_of(text: &str) -> Option<Pid> {
    Pid::from_raw(text.trim().parse().ok()?)
}
