//! What the master knows, as people see it.

use std::collections::BTreeMap;

use model::wire::{
    Assigned, ClassName, ClassView, FleetView, NodeName, NodeView, NodeWhy, Origin, RolloutId,
    RolloutView, Scope, StoredTrial,
};
use model::{Digest, PackageName};

use super::node::Node;
use super::{Engine, Error};
use crate::clock;
use crate::plan::rollout::Rollout;
use crate::plan::select::Counting;

impl Engine {
    pub(super) fn node_views(&self) -> Vec<NodeView> {
        let names = self.nodes.keys();
        names.filter_map(|name| self.node_view(name).ok()).collect()
    }

    pub(super) fn node_view(&self, name: &NodeName) -> Result<NodeView, Error> {
        let node = self
            .nodes
            .get(name)
            .ok_or_else(|| Error::no("node", name))?;
        let counting = self.counting(name);
        let counting = counting.ok_or_else(|| Error::no("node", name))?;
        let assigned = self.assigned(&counting);
        let wanted = node.wanted.as_ref();
        let packages = wanted.and_then(|wanted| self.known_packages_of(&wanted.list));
        let until = node.identity.as_ref().map(|identity| identity.until);
        Ok(NodeView {
            name: name.clone(),
            presence: node.presence(),
            discrepancies: Self::discrepancies(node, &counting, &assigned),
            facts: counting.facts,
            labels: node.record.labels.clone(),
            assigned,
            wanted: wanted.map(|wanted| wanted.software),
            wanted_set: packages.unwrap_or_default(),
            installed: node.installed.clone(),
            rollout: self.open_rollout_of(name),
            certificate_until: until.map(clock::rfc3339),
        })
    }

    pub(super) fn open_rollout_of(&self, name: &NodeName) -> Option<RolloutId> {
        let mut all = self.rollouts.iter().rev();
        let has = |one: &Rollout| !one.head().phase.is_end() && one.parts().contains_key(name);
        all.find(|(_, one)| has(one)).map(|(id, _)| *id)
    }

    /// What is true of a node and should not be.
    fn discrepancies(node: &Node, counting: &Counting, assigned: &[Assigned]) -> Vec<String> {
        let mut found = counting.discrepancies.clone();
        let missing = assigned.iter().filter(|one| one.id.is_none());
        found.extend(missing.map(|one| {
            format!(
                "{} is assigned, and the master has no such package for it",
                one.package
            )
        }));
        let Some(installed) = &node.installed else {
            return found;
        };
        found.extend(installed.discrepancies.iter().cloned());
        found.extend(node.told(installed, clock::now_ms() / 1000).discrepancies);
        found
    }

    pub(super) fn why(&self, name: &NodeName) -> Result<NodeWhy, Error> {
        let node = self.node_view(name)?;
        let intent = self.counting(name).unwrap_or_default().intent;
        let mut because = Vec::new();
        if let Some(id) = node.rollout {
            because.push(format!("update {id} has it"));
        }
        match (
            &node.wanted,
            node.installed.as_ref().and_then(|one| one.software),
        ) {
            (None, _) => because.push("no update has decided anything for it".to_owned()),
            (Some(wanted), Some(runs)) if *wanted == runs => {
                because.push("it says that it runs what was decided".to_owned());
            }
            (Some(_), _) => {
                because.push("what was decided is sent to it when it connects".to_owned());
            }
        }
        Ok(NodeWhy {
            node,
            without: unnamed(intent.without),
            features: intent.features,
            store: unzip(intent.store),
            boot_gate: unzip(intent.boot_gate),
            because,
        })
    }

    pub(super) fn class_views(&self) -> Vec<ClassView> {
        let mut classes: BTreeMap<ClassName, Vec<&Node>> = BTreeMap::new();
        for scope in self.assignments.keys() {
            if let Scope::Class(class) = scope {
                classes.entry(class.clone()).or_default();
            }
        }
        for node in self.nodes.values().filter(|node| node.is_member()) {
            for class in node.classes() {
                classes.entry(class).or_default().push(node);
            }
        }
        let view = |(name, nodes): (ClassName, Vec<&Node>)| {
            let scope = Scope::Class(name.clone());
            ClassView {
                nodes: count(nodes.iter().map(|_| true)),
                connected: count(nodes.iter().map(|node| node.connected())),
                software: histogram(nodes.iter().copied()),
                assignment: self.assignments.get(&scope).cloned().unwrap_or_default(),
                name,
            }
        };
        classes.into_iter().map(view).collect()
    }

    pub(super) fn fleet_view(&mut self) -> FleetView {
        let now = self.fleet_now();
        let found = resolve::fleet::check(&now, &self.candidates);
        let mut discrepancies: Vec<String> = found.iter().map(ToString::to_string).collect();
        discrepancies.extend(self.readiness());
        for (name, node) in &self.nodes {
            let Some(counting) = self.counting(name) else {
                continue;
            };
            let of_node = Self::discrepancies(node, &counting, &self.assigned(&counting));
            discrepancies.extend(of_node.into_iter().map(|what| format!("{name}: {what}")));
        }
        let members = || self.nodes.values().filter(|node| node.is_member());
        let as_wanted = |node: &Node| {
            let wanted = node.wanted.as_ref().map(|wanted| wanted.software);
            wanted.is_some() && wanted == node.software()
        };
        let trial = |node: &Node| {
            let installed = node
                .installed
                .as_ref()
                .filter(|installed| installed.trial)?;
            Some(StoredTrial {
                node: node.record.name.clone(),
                rollout: installed.rollout,
            })
        };
        let open = self
            .rollouts
            .iter()
            .filter(|(_, one)| !one.head().phase.is_end());
        FleetView {
            nodes: count(members().map(|_| true)),
            connected: count(members().map(Node::connected)),
            as_wanted: count(members().map(as_wanted)),
            software: histogram(members()),
            rollouts: open.map(|(id, _)| *id).collect(),
            trials: members().filter_map(trial).collect(),
            discrepancies,
        }
    }

    pub(super) fn rollout_views(&self) -> Vec<RolloutView> {
        let views = self.rollouts.values().rev().map(Rollout::view);
        let without_nodes = |view| RolloutView {
            nodes: Vec::new(),
            ..view
        };
        views.map(without_nodes).collect()
    }
}

fn unnamed(without: Vec<(PackageName, Origin)>) -> Vec<(String, Origin)> {
    let one = |(name, origin): (PackageName, Origin)| (name.as_str().to_owned(), origin);
    without.into_iter().map(one).collect()
}

fn unzip<T: Default, O>(said: Option<(T, O)>) -> (T, Option<O>) {
    match said {
        Some((value, origin)) => (value, Some(origin)),
        None => (T::default(), None),
    }
}

fn count(yes: impl Iterator<Item = bool>) -> u32 {
    u32::try_from(yes.filter(|yes| *yes).count()).unwrap_or(u32::MAX)
}

/// How many run each software, the most frequent first.
fn histogram<'a>(nodes: impl Iterator<Item = &'a Node>) -> Vec<(Digest, u32)> {
    let mut counts: BTreeMap<Digest, u32> = BTreeMap::new();
    for software in nodes.filter_map(Node::software) {
        *counts.entry(software).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(digest, count)| (std::cmp::Reverse(*count), *digest));
    counts
}
