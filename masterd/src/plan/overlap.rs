//! Updates that concern the same nodes.

use std::collections::{BTreeMap, BTreeSet};

use model::wire::{NodeName, RolloutId};

use super::rollout::Rollout;

/// Why an update cannot begin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Busy {
    /// Others concern some of its nodes.
    #[error("{} takes part in update {with}, which has not ended ({count} such nodes)", .node)]
    Overlaps {
        /// The other.
        with: RolloutId,
        /// The first of the nodes in both.
        node: NodeName,
        /// How many there are.
        count: usize,
    },
    /// The one to be superseded is not there or has ended.
    #[error("update {0} cannot be superseded: there is none of that number that has not ended")]
    NothingToSupersede(RolloutId),
}

/// Whether an update of these nodes may begin beside those that there are. `supersede` gives way.
pub fn check(
    nodes: &BTreeSet<NodeName>,
    supersede: Option<RolloutId>,
    rollouts: &BTreeMap<RolloutId, Rollout>,
) -> Result<(), Busy> {
    let open = |rollout: &Rollout| !rollout.head().phase.is_end();
    if let Some(id) = supersede
        && !rollouts.get(&id).is_some_and(open)
    {
        return Err(Busy::NothingToSupersede(id));
    }
    let others = rollouts
        .iter()
        .filter(|(id, rollout)| supersede != Some(**id) && open(rollout));
    for (id, rollout) in others {
        let mut both = nodes.iter().filter(|node| rollout.concerns(node));
        if let Some(node) = both.next() {
            return Err(Busy::Overlaps {
                with: *id,
                node: node.clone(),
                count: both.count() + 1,
            });
        }
    }
    Ok(())
}
