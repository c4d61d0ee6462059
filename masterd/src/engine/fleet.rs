//! The whole fleet as it runs, and as it would: what dependencies it would not meet.

use std::collections::HashMap;
use std::sync::Arc;

use model::PackageId;
use model::wire::{NodeName, RolloutId};
use resolve::Package;
use resolve::fleet::{self, NodeSoftware};

use super::Engine;
use super::node::Node;
use super::prepare::Prepared;

impl Engine {
    /// What each node runs, by name, as far as the master knows; others are as if they ran nothing.
    /// Nodes with the same software share it.
    pub(super) fn fleet_now(&mut self) -> Vec<NodeSoftware> {
        let members = self.nodes.values().filter(|node| node.is_member());
        let names: Vec<NodeName> = members.map(|node| node.record.name.clone()).collect();
        let mut known = HashMap::new();
        let nodes = names.into_iter().filter_map(|name| {
            Some(NodeSoftware {
                node: Arc::new(self.counting(&name)?.characteristics),
                software: self.runs_now(&name, &mut known),
                name,
            })
        });
        nodes.collect()
    }

    fn runs_now(
        &mut self,
        name: &NodeName,
        known: &mut HashMap<Vec<PackageId>, Arc<[Package]>>,
    ) -> Arc<[Package]> {
        let software = self.nodes.get(name).and_then(Node::software);
        let list = software.and_then(|software| self.documents.list_of(&software));
        if let Some(list) = list {
            return self.packages_of(&list).unwrap_or_default();
        }
        let ids = self.current_ids(name);
        if let Some(same) = known.get(&ids) {
            return Arc::clone(same);
        }
        let found = ids.iter().filter_map(|id| self.candidates.get(id).cloned());
        let found: Arc<[Package]> = found.collect();
        known.insert(ids, Arc::clone(&found));
        found
    }

    /// Dependencies that the fleet meets now and would not meet after a wave, in the middle of one
    /// where the nodes of a circle change, or in the end.
    pub(super) fn new_discrepancies(
        &mut self,
        prepared: &[Prepared],
        together: bool,
    ) -> Vec<String> {
        let before = self.fleet_now();
        let last = prepared.iter().map(|one| one.wave).max().unwrap_or(0);
        let mut after = before.clone();
        let mut found = Vec::new();
        for wave in 0..=last {
            if !together {
                let in_wave = prepared.iter().filter(|new| new.wave == wave);
                found.extend(self.torn(&before, &after, &in_wave.collect::<Vec<_>>()));
            }
            for new in prepared.iter().filter(|new| new.wave == wave) {
                change(&mut after, new);
            }
            let fresh = self.fresh(&before, &after).into_iter();
            found.extend(fresh.map(|one| {
                if wave == last {
                    one
                } else {
                    format!("after wave {} of {}: {one}", wave + 1, last + 1)
                }
            }));
        }
        found
    }

    /// What the fleet lacks while the nodes of a wave change one after another that need each other's
    /// new software: after the first of them, whichever that is.
    fn torn(
        &self,
        known: &[NodeSoftware],
        now: &[NodeSoftware],
        wave: &[&Prepared],
    ) -> Vec<String> {
        let place = |one: &&Prepared| now.binary_search_by(|old| old.name.cmp(&one.name)).ok();
        let before = wave.iter().filter_map(|one| now.get(place(one)?).cloned());
        let before: Vec<NodeSoftware> = before.collect();
        let mut after = before.clone();
        for one in wave {
            change(&mut after, one);
        }
        let mut found = Vec::new();
        for groups in fleet::circles(&before, &after) {
            for first in &groups {
                let mut torn = now.to_vec();
                let changed = first.iter().filter_map(|at| wave.get(*at));
                changed.for_each(|one| change(&mut torn, one));
                let fresh = self.fresh(known, &torn).into_iter();
                found.extend(fresh.map(|one| {
                    format!("while they change one after another: {one}; --together changes them at one moment")
                }));
            }
        }
        found
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
        let targets = rollout.after_wave(wave);
        let before = self.fleet_now();
        let mut after = before.clone();
        for one in &mut after {
            let target = targets.get(&one.name);
            if let Some(Ok(software)) = target.map(|list| self.packages_of(list)) {
                one.software = software;
            }
        }
        self.fresh(&before, &after)
    }
}

/// As if this one had changed; `all` are by name.
fn change(all: &mut [NodeSoftware], new: &Prepared) {
    let at = all.binary_search_by(|one| one.name.cmp(&new.name));
    if let Some(one) = at.ok().and_then(|at| all.get_mut(at)) {
        one.software = Arc::clone(&new.made.packages);
        one.node = Arc::clone(&new.made.node);
    }
}
