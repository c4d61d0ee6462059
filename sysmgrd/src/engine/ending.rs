//! Ends: signals, kills, and what is cleared away after a run.

use std::time::Duration;

use model::ProcessName;
use model::process::{KillMode, Ready};
use rustix::process::Signal as Sig;

use super::signals::by_name;
use super::supervised::Task;
use super::{Engine, News};
use crate::process::Exit;
use crate::process::machine::{self, Again, End, State, Then, Why};
use crate::sys::cgroup::{Group, send};
use crate::sys::launch::{notify_path, session_path};
use crate::sys::{clock, fd_store, own_directories, reap, watched};

impl Engine {
    pub(super) fn signal(&mut self, name: &ProcessName) {
        let Some(process) = self.processes.get(name) else {
            return;
        };
        let signal = by_name(&process.spec.stop_signal).unwrap_or(Sig::TERM);
        let single: Vec<u32> = process.main.or(process.command).into_iter().collect();
        let targets = match process.spec.kill_mode {
            KillMode::ControlGroup => process.members(),
            KillMode::Mixed | KillMode::Process => single,
        };
        for pid in targets {
            // One that is stopped by a signal could not take it: it is woken too.
            let both = [signal, Sig::CONT];
            match &process.main_fd {
                Some(main) if process.main == Some(pid) => both.map(|signal| {
                    // One that has ended in between needs no signal.
                    let _ = rustix::process::pidfd_send_signal(main, signal);
                }),
                Some(_) | None => both.map(|signal| send(pid, signal)),
            };
        }
        self.watch_end(name);
    }

    pub(super) fn kill(&mut self, name: &ProcessName) {
        let Some(process) = self.processes.get_mut(name) else {
            return;
        };
        let (main, group) = (process.main, process.group.clone());
        match process.spec.kill_mode {
            KillMode::Process => process
                .main
                .into_iter()
                .for_each(|pid| send(pid, Sig::KILL)),
            KillMode::ControlGroup | KillMode::Mixed => {
                let Some(group) = group else { return };
                process.tasks.push(Task::spawn(kill_all(group, main)));
            }
        }
        self.watch_end(name);
    }

    /// Tells the machine when nothing is left of the process, once a run. As long as its main process
    /// is there nothing needs to be watched: its end comes by itself, see [`Engine::main_ended`].
    pub(super) fn watch_end(&mut self, name: &ProcessName) {
        let (handle, event) = (self.handle.clone(), self.news_of(name));
        let Some(process) = self.processes.get_mut(name) else {
            return;
        };
        if process.main_fd.is_some() || std::mem::replace(&mut process.watched, true) {
            return;
        }
        let (main, group) = (process.main, process.group.clone());
        let only_main = process.spec.kill_mode == KillMode::Process;
        process.tasks.push(Task::spawn(async move {
            match (only_main, main, group) {
                (true, Some(main), _) => gone(main).await,
                (false, main, Some(group)) => reap::emptied(&group, main).await,
                (true, None, _) | (false, _, None) => {}
            }
            handle.send(event(News::Emptied)).await;
        }));
    }

    /// The main process has ended. Mostly nothing is left of it then, and whoever waits for that hears
    /// it at once.
    pub(super) fn main_ended(&mut self, name: &ProcessName, exit: Exit) {
        let Some(process) = self.processes.get_mut(name) else {
            return;
        };
        process.main = None;
        process.main_fd = None;
        process.main_since = None;
        process.session = None;
        let is_stopping = matches!(process.state, State::Stopping(_) | State::Killing(_));
        self.step(name, machine::Event::Exited(exit));
        let Some(process) = self.processes.get(name) else {
            return;
        };
        if !is_stopping || !matches!(process.state, State::Stopping(_) | State::Killing(_)) {
            return;
        }
        let group = process.group.as_ref();
        let alone = process.spec.kill_mode == KillMode::Process;
        if alone || group.is_some_and(|group| group.is_empty(None)) {
            self.emptied(name);
        } else {
            self.watch_end(name);
        }
    }

    /// Nothing of the process is left.
    pub(super) fn emptied(&mut self, name: &ProcessName) {
        let again = self.again(name);
        self.step(name, machine::Event::Emptied(again));
    }

    pub(super) fn clean_up(&mut self, name: &ProcessName) {
        // A group that the next step needs again stays: making one costs more than keeping it.
        let parts = self.run.as_ref().map(|run| &run.parts);
        let needed = parts
            .and_then(|parts| parts.get(name))
            .is_some_and(|part| part.wanted.is_some());
        let Some(process) = self.processes.get_mut(name) else {
            return;
        };
        process.main = None;
        process.main_fd = None;
        process.main_since = None;
        process.command = None;
        process.session = None;
        process.watched = false;
        process.tasks.clear();
        if !needed && let Some(group) = process.group.take() {
            let _gone = group.remove();
        }
        if process.spec.is_told() {
            let way_back = session_path(&self.tools.places, name.as_str());
            drop(fs_err::remove_file(way_back));
        }
        if process.spec.ready == Ready::Notify {
            let kept = fd_store::notify_name(name.as_str());
            self.tools.store.release(&kept);
            drop(fs_err::remove_file(notify_path(
                &self.tools.places,
                name.as_str(),
            )));
        }
        own_directories::remove_runtime(&self.tools.places, &process.spec);
    }

    /// What the restart policy says of an end that nobody asked for.
    pub(super) fn again(&mut self, name: &ProcessName) -> Again {
        let held = self.held.contains(name);
        let Some(process) = self.processes.get_mut(name) else {
            return Again::No;
        };
        let (State::Stopping(Then::Ended(end)) | State::Killing(Then::Ended(end))) = &process.state
        else {
            return Again::No;
        };
        if held || *end == End::Failed(Why::Unkillable) {
            return Again::No;
        }
        let first = process.spec.restart_delay.limit().unwrap_or_default();
        let (policy, end) = (process.spec.restart, end.clone());
        process.history.decide(policy, first, &end, clock::now())
    }
}

async fn kill_all(group: Group, main: Option<u32>) {
    // Again and again: a version 1 group may gain a member between the list and the signal.
    while !group.members(main).is_empty() {
        group.kill(main);
        let wait = reap::emptied(&group, main);
        drop(tokio::time::timeout(Duration::from_millis(50), wait).await);
    }
}

async fn gone(pid: u32) {
    let Ok(pidfd) = reap::open(pid) else { return };
    if let Ok(fd) = watched::readable(pidfd) {
        drop(fd.readable().await);
    }
}
