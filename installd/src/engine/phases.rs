//! How long each phase of a change takes.

use model::change::PhaseTime;

use crate::sys::clock::{Stopwatch, Time};

/// A clock that is always in one phase, or in none.
#[derive(Debug, Default)]
pub(super) struct Phases {
    ended: Vec<PhaseTime>,
    now: Option<(&'static str, Time, Stopwatch)>,
}

impl Phases {
    /// The phase before ends and this one begins; the same again goes on.
    pub(super) fn begin(&mut self, phase: &'static str) {
        if self.now.as_ref().is_some_and(|(now, ..)| *now == phase) {
            return;
        }
        self.end();
        self.now = Some((phase, Time::now(), Stopwatch::start()));
    }

    fn end(&mut self) {
        if let Some((phase, began, watch)) = self.now.take() {
            self.ended.push(PhaseTime {
                phase: phase.to_owned(),
                began_ms: began.0,
                took_us: watch.micros(),
            });
        }
    }

    /// All of them; the last one ends.
    pub(super) fn take(&mut self) -> Vec<PhaseTime> {
        self.end();
        std::mem::take(&mut self.ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_phase_ends_where_the_next_begins() {
        let mut phases = Phases::default();
        assert!(phases.take().is_empty());
        for phase in ["ask", "stage", "stage", "switch"] {
            phases.begin(phase);
        }
        let all = phases.take();
        let names: Vec<_> = all.iter().map(|one| one.phase.as_str()).collect();
        assert_eq!(names, ["ask", "stage", "switch"]);
        assert!(all.iter().all(|one| one.began_ms > 0));
    }
}
