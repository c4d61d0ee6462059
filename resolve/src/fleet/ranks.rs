//! Who has to change before whom, because of dependencies between nodes.

use std::sync::Arc;

use model::manifest::RequiresRemote;
use rustc_hash::{FxHashMap, FxHashSet};

use super::NodeSoftware;
use super::check::has_all;
use crate::Package;

/// A rank for each node: lower ones change first. `before` and `after` name the same nodes in the
/// same order. A node whose new software asks for what another's brings changes after it; one whose
/// old software asks for what another's takes away changes before it. Classes that ask each other
/// for something at the same time have the same rank: only a change of all together fits them.
pub fn ranks(before: &[NodeSoftware], after: &[NodeSoftware]) -> Vec<u32> {
    let (groups, of_node) = groups(before, after);
    let edges = edges(&groups);
    let ranks = longest_ways(groups.len(), &edges);
    of_node
        .into_iter()
        .map(|group| ranks.get(group).copied().unwrap_or(0))
        .collect()
}

/// Nodes that change from the same to the same, and are of the same classes.
struct Group<'a> {
    before: &'a [Package],
    after: &'a [Package],
    classes: &'a [String],
}

fn groups<'a>(
    before: &'a [NodeSoftware],
    after: &'a [NodeSoftware],
) -> (Vec<Group<'a>>, Vec<usize>) {
    let mut groups = Vec::new();
    let mut known = FxHashMap::default();
    let mut of_node = Vec::with_capacity(after.len());
    for (old, new) in before.iter().zip(after) {
        let address = |one: &NodeSoftware| Arc::as_ptr(&one.software).addr();
        let key = (address(old), address(new), &new.node.classes);
        let at = *known.entry(key).or_insert_with(|| {
            groups.push(Group {
                before: &old.software,
                after: &new.software,
                classes: &new.node.classes,
            });
            groups.len() - 1
        });
        of_node.push(at);
    }
    (groups, of_node)
}

/// Pairs: the first changes before the second.
fn edges(groups: &[Group<'_>]) -> FxHashSet<(usize, usize)> {
    let mut edges = FxHashSet::default();
    for (asks, asking) in groups.iter().enumerate() {
        for (gives, giving) in groups.iter().enumerate() {
            if asks == gives {
                continue;
            }
            let is_of = |remote: &&RequiresRemote| giving.classes.contains(&remote.class);
            let brings = |remote: &RequiresRemote| {
                !has_all(giving.before, remote) && has_all(giving.after, remote)
            };
            let takes = |remote: &RequiresRemote| {
                has_all(giving.before, remote) && !has_all(giving.after, remote)
            };
            if remotes(asking.after).filter(is_of).any(brings) {
                edges.insert((gives, asks));
            }
            if remotes(asking.before).filter(is_of).any(takes) {
                edges.insert((asks, gives));
            }
        }
    }
    // Those that want both ways cannot be put one after the other.
    let both = |(one, other): &(usize, usize)| edges.contains(&(*other, *one));
    edges.iter().filter(|edge| !both(edge)).copied().collect()
}

fn remotes(software: &[Package]) -> impl Iterator<Item = &RequiresRemote> {
    software
        .iter()
        .flat_map(|one| &one.manifest.requires_remote)
}

/// The longest way to each; in a circle nobody gets further than there are groups.
fn longest_ways(count: usize, edges: &FxHashSet<(usize, usize)>) -> Vec<u32> {
    let mut ranks = vec![0_u32; count];
    for _ in 0..count {
        let before = ranks.clone();
        for &(first, second) in edges {
            let least = ranks.get(first).map_or(0, |rank| rank + 1);
            if let Some(rank) = ranks.get_mut(second) {
                *rank = (*rank).max(least);
            }
        }
        if before == ranks {
            return ranks;
        }
    }
    // A circle of more than two: no order fits, so none is made up.
    vec![0; count]
}
