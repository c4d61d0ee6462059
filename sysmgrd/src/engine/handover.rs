//! Across the daemon's own end: what is remembered of each process, and how a new daemon finds
//! them again.
//!
//! A process is known again by its number and its start time; from then on by its descriptor. Its
//! notification socket comes from the supervisor, which kept it
//! ([`FdStore`](crate::sys::fd_store::FdStore)): what the process says meanwhile waits in it. To its
//! session it comes back by itself ([`WayBack`]); until it has, what it is told waits.
//! How a process ended that was adopted nobody can tell.

use std::os::fd::AsFd;

use model::process::{KillMode, Ready};
use model::transition::{Tree, Wanted};
use model::{ProcessName, Span};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use super::starting::oldest;
use super::supervised::{Supervised, Task, word};
use super::{Engine, News};
use crate::dbus::session::Way;
use crate::process::Exit;
use crate::process::machine::{self, State, Why};
use crate::sys::cgroup::send;
use crate::sys::fd_store;
use crate::sys::launch::{notify_path, session_path};
use crate::sys::logs::Log;
use crate::sys::notify_socket::NotifySocket;
use crate::sys::reap;
use crate::sys::session_socket::WayBack;
use crate::sys::view::Moves;

/// What is remembered of one process.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Remembered {
    wanted: Wanted,
    tree: Tree,
    moves: Moves,
    state: String,
    /// Why it failed.
    why: Option<String>,
    since: String,
    starts: u32,
    invocation: String,
    main: Option<Main>,
    /// Whether it had registered to be told of changes.
    #[serde(default)]
    registered: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Main {
    pid: u32,
    start_time: u64,
}

/// The file that remembers `name`.
pub(super) fn file_name(name: &ProcessName) -> String {
    format!("{name}.process")
}

impl Engine {
    /// Has a process remembered before the engine rests.
    pub(super) fn save(&mut self, name: &ProcessName) {
        self.unsaved.insert(name.clone());
    }

    /// Remembers the processes that have changed.
    pub(super) fn save_changed(&mut self) {
        if self.unsaved.is_empty() {
            return;
        }
        for name in std::mem::take(&mut self.unsaved) {
            self.remember(&name);
        }
        self.tools.files.write();
    }

    fn remember(&mut self, name: &ProcessName) {
        let Some(process) = self.processes.get_mut(name) else {
            return;
        };
        if let Some(pid) = process.main.filter(|_| process.main_since.is_none()) {
            process.main_since = reap::start_time(pid);
        }
        let main = process.main.zip(process.main_since);
        let main = main.map(|(pid, start_time)| Main { pid, start_time });
        let why = process.why();
        let remembered = Remembered {
            wanted: process.wanted(),
            tree: process.tree.clone(),
            moves: process.moves,
            state: word(&process.state).to_owned(),
            why,
            since: process.since.clone(),
            starts: process.starts,
            invocation: process.invocation.clone(),
            main,
            registered: process.is_registered(),
        };
        self.tools.files.note(&file_name(name), &remembered);
    }

    /// Finds what an earlier daemon left.
    pub(super) fn adopt(&mut self) {
        self.tree = self.tools.files.load("tree");
        for remembered in self.tools.files.load_all::<Remembered>() {
            self.adopt_one(remembered);
        }
        self.tools.store.release_rest();
    }

    fn adopt_one(&mut self, remembered: Remembered) {
        let name = remembered.wanted.spec.name.clone();
        let mut process = Supervised::new(remembered.wanted, remembered.tree);
        process.moves = remembered.moves;
        process.since = remembered.since;
        process.starts = remembered.starts;
        process.invocation = remembered.invocation;
        process.run = 1;
        process.group = Some(self.tools.cgroups.group(&name, &process.invocation));
        process.log = Log::open(&self.tools.places.run_dir, name.as_str()).ok();
        let known = |main: &Main| reap::start_time(main.pid) == Some(main.start_time);
        let main = remembered.main.map(|main| known(&main).then_some(main.pid));
        // One that was started when the daemon ended may not have been noted; its group has it.
        let up = matches!(remembered.state.as_str(), "starting" | "ready" | "stopping");
        let main = main.unwrap_or_else(|| oldest(&process.members()).filter(|_| up));
        let noted = up || main.is_some() || remembered.state == "done";
        if !noted && process.spec.kill_mode != KillMode::Process {
            // Started by a daemon that was killed before it noted that: nobody has heard of it, and
            // the next start would be a second one.
            for pid in process.members() {
                send(pid, Signal::KILL);
            }
        }
        process.state = match remembered.state.as_str() {
            "ready" | "stopping" => State::Ready,
            "starting" => State::Starting,
            "waiting" => State::Waiting,
            "done" => State::Done,
            "failed" => State::Failed(Why::NotStarted(remembered.why.unwrap_or_default())),
            _ => State::Stopped,
        };
        tracing::info!(process = %name, state = %remembered.state, alive = main.is_some(), "found again");
        let was_up = matches!(process.state, State::Ready | State::Starting);
        self.processes.insert(name.clone(), process);
        if let Some(main) = main {
            self.follow(&name, main);
            self.resume_session(&name, remembered.registered);
        }
        match (was_up, main.is_some(), remembered.state.as_str()) {
            (true, _, "stopping") => self.step(&name, machine::Event::Stop),
            (true, true, "starting") => self.await_again(&name),
            (true, false, _) => self.step(&name, machine::Event::Exited(Exit::Unknown)),
            (_, _, "waiting") => self.step(&name, machine::Event::Due),
            _ => self.listen_again(&name),
        }
    }

    /// An adopted process that was not ready: its time begins anew.
    fn await_again(&mut self, name: &ProcessName) {
        self.listen_again(name);
        let Some(process) = self.processes.get_mut(name) else {
            return;
        };
        if let Span::Finite(limit) = process.spec.start_timeout {
            process.armed += 1;
            let event = super::Event::Due(name.clone(), process.armed);
            let task = self.after(limit, event);
            if let Some(process) = self.processes.get_mut(name) {
                process.timer = Some(task);
            }
        }
        self.step(name, machine::Event::Started);
    }

    /// Awaits a process that had a session with the daemon before. One whose path is gone had it
    /// closed for good.
    fn resume_session(&mut self, name: &ProcessName, registered: bool) {
        let path = session_path(&self.tools.places, name.as_str());
        let Some(process) = self.processes.get(name) else {
            return;
        };
        if !process.spec.is_told() || !path.exists() {
            return;
        }
        match WayBack::open(&path, process.group.clone(), process.main) {
            Ok(back) => self.open_session(name, Way::Back(back, registered)),
            Err(error) => tracing::warn!(process = %name, %error, "it cannot come back"),
        }
    }

    fn listen_again(&mut self, name: &ProcessName) {
        let event = self.news_of(name);
        let handle = self.handle.clone();
        let path = notify_path(&self.tools.places, name.as_str());
        let Some(process) = self.processes.get_mut(name) else {
            return;
        };
        if process.spec.ready != Ready::Notify || process.main.is_none() {
            return;
        }
        let kept = fd_store::notify_name(name.as_str());
        let socket = match self.tools.store.take(&kept) {
            Some(socket) => NotifySocket::adopt(socket),
            None => NotifySocket::bind(&path)
                .inspect(|socket| self.tools.store.keep(&kept, socket.as_fd())),
        };
        match socket {
            Ok(socket) => process.tasks.push(Task::spawn(async move {
                while let Ok(message) = socket.next().await {
                    handle.send(event(News::Notified(message))).await;
                }
            })),
            Err(error) => tracing::warn!(process = %name, %error, "cannot hear its notifications"),
        }
    }
}
