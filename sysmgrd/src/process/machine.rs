//! The state machine of one process.
//!
//! ```text
//!            Start                                        Ready
//!  Stopped ─────────► Pre 0…n ──► Starting ──► Post 0…n ─────────► Ready ──┐
//!     ▲                  │            │            │                │      │ Stop
//!     │                  └── failed, ended, asked to stop ──┐       │      ▼
//!     │                                                     ▼       │   StopCommand 0…n
//!     │     Emptied                                    Stopping ◄───┴──────┘
//!     ├───────────────────────────────────────────────────┤ Due
//!     │     Emptied                                       ▼
//!     └──────────────────────────────────────────────── Killing
//! ```
//!
//! - `Stopping` and `Killing` carry what comes after them ([`Then`]): nothing, another start, or
//!   what an end that nobody asked for leads to. So a process is only ever started when nothing
//!   of its last run is left.
//! - An end that nobody asked for goes through `Stopping` too: whoever is left in the group is
//!   stopped before the process waits for its restart, fails, or is done.
//! - The stop commands of a process that had come up run however it ends; those of one whose start
//!   failed do not.
//! - `Waiting` is the time before a restart. Asking for a start ends it at once.
//! - `Done` is an end with success. A oneshot that remains after its exit is `Done` with its group
//!   left alone; its stop commands run when it is stopped.
//! - Every state with something to wait for has its timer armed on entry; leaving disarms it. A
//!   time-out is the event `Due`, of whichever timer is armed.
//! - Whether an end leads to a restart is decided outside, with a clock, and comes in `Emptied`.
//!
//! The function is total: each pair that does nothing is listed, and a new event or state does
//! not compile until it has been thought about.

#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use model::ProcessSpec;
use model::process::{KillMode, Ready};

use super::Exit;

/// Where a process is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It does not run and nobody asked for it.
    Stopped,
    /// Command number n of `exec-start-pre` runs.
    Pre(usize),
    /// Its program was started and is not ready.
    Starting,
    /// It is ready, and command number n of `exec-start-post` runs.
    Post(usize),
    /// It runs.
    Ready,
    /// Command number n of `exec-stop` runs.
    StopCommand(usize, Then),
    /// It was signalled; its group is not empty.
    Stopping(Then),
    /// Its group was killed and is not empty.
    Killing(Then),
    /// It ended and will be started again.
    Waiting,
    /// It ended, or was not started, and will not be started again by itself.
    Failed(Why),
    /// It ended with success and will not be started again by itself.
    Done,
}

/// What comes when nothing of a process is left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Then {
    /// Nothing.
    Stop,
    /// Its next start.
    Start,
    /// What follows from an end that nobody asked for.
    Ended(End),
}

/// An end that nobody asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// With success.
    Clean,
    /// For this reason.
    Failed(Why),
}

/// Why a process is not running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// Its program could not be started.
    NotStarted(String),
    /// It ended.
    Exited(Exit),
    /// Not ready in time.
    NotReady,
    /// A command before or after its start failed.
    Command(String),
    /// Its main process could not be found.
    MainLost(String),
    /// It ended too often in too short a time.
    TooOften,
    /// It does not even die of SIGKILL.
    Unkillable,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStarted(why) | Self::Command(why) | Self::MainLost(why) => f.write_str(why),
            Self::Exited(exit) => exit.fmt(f),
            Self::NotReady => f.write_str("was not ready within its start-timeout"),
            Self::TooOften => f.write_str("ended too often: 5 starts within 10 s"),
            Self::Unkillable => f.write_str("does not end, not even by SIGKILL"),
        }
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Somebody wants it to run.
    Start,
    /// Somebody wants it not to run.
    Stop,
    /// Its program runs.
    Started,
    /// Its program could not be started.
    NotStarted(String),
    /// The running command of `exec-start-pre`, `-post` or `exec-stop` ended; `Err` says why badly.
    CommandEnded(Result<(), String>),
    /// It is ready, by whatever means it says so.
    Ready,
    /// The daemon that a `forking` program left was not found.
    MainLost(String),
    /// Its main process ended.
    Exited(Exit),
    /// Nothing of it is left; what its restart policy says, should it have ended by itself.
    Emptied(Again),
    /// The armed timer.
    Due,
}

/// What a restart policy says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// It stays down.
    No,
    /// It is started again after this time.
    After(Duration),
    /// It would be, but it was too often.
    TooOften,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Start command number n of a list.
    Run(Commands, usize),
    /// Start the program.
    Spawn,
    /// Look out for readiness (`socket`; the other kinds come by themselves).
    AwaitReady,
    /// Find the daemon that the program left.
    FindMain,
    /// Send the stop signal, to whom `kill-mode` says, and watch the group.
    Signal,
    /// Kill, whom `kill-mode` says.
    Kill,
    /// Arm the one timer.
    Arm(Timer),
    /// Disarm it.
    Disarm,
    /// Remove what belongs to a run: its group, its runtime directories.
    CleanUp,
}

/// Lists of commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commands {
    /// `exec-start-pre`
    Pre,
    /// `exec-start-post`
    Post,
    /// `exec-stop`
    Stop,
}

/// How long a timer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timer {
    /// `start-timeout`
    Start,
    /// `stop-timeout`
    Stop,
    /// This long.
    Restart(Duration),
}

/// What the machine needs to know of a process's declaration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Commands before the start.
    pub pre: usize,
    /// Commands after ready.
    pub post: usize,
    /// Commands that stop it.
    pub stop: usize,
    /// How it says that it is ready.
    pub ready: Ready,
    /// Whether a oneshot counts as running after its end.
    pub remain: bool,
    /// Whom signals reach.
    pub kill: KillMode,
}

impl Rules {
    /// Of a declaration.
    pub fn of(spec: &ProcessSpec) -> Self {
        Self {
            pre: spec.exec_start_pre.len(),
            post: spec.exec_start_post.len(),
            stop: spec.exec_stop.len(),
            ready: spec.ready,
            remain: spec.remain_after_exit,
            kill: spec.kill_mode,
        }
    }
}

type Next = (State, Vec<Action>);

/// One step of the machine.
pub fn step(rules: &Rules, state: State, event: Event) -> Next {
    match event {
        Event::Start => start(rules, state),
        Event::Stop => stop(rules, state),
        Event::Started => started(rules, state),
        Event::NotStarted(why) => while_starting(state, || fail(Why::NotStarted(why))),
        Event::CommandEnded(result) => command_ended(rules, state, result),
        Event::Ready => while_starting(state, || running(rules)),
        Event::MainLost(why) => while_starting(state, || fail(Why::MainLost(why))),
        Event::Exited(exit) => exited(rules, state, exit),
        Event::Emptied(again) => emptied(rules, state, again),
        Event::Due => due(rules, state),
    }
}

fn same(state: State) -> Next {
    (state, Vec::new())
}

fn start(rules: &Rules, state: State) -> Next {
    match state {
        State::Stopped | State::Waiting | State::Failed(_) | State::Done => begin(rules),
        State::StopCommand(n, _) => same(State::StopCommand(n, Then::Start)),
        State::Stopping(_) => same(State::Stopping(Then::Start)),
        State::Killing(_) => same(State::Killing(Then::Start)),
        State::Pre(_) | State::Starting | State::Post(_) | State::Ready => same(state),
    }
}

fn begin(rules: &Rules) -> Next {
    if rules.pre > 0 {
        return (
            State::Pre(0),
            vec![Action::Arm(Timer::Start), Action::Run(Commands::Pre, 0)],
        );
    }
    (
        State::Starting,
        vec![Action::Arm(Timer::Start), Action::Spawn],
    )
}

fn stop(rules: &Rules, state: State) -> Next {
    match state {
        State::Pre(_) | State::Starting => signal(Then::Stop),
        State::Ready | State::Post(_) => stop_commands(rules, Then::Stop),
        State::Done if rules.remain => stop_commands(rules, Then::Stop),
        State::StopCommand(n, _) => same(State::StopCommand(n, Then::Stop)),
        State::Stopping(_) => same(State::Stopping(Then::Stop)),
        State::Killing(_) => same(State::Killing(Then::Stop)),
        State::Waiting | State::Failed(_) | State::Done => (State::Stopped, vec![Action::Disarm]),
        State::Stopped => same(state),
    }
}

/// The end of a process that has come up: its stop commands, then the signal for whoever is left.
/// They run also when it has ended by itself, and not when its start failed, as systemd has it.
fn stop_commands(rules: &Rules, then: Then) -> Next {
    if rules.stop > 0 {
        let actions = vec![Action::Arm(Timer::Stop), Action::Run(Commands::Stop, 0)];
        return (State::StopCommand(0, then), actions);
    }
    signal(then)
}

fn signal(then: Then) -> Next {
    (
        State::Stopping(then),
        vec![Action::Arm(Timer::Stop), Action::Signal],
    )
}

fn fail(why: Why) -> Next {
    signal(Then::Ended(End::Failed(why)))
}

fn started(rules: &Rules, state: State) -> Next {
    match state {
        State::Starting => match rules.ready {
            Ready::Exec => running(rules),
            Ready::Socket => (State::Starting, vec![Action::AwaitReady]),
            Ready::Notify | Ready::Descriptor | Ready::Forking | Ready::Oneshot => same(state),
        },
        // It was stopped while it was being started: whoever comes late is signalled too.
        State::Stopping(_) => (state, vec![Action::Signal]),
        State::Killing(_) => (state, vec![Action::Kill]),
        State::Stopped
        | State::Pre(_)
        | State::Post(_)
        | State::Ready
        | State::StopCommand(..)
        | State::Waiting
        | State::Failed(_)
        | State::Done => same(state),
    }
}

/// What matters only while the program is being started.
fn while_starting(state: State, next: impl FnOnce() -> Next) -> Next {
    match state {
        State::Starting => next(),
        State::Stopped
        | State::Pre(_)
        | State::Post(_)
        | State::Ready
        | State::StopCommand(..)
        | State::Stopping(_)
        | State::Killing(_)
        | State::Waiting
        | State::Failed(_)
        | State::Done => same(state),
    }
}

fn command_ended(rules: &Rules, state: State, result: Result<(), String>) -> Next {
    match (state, result) {
        (State::Pre(_) | State::Post(_), Err(why)) => fail(Why::Command(why)),
        (State::Pre(n), Ok(())) if n + 1 < rules.pre => {
            (State::Pre(n + 1), vec![Action::Run(Commands::Pre, n + 1)])
        }
        (State::Pre(_), Ok(())) => (State::Starting, vec![Action::Spawn]),
        (State::Post(n), Ok(())) if n + 1 < rules.post => {
            (State::Post(n + 1), vec![Action::Run(Commands::Post, n + 1)])
        }
        (State::Post(_), Ok(())) => up(rules),
        // A stop command that fails does not keep the process from being stopped.
        (State::StopCommand(n, then), Ok(()) | Err(_)) if n + 1 < rules.stop => (
            State::StopCommand(n + 1, then),
            vec![Action::Run(Commands::Stop, n + 1)],
        ),
        (State::StopCommand(_, then), Ok(()) | Err(_)) => signal(then),
        (
            state @ (State::Stopped
            | State::Starting
            | State::Ready
            | State::Stopping(_)
            | State::Killing(_)
            | State::Waiting
            | State::Failed(_)
            | State::Done),
            Ok(()) | Err(_),
        ) => same(state),
    }
}

/// It has said that it is ready.
fn running(rules: &Rules) -> Next {
    if rules.post > 0 {
        return (State::Post(0), vec![Action::Run(Commands::Post, 0)]);
    }
    up(rules)
}

/// It is ready and its commands have run.
fn up(rules: &Rules) -> Next {
    match (rules.ready, rules.remain) {
        (Ready::Oneshot, true) => (State::Done, vec![Action::Disarm]),
        (Ready::Oneshot, false) => stop_commands(rules, Then::Ended(End::Clean)),
        (Ready::Exec | Ready::Notify | Ready::Descriptor | Ready::Socket | Ready::Forking, _) => {
            (State::Ready, vec![Action::Disarm])
        }
    }
}

fn exited(rules: &Rules, state: State, exit: Exit) -> Next {
    match state {
        State::Starting => match rules.ready {
            Ready::Oneshot if exit.is_success() => running(rules),
            Ready::Forking if exit.is_success() => (State::Starting, vec![Action::FindMain]),
            Ready::Oneshot
            | Ready::Forking
            | Ready::Exec
            | Ready::Notify
            | Ready::Descriptor
            | Ready::Socket => fail(Why::Exited(exit)),
        },
        State::Ready => stop_commands(rules, Then::Ended(end_of(exit))),
        State::Post(_) => signal(Then::Ended(end_of(exit))),
        // The main process has had its signal; with `mixed` the others get no second one.
        State::Stopping(then) if rules.kill == KillMode::Mixed => (
            State::Killing(then),
            vec![Action::Arm(Timer::Stop), Action::Kill],
        ),
        State::Stopped
        | State::Pre(_)
        | State::StopCommand(..)
        | State::Stopping(_)
        | State::Killing(_)
        | State::Waiting
        | State::Failed(_)
        | State::Done => same(state),
    }
}

fn end_of(exit: Exit) -> End {
    if exit.is_clean() {
        return End::Clean;
    }
    End::Failed(Why::Exited(exit))
}

fn emptied(rules: &Rules, state: State, again: Again) -> Next {
    match state {
        State::Stopping(then) | State::Killing(then) => match then {
            Then::Stop => (State::Stopped, vec![Action::Disarm, Action::CleanUp]),
            Then::Start => {
                let (state, mut actions) = begin(rules);
                actions.insert(0, Action::CleanUp);
                (state, actions)
            }
            Then::Ended(end) => ended(end, again),
        },
        State::Stopped
        | State::Pre(_)
        | State::Starting
        | State::Post(_)
        | State::Ready
        | State::StopCommand(..)
        | State::Waiting
        | State::Failed(_)
        | State::Done => same(state),
    }
}

fn ended(end: End, again: Again) -> Next {
    match (again, end) {
        (Again::After(delay), _) => (
            State::Waiting,
            vec![Action::CleanUp, Action::Arm(Timer::Restart(delay))],
        ),
        (Again::TooOften, _) => (
            State::Failed(Why::TooOften),
            vec![Action::Disarm, Action::CleanUp],
        ),
        (Again::No, End::Clean) => (State::Done, vec![Action::Disarm, Action::CleanUp]),
        (Again::No, End::Failed(why)) => {
            (State::Failed(why), vec![Action::Disarm, Action::CleanUp])
        }
    }
}

fn due(rules: &Rules, state: State) -> Next {
    match state {
        State::Pre(_) | State::Starting | State::Post(_) => fail(Why::NotReady),
        State::StopCommand(_, then) => signal(then),
        State::Stopping(then) => (
            State::Killing(then),
            vec![Action::Arm(Timer::Stop), Action::Kill],
        ),
        State::Killing(_) => (State::Failed(Why::Unkillable), vec![Action::Disarm]),
        State::Waiting => begin(rules),
        State::Stopped | State::Ready | State::Failed(_) | State::Done => same(state),
    }
}
