//! What a node that makes itself known is told.

use model::Digest;
use model::wire::{Counter, Epoch, Installed, Verdict};

/// What was decided for a node, as far as the answer needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decided {
    /// Its software hash.
    pub software: Digest,
    /// Its number.
    pub epoch: Epoch,
    /// Of that epoch.
    pub counter: Counter,
}

/// The answer to a node's hello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What it is told.
    pub verdict: Verdict,
    /// The wanted state is to be sent.
    pub send: bool,
    /// What is true of it and should not be.
    pub discrepancies: Vec<String>,
}

/// What a node is told, by what it says that it runs. `quarantined`: two live links have its
/// identity. `now` in seconds since 1970.
pub fn answer(
    installed: &Installed,
    decided: Option<Decided>,
    quarantined: bool,
    now: u64,
) -> Answer {
    let of = |verdict, send| Answer {
        verdict,
        send,
        discrepancies: Vec::new(),
    };
    if quarantined {
        return of(Verdict::Quarantined, false);
    }
    let Some(decided) = decided else {
        return of(Verdict::Unassigned, false);
    };
    let differs = installed.software != Some(decided.software);
    let mut answer = if differs {
        of(Verdict::Differs, true)
    } else {
        // It may hold an older document, which it must not go back to.
        let newer = (decided.epoch, decided.counter) > (installed.epoch, installed.counter);
        of(Verdict::GoOn, newer)
    };
    if (installed.epoch, installed.counter) > (decided.epoch, decided.counter) {
        answer.discrepancies.push(format!(
            "it has taken a wanted state {}.{} that this master has not given ({}.{} was its last): \
             the store was put back, or there is another master",
            installed.epoch, installed.counter, decided.epoch, decided.counter
        ));
    }
    if let Some(hold) = installed.hold.as_ref().filter(|hold| hold.until > now) {
        answer.discrepancies.push(format!(
            "held at the node until {}: {}",
            crate::clock::rfc3339(hold.until),
            hold.reason
        ));
        // It would refuse; it says so itself when the hold has ended.
        answer.send = false;
    }
    if installed.committed.is_some()
        && installed.committed != installed.software
        && !installed.trial
    {
        let next = "what runs is not what its next boot runs".to_owned();
        answer.discrepancies.push(next);
    }
    if differs {
        let other = "it says that it runs something else than was decided".to_owned();
        answer.discrepancies.push(other);
    }
    answer
}

#[cfg(test)]
mod tests {
    use model::wire::Hold;

    use super::*;

    fn decided(counter: u64) -> Decided {
        Decided {
            software: Digest::of(b"new"),
            epoch: Epoch(1),
            counter: Counter(counter),
        }
    }

    fn runs(text: &str, counter: u64) -> Installed {
        Installed {
            software: Some(Digest::of(text.as_bytes())),
            epoch: Epoch(1),
            counter: Counter(counter),
            ..Installed::default()
        }
    }

    #[test]
    fn a_node_that_runs_what_it_is_to_run_goes_on() {
        let told = answer(&runs("new", 4), Some(decided(4)), false, 0);
        assert_eq!((told.verdict, told.send), (Verdict::GoOn, false));
        let told = answer(&runs("new", 3), Some(decided(4)), false, 0);
        assert_eq!((told.verdict, told.send), (Verdict::GoOn, true));
    }

    #[test]
    fn a_node_that_runs_something_else_is_sent_what_it_is_to_run_unless_it_is_held() {
        let told = answer(&runs("old", 3), Some(decided(4)), false, 0);
        assert_eq!((told.verdict, told.send), (Verdict::Differs, true));
        let mut held = runs("old", 3);
        held.hold = Some(Hold {
            reason: "debugging".into(),
            until: 100,
        });
        let told = answer(&held, Some(decided(4)), false, 99);
        assert!(!told.send && told.discrepancies[0].contains("debugging"));
        assert!(answer(&held, Some(decided(4)), false, 100).send);
    }

    #[test]
    fn nothing_is_sent_to_one_of_two_with_one_name_or_before_anything_was_decided() {
        let told = answer(&runs("old", 3), Some(decided(4)), true, 0);
        assert_eq!((told.verdict, told.send), (Verdict::Quarantined, false));
        let told = answer(&runs("old", 3), None, false, 0);
        assert_eq!((told.verdict, told.send), (Verdict::Unassigned, false));
    }

    #[test]
    fn a_number_that_this_master_never_gave_is_a_discrepancy() {
        let told = answer(&runs("new", 9), Some(decided(4)), false, 0);
        assert_eq!(told.discrepancies.len(), 1);
    }
}
