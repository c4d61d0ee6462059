//! A node's part ends: well, badly, or before it began.

use model::change::{Failure, Outcome};
use model::wire::{NodeEnd, NodeName, NodePhase, Objection, Phase};

use super::index::Stand;
use super::step::Turn;
use super::{Action, Note};

/// How a node's part ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum How {
    /// It runs the target.
    Well,
    /// It runs the target, and its check failed.
    CheckFailed(String),
    /// Its processes object now; nothing was touched.
    Vetoed(Vec<Objection>),
    /// It runs other software than the decision was made on; nothing was touched.
    OtherBase,
    /// Nothing was touched, for this reason.
    NotBegun(String),
    /// It does not run the target, for this reason.
    Badly(String),
}

impl Turn<'_> {
    pub(super) fn ended(&mut self, node: &NodeName, end: NodeEnd) {
        let Some(part) = self.rollout.parts.get(node) else {
            return;
        };
        let stale = part.counter.is_some_and(|counter| end.counter < counter);
        if end.rollout != self.rollout.head.id {
            return;
        }
        let stand = Stand::of(part);
        let how = how_it_ended(&end, part.target, part.base);
        match stand {
            Stand::Changing | Stand::Waiting | Stand::WaitingAway | Stand::Switched if !stale => {
                self.record(node, end);
                self.forward_ended(node, how);
            }
            Stand::Failed if !stale => self.failed_ended(node, end, how),
            Stand::Done if how == How::Well => {
                self.actions.push(Action::Commit { node: node.clone() });
            }
            Stand::Done if !stale && end.installed.software != Some(part.target) => {
                self.done_went_back(node, end);
            }
            // How it ended says which way it goes; the number is that of the way there.
            Stand::GoingBack => self.back_ended(node, end),
            Stand::Trial | Stand::Done if !stale => {
                let installed = end.installed.clone();
                self.runs(node, &installed);
            }
            Stand::Open
            | Stand::Asked
            | Stand::AskedLate
            | Stand::Accepted
            | Stand::Window
            | Stand::Vetoed
            | Stand::Later
            | Stand::Soon
            | Stand::Absent
            | Stand::Impossible
            | Stand::LeftOut
            | Stand::Changing
            | Stand::Waiting
            | Stand::WaitingAway
            | Stand::Switched
            | Stand::Trial
            | Stand::Done
            | Stand::Failed
            | Stand::WentBack => {}
        }
    }

    fn record(&mut self, node: &NodeName, end: NodeEnd) {
        self.edit(node, |part| {
            part.report = end.report;
            part.check = end.check;
            part.lost = false;
        });
    }

    fn forward_ended(&mut self, node: &NodeName, how: How) {
        match how {
            How::Well if self.rollout.head.update.strategy.trial => {
                self.put(node, NodePhase::Trial);
            }
            How::Well => {
                self.put(node, NodePhase::Done);
                self.actions.push(Action::Commit { node: node.clone() });
            }
            How::CheckFailed(reason) => {
                self.leave(node, &reason);
                self.note_failure(node, &reason);
            }
            How::Vetoed(objections) => {
                self.back_to_the_vote(node, NodePhase::Vetoed { objections });
            }
            How::OtherBase => {
                self.back_to_the_vote(node, NodePhase::Open);
                self.ask(node);
            }
            How::NotBegun(reason) if self.missed(node) => {
                self.missed_go(node);
                self.discrepancy(format!("{node}: {reason}"));
            }
            How::NotBegun(reason) | How::Badly(reason) => self.failed(node, reason),
        }
    }

    fn missed(&self, node: &NodeName) -> bool {
        let part = self.rollout.parts.get(node);
        part.is_some_and(|part| self.may_have_missed_go(part))
    }

    /// Nothing was touched there: it is as if it had not begun, and its wanted state is void.
    fn back_to_the_vote(&mut self, node: &NodeName, phase: NodePhase) {
        self.put(node, phase);
        self.edit(node, |part| {
            part.begun = false;
            part.forced = false;
            part.ballot_until = 0;
        });
        self.actions.push(Action::Keep { node: node.clone() });
    }

    fn failed_ended(&mut self, node: &NodeName, end: NodeEnd, how: How) {
        let lost = self.rollout.parts.get(node).is_some_and(|part| part.lost);
        if !lost || self.rollout.head.phase.is_end() {
            return;
        }
        let installed = end.installed.clone();
        self.record(node, end);
        self.edit(node, |part| part.lost = true);
        match how {
            How::Well | How::CheckFailed(_) => {
                self.runs(node, &installed);
                if self.stand(node) == Some(Stand::Switched) {
                    self.forward_ended(node, how);
                }
            }
            How::Vetoed(_) | How::OtherBase => {
                self.failed(node, "it was out of contact, and did not begin".to_owned());
            }
            How::NotBegun(reason) | How::Badly(reason) => self.failed(node, reason),
        }
    }

    /// It had said that it runs the target, and does not any more: that word had waited in a link
    /// that was dead, and the node has gone back for want of contact. The last word counts, after
    /// the update's end, too.
    fn done_went_back(&mut self, node: &NodeName, end: NodeEnd) {
        let Some(part) = self.rollout.parts.get(node) else {
            return;
        };
        let at_base = end.installed.software == part.base || end.installed.software.is_none();
        let of_change = end.report.as_ref().and_then(|report| report.detail.clone());
        let reason = of_change.or_else(|| end.detail.clone());
        let reason = reason.unwrap_or_else(|| {
            let what = if at_base {
                "it runs what it ran before"
            } else {
                "it runs neither"
            };
            format!("it said that it is done, and then: {what}")
        });
        self.record(node, end);
        self.note_failure(node, &reason);
        self.actions.push(Action::Commit { node: node.clone() });
        if at_base {
            self.went_back(node, reason);
        } else {
            self.actions.push(Action::Keep { node: node.clone() });
            self.put(node, NodePhase::Failed { reason });
        }
        if matches!(self.rollout.head.phase, Phase::Done | Phase::Partial) {
            self.end(Some(format!("{node} went back after its change")));
        }
    }

    fn back_ended(&mut self, node: &NodeName, end: NodeEnd) {
        let Some(part) = self.rollout.parts.get(node) else {
            return;
        };
        let at_base = end.installed.software == part.base || end.installed.software.is_none();
        let at_target = end.installed.software == Some(part.target);
        let detail = end.detail.clone();
        self.edit(node, |part| {
            part.report = end.report;
            part.check = end.check.or(part.check.take());
        });
        if at_base {
            self.actions.push(Action::Commit { node: node.clone() });
            let reason = self.why_back(node);
            self.went_back(node, detail.unwrap_or(reason));
        } else if !at_target {
            let reason = detail.unwrap_or_else(|| "it runs neither what it ran before".to_owned());
            self.failed(node, reason);
        }
        // The report of the way there was on its way: the one of the way back is still to come.
    }

    /// It does not run the target, and will not by itself.
    pub(super) fn failed(&mut self, node: &NodeName, reason: String) {
        self.actions.push(Action::Keep { node: node.clone() });
        self.failed_without_word(node, reason);
        self.edit(node, |part| part.lost = false);
    }

    /// As far as is known.
    pub(super) fn failed_without_word(&mut self, node: &NodeName, reason: String) {
        self.note_failure(node, &reason);
        self.put(node, NodePhase::Failed { reason });
    }

    fn note_failure(&mut self, node: &NodeName, reason: &str) {
        self.actions.push(Action::Note(Note::Failed {
            node: node.clone(),
            reason: reason.to_owned(),
        }));
    }

    pub(super) fn went_back(&mut self, node: &NodeName, reason: String) {
        self.actions.push(Action::Keep { node: node.clone() });
        self.put(node, NodePhase::WentBack { reason });
        self.edit(node, |part| part.lost = false);
    }
}

pub(super) fn check_failed(status: i32, lines: &str) -> String {
    format!("its check ended with {status}: {}", lines.trim_end())
}

fn how_it_ended(end: &NodeEnd, target: model::Digest, base: Option<model::Digest>) -> How {
    let at_target = end.installed.software == Some(target);
    let why = |otherwise: &str| end.detail.clone().unwrap_or_else(|| otherwise.to_owned());
    let Some(report) = &end.report else {
        let same = end.installed.software == base || base.is_none();
        return match (at_target, same) {
            (true, _) => How::Well,
            (false, false) => How::OtherBase,
            (false, true) => How::NotBegun(why("it did not begin, and did not say why")),
        };
    };
    let why = |otherwise: &str| {
        let detail = report.detail.clone().or_else(|| end.detail.clone());
        detail.unwrap_or_else(|| otherwise.to_owned())
    };
    match report.outcome {
        Outcome::Done if at_target => match &end.check {
            Some((status, lines)) if *status != 0 => How::CheckFailed(check_failed(*status, lines)),
            Some(_) | None => How::Well,
        },
        Outcome::Done => How::Badly(why("it says that it is done, and runs something else")),
        Outcome::Vetoed => How::Vetoed(
            report
                .vetoes
                .iter()
                .map(|veto| Objection {
                    process: veto.process.clone(),
                    reason: veto.reason.clone(),
                })
                .collect(),
        ),
        Outcome::RolledBack => How::Badly(why("it did not come up; it runs what it ran before")),
        Outcome::Failed if report.failure == Some(Failure::Unchanged) => {
            How::NotBegun(why("it failed before anything was touched"))
        }
        Outcome::Failed => How::Badly(why("it failed")),
    }
}
