//! What the engine knows of one process.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use model::change::ProcessStatus;
use model::transition::{Tree, Wanted};
use model::{PackageName, ProcessName, ProcessSpec};
use tokio::task::AbortHandle;

use super::Members;
use super::told::Session;
use crate::process::machine::{Rules, State};
use crate::process::restart::History;
use crate::sys::cgroup::Group;
use crate::sys::clock;
use crate::sys::logs::Log;
use crate::sys::notify_socket::NotifySocket;
use crate::sys::view::Moves;

/// One supervised process.
#[derive(Debug)]
pub(super) struct Supervised {
    pub(super) spec: Arc<ProcessSpec>,
    pub(super) package: PackageName,
    /// The generation that its next start is in, or that it runs in.
    pub(super) tree: Tree,
    /// The tree that its own view was made of, and whether another lies on it.
    pub(super) moves: Moves,
    pub(super) state: State,
    /// When it came into this state, for people.
    pub(super) since: String,
    /// Counts runs, so that news of an old one is known as such.
    pub(super) run: u64,
    pub(super) invocation: String,
    pub(super) main: Option<u32>,
    /// The identity of the main process, for as long as its end is awaited.
    pub(super) main_fd: Option<Arc<OwnedFd>>,
    /// When the main process was started, as the kernel counts; read when it is first asked for.
    pub(super) main_since: Option<u64>,
    /// The command that runs beside or before the main process.
    pub(super) command: Option<u32>,
    pub(super) group: Option<Group>,
    pub(super) log: Option<Log>,
    pub(super) listen: Vec<(String, Arc<OwnedFd>)>,
    pub(super) session: Option<Session>,
    /// `STATUS=`, as long as it runs.
    pub(super) status: Option<String>,
    pub(super) history: History,
    pub(super) starts: u32,
    pub(super) times: Times,
    /// Counts armings of the timer.
    pub(super) armed: u64,
    pub(super) timer: Option<Task>,
    /// Whether somebody watches the group's end.
    pub(super) watched: bool,
    /// How the program that is being started will say that it is ready.
    pub(super) ear: Option<Ear>,
    /// What belongs to this run and ends with it: readers of sockets, watchers.
    pub(super) tasks: Vec<Task>,
}

/// What a program says that it is ready with.
#[derive(Debug)]
pub(super) enum Ear {
    /// Messages to its notification socket.
    Messages(NotifySocket),
    /// A newline into the other end.
    Newline(OwnedFd),
}

/// When the last stop and start were.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Times {
    pub(super) stop: Option<Instant>,
    pub(super) start: Option<Instant>,
    pub(super) ready: Option<Instant>,
}

/// A task that ends with whoever holds this.
#[derive(Debug)]
pub(super) struct Task(AbortHandle);

impl Task {
    pub(super) fn spawn(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(work).abort_handle())
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Supervised {
    /// A process that has not run.
    pub(super) fn new(wanted: Wanted, tree: Tree) -> Self {
        Self {
            spec: Arc::new(wanted.spec),
            package: wanted.package,
            tree,
            moves: Moves::None,
            state: State::Stopped,
            since: clock::stamp(),
            run: 0,
            invocation: String::new(),
            main: None,
            main_fd: None,
            main_since: None,
            command: None,
            group: None,
            log: None,
            listen: Vec::new(),
            session: None,
            status: None,
            history: History::default(),
            starts: 0,
            times: Times::default(),
            armed: 0,
            timer: None,
            watched: false,
            ear: None,
            tasks: Vec::new(),
        }
    }

    pub(super) fn name(&self) -> &ProcessName {
        &self.spec.name
    }

    pub(super) fn rules(&self) -> Rules {
        Rules::of(&self.spec)
    }

    pub(super) fn wanted(&self) -> Wanted {
        Wanted {
            spec: (*self.spec).clone(),
            package: self.package.clone(),
        }
    }

    /// Whether it is where a transition to `wanted` in `tree` would bring it.
    pub(super) fn is_there(&self, wanted: &Wanted, tree: &Tree) -> bool {
        let up = match self.state {
            State::Ready => true,
            State::Done => self.spec.remain_after_exit,
            State::Stopped
            | State::Pre(_)
            | State::Starting
            | State::Post(_)
            | State::StopCommand(..)
            | State::Stopping(_)
            | State::Killing(_)
            | State::Waiting
            | State::Failed(_) => false,
        };
        up && *self.spec == wanted.spec && self.tree == *tree
    }

    /// Whether there is something to stop.
    pub(super) fn is_up(&self) -> bool {
        match self.state {
            State::Stopped | State::Failed(_) => false,
            State::Done => self.spec.remain_after_exit,
            State::Pre(_)
            | State::Starting
            | State::Post(_)
            | State::Ready
            | State::StopCommand(..)
            | State::Stopping(_)
            | State::Killing(_)
            | State::Waiting => true,
        }
    }

    pub(super) fn is_registered(&self) -> bool {
        self.session
            .as_ref()
            .is_some_and(|session| session.registered)
    }

    /// Numbers of every process in its group.
    pub(super) fn members(&self) -> Vec<u32> {
        self.group
            .as_ref()
            .map(|group| group.members(self.main))
            .unwrap_or_default()
    }

    /// Its group, to be looked at on another thread.
    pub(super) fn group_of(&self) -> Members {
        Members {
            process: self.name().clone(),
            generation: self.tree.generation,
            group: self.group.clone(),
            main: self.main,
        }
    }

    /// Why it failed, where it did.
    pub(super) fn why(&self) -> Option<String> {
        if let State::Failed(why) = &self.state {
            Some(why.to_string())
        } else {
            None
        }
    }

    pub(super) fn status(&self) -> ProcessStatus {
        let status = self.why().or_else(|| self.status.clone());
        ProcessStatus {
            name: self.name().clone(),
            package: self.package.clone(),
            pid: self.main,
            state: word(&self.state).to_owned(),
            generation: self.tree.generation,
            since: self.since.clone(),
            restarts: self.starts.saturating_sub(1),
            registered: self.is_registered(),
            status,
        }
    }
}

/// The state as people and `ps --json` know it.
pub(super) fn word(state: &State) -> &'static str {
    match state {
        State::Stopped => "stopped",
        State::Pre(_) | State::Starting | State::Post(_) => "starting",
        State::Ready => "ready",
        State::StopCommand(..) | State::Stopping(_) | State::Killing(_) => "stopping",
        State::Waiting => "waiting",
        State::Failed(_) => "failed",
        State::Done => "done",
    }
}
