//! From the machine's actions to effects, and from what comes back to the machine's events.

use std::time::Duration;

use model::{ProcessName, Span, fault};

use super::supervised::Supervised;
use super::{Engine, Event, News, Signal, Tools};
use crate::process::machine::{self, Action, State, Timer};
use crate::sys::clock;
use crate::sys::launch::identity;
use crate::sys::notify_socket::Message;

impl Engine {
    /// One step of a process's machine, and all that follows from it.
    pub(super) fn step(&mut self, name: &ProcessName, event: machine::Event) {
        let Some(process) = self.processes.get_mut(name) else {
            return;
        };
        let before = process.state.clone();
        let (after, actions) = machine::step(&process.rules(), before.clone(), event);
        let changed = after != before;
        process.state = after;
        if changed {
            process.since = clock::stamp();
            self.entered(name, &before);
        }
        for action in actions {
            self.act(name, &action);
        }
        if changed {
            self.after_change(name, &before);
        }
    }

    /// Notes times, and begins a new run where one begins.
    fn entered(&mut self, name: &ProcessName, before: &State) {
        let Some(process) = self.processes.get_mut(name) else {
            return;
        };
        let was_starting = matches!(before, State::Pre(_) | State::Starting);
        let down = matches!(
            before,
            State::Stopped
                | State::Waiting
                | State::Failed(_)
                | State::Done
                | State::Stopping(_)
                | State::Killing(_)
        );
        match &process.state {
            State::Pre(_) | State::Starting if down && !was_starting => self.begin_run(name),
            State::StopCommand(..) | State::Stopping(_) if !down || *before == State::Done => {
                if !matches!(before, State::StopCommand(..)) {
                    process.times.stop = Some(clock::now());
                }
            }
            State::Ready | State::Done => process.times.ready = Some(clock::now()),
            State::Stopped
            | State::Pre(_)
            | State::Starting
            | State::Post(_)
            | State::StopCommand(..)
            | State::Stopping(_)
            | State::Killing(_)
            | State::Waiting
            | State::Failed(_) => {}
        }
    }

    fn after_change(&mut self, name: &ProcessName, before: &State) {
        self.save(name);
        let state = self.processes.get(name).map(|process| &process.state);
        if matches!(state, Some(State::Ready)) {
            // A process says only once that it is ready: a daemon that is killed after anybody heard
            // it from here must find it written.
            self.save_changed();
        }
        if let Some(process) = self.processes.get(name) {
            tracing::debug!(process = %name, from = ?before, to = ?process.state, "state");
            self.tell_all(Signal::ProcessChanged(process.status()));
        }
        self.note_end_for_question(name);
        self.advance(name);
    }

    /// A new run: a number, a mark, a group; what is left of the last one's tasks ends.
    fn begin_run(&mut self, name: &ProcessName) {
        let Some(process) = self.processes.get_mut(name) else {
            return;
        };
        process.run += 1;
        process.starts = process.starts.saturating_add(1);
        process.history.started(clock::now());
        process.invocation = invocation();
        // What is left of the last run's group is nothing but its directory.
        let group = match process.group.take() {
            Some(group) => group.again(&process.invocation),
            None => self.tools.cgroups.group(name, &process.invocation),
        };
        process.group = Some(group);
        process.main = None;
        process.main_fd = None;
        process.main_since = None;
        process.command = None;
        process.status = None;
        process.session = None;
        process.watched = false;
        process.tasks.clear();
        process.moves = crate::sys::view::Moves::None;
        process.times.start = None;
        process.times.ready = None;
        // Outside a transition a start is in the newest generation: that is what the next boot
        // would start it in, and nothing that it uses differs there.
        if !self.held.contains(name)
            && let Some(tree) = &self.tree
        {
            process.tree = tree.clone();
        }
    }

    fn act(&mut self, name: &ProcessName, action: &Action) {
        let what = word_for(action);
        fault::point(what);
        self.perform(name, action);
        fault::after(what);
    }

    fn perform(&mut self, name: &ProcessName, action: &Action) {
        match action {
            Action::Run(commands, number) => self.run_command(name, *commands, *number),
            Action::Spawn => self.spawn_main(name),
            Action::AwaitReady => self.await_sockets(name),
            Action::FindMain => self.find_main(name),
            Action::Signal => self.signal(name),
            Action::Kill => self.kill(name),
            Action::Arm(timer) => self.arm(name, *timer),
            Action::Disarm => self.disarm(name),
            Action::CleanUp => self.clean_up(name),
        }
    }

    fn arm(&mut self, name: &ProcessName, timer: Timer) {
        let Some(process) = self.processes.get_mut(name) else {
            return;
        };
        let span = match timer {
            Timer::Start => process.spec.start_timeout,
            Timer::Stop => process.spec.stop_timeout,
            Timer::Restart(delay) => Span::Finite(delay),
        };
        process.armed += 1;
        process.timer = None;
        let Some(delay) = span.limit() else { return };
        let event = Event::Due(name.clone(), process.armed);
        let task = self.after(delay, event);
        if let Some(process) = self.processes.get_mut(name) {
            process.timer = Some(task);
        }
    }

    fn disarm(&mut self, name: &ProcessName) {
        if let Some(process) = self.processes.get_mut(name) {
            process.armed += 1;
            process.timer = None;
        }
    }

    /// The process asked for more time: `EXTEND_TIMEOUT_USEC`.
    fn extend(&mut self, name: &ProcessName, time: Duration) {
        let Some(process) = self.processes.get_mut(name) else {
            return;
        };
        if process.timer.is_none() {
            return;
        }
        process.armed += 1;
        let event = Event::Due(name.clone(), process.armed);
        let task = self.after(time, event);
        if let Some(process) = self.processes.get_mut(name) {
            process.timer = Some(task);
        }
    }

    /// A message on its way back to this run of `name`.
    pub(super) fn news_of(&self, name: &ProcessName) -> impl Fn(News) -> Event + Send + 'static {
        let run = self
            .processes
            .get(name)
            .map(|process| process.run)
            .unwrap_or_default();
        let name = name.clone();
        move |news| Event::Process(name.clone(), run, news)
    }

    /// What a run of a process has to say.
    pub(super) fn news(&mut self, name: &ProcessName, news: News) {
        match news {
            News::Launched(Ok((spawned, listen))) => self.launched(name, spawned, listen),
            News::Launched(Err(why)) => self.step(name, machine::Event::NotStarted(why)),
            News::CommandLaunched(commands, result) => {
                self.command_launched(name, commands, result);
            }
            News::CommandEnded(pid, result) => {
                if let Some(process) = self.processes.get_mut(name)
                    && process.command == Some(pid)
                {
                    process.command = None;
                    self.step(name, machine::Event::CommandEnded(result));
                }
            }
            News::Exited(pid, exit) => {
                let main = self.processes.get(name).and_then(|process| process.main);
                if main == Some(pid) {
                    self.main_ended(name, exit);
                }
            }
            News::Ready => self.step(name, machine::Event::Ready),
            News::Main(Ok(pid)) => {
                self.follow(name, pid);
                self.step(name, machine::Event::Ready);
            }
            News::Main(Err(why)) => self.step(name, machine::Event::MainLost(why)),
            News::Emptied => self.emptied(name),
            News::Notified(message) => self.notified(name, message),
            News::Moved(result) => self.moved(name, result),
            News::DoneDue(count) => self.done_due(name, count),
            News::Checked(left) => self.checked(name, &left),
        }
    }

    fn notified(&mut self, name: &ProcessName, message: Message) {
        let Some(process) = self.processes.get_mut(name) else {
            return;
        };
        if !may_speak(process, &message, &self.tools) {
            tracing::warn!(process = %name, pid = message.pid, uid = message.uid, "a stranger's notification is passed over");
            return;
        }
        let news = message.news;
        if let Some(status) = news.status {
            process.status = Some(status);
        }
        if let Some(errno) = news.errno.filter(|errno| *errno != 0) {
            process.status = Some(std::io::Error::from_raw_os_error(errno).to_string());
        }
        let main = news.main_pid.filter(|pid| process.members().contains(pid));
        if let Some(pid) = main {
            self.follow(name, pid);
        }
        if let Some(time) = news.extend {
            self.extend(name, time);
        }
        if news.ready {
            self.step(name, machine::Event::Ready);
        }
    }
}

/// An action, as a fault point is named.
fn word_for(action: &Action) -> &'static str {
    match action {
        Action::Run(..) => "run a command",
        Action::Spawn => "spawn",
        Action::AwaitReady => "await readiness",
        Action::FindMain => "find the main process",
        Action::Signal => "signal",
        Action::Kill => "kill",
        Action::Arm(_) => "arm the timer",
        Action::Disarm => "disarm the timer",
        Action::CleanUp => "clean up",
    }
}

fn may_speak(process: &Supervised, message: &Message, tools: &Tools) -> bool {
    let own = rustix::process::geteuid().as_raw();
    if message.uid == 0 || message.uid == own {
        return true;
    }
    let user = identity(&tools.places, &process.spec)
        .ok()
        .and_then(|(user, _)| user);
    user.is_some_and(|user| user.uid == message.uid) || process.members().contains(&message.pid)
}

/// 32 hexadecimal digits, as `sd_id128` writes them.
fn invocation() -> String {
    let mut random = [0_u8; 16];
    if let Err(error) = getrandom::fill(&mut random) {
        tracing::warn!(%error, "no random number for an INVOCATION_ID");
    }
    format!("{:032x}", u128::from_be_bytes(random))
}
