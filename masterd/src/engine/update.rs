//! What an update means for which nodes, before anybody is asked; and its beginning.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::change::PackageRef;
use model::wire::{FleetName, FleetPlan, NodeName, PlannedNode, RolloutId, RolloutView, Update};
use model::{Digest, PackageId};
use resolve::Package;
use resolve::fleet::{self, NodeSoftware};

use super::documents::Made;
use super::node::Node;
use super::records::{self, KeyRecord};
use super::writes::Rank;
use super::{Engine, Error, now_ms};
use crate::plan::rollout::{Event, Planned, Rollout};

/// Ended updates that are kept.
const KEPT: usize = 200;

/// One node's part, prepared.
struct Prepared {
    name: NodeName,
    made: Arc<Made>,
    wave: u32,
    left_out: Option<String>,
}

impl Engine {
    /// What the update would do, as far as the master can tell.
    pub(super) fn plan(&mut self, update: &Update) -> Result<FleetPlan, Error> {
        let prepared = self.prepare(update)?;
        let discrepancies = self.new_discrepancies(&prepared);
        let nodes: Vec<PlannedNode> = prepared.iter().map(|one| self.planned_node(one)).collect();
        Ok(FleetPlan {
            waves: nodes.iter().map(|node| node.wave + 1).max().unwrap_or(0),
            nodes,
            discrepancies,
        })
    }

    /// Begins an update; a key that began one before answers that one.
    pub(super) fn update(&mut self, update: Update, by: FleetName) -> Result<RolloutView, Error> {
        let key = update.idempotency_key.as_deref().map(records::key);
        if let Some(id) = key.as_ref().and_then(|key| self.keys.get(key)).copied() {
            return self.rollout(id);
        }
        let prepared = self.prepare(&update)?;
        let discrepancies = self.new_discrepancies(&prepared);
        if !discrepancies.is_empty() {
            return Err(Error::Unmet(discrepancies));
        }
        self.refuse_overlap(&update, &prepared)?;
        let mut planned = Vec::with_capacity(prepared.len());
        for one in &prepared {
            self.offer(&one.made)?;
            let base_list = self.base_list(&one.name)?;
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
        let rollout = Rollout::new(id, update, by, now_ms(), planned).with_inspection();
        self.rollouts.insert(id, rollout);
        if let Some(old) = superseded {
            self.step(old, Event::Superseded { by: id });
        }
        self.step(id, Event::Began);
        self.forget_old_rollouts();
        self.rollout(id)
    }

    fn refuse_overlap(&self, update: &Update, prepared: &[Prepared]) -> Result<(), Error> {
        let open = self
            .rollouts
            .iter()
            .filter(|(_, one)| !one.head().phase.is_end());
        let same = |rollout: &Rollout| {
            prepared
                .iter()
                .any(|one| rollout.parts().contains_key(&one.name))
        };
        let overlaps: Vec<RolloutId> = open
            .filter(|(id, one)| Some(**id) != update.supersede && same(one))
            .map(|(id, _)| *id)
            .collect();
        if overlaps.is_empty() {
            Ok(())
        } else {
            Err(Error::Overlap(overlaps))
        }
    }

    /// The nodes that are meant, by name.
    pub(super) fn select(&self, update: &Update) -> Result<Vec<NodeName>, Error> {
        let selector = &update.nodes;
        for name in &selector.nodes {
            if !self.nodes.contains_key(name) {
                return Err(Error::no("node", name));
            }
        }
        let group = match &selector.group {
            Some(name) => Some(
                self.groups
                    .get(name)
                    .ok_or_else(|| Error::no("group", name))?,
            ),
            None => None,
        };
        let back = match update.back_from {
            Some(id) => Some(
                self.rollouts
                    .get(&id)
                    .ok_or_else(|| Error::no("update", &id))?,
            ),
            None => None,
        };
        let meant = |node: &Node| {
            let name = &node.record.name;
            node.is_member()
                && node.is_in(selector)
                && group.is_none_or(|group| node.is_in(group))
                && back.is_none_or(|back| back.parts().contains_key(name))
        };
        let nodes = self.nodes.values().filter(|node| meant(node));
        Ok(nodes.map(|node| node.record.name.clone()).collect())
    }

    fn prepare(&mut self, update: &Update) -> Result<Vec<Prepared>, Error> {
        if update.image.is_some() {
            let reason = "images are imported as packages; name the packages instead";
            return Err(Error::Invalid(reason.to_owned()));
        }
        let mut prepared = Vec::new();
        for name in self.select(update)? {
            let Some(made) = self.made_for(&name, update)? else {
                continue;
            };
            if let Some(unknown) = made.unknown.first() {
                return Err(Error::no("package", unknown));
            }
            let Some(node) = self.nodes.get(&name) else {
                continue;
            };
            let wanted = node.wanted.as_ref().map(|wanted| wanted.software);
            let runs = node.software();
            if runs == Some(made.software) && wanted.is_none_or(|wanted| wanted == made.software) {
                continue;
            }
            prepared.push(Prepared {
                left_out: left_out(node),
                name,
                made,
                wave: 0,
            });
        }
        self.waves(update, &mut prepared);
        Ok(prepared)
    }

    /// Consumers come after the providers that they depend on; within that, as the strategy says.
    fn waves(&self, update: &Update, prepared: &mut [Prepared]) {
        let nodes: Vec<(NodeName, Option<FleetName>)> = prepared
            .iter()
            .map(|one| {
                let node = self.nodes.get(&one.name);
                let place = node.and_then(Node::location).cloned();
                (one.name.clone(), place)
            })
            .collect();
        let waves = super::waves::waves(&update.strategy.waves, &nodes, self.next_rollout);
        for (one, wave) in prepared.iter_mut().zip(waves) {
            one.wave = wave;
        }
    }

    /// What a node is to have after the update; `None`: it has no part in it.
    fn made_for(&mut self, name: &NodeName, update: &Update) -> Result<Option<Arc<Made>>, Error> {
        let intent = self.intent(name);
        let Some(node) = self.nodes.get(name) else {
            return Ok(None);
        };
        let facts = node.facts(&Self::roles(&intent));
        if let Some(id) = update.back_from {
            let part = self.rollouts.get(&id).and_then(|one| one.parts().get(name));
            let Some(part) = part.filter(|part| part.begun) else {
                return Ok(None);
            };
            let before = part.base.zip(part.base_list);
            let Some((_, list)) = before else {
                let what = format!("{name} cannot go back: what it ran before is not known");
                return Err(Error::Conflict(what));
            };
            let order = self.packages_of(&list)?.to_vec();
            let node = fleet::characteristics(&facts);
            return Ok(Some(Arc::new(self.made(order, Vec::new(), node))));
        }
        let meant: Vec<PackageRef> = Self::meant_for(&intent, update);
        let current = self.current_ids(name);
        Ok(Some(self.make(meant, current, &facts)))
    }

    /// The packages that a node says it runs, where it said so since.
    fn current_ids(&self, name: &NodeName) -> Vec<PackageId> {
        let node = self.nodes.get(name);
        let have = node
            .filter(|node| !node.have_is_old)
            .and_then(|node| node.have.as_ref());
        have.map(|have| have.active.clone()).unwrap_or_default()
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

    /// The list that gives what a node runs: one that was decided, or one that is made of what the
    /// node has; offered, so that it can go back to it.
    fn base_list(&mut self, name: &NodeName) -> Result<Option<Digest>, Error> {
        let intent = self.intent(name);
        let Some(node) = self.nodes.get(name) else {
            return Ok(None);
        };
        let Some(base) = node.software() else {
            return Ok(None);
        };
        if let Some(list) = self.documents.list_of(&base) {
            return Ok(Some(list));
        }
        let facts = node.facts(&Self::roles(&intent));
        let ids = self.current_ids(name);
        let known = ids.iter().map(|id| self.candidates.get(id).cloned());
        let Some(order) = known.collect::<Option<Vec<_>>>() else {
            return Ok(None);
        };
        let made = self.made(order, Vec::new(), fleet::characteristics(&facts));
        if made.software != base {
            return Ok(None);
        }
        self.offer(&made)?;
        Ok(Some(made.list))
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

    /// What each node runs, as far as the master knows; others are as if they ran nothing.
    pub(super) fn fleet_now(&mut self) -> Vec<NodeSoftware> {
        let names: Vec<NodeName> = self.nodes.keys().cloned().collect();
        let nodes = names.into_iter().filter_map(|name| {
            let roles = Self::roles(&self.intent(&name));
            let node = self.nodes.get(&name).filter(|node| node.is_member())?;
            let facts = node.facts(&roles);
            let list = node
                .software()
                .and_then(|software| self.documents.list_of(&software));
            let software = if let Some(list) = list {
                self.packages_of(&list).unwrap_or_default()
            } else {
                let ids = self.current_ids(&name);
                let found = ids.iter().filter_map(|id| self.candidates.get(id).cloned());
                found.collect::<Vec<Package>>().into()
            };
            Some(NodeSoftware {
                name,
                node: Arc::new(fleet::characteristics(&facts)),
                software,
            })
        });
        nodes.collect()
    }

    /// Dependencies that the fleet meets now and would not meet afterwards.
    fn new_discrepancies(&mut self, prepared: &[Prepared]) -> Vec<String> {
        let before = self.fleet_now();
        let mut after = before.clone();
        for one in &mut after {
            if let Some(new) = prepared.iter().find(|new| new.name == one.name) {
                one.software = Arc::clone(&new.made.packages);
                one.node = Arc::clone(&new.made.node);
            }
        }
        self.fresh(&before, &after)
    }

    fn fresh(&self, before: &[NodeSoftware], after: &[NodeSoftware]) -> Vec<String> {
        let found = fleet::check(after, &self.candidates);
        let known = fleet::check(before, &self.candidates);
        fleet::fresh(&known, &found)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    /// What the fleet would lack after this wave and those before it.
    pub(super) fn inspect(&mut self, id: RolloutId, wave: u32) -> Vec<String> {
        let Some(rollout) = self.rollouts.get(&id) else {
            return Vec::new();
        };
        let parts = rollout.parts().iter().filter(|(_, part)| part.wave <= wave);
        let targets: Vec<(NodeName, Digest)> = parts
            .map(|(name, part)| (name.clone(), part.list))
            .collect();
        let before = self.fleet_now();
        let mut after = before.clone();
        for one in &mut after {
            let target = targets.iter().find(|(name, _)| *name == one.name);
            if let Some(Ok(software)) = target.map(|(_, list)| self.packages_of(list)) {
                one.software = software;
            }
        }
        self.fresh(&before, &after)
    }

    pub(super) fn rollout(&self, id: RolloutId) -> Result<RolloutView, Error> {
        let rollout = self.rollouts.get(&id);
        rollout
            .map(Rollout::view)
            .ok_or_else(|| Error::no("update", &id))
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

/// Why a node takes no part.
fn left_out(node: &Node) -> Option<String> {
    if node.record.quarantined {
        return Some("two live links have its identity".to_owned());
    }
    let hold = node.installed.as_ref()?.hold.as_ref()?;
    let now = now_ms() / 1000;
    (hold.until > now).then(|| format!("held at the node: {}", hold.reason))
}
