//! What counts for a node, as the engine knows it: the decisions are `plan`'s.

use model::wire::{Assigned, NodeName};
use resolve::fleet;

use super::Engine;
use crate::plan::select::{Counting, counting};

impl Engine {
    /// What counts for the node: its own word, what operators recorded, what is intended for it.
    pub(super) fn counting(&self, name: &NodeName) -> Option<Counting> {
        let node = self.nodes.get(name)?;
        Some(counting(
            name,
            &node.record.facts,
            &node.recorded(),
            &self.assignments,
        ))
    }

    /// What is assigned, with whose word it is and what it means now.
    pub(super) fn assigned(&self, counting: &Counting) -> Vec<Assigned> {
        let node = &counting.characteristics;
        let packages = counting.intent.packages.iter();
        let one = |(package, origin): &(_, _)| Assigned {
            id: fleet::meant(package, &self.candidates, node).map(|one| one.id.clone()),
            package: Clone::clone(package),
            origin: Clone::clone(origin),
        };
        packages.map(one).collect()
    }
}
