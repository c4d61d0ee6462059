//! The end of a change, told to everybody who is registered until they have heard it.
//!
//! A process that has said *ready and waiting* waits for nothing else: one that does not hear the
//! end would wait for ever. So it is told again and again until it acknowledges, and one that
//! never does loses its session, which tells it too.

use std::time::Duration;

use model::transition::Ended;
use model::{ChangeId, ProcessName};

use super::supervised::{Supervised, Task};
use super::told::SessionSignal;
use super::{Engine, Event, Signal};

/// How long an acknowledgement is waited for before the end is told again.
const AGAIN: Duration = Duration::from_millis(500);
/// How often it is told.
const TIMES: u32 = 10;

/// An end that a process has not acknowledged.
#[derive(Debug)]
pub(super) struct Unheard {
    change: ChangeId,
    /// The run that was told.
    run: u64,
    document: String,
    told: u32,
    /// Tells it again.
    _again: Task,
}

impl Engine {
    /// A change has ended: everybody who may have been told of it is told of that.
    pub(super) fn end(&mut self, ended: &Ended) {
        self.announcement = None;
        self.call_off(ended.change);
        if self.run.is_none() {
            self.held.clear();
        }
        let Ok(document) = serde_json::to_string(ended) else {
            return;
        };
        for name in self.registered() {
            self.tell_end(&name, ended.change, document.clone(), 1);
        }
    }

    fn tell_end(&mut self, name: &ProcessName, change: ChangeId, document: String, told: u32) {
        let Some(run) = self.processes.get(name).map(|process| process.run) else {
            return;
        };
        // One whose queue is full has not heard it either.
        self.say(name, SessionSignal::Ended(document.clone()));
        let unheard = Unheard {
            change,
            run,
            document,
            told,
            _again: self.after(AGAIN, Event::Unheard(name.clone(), change)),
        };
        self.unheard.insert(name.clone(), unheard);
    }

    /// A process has heard the end of a change.
    pub(super) fn heard(&mut self, name: &ProcessName, change: ChangeId) {
        if self
            .unheard
            .get(name)
            .is_some_and(|one| one.change == change)
        {
            self.unheard.remove(name);
        }
    }

    /// Nothing has come back: it is told again, or given up.
    pub(super) fn unheard(&mut self, name: &ProcessName, change: ChangeId) {
        let Some(one) = self.unheard.remove(name) else {
            return;
        };
        if one.change != change {
            self.unheard.insert(name.clone(), one);
            return;
        }
        let same_run = |process: &Supervised| process.is_registered() && process.run == one.run;
        if !self.processes.get(name).is_some_and(same_run) {
            return;
        }
        if one.told < TIMES {
            self.tell_end(name, change, one.document, one.told + 1);
        } else {
            self.give_up_session(name, change);
        }
    }

    fn give_up_session(&mut self, name: &ProcessName, change: ChangeId) {
        tracing::warn!(
            process = %name, change = change.0,
            "it never acknowledged the end of the change: its session is closed"
        );
        let Some(process) = self.processes.get_mut(name) else {
            return;
        };
        process.status = Some(format!(
            "session closed: it never acknowledged the end of change {change}"
        ));
        self.close_session(name);
        self.lost_session(name);
        if let Some(process) = self.processes.get(name) {
            self.tell_all(Signal::ProcessChanged(process.status()));
        }
    }
}
