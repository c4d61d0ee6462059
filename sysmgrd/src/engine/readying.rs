//! *Going to change*: registered processes get ready and wait, level by level, dependents first.

use std::collections::BTreeSet;
use std::time::Duration;

use model::bus::{Error, encode};
use model::change::{Moment, Veto, What};
use model::process::Kind;
use model::transition::{Prepare, Prepared};
use model::{ChangeId, ProcessName};

use super::supervised::{Supervised, Task};
use super::told::SessionSignal;
use super::{Engine, Event, Reply, answer};
use crate::process::ballot::{Refused, no_answer, short};
use crate::sys::clock;

/// Processes that are getting ready.
#[derive(Debug)]
pub(super) struct Readying {
    /// Another one for each level.
    number: u64,
    change: ChangeId,
    announcement: String,
    timeout: Duration,
    /// Whose *ready and waiting* is waited for.
    waiting: BTreeSet<ProcessName>,
    /// Levels that have not been told; the next one is last.
    levels: Vec<Vec<ProcessName>>,
    prepared: Prepared,
    reply: Reply<Prepared>,
    due: Option<Task>,
}

impl Readying {
    pub(super) fn change(&self) -> ChangeId {
        self.change
    }

    /// Ends it without an outcome.
    pub(super) fn give_up(self, why: Error) {
        answer(self.reply, Err(why));
    }

    fn moment(&mut self, name: &ProcessName, what: What) {
        let moment = Moment {
            what,
            at_ms: clock::wall_ms(),
        };
        self.prepared.moments.push((name.clone(), moment));
    }

    /// Notes that `name` will not be ready; whether it was waited for.
    fn not_ready(&mut self, name: &ProcessName, reason: String) -> bool {
        if !self.waiting.remove(name) {
            return false;
        }
        self.moment(name, What::Objected);
        self.prepared.not_ready.push(Veto {
            process: name.clone(),
            reason,
        });
        true
    }
}

impl Engine {
    pub(super) fn prepare(&mut self, prepare: Prepare, reply: Reply<Prepared>) {
        if let Err(error) = self.is_free() {
            return answer(reply, Err(error));
        }
        let announcement = match encode(&prepare.announcement) {
            Ok(announcement) => announcement,
            Err(error) => return answer(reply, Err(error)),
        };
        let in_levels: BTreeSet<ProcessName> = prepare.levels.iter().flatten().cloned().collect();
        self.held.extend(in_levels.iter().cloned());
        for name in self.registered() {
            if !in_levels.contains(&name) {
                self.say(&name, SessionSignal::Prepare(announcement.clone()));
            }
        }
        let change = prepare.announcement.change;
        self.announcement = Some(prepare.announcement);
        let mut levels = prepare.levels;
        levels.reverse();
        self.readying = Some(Readying {
            number: 0,
            change,
            announcement,
            timeout: Duration::from_millis(prepare.timeout_ms),
            waiting: BTreeSet::new(),
            levels,
            prepared: Prepared::default(),
            reply,
            due: None,
        });
        self.go_on_readying();
    }

    /// *Ready and waiting*, or why not. Those who are not waited for may say it too.
    pub(super) fn prepared(
        &mut self,
        name: &ProcessName,
        change: ChangeId,
        reason: String,
    ) -> Result<(), Refused> {
        let announced = self.announcement.as_ref().map(|one| one.change);
        if announced != Some(change) {
            return Err(Refused::NoQuestion(change));
        }
        let Some(readying) = self.readying.as_mut() else {
            return Ok(());
        };
        if !reason.is_empty() {
            readying.not_ready(name, short(reason));
        } else if readying.waiting.remove(name) {
            readying.moment(name, What::Waiting);
        }
        self.go_on_readying();
        Ok(())
    }

    /// Tells the next level, or ends, where nobody is waited for any more.
    fn go_on_readying(&mut self) {
        loop {
            let Some(readying) = self.readying.as_mut() else {
                return;
            };
            if !readying.waiting.is_empty() {
                return;
            }
            if let Some(level) = readying.levels.pop() {
                self.next_level(level);
            } else if let Some(readying) = self.readying.take() {
                return answer(readying.reply, Ok(readying.prepared));
            }
        }
    }

    fn next_level(&mut self, level: Vec<ProcessName>) {
        self.questions += 1;
        let number = self.questions;
        let Some(readying) = &self.readying else {
            return;
        };
        let (announcement, timeout) = (readying.announcement.clone(), readying.timeout);
        let managing = |process: &Supervised| {
            process.spec.kind == Kind::SelfManaging && process.main.is_some()
        };
        // Nobody waits for a Simple process that has not registered.
        let (told, rest): (Vec<_>, Vec<_>) = level
            .into_iter()
            .partition(|name| self.say(name, SessionSignal::Prepare(announcement.clone())));
        let silent = rest
            .into_iter()
            .filter(|name| self.processes.get(name).is_some_and(managing))
            .collect::<Vec<_>>();
        let due = self.after(timeout, Event::ReadyingDue(number));
        let Some(readying) = &mut self.readying else {
            return;
        };
        (readying.number, readying.due) = (number, Some(due));
        for name in told {
            readying.moment(&name, What::Preparing);
            readying.waiting.insert(name);
        }
        for name in silent {
            let reason = no_answer(&name, "it has not registered");
            readying.waiting.insert(name.clone());
            readying.not_ready(&name, reason);
        }
    }

    /// The level's time is over: whoever has not answered is silent.
    pub(super) fn readying_due(&mut self, number: u64) {
        let Some(readying) = (self.readying.as_mut()).filter(|one| one.number == number) else {
            return;
        };
        let why = format!("nothing within {} ms", readying.timeout.as_millis());
        for name in readying.waiting.clone() {
            readying.not_ready(&name, no_answer(&name, &why));
        }
        self.go_on_readying();
    }

    /// A process has gone that may have been getting ready.
    pub(super) fn left_while_readying(&mut self, name: &ProcessName) {
        let reason = "it left while it was getting ready".to_owned();
        if (self.readying.as_mut()).is_some_and(|readying| readying.not_ready(name, reason)) {
            self.go_on_readying();
        }
    }
}
