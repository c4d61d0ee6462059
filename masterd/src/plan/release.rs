//! Release documents: what of an update the nodes themselves would refuse, told before they are
//! asked.

use std::collections::BTreeMap;

use model::wire::{NodeName, Release};
use resolve::Characteristics;
use resolve::fleet::{Change, Refusal, refusals};

/// A node and what it is to do.
#[derive(Debug, Clone, Copy)]
pub struct Ordered<'a> {
    /// The node.
    pub node: &'a NodeName,
    /// What it is.
    pub characteristics: &'a Characteristics,
    /// What it is to do.
    pub change: Change<'a>,
}

/// What nodes would refuse, each reason with the nodes; the same rules as on the nodes.
pub fn refused(releases: &[Release], orders: &[Ordered<'_>]) -> BTreeMap<Refusal, Vec<NodeName>> {
    let mut found: BTreeMap<Refusal, Vec<NodeName>> = BTreeMap::new();
    for order in orders {
        for refusal in refusals(releases, order.characteristics, order.change) {
            found.entry(refusal).or_default().push(order.node.clone());
        }
    }
    found
}
