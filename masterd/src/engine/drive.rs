//! Updates on their way: what happened goes in, what is to be done comes out.

use std::collections::VecDeque;

use model::Digest;
use model::trust::{Kind, Signed};
use model::wire::{
    Ask, FleetEvent, NodeName, Orders, RolloutId, StorePolicy, ToNode, Update, Wanted,
};

use super::records;
use super::writes::{Effect, Rank};
use super::{Engine, Error, now_ms};
use crate::plan::assigned::Intent;
use crate::plan::rollout::{Action, Event, Part};
use crate::plan::select::Counting;

/// A wanted state begins nothing new after so many seconds; it is signed again where it is needed.
const GOOD_FOR: u64 = 30 * crate::trust::DAY;

impl Engine {
    /// Tells an update what happened, and does what it answers; what that makes happen, too.
    pub(super) fn step(&mut self, id: RolloutId, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let now = now_ms();
            let Some(rollout) = self.rollouts.get_mut(&id) else {
                return;
            };
            let actions = rollout.step(now, event);
            self.pending.moved.insert(id);
            for action in actions {
                events.extend(self.act(id, action));
            }
            self.keep_rollout(id);
        }
    }

    /// Stores what has changed of an update.
    fn keep_rollout(&mut self, id: RolloutId) {
        let Some(rollout) = self.rollouts.get_mut(&id) else {
            return;
        };
        let changes = rollout.take_changes();
        if changes.head {
            self.pending
                .put(Rank::Head, records::rollout(id), rollout.head());
        }
        for node in changes.parts {
            if let Some(part) = rollout.parts().get(&node) {
                self.pending.put(Rank::Part, records::part(id, &node), part);
                self.pending.parts.insert((id, node));
            }
        }
    }

    fn act(&mut self, id: RolloutId, action: Action) -> Option<Event> {
        match action {
            Action::Ask { node, round } => self.question(id, &node, round),
            Action::Withdraw { node, reason } => {
                let rollout = id;
                self.tell(&node, &ToNode::Withdraw { rollout, reason });
            }
            Action::Want { node, orders } => self.want(id, &node, Whither::Target, *orders),
            Action::Return { node, orders } => self.want(id, &node, Whither::Base, *orders),
            Action::Keep { node } if self.is_decided_anew(id, &node) => {}
            Action::Keep { node } => self.want(id, &node, Whither::Base, Orders::default()),
            Action::Go { node } => self.go(id, &node),
            Action::Abort { node, reason } => {
                let rollout = id;
                self.tell(&node, &ToNode::Abort { rollout, reason });
            }
            Action::Commit { node } => self.tell(&node, &ToNode::Commit { rollout: id }),
            Action::FollowUp { node } => self.follow_up(id, &node),
            Action::Inspect { wave } => {
                let discrepancies = self.inspect(id, wave);
                return Some(Event::Inspected {
                    wave,
                    discrepancies,
                });
            }
            Action::Wake { at_ms } => {
                self.wakes.insert(id, at_ms);
            }
            Action::Note(note) => self.noted(id, &note),
        }
        None
    }

    fn tell(&mut self, node: &NodeName, message: &ToNode) {
        self.pending.effect(Effect::send(node, message));
    }

    fn question(&mut self, id: RolloutId, name: &NodeName, round: u32) {
        let (Some(rollout), Some(counting)) = (self.rollouts.get(&id), self.counting(name)) else {
            return;
        };
        let Some(part) = rollout.parts().get(name) else {
            return;
        };
        let strategy = &rollout.head().update.strategy;
        let ask = Ask {
            rollout: id,
            round,
            list: part.list,
            target: part.target,
            selected_for: counting.added,
            within_ms: strategy.vote_timeout_ms,
            prefetch: strategy.prefetch,
            store: kept(strategy.store, &counting.intent),
        };
        self.tell(name, &ToNode::Ask(Box::new(ask)));
    }

    fn go(&mut self, id: RolloutId, name: &NodeName) {
        let wanted = self.nodes.get(name).and_then(|node| node.wanted.as_ref());
        let Some((epoch, counter)) = wanted.map(|wanted| (wanted.epoch, wanted.counter)) else {
            return;
        };
        let message = ToNode::Go {
            rollout: id,
            epoch,
            counter,
        };
        self.tell(name, &message);
    }

    /// Signs, stores and sends; what is signed already is only sent.
    fn want(&mut self, id: RolloutId, name: &NodeName, whither: Whither, orders: Orders) {
        let Some(part) = self.rollouts.get(&id).and_then(|one| one.parts().get(name)) else {
            return;
        };
        let own = self.rollouts.get(&id);
        let own = own.and_then(|one| one.head().update.strategy.store);
        let (place, own) = match whither {
            Whither::Target => (Some((part.list, part.target)), own),
            Whither::Base => (self.base_of(name, part.base, part.base_list), None),
        };
        let Some(place) = place else {
            self.unwant(name);
            return;
        };
        if let Err(error) = self.sign(name, place, (orders, own)) {
            tracing::error!(node = %name, error = %model::report::Chain(&error), "not signed");
            return;
        }
        self.send_wanted(name);
        let counter = self.nodes.get(name).map(|node| node.signed.counter);
        if let (Some(counter), Some(rollout)) = (counter, self.rollouts.get_mut(&id)) {
            rollout.signed(name, counter);
        }
    }

    /// The list that gives what a node ran; what is not known cannot be wanted.
    fn base_of(
        &self,
        name: &NodeName,
        base: Option<Digest>,
        list: Option<Digest>,
    ) -> Option<(Digest, Digest)> {
        let base = base?;
        let found = list.or_else(|| self.documents.list_of(&base));
        if found.is_none() {
            tracing::warn!(node = %name, %base, "no software list is known for what it ran");
        }
        Some((found?, base))
    }

    /// Nothing is decided for the node any more.
    fn unwant(&mut self, name: &NodeName) {
        let counter = self.next_counter(name);
        if let Some(node) = self.nodes.get_mut(name) {
            node.wanted = None;
            node.signed.signed = None;
            node.signed.counter = counter;
        }
        self.keep_wanted(name);
    }

    /// Signs this as the node's wanted state, unless just that is signed and good.
    fn sign(
        &mut self,
        name: &NodeName,
        (list, software): (Digest, Digest),
        (orders, own): (Orders, Option<StorePolicy>),
    ) -> Result<(), Error> {
        let now = now_ms() / 1000;
        let counting = self.counting(name);
        let Counting { added, intent, .. } = counting.ok_or_else(|| Error::no("node", name))?;
        let store = kept(own, &intent);
        let counter = self.next_counter(name);
        let epoch = self.epoch;
        let node = self.nodes.get(name);
        let node = node.ok_or_else(|| Error::no("node", name))?;
        let same = |old: &Wanted| {
            (old.list, old.software) == (list, software)
                && old.orders == orders
                && old.selected_for == added
                && old.store == store
                && old.epoch == epoch
                && old.expires > now
        };
        if node.wanted.as_deref().is_some_and(same) {
            return Ok(());
        }
        let wanted = Wanted {
            node: name.clone(),
            epoch,
            counter,
            issued: now,
            expires: now + GOOD_FOR,
            list,
            software,
            selected_for: added,
            releases: Vec::new(),
            orders,
            store,
            boot_gate: intent.boot_gate.map(|(gate, _)| gate).unwrap_or_default(),
        };
        self.decided(name, wanted)
    }

    fn send_wanted(&mut self, name: &NodeName) {
        let signed = self
            .nodes
            .get(name)
            .and_then(|node| node.signed.signed.clone());
        if let Some(signed) = signed {
            self.tell(name, &ToNode::Wanted(signed));
        }
    }

    /// What was decided is sent to a node that runs something else; signed again where it is out
    /// of date, or of an earlier epoch.
    pub(super) fn enforce(&mut self, name: &NodeName) {
        match self.sign_again(name) {
            Ok(()) => self.send_wanted(name),
            Err(error) => {
                tracing::error!(node = %name, error = %model::report::Chain(&error), "not signed");
            }
        }
    }

    /// The same decision, whatever is intended meanwhile.
    fn sign_again(&mut self, name: &NodeName) -> Result<(), Error> {
        let now = now_ms() / 1000;
        let wanted = self.nodes.get(name).and_then(|node| node.wanted.as_deref());
        let is_old = |old: &&Wanted| old.epoch != self.epoch || old.expires <= now;
        let Some(old) = wanted.filter(is_old).cloned() else {
            return Ok(());
        };
        let wanted = Wanted {
            epoch: self.epoch,
            counter: self.next_counter(name),
            issued: now,
            expires: now + GOOD_FOR,
            ..old
        };
        self.decided(name, wanted)
    }

    fn decided(&mut self, name: &NodeName, wanted: Wanted) -> Result<(), Error> {
        let signed = Signed::new(Kind::Wanted, &self.key, &wanted)?;
        self.documents.learn(wanted.software, wanted.list);
        if let Some(node) = self.nodes.get_mut(name) {
            node.signed.signed = Some(signed);
            node.signed.counter = wanted.counter;
            node.wanted = Some(Box::new(wanted));
        }
        self.keep_wanted(name);
        Ok(())
    }

    /// The node's parts of newer updates.
    fn newer_parts(&self, id: RolloutId, name: &NodeName) -> impl Iterator<Item = &Part> {
        let newer = self.rollouts.range(RolloutId(id.0 + 1)..);
        newer.filter_map(|(_, one)| one.parts().get(name))
    }

    /// Whether a newer update has decided something for the node: that stays.
    fn is_decided_anew(&self, id: RolloutId, name: &NodeName) -> bool {
        self.newer_parts(id, name)
            .any(|part| part.counter.is_some())
    }

    /// A node that an ended update left out because it was away is asked in one of its own.
    fn follow_up(&mut self, id: RolloutId, name: &NodeName) {
        let Some(rollout) = self.rollouts.get(&id) else {
            return;
        };
        if self.newer_parts(id, name).next().is_some() {
            return;
        }
        let (head, by) = (rollout.head(), rollout.head().by.clone());
        let mut update = Update {
            image: None,
            supersede: None,
            idempotency_key: None,
            reason: format!("{name} was away in update {id}"),
            ..head.update.clone()
        };
        update.nodes = model::wire::Selector {
            nodes: vec![name.clone()],
            ..model::wire::Selector::default()
        };
        update.strategy.together = false;
        if let Err(error) = self.update(update, by) {
            tracing::warn!(node = %name, error = %model::report::Chain(&error), "not asked again");
        }
    }

    /// Updates whose time has come.
    pub(super) fn due(&mut self) {
        self.look_whether_all_are_here();
        let now = now_ms();
        let due = self.wakes.iter().filter(|(_, at)| **at <= now);
        let ids: Vec<RolloutId> = due.map(|(id, _)| *id).collect();
        for id in ids {
            self.wakes.remove(&id);
            self.step(id, Event::Due);
        }
    }

    /// People who look on hear once for each batch how an update stands.
    pub(super) fn tell_moved(&mut self) {
        for id in std::mem::take(&mut self.pending.moved) {
            if self.events.receiver_count() == 0 {
                continue;
            }
            let Some(view) = self
                .rollouts
                .get(&id)
                .map(crate::plan::rollout::Rollout::view)
            else {
                continue;
            };
            let event = FleetEvent::Rollout {
                rollout: id,
                phase: view.phase,
                paused: view.paused,
                wave: view.wave,
                tally: Box::new(view.tally),
                detail: view.detail,
            };
            self.pending.effect(Effect::Tell(event));
        }
    }
}

/// What a node keeps of its software: as the update says, or as it is assigned.
fn kept(own: Option<StorePolicy>, intent: &Intent) -> StorePolicy {
    let assigned = intent.store.as_ref().map(|(store, _)| *store);
    own.or(assigned).unwrap_or_default()
}

/// Which of a part's two places.
#[derive(Debug, Clone, Copy)]
enum Whither {
    Target,
    Base,
}
