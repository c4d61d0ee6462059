//! The end of a transition's way: every process was started or told; their health programs are
//! run, and all must stay up for a while together.

use std::collections::BTreeMap;
use std::time::Duration;

use model::change::What;
use model::process::Ready;
use model::{ProcessName, Span};

use super::beside::{Ended, Leash};
use super::supervised::{Supervised, Task};
use super::transition::{Part, Run};
use super::{Engine, Event};
use crate::process::ballot::short;
use crate::process::machine::{End, State, Then};

/// How far the settling of a transition has come.
#[derive(Debug)]
pub(super) struct Settling {
    time: Duration,
    clock: Clock,
    /// Health programs that run, by their process; they end with the transition.
    checks: BTreeMap<ProcessName, (u64, Leash)>,
}

#[derive(Debug)]
enum Clock {
    /// Steps are still being taken.
    Before,
    /// Nothing may end until this does.
    Runs(#[expect(dead_code, reason = "ends with the transition")] Task),
    /// The time is over.
    Over,
}

impl Settling {
    pub(super) fn new(settling_ms: u64) -> Self {
        Self {
            time: Duration::from_millis(settling_ms),
            clock: Clock::Before,
            checks: BTreeMap::new(),
        }
    }
}

/// What a transition does whose steps have been taken.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Wait,
    Settle,
    Finish,
}

impl Engine {
    /// Runs the health program of a process whose step is done. On the way back none is run: what
    /// ran before is put back whatever it would say.
    pub(super) fn begin_check(&mut self, name: &ProcessName) {
        let forward = self.run.as_ref().filter(|run| !run.is_back);
        let (Some(run), Some(process)) = (forward, self.processes.get(name)) else {
            return;
        };
        if process.spec.check.is_empty() {
            return;
        }
        let change = run.change.unwrap_or_default().to_string();
        let variables = BTreeMap::from([("CHANGEOVER_CHANGE".to_owned(), change)]);
        let (program, leash) = self.beside(process, process.spec.check.clone(), variables);
        let limit = process.spec.check_timeout;
        self.questions += 1;
        let number = self.questions;
        let (handle, own) = (self.handle.clone(), name.clone());
        tokio::spawn(async move {
            let result = health(program.run(limit.limit(), |_| {}).await, limit);
            handle.send(Event::HealthChecked(number, own, result)).await;
        });
        if let Some(run) = &mut self.run {
            run.settling.checks.insert(name.clone(), (number, leash));
        }
    }

    /// A health program has ended.
    pub(super) fn health_checked(
        &mut self,
        number: u64,
        name: &ProcessName,
        result: Result<(), String>,
    ) {
        let Some(run) = &mut self.run else { return };
        let checks = &mut run.settling.checks;
        if checks.get(name).is_none_or(|(known, _)| *known != number) {
            return;
        }
        checks.remove(name);
        let what = match result {
            Ok(()) => {
                run.note(name, What::Checked);
                format!("{name} is well")
            }
            Err(why) => {
                let what = format!("{name}: {why}");
                run.fail(name, why);
                what
            }
        };
        self.progress(what);
        self.finish_if_done();
    }

    /// The time in which nothing may end is over.
    pub(super) fn settled(&mut self) {
        if let Some(run) = &mut self.run {
            run.settling.clock = Clock::Over;
            self.finish_if_done();
        }
    }

    /// Goes on with a transition whose steps may have been taken.
    pub(super) fn finish_if_done(&mut self) {
        let Some(run) = self.run.as_ref().filter(|run| run.is_walked()) else {
            return;
        };
        match self.next_of(run) {
            Next::Wait => {}
            Next::Settle => {
                let time = run.settling.time;
                self.progress(format!(
                    "all are ready; settling for {} ms",
                    time.as_millis()
                ));
                let task = self.after(time, Event::Settled);
                if let Some(run) = &mut self.run {
                    run.settling.clock = Clock::Runs(task);
                }
            }
            Next::Finish => {
                if let Some(run) = self.run.take() {
                    self.finish(run);
                    self.next_transition();
                }
            }
        }
    }

    fn next_of(&self, run: &Run) -> Next {
        let failed = |(name, part): (&ProcessName, &Part)| {
            part.failed.is_some() || fallen(part, self.processes.get(name), run.settles()).is_some()
        };
        // What has failed already need not be waited for: the sooner the way back begins.
        if run.parts.iter().any(failed) {
            return Next::Finish;
        }
        match &run.settling.clock {
            Clock::Before if run.settles() => Next::Settle,
            Clock::Before | Clock::Over if run.settling.checks.is_empty() => Next::Finish,
            Clock::Before | Clock::Runs(_) | Clock::Over => Next::Wait,
        }
    }
}

impl Run {
    /// Whether those that it started must stay up for a while.
    pub(super) fn settles(&self) -> bool {
        let wanted = |part: &Part| part.wanted.is_some();
        !self.settling.time.is_zero() && self.parts.values().any(wanted)
    }
}

/// Why a process is not where its part wanted it, though its step was done. `settles`: it had to
/// stay up for a while, so that an end with success is none.
pub(super) fn fallen(part: &Part, process: Option<&Supervised>, settles: bool) -> Option<String> {
    part.wanted.as_ref()?;
    let gone = || part.is_started().then(|| "does not run".to_owned());
    let Some(process) = process else {
        return gone();
    };
    let ended = |end: &End| match end {
        End::Failed(why) => Some(format!("{why} after it was ready")),
        End::Clean if settles && process.spec.ready != Ready::Oneshot => {
            Some("ended by itself, with success, after it was ready".to_owned())
        }
        End::Clean => None,
    };
    match &process.state {
        State::Failed(why) => Some(format!("{why} after it was ready")),
        State::Stopped => gone(),
        State::Done => ended(&End::Clean),
        State::StopCommand(_, Then::Ended(end))
        | State::Stopping(Then::Ended(end))
        | State::Killing(Then::Ended(end)) => ended(end),
        State::Pre(_)
        | State::Starting
        | State::Post(_)
        | State::Ready
        | State::StopCommand(..)
        | State::Stopping(_)
        | State::Killing(_)
        | State::Waiting => None,
    }
}

/// What the end of a health program means.
fn health(ended: Result<Ended, String>, limit: Span) -> Result<(), String> {
    let ended = ended.map_err(|why| format!("its check could not be run: {why}"))?;
    let what = match (ended.late, ended.exit) {
        (false, exit) if exit.is_success() => return Ok(()),
        (false, exit) => format!("its check {exit}"),
        (true, _) => format!("its check was not done within {limit}"),
    };
    Err(said(&what, &ended.said))
}

/// What happened, and what the program said.
fn said(what: &str, lines: &[String]) -> String {
    let lines: Vec<&str> = (lines.iter().map(String::as_str))
        .filter(|line| !line.trim().is_empty())
        .collect();
    if lines.is_empty() {
        return format!("{what}; it said nothing");
    }
    short(format!("{what}; it said:\n{}", lines.join("\n")))
}
