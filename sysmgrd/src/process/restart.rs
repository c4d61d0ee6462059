//! Whether and when an ended process is started again: systemd's policies, a delay that doubles,
//! and an end to it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use model::process::Restart;

use super::Exit;
use super::machine::{Again, End, Why};

/// At most this many starts …
const STARTS: usize = 5;
/// … in this time; then the process is given up.
const INTERVAL: Duration = Duration::from_secs(10);
/// The longest delay that doubling reaches.
const LONGEST: Duration = Duration::from_secs(5);

/// The starts that a process made of itself, lately.
#[derive(Debug, Clone, Default)]
pub struct History {
    starts: VecDeque<Instant>,
    in_a_row: u32,
}

impl History {
    /// Notes a start at `now`, asked for or not.
    pub fn started(&mut self, now: Instant) {
        if self.starts.len() == STARTS {
            self.starts.pop_front();
        }
        self.starts.push_back(now);
    }

    /// Forgets: somebody asked for it.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// What follows from `end` at `now` under `policy` with the first delay `first`.
    pub fn decide(&mut self, policy: Restart, first: Duration, end: &End, now: Instant) -> Again {
        if !wants(policy, end) {
            return Again::No;
        }
        let recent = self
            .starts
            .iter()
            .filter(|start| now.duration_since(**start) < INTERVAL);
        if recent.count() >= STARTS {
            return Again::TooOften;
        }
        let calm = self
            .starts
            .back()
            .is_none_or(|start| now.duration_since(*start) >= INTERVAL);
        self.in_a_row = if calm {
            0
        } else {
            self.in_a_row.saturating_add(1)
        };
        let doublings = self.in_a_row.saturating_sub(1).min(16);
        Again::After((first * 2_u32.pow(doublings)).min(LONGEST.max(first)))
    }
}

fn wants(policy: Restart, end: &End) -> bool {
    // An abort is a signal that nobody sends to ask for an end.
    let (clean, aborted, timed_out) = match end {
        End::Clean => (true, false, false),
        End::Failed(Why::Exited(exit)) => (
            false,
            matches!(exit, Exit::Signal(_)) && !exit.is_clean(),
            false,
        ),
        End::Failed(Why::NotReady | Why::Unkillable) => (false, false, true),
        End::Failed(Why::NotStarted(_) | Why::Command(_) | Why::MainLost(_) | Why::TooOften) => {
            (false, false, false)
        }
    };
    match policy {
        Restart::No => false,
        Restart::Always => true,
        Restart::OnSuccess => clean,
        Restart::OnFailure => !clean,
        Restart::OnAbnormal => aborted || timed_out,
        Restart::OnAbort => aborted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(100);

    fn died() -> End {
        End::Failed(Why::Exited(Exit::Code(1)))
    }

    #[test]
    fn the_delay_doubles_and_the_fifth_failure_in_ten_seconds_is_the_last() {
        let mut now = Instant::now();
        let mut history = History::default();
        let mut delays = Vec::new();
        for _ in 0..4 {
            history.started(now);
            now += Duration::from_millis(1);
            match history.decide(Restart::Always, FIRST, &died(), now) {
                Again::After(delay) => delays.push(delay.as_millis()),
                other @ (Again::No | Again::TooOften) => panic!("{other:?}"),
            }
            now += *delays
                .last()
                .map(|d| Duration::from_millis(u64::try_from(*d).unwrap()))
                .as_ref()
                .unwrap();
        }
        assert_eq!(delays, [100, 200, 400, 800]);
        history.started(now);
        assert_eq!(
            history.decide(Restart::Always, FIRST, &died(), now),
            Again::TooOften
        );
    }

    #[test]
    fn a_process_that_ran_well_begins_at_the_first_delay_again() {
        let mut history = History::default();
        let mut now = Instant::now();
        for _ in 0..3 {
            history.started(now);
            history.decide(Restart::Always, FIRST, &died(), now);
        }
        now += INTERVAL;
        assert_eq!(
            history.decide(Restart::Always, FIRST, &died(), now),
            Again::After(FIRST)
        );
    }

    #[test]
    fn a_long_first_delay_is_kept() {
        let first = Duration::from_secs(30);
        let mut history = History::default();
        let again = history.decide(Restart::Always, first, &died(), Instant::now());
        assert_eq!(again, Again::After(first));
    }

    #[test]
    fn policies_are_systemds() {
        use Restart::{Always, No, OnAbnormal, OnAbort, OnFailure, OnSuccess};
        let ends = [
            End::Clean,
            died(),
            End::Failed(Why::Exited(Exit::Signal(libc::SIGSEGV))),
            End::Failed(Why::NotReady),
            End::Failed(Why::NotStarted("x".into())),
        ];
        let table = [
            (No, [false, false, false, false, false]),
            (OnSuccess, [true, false, false, false, false]),
            (OnFailure, [false, true, true, true, true]),
            (OnAbnormal, [false, false, true, true, false]),
            (OnAbort, [false, false, true, false, false]),
            (Always, [true, true, true, true, true]),
        ];
        for (policy, expected) in table {
            let got: Vec<bool> = ends.iter().map(|end| wants(policy, end)).collect();
            assert_eq!(got, expected, "{policy:?}");
        }
    }
}
