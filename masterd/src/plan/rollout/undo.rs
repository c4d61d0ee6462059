//! The way back, and ends that somebody decided.

use model::wire::{NodeName, NodePhase, Phase, RolloutId};

use super::Action;
use super::index::{FORWARD, MOVING, Stand, UNBEGUN};
use super::rolling::SILENCE_MS;
use super::step::{Gate, Turn};

impl Turn<'_> {
    /// Nothing was touched: the question is withdrawn everywhere.
    pub(super) fn abort_all(&mut self, reason: &str) {
        for node in self.rollout.index.everywhere(&UNBEGUN) {
            self.leave_out(&node, reason.to_owned());
        }
        self.end(Some(reason.to_owned()));
    }

    /// What is done and what is on its way goes back.
    pub(super) fn take_back(&mut self, reason: &str) {
        for node in self.rollout.index.everywhere(&UNBEGUN) {
            self.leave_out(&node, reason.to_owned());
        }
        for node in self.rollout.index.everywhere(&FORWARD) {
            self.leave(&node, reason);
        }
        if !self.rollout.head.keep_done {
            for node in self.rollout.index.everywhere(&[Stand::Trial]) {
                self.leave(&node, reason);
            }
            for node in self.rollout.index.everywhere(&[Stand::Done]) {
                self.change_back(&node);
            }
        }
        self.enter(Phase::TakingBack, Some(reason.to_owned()));
    }

    /// As [`Self::take_back`], for the wave that is on its way; earlier ones stay.
    pub(super) fn take_back_wave(&mut self, reason: &str) {
        let wave = self.rollout.head.wave;
        for node in self.rollout.index.nodes(wave, &[Stand::Done]) {
            self.change_back(&node);
        }
        for node in self.rollout.index.nodes(wave, &[Stand::Trial]) {
            self.leave(&node, reason);
        }
        self.head().keep_done = true;
        self.take_back(reason);
    }

    /// It is to leave, or take back, what it has begun.
    pub(super) fn leave(&mut self, node: &NodeName, reason: &str) {
        self.going_back(node);
        self.actions.push(Action::Keep { node: node.clone() });
        self.actions.push(Action::Abort {
            node: node.clone(),
            reason: reason.to_owned(),
        });
    }

    fn change_back(&mut self, node: &NodeName) {
        self.going_back(node);
        if let Some(part) = self.rollout.parts.get(node) {
            let orders = Box::new(self.rollout.orders_back(part));
            let node = node.clone();
            self.actions.push(Action::Return { node, orders });
        }
    }

    fn going_back(&mut self, node: &NodeName) {
        let present = self.rollout.parts.get(node).is_some_and(|one| one.present);
        let contact = self.rollout.head.update.strategy.contact_timeout_ms.max(1);
        let due = self.now + if present { SILENCE_MS } else { contact };
        self.put_until(node, NodePhase::GoingBack, due);
    }

    pub(super) fn look_at_taking_back(&mut self) -> Gate {
        if self.rollout.index.all(&MOVING) > 0 {
            return Gate::Shut;
        }
        self.end(None);
        Gate::Passed
    }

    /// Every trial may have gone by itself.
    pub(super) fn look_at_trial(&mut self) -> Gate {
        let index = &self.rollout.index;
        if index.all(&[Stand::Trial]) + index.all(&MOVING) > 0 {
            return Gate::Shut;
        }
        self.end(None);
        Gate::Passed
    }

    pub(super) fn commit_trial(&mut self) {
        for node in self.rollout.index.everywhere(&[Stand::Trial]) {
            self.put(&node, NodePhase::Done);
            self.actions.push(Action::Commit { node });
        }
    }

    pub(super) fn supersede(&mut self, by: RolloutId) {
        if self.rollout.head.phase.is_end() {
            return;
        }
        let reason = format!("update {by} has taken the place of this one");
        for node in self.rollout.index.everywhere(&UNBEGUN) {
            self.leave_out(&node, reason.clone());
        }
        let unfinished = [MOVING.as_slice(), &[Stand::Trial]].concat();
        for node in self.rollout.index.everywhere(&unfinished) {
            self.leave(&node, &reason);
            let reason = format!("{reason} while it changed");
            self.put(&node, NodePhase::LeftOut { reason });
        }
        self.enter(Phase::Superseded, Some(reason));
    }
}
