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

/// Whether a node that runs `software` runs what it is to run. A held one goes on as it is.
pub fn verdict(
    software: Option<Digest>,
    wanted: Option<Digest>,
    quarantined: bool,
    held: bool,
) -> Verdict {
    match wanted {
        _ if quarantined => Verdict::Quarantined,
        None => Verdict::Unassigned,
        Some(wanted) if software == Some(wanted) || held => Verdict::GoOn,
        Some(_) => Verdict::Differs,
    }
}

/// What a node is told, by what it says that it runs. `quarantined`: two live links have its
/// identity. `now` in seconds since 1970.
pub fn answer(
    installed: &Installed,
    decided: Option<Decided>,
    quarantined: bool,
    now: u64,
) -> Answer {
    let held = installed.hold.as_ref().filter(|hold| hold.until > now);
    let wanted = decided.map(|decided| decided.software);
    let verdict = verdict(installed.software, wanted, quarantined, held.is_some());
    let mut answer = Answer {
        verdict,
        send: false,
        discrepancies: Vec::new(),
    };
    let Some(decided) = decided.filter(|_| !quarantined) else {
        return answer;
    };
    let differs = installed.software != Some(decided.software);
    // It may hold an older document, which it must not go back to. A held one would refuse, and
    // says so itself when the hold has ended.
    let newer = (decided.epoch, decided.counter) > (installed.epoch, installed.counter);
    answer.send = (differs || newer) && held.is_none();
    if (installed.epoch, installed.counter) > (decided.epoch, decided.counter) {
        answer.discrepancies.push(format!(
            "it has taken a wanted state {}.{} that this master has not given ({}.{} was its last): \
             the store was put back, or there is another master",
            installed.epoch, installed.counter, decided.epoch, decided.counter
        ));
    }
    if let Some(hold) = held {
        let until = crate::clock::rfc3339(hold.until);
        let held = format!("held at the node until {until}: {}", hold.reason);
        answer.discrepancies.push(held);
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
        assert_eq!((told.verdict, told.send), (Verdict::GoOn, false));
        assert!(told.discrepancies[0].contains("debugging"));
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
