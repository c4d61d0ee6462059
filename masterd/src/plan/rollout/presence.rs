//! Nodes come, go, say what they run, or say nothing.

use model::wire::{Installed, NodeName, NodePhase, Phase};

use super::ends::check_failed;
use super::index::Stand;
use super::rolling::SILENCE_MS;
use super::step::Turn;
use super::{Action, Part};

/// What a node's word says about the update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Runs {
    /// The target, and nothing is going on.
    Target,
    /// The target; its report is still to come.
    TargetUnreported,
    /// Something else; the change is going on.
    OnItsWay,
    /// What it ran before, and nothing is going on.
    Base,
    /// Something else, and nothing is going on.
    Other,
}

impl Turn<'_> {
    fn runs_what(&self, part: &Part, installed: &Installed) -> Runs {
        let ours = installed.rollout == Some(self.rollout.head.id);
        let target = installed.software == Some(part.target);
        match (target, ours) {
            (true, true) => Runs::TargetUnreported,
            (true, false) => Runs::Target,
            (false, true) => Runs::OnItsWay,
            (false, false) if installed.software == part.base => Runs::Base,
            (false, false) => Runs::Other,
        }
    }

    /// A link is open.
    pub(super) fn back(&mut self, node: &NodeName, installed: &Installed) {
        self.edit(node, |part| part.present = true);
        let Some(part) = self.rollout.parts.get(node) else {
            return;
        };
        let runs = self.runs_what(part, installed);
        match Stand::of(part) {
            Stand::Asked | Stand::AskedLate => self.ask_on_return(node, installed),
            Stand::Absent => self.returned_absent(node, installed),
            Stand::LeftOut => self.returned_left_out(node, installed),
            Stand::Changing | Stand::Switched => {
                self.moving_runs(node, runs);
                self.send_again(node, runs);
            }
            Stand::Waiting | Stand::WaitingAway => self.waiting_runs(node, runs),
            Stand::Done if runs == Runs::TargetUnreported => {
                self.actions.push(Action::Commit { node: node.clone() });
            }
            Stand::GoingBack => {
                self.going_back_runs(node, runs);
                self.abort_again(node);
            }
            Stand::Open
            | Stand::Accepted
            | Stand::Window
            | Stand::Vetoed
            | Stand::Later
            | Stand::Soon
            | Stand::Impossible
            | Stand::Trial
            | Stand::Done
            | Stand::Failed
            | Stand::WentBack => self.runs(node, installed),
        }
    }

    /// It says what it runs.
    pub(super) fn runs(&mut self, node: &NodeName, installed: &Installed) {
        let Some(part) = self.rollout.parts.get(node) else {
            return;
        };
        let runs = self.runs_what(part, installed);
        match Stand::of(part) {
            Stand::Accepted
            | Stand::Window
            | Stand::Vetoed
            | Stand::Later
            | Stand::Soon
            | Stand::Impossible => self.unbegun_runs(node, installed),
            Stand::Changing | Stand::Switched => self.moving_runs(node, runs),
            Stand::Waiting | Stand::WaitingAway => self.waiting_runs(node, runs),
            Stand::Trial => self.trial_runs(node, runs),
            Stand::Done => self.done_runs(node, runs),
            Stand::Failed => self.failed_runs(node, runs),
            Stand::GoingBack => self.going_back_runs(node, runs),
            // Its ballot will say it, or it is asked before it begins, or it has an end.
            Stand::Open
            | Stand::Asked
            | Stand::AskedLate
            | Stand::Absent
            | Stand::LeftOut
            | Stand::WentBack => {}
        }
    }

    /// Whether a node may be asked as things stand.
    fn is_asking_time(&self) -> bool {
        match self.rollout.head.phase {
            Phase::Asking | Phase::Held | Phase::Rolling | Phase::Soaking | Phase::Stopped => true,
            Phase::Approval
            | Phase::TakingBack
            | Phase::Trial
            | Phase::Done
            | Phase::Aborted
            | Phase::Partial
            | Phase::TakenBack
            | Phase::Superseded => false,
        }
    }

    fn ask_on_return(&mut self, node: &NodeName, installed: &Installed) {
        self.rebase(node, installed.software);
        self.ask(node);
    }

    fn returned_absent(&mut self, node: &NodeName, installed: &Installed) {
        if self.is_asking_time() {
            self.ask_on_return(node, installed);
        }
    }

    fn returned_left_out(&mut self, node: &NodeName, installed: &Installed) {
        if !self.rollout.parts.get(node).is_some_and(|part| part.late) {
            return;
        }
        if self.is_asking_time() {
            let wave = self.rollout.head.wave;
            self.edit(node, |part| {
                // Nobody goes before its turn.
                part.wave = part.wave.max(wave);
                part.asks = 0;
            });
            return self.ask_on_return(node, installed);
        }
        if matches!(self.rollout.head.phase, Phase::Done | Phase::Partial) {
            self.edit(node, |part| part.late = false);
            self.actions.push(Action::FollowUp { node: node.clone() });
        }
    }

    fn unbegun_runs(&mut self, node: &NodeName, installed: &Installed) {
        let known = self.rollout.parts.get(node).and_then(|part| part.base);
        if known == installed.software {
            return;
        }
        self.rebase(node, installed.software);
        if self.is_asking_time() {
            self.ask(node);
        }
    }

    /// What it was told may have been lost with the link.
    fn send_again(&mut self, node: &NodeName, runs: Runs) {
        let Some(stand) = self.stand(node) else {
            return;
        };
        match (stand, runs) {
            (Stand::Changing, Runs::Base | Runs::OnItsWay) => self.want_again(node),
            (Stand::Switched, Runs::Base | Runs::OnItsWay) => {
                self.want_again(node);
                self.go_again(node);
            }
            _ => {}
        }
    }

    fn moving_runs(&mut self, node: &NodeName, runs: Runs) {
        let now = self.now;
        let contact = self.rollout.head.update.strategy.contact_timeout_ms.max(1);
        match runs {
            Runs::TargetUnreported => {
                self.put_until(node, NodePhase::Switched, now + SILENCE_MS);
            }
            Runs::OnItsWay => self.edit(node, |part| part.due_ms = Some(now + SILENCE_MS)),
            // It was committed, whoever said so.
            Runs::Target => self.runs_target(node),
            // It has not begun yet, or it has ended and is about to say how.
            Runs::Base | Runs::Other => self.edit(node, |part| {
                part.lost = true;
                part.due_ms = Some(now + contact);
            }),
        }
    }

    fn runs_target(&mut self, node: &NodeName) {
        if self.rollout.head.update.strategy.trial {
            self.put(node, NodePhase::Trial);
        } else {
            self.put(node, NodePhase::Done);
        }
    }

    fn waiting_runs(&mut self, node: &NodeName, runs: Runs) {
        match runs {
            // Still there; its `go` may have been lost.
            Runs::OnItsWay => {}
            Runs::Target | Runs::TargetUnreported | Runs::Base | Runs::Other => {
                self.moving_runs(node, runs);
            }
        }
    }

    fn trial_runs(&mut self, node: &NodeName, runs: Runs) {
        match runs {
            Runs::Target | Runs::TargetUnreported => {}
            Runs::OnItsWay | Runs::Base | Runs::Other => {
                let reason = "its trial is gone: the machine was restarted, or somebody at the \
                              node took it back"
                    .to_owned();
                self.went_back(node, reason);
            }
        }
    }

    fn done_runs(&mut self, node: &NodeName, runs: Runs) {
        if self.rollout.head.phase.is_end() {
            return;
        }
        match runs {
            Runs::Target | Runs::TargetUnreported | Runs::OnItsWay | Runs::Other => {}
            Runs::Base => {
                let reason = "it ran the new software and went back by itself: it had not heard \
                              that its report had arrived, or somebody at the node took it back";
                self.failed(node, reason.to_owned());
            }
        }
    }

    /// One that was lost sight of is found.
    fn failed_runs(&mut self, node: &NodeName, runs: Runs) {
        let lost = self.rollout.parts.get(node).is_some_and(|part| part.lost);
        if !lost || self.rollout.head.phase.is_end() {
            return;
        }
        let now = self.now;
        match runs {
            Runs::Target | Runs::TargetUnreported if self.is_rolled() => {
                self.put_until(node, NodePhase::Switched, now + SILENCE_MS);
                self.edit(node, |part| part.lost = false);
                self.moving_runs(node, runs);
            }
            Runs::OnItsWay if self.is_rolled() => {
                self.put_until(node, NodePhase::Changing, now + SILENCE_MS);
                self.edit(node, |part| part.lost = false);
                self.want_again(node);
            }
            Runs::Target | Runs::TargetUnreported | Runs::OnItsWay => {
                self.leave(node, "the update is being taken back");
                self.edit(node, |part| part.lost = false);
            }
            Runs::Base | Runs::Other => {
                self.failed(
                    node,
                    "it was out of contact, and went back by itself".to_owned(),
                );
            }
        }
    }

    /// Whether what was decided still goes forward.
    fn is_rolled(&self) -> bool {
        match self.rollout.head.phase {
            Phase::Held | Phase::Rolling | Phase::Soaking | Phase::Stopped | Phase::Trial => true,
            Phase::Approval
            | Phase::Asking
            | Phase::TakingBack
            | Phase::Done
            | Phase::Aborted
            | Phase::Partial
            | Phase::TakenBack
            | Phase::Superseded => false,
        }
    }

    fn going_back_runs(&mut self, node: &NodeName, runs: Runs) {
        match runs {
            Runs::Base => {
                let reason = self.why_back(node);
                self.went_back(node, reason);
            }
            Runs::Target | Runs::TargetUnreported | Runs::OnItsWay | Runs::Other => {
                let due = self.now + SILENCE_MS;
                self.edit(node, |part| part.due_ms = Some(due));
            }
        }
    }

    /// Why a node is on its way back.
    pub(super) fn why_back(&self, node: &NodeName) -> String {
        let check = self
            .rollout
            .parts
            .get(node)
            .and_then(|part| part.check.as_ref());
        match check {
            Some((status, lines)) if *status != 0 => check_failed(*status, lines),
            Some(_) | None => {
                let detail = self.rollout.head.detail.clone();
                detail.unwrap_or_else(|| "taken back".to_owned())
            }
        }
    }

    fn abort_again(&mut self, node: &NodeName) {
        if self.stand(node) == Some(Stand::GoingBack) {
            self.actions.push(Action::Abort {
                node: node.clone(),
                reason: self.why_back(node),
            });
        }
    }

    pub(super) fn away(&mut self, node: &NodeName) {
        self.edit(node, |part| {
            part.present = false;
            part.progress = None;
        });
        let Some(stand) = self.stand(node) else {
            return;
        };
        match stand {
            Stand::Asked => self.put(node, NodePhase::Absent),
            Stand::AskedLate => self.leave_out_absent(node),
            Stand::Changing
            | Stand::Waiting
            | Stand::WaitingAway
            | Stand::Switched
            | Stand::GoingBack => self.lost_sight(node),
            Stand::Open
            | Stand::Accepted
            | Stand::Window
            | Stand::Vetoed
            | Stand::Later
            | Stand::Soon
            | Stand::Absent
            | Stand::Impossible
            | Stand::LeftOut
            | Stand::Trial
            | Stand::Done
            | Stand::Failed
            | Stand::WentBack => {}
        }
    }

    fn lost_sight(&mut self, node: &NodeName) {
        let contact = self.rollout.head.update.strategy.contact_timeout_ms.max(1);
        let due = self.now + contact;
        self.edit(node, |part| part.due_ms = Some(due));
    }

    pub(super) fn heard(&mut self, node: &NodeName) {
        let due = self.now + SILENCE_MS;
        let Some(part) = self.rollout.parts.get(node) else {
            return;
        };
        // Not at each word: it would be written each time.
        let stale = part.due_ms.is_some_and(|old| old + SILENCE_MS / 2 < due);
        let moves = [Stand::Changing, Stand::Switched, Stand::GoingBack].contains(&Stand::of(part));
        if moves && stale && part.present {
            self.edit(node, |part| part.due_ms = Some(due));
        }
    }

    /// The master was restarted: nobody is there yet, and whoever comes may have missed a word.
    pub(super) fn restart(&mut self) {
        self.rollout.inspecting = false;
        let nodes: Vec<NodeName> = self.rollout.parts.keys().cloned().collect();
        for node in nodes {
            self.edit(&node, |part| part.present = false);
            self.away(&node);
            if self.stand(&node) == Some(Stand::Open) && self.is_asking_time() {
                self.put(&node, NodePhase::Absent);
            }
        }
        if self.rollout.head.phase.is_end() {
            return;
        }
        let wait = self.rollout.head.update.strategy.vote_timeout_ms.max(1);
        let until = self.now + wait;
        let head = self.head();
        head.grace_until_ms = until;
        head.vote_by_ms = head.vote_by_ms.max(until);
    }

    pub(super) fn node_is_due(&mut self, node: &NodeName) {
        let Some(part) = self.rollout.parts.get(node) else {
            return;
        };
        let present = part.present;
        match Stand::of(part) {
            Stand::Soon => self.ask_or_leave_later(node),
            Stand::AskedLate => {
                self.leave_out(node, "it did not answer in time".to_owned());
            }
            Stand::Changing | Stand::Switched | Stand::Waiting | Stand::WaitingAway => {
                self.is_lost(node, present);
            }
            Stand::GoingBack => {
                let reason = "it has not said yet that it is back; it is to go back when it is \
                              heard again";
                self.failed_without_word(node, reason.to_owned());
                self.edit(node, |part| part.lost = true);
            }
            // Its window opens.
            Stand::Window => self.edit(node, |part| part.due_ms = None),
            Stand::Open
            | Stand::Asked
            | Stand::Accepted
            | Stand::Vetoed
            | Stand::Later
            | Stand::Absent
            | Stand::Impossible
            | Stand::LeftOut
            | Stand::Trial
            | Stand::Done
            | Stand::Failed
            | Stand::WentBack => self.edit(node, |part| part.due_ms = None),
        }
    }

    fn ask_or_leave_later(&mut self, node: &NodeName) {
        let asking = matches!(self.rollout.head.phase, Phase::Asking | Phase::Rolling);
        if asking {
            self.ask(node);
        } else {
            self.edit(node, |part| part.due_ms = None);
        }
    }

    fn is_lost(&mut self, node: &NodeName, present: bool) {
        let idle = self.rollout.parts.get(node).is_some_and(|part| part.lost);
        if present && idle {
            let reason = "it runs what it ran before, and did not say why";
            return self.failed(node, reason.to_owned());
        }
        let reason = if present {
            "it is connected, and has said nothing of its change for too long"
        } else {
            "out of contact since it began; without contact it goes back by itself"
        };
        self.failed_without_word(node, reason.to_owned());
        self.edit(node, |part| part.lost = true);
    }

    /// The node has left the fleet.
    pub(super) fn gone(&mut self, node: &NodeName, reason: &str) {
        self.edit(node, |part| {
            part.present = false;
            part.late = false;
        });
        let Some(stand) = self.stand(node) else {
            return;
        };
        let reason = format!("it has left the fleet: {reason}");
        match stand {
            Stand::Open
            | Stand::Asked
            | Stand::AskedLate
            | Stand::Accepted
            | Stand::Window
            | Stand::Vetoed
            | Stand::Later
            | Stand::Soon
            | Stand::Absent
            | Stand::Impossible => self.leave_out(node, reason),
            Stand::Changing
            | Stand::Waiting
            | Stand::WaitingAway
            | Stand::Switched
            | Stand::Trial
            | Stand::GoingBack => self.failed_without_word(node, reason),
            Stand::LeftOut | Stand::Done | Stand::Failed | Stand::WentBack => {}
        }
    }
}
