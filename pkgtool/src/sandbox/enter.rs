//! A second command in a node that already runs.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Child;

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::kill;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::init;
use super::layout::Layout;
use super::outer::{binaries, pid_of};
use super::signals::{Heard, Signals, shell_status};
use crate::outcome::{CommandError, Kind, Outcome};
use crate::show::Show;

/// Enters the node and runs `command` in it. It ends with the node at the latest.
pub fn run(
    layout: &Layout,
    command: &[OsString],
    show: &mut Show,
) -> Result<Outcome, CommandError> {
    // What runs inside is found as it is seen outside.
    let binaries = binaries()?;
    let here = std::env::current_dir();
    let signals = Signals::take()?;
    let pid = recorded_init(layout).ok_or_else(|| gone(layout))?;
    let handle = pidfd_open(pid, PidfdFlags::empty()).map_err(|_| gone(layout))?;
    enter(pid, &handle)?;
    // The mount namespace's root is where one stands after entering it.
    if let Ok(here) = here {
        drop(std::env::set_current_dir(here));
    }
    run_child(layout, &binaries, command, &signals, show)
}

/// Runs `command` as a child of a process that is in the node already.
pub fn run_here(
    layout: &Layout,
    command: &[OsString],
    show: &mut Show,
) -> Result<Outcome, CommandError> {
    run_child(layout, &binaries()?, command, &Signals::take()?, show)
}

fn run_child(
    layout: &Layout,
    binaries: &Path,
    command: &[OsString],
    signals: &Signals,
    show: &mut Show,
) -> Result<Outcome, CommandError> {
    let mut command = init::command(command, layout, binaries);
    match signals.spawn(&mut command) {
        Ok(child) => attend(child, signals),
        Err(error) => {
            let (status, error) = init::could_not_run(command.get_program(), &error);
            show.error(&error);
            Ok(Outcome::Status(status))
        }
    }
}

/// The init of the node that runs, or ran last, in this directory.
pub fn recorded_init(layout: &Layout) -> Option<Pid> {
    fs_err::read_to_string(layout.own("running"))
        .ok()
        .as_deref()
        .and_then(pid_of)
}

fn gone(layout: &Layout) -> CommandError {
    CommandError::failed(format!(
        "the node in {} has just ended",
        layout.root().display()
    ))
    .hint("run the command again to start it anew")
}

/// Moves this process into those of the init's namespaces that are not its own; the pid
/// namespace takes its children only.
fn enter(pid: Pid, handle: &OwnedFd) -> Result<(), CommandError> {
    let spaces = [
        ("user", CloneFlags::CLONE_NEWUSER),
        ("mnt", CloneFlags::CLONE_NEWNS),
        ("pid", CloneFlags::CLONE_NEWPID),
        ("net", CloneFlags::CLONE_NEWNET),
    ];
    let mut differing = CloneFlags::empty();
    for (name, flag) in spaces {
        let of = |who: &str| fs_err::read_link(format!("/proc/{who}/ns/{name}"));
        let theirs = of(&pid.as_raw_nonzero().to_string()).map_err(not_allowed)?;
        if theirs != of("self").context("no namespaces in /proc")? {
            differing |= flag;
        }
    }
    setns(handle, differing).map_err(not_allowed)
}

fn not_allowed(error: impl Into<anyhow::Error>) -> CommandError {
    let error = error.into().context("could not enter the node");
    CommandError::new(Kind::NotAllowed, error).hint("only its owner and root can enter a node")
}

/// Waits for the command; signals that are meant to end this process are handed on to it.
pub(super) fn attend(mut child: Child, signals: &Signals) -> Result<Outcome, CommandError> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Outcome::Status(shell_status(status)));
        }
        match signals.next()? {
            Heard::End(signal) => {
                let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id())?);
                // It may have ended in this moment.
                let _ = kill(pid, signal);
            }
            Heard::Child | Heard::Terminal(_) => {}
        }
    }
}
