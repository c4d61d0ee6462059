//! All at one moment: ready, waiting, the decision stored, go.

use model::wire::{NodeName, NodePhase};

use super::index::{FAILED, FORWARD, Stand};
use super::rolling::SILENCE_MS;
use super::step::{Gate, Turn};
use super::{Action, Part};

impl Turn<'_> {
    /// A node is staged and ready.
    pub(super) fn waiting(&mut self, node: &NodeName) {
        let Some(stand) = self.stand(node) else {
            return;
        };
        match stand {
            Stand::Changing | Stand::Waiting | Stand::WaitingAway => self.waits(node),
            // It waits again, or still: `go` was lost on its way.
            Stand::Switched => self.go_again(node),
            // It waits for nothing: it is told so.
            Stand::GoingBack | Stand::WentBack | Stand::LeftOut | Stand::Failed => {
                self.actions.push(Action::Abort {
                    node: node.clone(),
                    reason: "the update goes on without it".to_owned(),
                });
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
            | Stand::Trial
            | Stand::Done => {}
        }
    }

    fn waits(&mut self, node: &NodeName) {
        if self.rollout.head.go {
            return self.go(node);
        }
        let due = self.now + SILENCE_MS;
        self.put_until(node, NodePhase::Waiting, due);
        if self.rollout.head.go_by_ms.is_none() {
            // A tenth is left for the way of `go`.
            let timeout = self.rollout.head.update.strategy.go_timeout_ms;
            let by = self.now + (timeout - timeout / 10).max(1);
            self.head().go_by_ms = Some(by);
        }
    }

    fn go(&mut self, node: &NodeName) {
        let due = self.now + SILENCE_MS;
        self.put_until(node, NodePhase::Switched, due);
        self.go_again(node);
    }

    pub(super) fn go_again(&mut self, node: &NodeName) {
        if self.rollout.head.go {
            self.actions.push(Action::Go { node: node.clone() });
        }
    }

    /// `Passed`: the group goes back.
    pub(super) fn look_at_group(&mut self) -> Gate {
        if !self.rollout.head.update.strategy.together || !self.rollout.head.opened {
            return Gate::Shut;
        }
        let failed = self.count_begun_failures() > 0;
        if failed && self.count(&[Stand::Done, Stand::Trial]) + self.count(&FORWARD) > 0 {
            let when = if self.rollout.head.go {
                "after"
            } else {
                "before"
            };
            self.take_back_wave(&format!("a node of the group failed {when} go"));
            return Gate::Passed;
        }
        if self.rollout.head.go || self.count(&FORWARD) == 0 {
            return Gate::Shut;
        }
        let unready = self.count(&[Stand::Changing, Stand::WaitingAway]);
        let unbegun = self.count(&[Stand::Accepted, Stand::Window, Stand::Asked]);
        if unready + unbegun == 0 {
            self.decide_go();
            return Gate::Shut;
        }
        if self.rollout.head.go_by_ms.is_some_and(|by| by <= self.now) {
            self.take_back_wave(&format!("{unready} of the group were not ready in time"));
            return Gate::Passed;
        }
        Gate::Shut
    }

    fn count_begun_failures(&self) -> usize {
        self.count(&FAILED)
    }

    /// The decision, in the head; it is stored before the first `go` is sent.
    fn decide_go(&mut self) {
        self.head().go = true;
        let wave = self.rollout.head.wave;
        for node in self.rollout.index.nodes(wave, &[Stand::Waiting]) {
            self.go(&node);
        }
    }

    /// Whether an end without a switch means that `go` did not reach the node.
    pub(super) fn may_have_missed_go(&self, part: &Part) -> bool {
        self.rollout.head.update.strategy.together && self.rollout.head.go && !part.missed
    }

    /// The others have switched: it is named, and follows alone.
    pub(super) fn missed_go(&mut self, node: &NodeName) {
        self.discrepancy(format!(
            "{node} missed go: it still runs what it ran while the others of its group have switched"
        ));
        self.edit(node, |part| part.missed = true);
        self.want(node);
    }
}
