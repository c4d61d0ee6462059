//! Who hears of what the engine does: lookers-on, people's programs, and nodes that only check.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use model::Digest;
use model::wire::{FleetEvent, NodeName, NodePhase, Phase, RolloutId, Verdict};

use super::node::Node;
use super::writes::Effect;
use super::{Engine, Handle};
use crate::clock;
use crate::hooks::{Occasion, What};
use crate::plan::negotiate;
use crate::plan::rollout::{Note, Rollout};

/// What a check of one node needs: read by requests, written by the engine when it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Row {
    wanted: Option<Digest>,
    quarantined: bool,
    /// Seconds since 1970: so long whatever runs is right.
    held_until: u64,
}

impl Row {
    fn of(node: &Node) -> Self {
        let installed = node.installed.as_ref();
        let hold = installed.and_then(|installed| installed.hold.as_ref());
        Self {
            wanted: node.wanted.as_ref().map(|wanted| wanted.software),
            quarantined: node.record.quarantined,
            held_until: hold.map_or(0, |hold| hold.until),
        }
    }

    fn verdict(self, software: Option<Digest>, now: u64) -> Verdict {
        negotiate::verdict(
            software,
            self.wanted,
            self.quarantined,
            self.held_until > now,
        )
    }
}

/// What every node is to run, for those who only check.
#[derive(Debug, Clone, Default)]
pub(super) struct Checks(Arc<RwLock<HashMap<NodeName, Row>>>);

impl Checks {
    fn set(&self, name: &NodeName, row: Option<Row>) {
        let mut rows = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match row {
            Some(row) => rows.insert(name.clone(), row),
            None => rows.remove(name),
        };
    }

    fn verdict(&self, name: &NodeName, software: Option<Digest>) -> Verdict {
        let rows = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let row = rows.get(name).copied();
        row.map_or(Verdict::Unassigned, |row| {
            row.verdict(software, clock::now())
        })
    }
}

impl Handle {
    /// Whether a node that runs this runs what it is to run. Asks nobody: it costs a look.
    pub fn check(&self, node: &NodeName, software: Option<Digest>) -> Verdict {
        self.checks.verdict(node, software)
    }
}

impl Engine {
    /// What checks are answered with, once it is stored.
    pub(super) fn recheck(&mut self, name: &NodeName) {
        self.pending.effect(Effect::Check(name.clone()));
    }

    pub(super) fn recheck_now(&self, name: &NodeName) {
        self.checks.set(name, self.nodes.get(name).map(Row::of));
    }

    /// Lookers-on hear of each part that is somewhere else.
    pub(super) fn tell_parts(&mut self) {
        for (id, node) in std::mem::take(&mut self.pending.parts) {
            if self.events.receiver_count() == 0 {
                continue;
            }
            let part = self.rollouts.get(&id).and_then(|one| one.part_view(&node));
            if let Some(part) = part {
                let part = Box::new(part);
                let event = FleetEvent::Part { rollout: id, part };
                self.pending.effect(Effect::Tell(event));
            }
        }
    }

    /// What people are to be told of an update.
    pub(super) fn noted(&mut self, id: RolloutId, note: &Note) {
        match note {
            Note::Phase(phase) => tracing::info!(rollout = id.0, %phase, "update"),
            Note::Held(reason) => tracing::warn!(rollout = id.0, %reason, "update is held"),
            Note::Failed { node, reason } => {
                tracing::warn!(rollout = id.0, %node, %reason, "a node failed");
            }
            Note::Discrepancy(what) => tracing::warn!(rollout = id.0, %what, "discrepancy"),
        }
        let Some(rollout) = self.rollouts.get(&id) else {
            return;
        };
        if let Some((event, node, reason)) = occasion(rollout, note) {
            let occasion = self.occasion(id, (event, node, reason));
            self.pending.effect(Effect::Hook(Box::new(occasion)));
        }
    }

    /// A node has objected, where its ballot counted; told before what came of it, which stands
    /// behind the first `before` effects.
    pub(super) fn vetoed(&mut self, id: RolloutId, name: &NodeName, before: usize) {
        let part = self.rollouts.get(&id).and_then(|one| one.parts().get(name));
        let Some(NodePhase::Vetoed { objections }) = part.map(|part| &part.phase) else {
            return;
        };
        let one = |it: &model::wire::Objection| format!("{}: {}", it.process, it.reason);
        let reasons: Vec<String> = objections.iter().map(one).collect();
        let what = (What::Vetoed, Some(name.clone()), reasons.join("; "));
        let occasion = self.occasion(id, what);
        let effect = Effect::Hook(Box::new(occasion));
        let at = before.min(self.pending.effects.len());
        self.pending.effects.insert(at, effect);
    }

    fn occasion(
        &self,
        id: RolloutId,
        (event, node, reason): (What, Option<NodeName>, String),
    ) -> Occasion {
        let rollout = self.rollouts.get(&id);
        let head = rollout.map(Rollout::head);
        Occasion {
            rollout: Some(id),
            phase: head.map(|head| head.phase),
            by: head.map(|head| head.by.clone()),
            node,
            tally: rollout.map(|one| Box::new(crate::plan::tally::of(one.parts().values()))),
            ..Occasion::new(event, reason)
        }
    }

    /// Two live links have one identity.
    pub(super) fn cloned(&mut self, name: &NodeName) {
        let occasion = Occasion {
            node: Some(name.clone()),
            ..Occasion::new(What::Discrepancy, "its identity has two live links")
        };
        self.pending.effect(Effect::Hook(Box::new(occasion)));
    }
}

/// What a note is to people's programs.
fn occasion(rollout: &Rollout, note: &Note) -> Option<(What, Option<NodeName>, String)> {
    let head = rollout.head();
    let detail = || head.detail.clone().unwrap_or_default();
    match note {
        Note::Phase(Phase::Stopped | Phase::Approval) => Some((What::Held, None, detail())),
        Note::Phase(phase) if phase.is_end() => Some((What::Done, None, detail())),
        Note::Phase(_) => None,
        Note::Held(reason) => Some((What::Held, None, reason.clone())),
        Note::Failed { node, reason } => Some((What::Failed, Some(node.clone()), reason.clone())),
        Note::Discrepancy(what) => Some((What::Discrepancy, None, what.clone())),
    }
}
