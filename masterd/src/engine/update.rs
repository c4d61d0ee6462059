//! An update's plan, before anybody is asked; and its beginning.

use std::collections::BTreeSet;

use model::wire::{FleetName, FleetPlan, NodeName, PlannedNode, RolloutId, RolloutView, Update};
use model::{Digest, PackageId};

use super::node::Node;
use super::prepare::{Preparation, Prepared};
use super::records::{self, KeyRecord};
use super::writes::Rank;
use super::{Engine, Error, now_ms};
use crate::plan::overlap;
use crate::plan::rollout::{Event, Planned, Rollout};

/// Ended updates that are kept.
const KEPT: usize = 200;

impl Engine {
    /// What the update would do, as far as the master can tell.
    pub(super) fn plan(&mut self, update: &Update) -> Result<FleetPlan, Error> {
        let before = self.take_up_words(update)?;
        let plan = self.planned(update);
        self.put_back(before);
        plan
    }

    fn planned(&mut self, update: &Update) -> Result<FleetPlan, Error> {
        let Preparation {
            parts: prepared,
            notes,
        } = self.prepare(update)?;
        self.foresee(&prepared);
        let discrepancies = self.new_discrepancies(&prepared, update.strategy.together);
        let nodes: Vec<PlannedNode> = prepared.iter().map(|one| self.planned_node(one)).collect();
        Ok(FleetPlan {
            waves: nodes.iter().map(|node| node.wave + 1).max().unwrap_or(0),
            nodes,
            discrepancies,
            notes,
        })
    }

    /// Begins an update; a key that began one before answers that one.
    pub(super) fn update(&mut self, update: Update, by: FleetName) -> Result<RolloutView, Error> {
        let key = update.idempotency_key.as_deref().map(records::key);
        if let Some(id) = key.as_ref().and_then(|key| self.keys.get(key)).copied() {
            return self.rollout(id);
        }
        let before = self.take_up_words(&update)?;
        match self.begin(update, by, key) {
            Ok(view) => {
                self.keep_words(before);
                Ok(view)
            }
            Err(error) => {
                self.put_back(before);
                Err(error)
            }
        }
    }

    fn begin(
        &mut self,
        update: Update,
        by: FleetName,
        key: Option<String>,
    ) -> Result<RolloutView, Error> {
        let Preparation {
            parts: prepared,
            notes,
        } = self.prepare(&update)?;
        let nodes: BTreeSet<NodeName> = prepared.iter().map(|one| one.name.clone()).collect();
        overlap::check(&nodes, update.supersede, &self.rollouts)?;
        let discrepancies = self.new_discrepancies(&prepared, update.strategy.together);
        if !discrepancies.is_empty() {
            return Err(Error::Unmet(discrepancies));
        }
        let mut planned = Vec::with_capacity(prepared.len());
        for one in &prepared {
            self.offer(&one.made)?;
            let base_list = self.base_list(&one.name)?;
            if let Some(base_list) = base_list {
                self.patch(base_list, one.made.list);
            }
            planned.extend(self.part(one, base_list));
        }
        let id = RolloutId(self.next_rollout);
        self.next_rollout += 1;
        if let Some(key) = key {
            self.pending
                .put(Rank::Head, key.clone(), &KeyRecord { rollout: id });
            self.keys.insert(key, id);
        }
        let superseded = update.supersede;
        let rollout = Rollout::new(id, update, by, now_ms(), planned)
            .with_inspection()
            .with_notes(notes);
        self.rollouts.insert(id, rollout);
        if let Some(old) = superseded {
            self.step(old, Event::Superseded { by: id });
        }
        self.step(id, Event::Began);
        self.forget_old_rollouts();
        self.rollout(id)
    }

    fn part(&self, one: &Prepared, base_list: Option<Digest>) -> Option<Planned> {
        let node = self.nodes.get(&one.name)?;
        Some(Planned {
            node: one.name.clone(),
            wave: one.wave,
            base: node.software(),
            base_list,
            target: one.made.software,
            list: one.made.list,
            utc_offset: node.record.facts.utc_offset,
            present: node.connected(),
            impossible: one.left_out.clone(),
        })
    }

    fn planned_node(&self, one: &Prepared) -> PlannedNode {
        let node = self.nodes.get(&one.name);
        let old: BTreeSet<String> = self
            .current_ids(&one.name)
            .iter()
            .map(PackageId::name_version)
            .collect();
        let new: Vec<String> = one
            .made
            .packages
            .iter()
            .map(|new| new.id.name_version())
            .collect();
        PlannedNode {
            node: one.name.clone(),
            wave: one.wave,
            connected: node.is_some_and(Node::connected),
            base: node.and_then(Node::software),
            target: one.made.software,
            leaves: old
                .iter()
                .filter(|old| !new.contains(old))
                .cloned()
                .collect(),
            comes: new
                .iter()
                .filter(|new| !old.contains(*new))
                .cloned()
                .collect(),
            left_out: one.left_out.clone(),
        }
    }

    pub(super) fn known_rollout(&self, id: RolloutId) -> Result<&Rollout, Error> {
        let rollout = self.rollouts.get(&id);
        rollout.ok_or_else(|| Error::no("update", &id))
    }

    pub(super) fn rollout(&self, id: RolloutId) -> Result<RolloutView, Error> {
        self.known_rollout(id).map(Rollout::view)
    }

    /// Old ended updates leave, with their parts; the newest stay, since nodes may come back to them.
    fn forget_old_rollouts(&mut self) {
        let ended = self
            .rollouts
            .iter()
            .filter(|(_, one)| one.head().phase.is_end());
        let ended: Vec<RolloutId> = ended.map(|(id, _)| *id).collect();
        for id in ended.iter().take(ended.len().saturating_sub(KEPT)) {
            let Some(old) = self.rollouts.remove(id) else {
                continue;
            };
            self.wakes.remove(id);
            self.pending.delete(Rank::Head, records::rollout(*id));
            for node in old.parts().keys() {
                self.pending.delete(Rank::Part, records::part(*id, node));
            }
            self.keys.retain(|key, rollout| {
                if rollout == id {
                    self.pending.delete(Rank::Head, key.clone());
                }
                rollout != id
            });
        }
    }
}
