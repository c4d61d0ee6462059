//! A change that could not be brought to its end for a reason that may pass: a file or the database
//! could not be written, sysmgrd was away. It stays unfinished in the journal, holds the node, and
//! its end is tried again until it is reached.

use model::change::{ChangeReport, Failure, Outcome};

use super::change::{not_back, shortly};
use super::request::Error;
use crate::sys::clock::Time;

/// How often sysmgrd may refuse a way back before that is its end.
const REFUSALS: u32 = 6;

/// Where an unfinished change is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aim {
    /// Back to what ran before.
    Back,
    /// The new set runs and stays: the next boot is to run it too.
    Commit,
}

/// Why a way back is not at its end.
#[derive(Debug)]
pub(super) enum NotBack {
    /// That may pass.
    Yet(String),
    /// sysmgrd would not: that may pass too, but may be for good.
    Refused(String),
    /// The old files stand, and what ran with them does not come up any more.
    Down(String),
}

/// What is still to be done, and why it is not done yet.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    pub(super) aim: Aim,
    pub(super) reason: String,
}

/// An unfinished change.
#[derive(Debug, Clone)]
pub(super) struct Open {
    /// What the change has done so far. Its detail is why it goes back, or, where it is only to
    /// be committed, what of it did not come up.
    pub(super) report: ChangeReport,
    pub(super) aim: Aim,
    /// What kept it from its end at first, and what did lately.
    reasons: Option<(String, String)>,
    refusals: u32,
}

impl Open {
    /// One on which nothing has been tried yet.
    pub(super) fn new(report: ChangeReport, aim: Aim) -> Self {
        Self {
            report,
            aim,
            reasons: None,
            refusals: 0,
        }
    }

    /// One that was tried in vain.
    pub(super) fn pending(report: ChangeReport, pending: Pending) -> Self {
        let mut open = Self::new(report, pending.aim);
        open.not_yet(pending.reason);
        open
    }

    /// Tried in vain.
    pub(super) fn not_yet(&mut self, reason: String) {
        let first = self.reasons.take().map(|(first, _)| first);
        self.reasons = Some((first.unwrap_or_else(|| reason.clone()), reason));
    }

    /// The same, where sysmgrd refused; whether that is to be taken for its last word.
    pub(super) fn refused(&mut self, reason: String) -> bool {
        self.refusals += 1;
        self.not_yet(reason);
        self.refusals >= REFUSALS
    }

    fn reason(&self) -> String {
        let reason = self.reasons.as_ref().map(|(_, last)| shortly(last));
        reason.unwrap_or_else(|| "that is being done".to_owned())
    }

    fn state(&self) -> String {
        let change = self.report.change;
        match self.aim {
            Aim::Back => format!("change {change} is not taken back yet"),
            Aim::Commit => format!("change {change} is not what the next boot runs yet"),
        }
    }

    /// As it stands among the discrepancies.
    pub(super) fn discrepancy(&self) -> String {
        format!("{}: {}; installd tries again", self.state(), self.reason())
    }

    /// Why nothing else can be begun.
    pub(super) fn refusal(&self) -> Error {
        Error::Busy(format!(
            "{}: {}; remove the reason, and installd ends that change by itself (pkgtool status \
             says when)",
            self.state(),
            self.reason()
        ))
    }

    /// What whoever asked for the change is told meanwhile.
    pub(super) fn meanwhile(&self) -> ChangeReport {
        let why = self.report.detail.clone();
        let reason = self
            .reasons
            .as_ref()
            .map_or("", |(_, last)| last)
            .to_owned();
        let (failure, detail) = match self.aim {
            Aim::Back => (
                Failure::RollbackFailed,
                not_back(&why.unwrap_or_default(), &reason),
            ),
            Aim::Commit => {
                let late = format!("it could not be made what the next boot runs: {reason}");
                let all: Vec<String> = why.into_iter().chain([late]).collect();
                (Failure::Kept, all.join("\n"))
            }
        };
        ChangeReport {
            outcome: Outcome::Failed,
            failure: Some(failure),
            detail: Some(detail),
            unfinished: true,
            ..self.report.clone()
        }
    }

    /// Its end: what ran before runs again. `notes` are what had to be left.
    pub(super) fn taken_back(self, notes: Vec<String>, now: Time) -> ChangeReport {
        let mut detail = self.report.detail.unwrap_or_default();
        if let Some((first, _)) = self.reasons {
            let now = now.rfc3339();
            detail = format!(
                "{}\nthat was taken back at {now}",
                not_back(&detail, &first)
            );
        }
        let mut report = ChangeReport {
            outcome: Outcome::RolledBack,
            failure: None,
            detail: Some(detail),
            ..self.report
        };
        report.discrepancies.extend(notes);
        report
    }

    /// Its end: the files are the old ones, and what ran with them does not come up.
    pub(super) fn down(self, why: &str) -> ChangeReport {
        let detail = not_back(self.report.detail.as_deref().unwrap_or_default(), why);
        ChangeReport {
            outcome: Outcome::Failed,
            failure: Some(Failure::RollbackFailed),
            detail: Some(detail),
            ..self.report
        }
    }

    /// Its end: the new set runs, and the next boot runs it too.
    pub(super) fn committed(self, now: Time) -> ChangeReport {
        let failed = self.report.detail.is_some();
        let late = self.reasons.map(|(first, _)| {
            let now = now.rfc3339();
            format!("it could first not be made what the next boot runs: {first}\nthat was done at {now}")
        });
        let all: Vec<String> = self.report.detail.into_iter().chain(late).collect();
        ChangeReport {
            outcome: if failed {
                Outcome::Failed
            } else {
                Outcome::Done
            },
            failure: failed.then_some(Failure::Kept),
            detail: (!all.is_empty()).then(|| all.join("\n")),
            ..self.report
        }
    }
}

/// That a change was not taken back wholly, which only processes can mend.
pub(super) fn left_half(report: &ChangeReport) -> Option<String> {
    let half = report.failure == Some(Failure::RollbackFailed) && !report.unfinished;
    half.then(|| {
        let detail = report.detail.as_deref().unwrap_or_default();
        let back = detail.rsplit_once(super::change::WAY_BACK);
        let why = back.map_or(detail, |(_, back)| back);
        format!(
            "change {} was not taken back wholly: {}",
            report.change,
            shortly(why)
        )
    })
}

#[cfg(test)]
mod tests {
    use model::{ChangeId, Generation};

    use super::*;

    fn report(why: Option<&str>) -> ChangeReport {
        ChangeReport {
            detail: why.map(ToOwned::to_owned),
            ..ChangeReport::new(ChangeId(7), Outcome::Failed, Generation(1))
        }
    }

    fn pending(aim: Aim, reason: &str) -> Pending {
        let reason = reason.to_owned();
        Pending { aim, reason }
    }

    #[test]
    fn a_way_back_that_was_late_says_why_it_was_taken_and_why_it_was_late() {
        let why = "desk: ended with exit code 4; its last lines:\n  no";
        let full = "could not write /etc/a: No space left on device";
        let mut open = Open::pending(report(Some(why)), pending(Aim::Back, full));
        let meanwhile = open.meanwhile();
        assert_eq!(meanwhile.failure, Some(Failure::RollbackFailed));
        assert!(meanwhile.unfinished);
        assert_eq!(left_half(&meanwhile), None, "it is told as unfinished");
        open.not_yet("sysmgrd does not answer".to_owned());
        assert_eq!(
            open.discrepancy(),
            "change 7 is not taken back yet: sysmgrd does not answer; installd tries again"
        );
        assert!(open.refusal().to_string().starts_with("change 7 is not"));
        let end = open.taken_back(Vec::new(), Time(0));
        assert_eq!((end.outcome, end.failure), (Outcome::RolledBack, None));
        assert!(!end.unfinished);
        assert_eq!(
            end.detail.unwrap(),
            format!(
                "{why}\nthe way back failed too:\n{full}\nthat was taken back at {}",
                Time(0).rfc3339()
            )
        );
    }

    #[test]
    fn one_that_was_never_late_has_nothing_to_say_of_it() {
        let end = Open::new(report(Some("no")), Aim::Back).taken_back(Vec::new(), Time(0));
        assert_eq!(end.detail.as_deref(), Some("no"));
        let end = Open::new(report(None), Aim::Commit).committed(Time(0));
        assert_eq!((end.outcome, end.detail), (Outcome::Done, None));
    }

    #[test]
    fn a_late_commit_ends_as_the_change_went() {
        let full = pending(Aim::Commit, "No space left on device");
        let done = Open::pending(report(None), full.clone());
        assert_eq!(done.meanwhile().failure, Some(Failure::Kept));
        assert_eq!(done.committed(Time(0)).outcome, Outcome::Done);
        let kept = Open::pending(report(Some("desk: no")), full).committed(Time(0));
        assert_eq!(kept.failure, Some(Failure::Kept));
        assert!(kept.detail.unwrap().starts_with("desk: no\nit could first"));
    }

    #[test]
    fn what_is_left_half_names_what_the_way_back_met() {
        let open = Open::new(report(Some("new: no")), Aim::Back);
        let end = open.down("desk: ended with exit code 5; its last lines:\n  broken");
        assert_eq!(
            left_half(&end).unwrap(),
            "change 7 was not taken back wholly: desk: ended with exit code 5"
        );
        assert_eq!(left_half(&report(None)), None);
    }

    #[test]
    fn sysmgrd_is_not_asked_for_ever() {
        let mut open = Open::new(report(None), Aim::Back);
        let refused: Vec<bool> = (0..REFUSALS)
            .map(|_| open.refused("no such tree".to_owned()))
            .collect();
        assert_eq!(refused, [false, false, false, false, false, true]);
    }
}
