//! Processes that handle a change themselves: their sessions, and their part in a transition.

use std::sync::Arc;
use std::time::Duration;

use model::bus::Error;
use model::change::{Verdict, What};
use model::report::Chain;
use model::{ChangeId, ProcessName, fault};
use rustix::fs::{Mode, OFlags};
use tokio::sync::mpsc;

use super::report::Replaced;
use super::supervised::Task;
use super::transition::{Telling, is_self_managing};
use super::{Engine, News, Reply, answer};
use crate::dbus::session::{self, Way};
use crate::process::ballot::{Refused, Vote};
use crate::process::machine::{self, State};
use crate::sys::launch::session_path;
use crate::sys::view::Moves;
use crate::sys::{clock, maps, reap};

/// A process's session, as the engine holds it.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) registered: bool,
    /// It had registered with an earlier daemon and has not come back yet; what it is told waits.
    pub(super) away: bool,
    outbox: mpsc::Sender<SessionSignal>,
    /// The connection lives in this task.
    _task: Task,
}

/// What a process says over its session.
#[derive(Debug)]
pub enum SessionEvent {
    /// It wants to be told of changes; answered when the next daemon would know it too.
    Register(Reply<()>),
    /// It does not want to be told of changes any more.
    Unregister,
    /// Its vote on a change.
    Vote(ChangeId, Vote, Reply<()>),
    /// It needs more time to vote, this much; it is answered how much it gets.
    MoreTime(ChangeId, Duration, Reply<Duration>),
    /// *Ready and waiting*, or why not where the text is not empty.
    Prepared(ChangeId, String, Reply<()>),
    /// *Done*, or why it wants to be restarted where the text is not empty.
    Done(ChangeId, String, Reply<()>),
    /// It has heard the end of a change.
    Heard(ChangeId),
    /// It has closed its session.
    Closed,
}

/// What a process is told over its session.
#[derive(Debug, Clone)]
pub enum SessionSignal {
    /// The question: an announcement and its part in it.
    Evaluate(String, String),
    /// *Going to change*: an announcement.
    Prepare(String),
    /// The view has moved.
    Changed(u64),
    /// The end.
    Ended(String),
}

impl Engine {
    /// Serves the session of the run that begins, or goes on.
    pub(super) fn open_session(&mut self, name: &ProcessName, way: Way) {
        let registered = matches!(way, Way::Back(_, true));
        let handle = self.handle.clone();
        let Some(process) = self.processes.get_mut(name) else {
            return;
        };
        let (outbox, signals) = mpsc::channel(64);
        let served = session::serve(
            way,
            session::Served {
                process: name.clone(),
                run: process.run,
                handle,
            },
            signals,
        );
        let session = Session {
            registered,
            away: registered,
            outbox,
            _task: Task::spawn(served),
        };
        process.session = Some(session);
    }

    /// Tells a registered process something; whether it could be told.
    pub(super) fn say(&self, name: &ProcessName, signal: SessionSignal) -> bool {
        let process = self
            .processes
            .get(name)
            .filter(|process| process.is_registered());
        let session = process.and_then(|process| process.session.as_ref());
        fault::point("tell a process");
        let told = session.is_some_and(|session| session.outbox.try_send(signal).is_ok());
        fault::after("tell a process");
        told
    }

    pub(super) fn registered(&self) -> Vec<ProcessName> {
        let list = self
            .processes
            .values()
            .filter(|process| process.is_registered());
        list.map(|process| process.name().clone()).collect()
    }

    pub(super) fn session_event(&mut self, name: &ProcessName, run: u64, event: SessionEvent) {
        let Some(process) = self
            .processes
            .get_mut(name)
            .filter(|process| process.run == run)
        else {
            return;
        };
        match event {
            SessionEvent::Register(reply) => {
                if let Some(session) = &mut process.session {
                    session.registered = true;
                    session.away = false;
                }
                let status = process.status();
                self.save(name);
                self.save_changed();
                answer(reply, Ok(()));
                self.tell_all(super::Signal::ProcessChanged(status));
            }
            SessionEvent::Unregister => self.unregister(name),
            SessionEvent::Closed => {
                self.close_session(name);
                self.lost_session(name);
            }
            SessionEvent::Vote(change, vote, reply) => {
                answer(reply, taken(self.voted(name, change, vote)));
            }
            SessionEvent::MoreTime(change, wanted, reply) => {
                answer(reply, taken(self.more_time(name, change, wanted)));
            }
            SessionEvent::Prepared(change, reason, reply) => {
                answer(reply, taken(self.prepared(name, change, reason)));
            }
            SessionEvent::Done(change, restart, reply) => {
                answer(reply, taken(self.said_done(name, change, &restart)));
            }
            SessionEvent::Heard(change) => self.heard(name, change),
        }
    }

    /// Closes its session for good: there is no way back.
    pub(super) fn close_session(&mut self, name: &ProcessName) {
        if let Some(process) = self.processes.get_mut(name) {
            process.session = None;
        }
        let path = session_path(&self.tools.places, name.as_str());
        drop(fs_err::remove_file(path));
        self.save(name);
    }

    /// From now on it is told nothing; what waits for it has lost it.
    fn unregister(&mut self, name: &ProcessName) {
        let Some(process) = self.processes.get_mut(name) else {
            return;
        };
        if let Some(session) = &mut process.session {
            session.registered = false;
        }
        let status = process.status();
        self.save(name);
        self.lost_session(name);
        self.tell_all(super::Signal::ProcessChanged(status));
    }

    /// A told process's step: its view is moved, then it is told.
    pub(super) fn tell(&mut self, name: &ProcessName) {
        let Some(run) = &mut self.run else { return };
        let (tree, Some(part)) = (run.tree.clone(), run.parts.get_mut(name)) else {
            return;
        };
        let Some(process) = self.processes.get(name).filter(|process| process.is_up()) else {
            // It does not run: started, it sees the new files anyway.
            return self.restart_told(name, "did not run");
        };
        let unregistered = is_self_managing(process) && !process.is_registered();
        let reached = part.told.as_ref().is_some_and(|told| told.reached);
        let Some(main) = process.main.filter(|_| process.state == State::Ready) else {
            return self.restart_told(name, "was not ready");
        };
        if unregistered && reached {
            return self.restart_told(name, "has not registered");
        }
        part.telling = Telling::Moving;
        part.told_at = Some(clock::now());
        let (old, moves) = (process.tree.clone(), process.moves);
        let (views, places) = (self.views.clone(), Arc::clone(&self.tools.places));
        let (handle, event) = (self.handle.clone(), self.news_of(name));
        tokio::spawn(async move {
            let work = move || {
                if old == tree {
                    return Ok(());
                }
                let view = views.get(&tree, &places)?;
                let namespace = namespace_of(main)?;
                fault::before("move a view").map_err(|error| error.to_string())?;
                let moved = view.receive(&namespace, &old, moves);
                fault::after("move a view");
                moved.map_err(|error| Chain(&error).to_string())
            };
            let moved = tokio::task::spawn_blocking(work).await;
            let moved = moved.unwrap_or_else(|error| Err(error.to_string()));
            handle.send(event(News::Moved(moved))).await;
        });
    }

    pub(super) fn moved(&mut self, name: &ProcessName, moved: Result<(), String>) {
        if self.telling(name) != Some(Telling::Moving) {
            return;
        }
        if let Err(why) = moved {
            return self.restart_told(name, &format!("its view could not be moved: {why}"));
        }
        let Some(run) = &mut self.run else { return };
        let Some(process) = self.processes.get_mut(name) else {
            return;
        };
        if process.tree != run.tree {
            process.tree = run.tree.clone();
            process.moves = Moves::Some;
        }
        let told = run.parts.get(name).and_then(|part| part.told.clone());
        if let Some(told) = &told {
            process.spec = Arc::new(told.wanted.spec.clone());
            process.package = told.wanted.package.clone();
        }
        let change = run.change.unwrap_or_default();
        self.told = Some(change);
        self.save(name);
        let heard = self.say(name, SessionSignal::Changed(change.0));
        let holds_up = told.as_ref().is_some_and(|told| told.reached) && heard;
        if !heard {
            self.signal_change(name);
        }
        if !holds_up {
            return self.told_done(name);
        }
        self.set_telling(name, Telling::Awaiting);
        let timeout = Duration::from_millis(told.map(|told| told.timeout_ms).unwrap_or_default());
        let event = self.news_of(name)(News::DoneDue(change.0));
        let task = self.after(timeout, event);
        if let Some(process) = self.processes.get_mut(name) {
            process.tasks.push(task);
        }
    }

    /// Those who are not waited for may say it too, and later.
    fn said_done(
        &mut self,
        name: &ProcessName,
        change: ChangeId,
        restart: &str,
    ) -> Result<(), Refused> {
        let running = self.run.as_ref().filter(|run| run.change == Some(change));
        let Some(run) = running else {
            let last = self.told == Some(change);
            return last.then_some(()).ok_or(Refused::NoQuestion(change));
        };
        if self.telling(name) != Some(Telling::Awaiting) {
            return Ok(());
        }
        if restart.is_empty() {
            let replaced = self.replaced(&run.tree);
            self.look_at_mappings(name, replaced);
        } else {
            self.restart_told(name, &format!("asked for a restart: {restart}"));
        }
        Ok(())
    }

    /// Has what it maps looked at, after it said *done*.
    fn look_at_mappings(&mut self, name: &ProcessName, replaced: Replaced) {
        self.set_telling(name, Telling::Checking);
        let pids = self
            .processes
            .get(name)
            .map(super::Supervised::members)
            .unwrap_or_default();
        let (handle, event) = (self.handle.clone(), self.news_of(name));
        tokio::spawn(async move {
            let work = move || {
                let stale = replaced.stale();
                let files = pids.into_iter().flat_map(maps::of);
                let left = files.filter(|file| stale.contains(&(file.dev, file.inode)));
                left.map(|file| file.path).collect::<Vec<String>>()
            };
            let left = tokio::task::spawn_blocking(work).await.unwrap_or_default();
            handle.send(event(News::Checked(left))).await;
        });
    }

    /// It said *done*; its own word is checked against what it maps.
    pub(super) fn checked(&mut self, name: &ProcessName, left: &[String]) {
        if self.telling(name) != Some(Telling::Checking) {
            return;
        }
        match left.first() {
            Some(path) => self.restart_told(name, &format!("said done but still maps {path}")),
            None => self.told_done(name),
        }
    }

    pub(super) fn done_due(&mut self, name: &ProcessName, change: u64) {
        let Some(run) = &self.run else { return };
        let part = run.parts.get(name);
        if run.change.unwrap_or_default().0 != change
            || self.telling(name) != Some(Telling::Awaiting)
        {
            return;
        }
        let timeout = part
            .and_then(|part| part.told.as_ref())
            .map(|told| told.timeout_ms);
        let why = format!("no done within {} ms", timeout.unwrap_or_default());
        self.restart_told(name, &why);
    }

    /// The session of a process that a question or a step waits for has gone.
    pub(super) fn lost_session(&mut self, name: &ProcessName) {
        self.note_end_for_question(name);
        if self.telling(name) == Some(Telling::Awaiting) {
            self.restart_told(name, "closed its session before it said done");
        }
    }

    fn told_done(&mut self, name: &ProcessName) {
        self.set_telling(name, Telling::No);
        if let Some(part) = self.run.as_mut().and_then(|run| run.parts.get_mut(name)) {
            part.done_at = Some(clock::now());
        }
        self.done(name, None, format!("{name} is done"));
    }

    /// It is stopped and started instead, and the report says why.
    fn restart_told(&mut self, name: &ProcessName, why: &str) {
        let Some(part) = self.run.as_mut().and_then(|run| run.parts.get_mut(name)) else {
            return;
        };
        part.verdict = Verdict::Restart;
        part.detail = Some(why.to_owned());
        part.telling = Telling::Stopping;
        if self.processes.contains_key(name) {
            self.step(name, machine::Event::Stop);
        }
        self.advance_restart(name);
    }

    /// A told process came into another state: it is being restarted, or it fell.
    pub(super) fn advance_telling(&mut self, name: &ProcessName, state: &State) {
        match (self.telling(name), state) {
            (Some(Telling::Stopping), _) => self.advance_restart(name),
            (Some(Telling::Starting), State::Ready | State::Done) => {
                self.done(name, None, format!("{name} is ready"));
            }
            (Some(Telling::Starting), State::Failed(why)) => {
                self.done(name, Some(why.to_string()), format!("{name} {why}"));
            }
            (
                Some(Telling::Moving | Telling::Awaiting | Telling::Checking),
                State::Failed(_) | State::Done | State::Stopped,
            ) => {
                self.restart_told(name, "ended while it was being told");
            }
            _ => {}
        }
    }

    fn advance_restart(&mut self, name: &ProcessName) {
        let down = match self.processes.get(name).map(|process| &process.state) {
            None | Some(State::Stopped) => true,
            Some(State::Failed(why)) => {
                let why = why.to_string();
                return self.done(name, Some(why.clone()), format!("{name} {why}"));
            }
            Some(_) => false,
        };
        if down && self.telling(name) == Some(Telling::Stopping) {
            self.set_telling(name, Telling::Starting);
            if let Some(run) = &mut self.run {
                run.note(name, What::Stopped);
            }
            self.start_wanted(name);
        }
    }

    fn telling(&self, name: &ProcessName) -> Option<Telling> {
        self.run.as_ref()?.parts.get(name).map(|part| part.telling)
    }

    fn set_telling(&mut self, name: &ProcessName, telling: Telling) {
        if let Some(part) = self.run.as_mut().and_then(|run| run.parts.get_mut(name)) {
            part.telling = telling;
        }
    }
}

/// An answer as its giver hears whether it counts.
fn taken<T>(result: Result<T, Refused>) -> Result<T, Error> {
    result.map_err(|refused| Error::Invalid(refused.to_string()))
}

/// The mount namespace of a process that is certainly the one with this number.
fn namespace_of(pid: u32) -> Result<std::os::fd::OwnedFd, String> {
    let fail =
        |error: &dyn std::fmt::Display| format!("its mount namespace cannot be held: {error}");
    let pidfd = reap::open(pid).map_err(|error| fail(&error))?;
    let path = format!("/proc/{pid}/ns/mnt");
    let namespace = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let namespace = namespace.map_err(|error| fail(&error))?;
    // Still alive, so the path was its own.
    if !reap::is_alive(&pidfd) {
        return Err(fail(&"it has ended"));
    }
    Ok(namespace)
}
