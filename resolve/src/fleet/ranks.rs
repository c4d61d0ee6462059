//! Who has to change before whom, because of dependencies between nodes.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::manifest::RequiresRemote;
use rustc_hash::{FxHashMap, FxHashSet};

use super::NodeSoftware;
use super::check::has_all;
use crate::Package;

/// A rank for each node: lower ones change first. `before` and `after` name the same nodes in the
/// same order. A node whose new software asks for what another's brings changes after it; one whose
/// old software asks for what another's takes away changes before it. Those that ask each other for
/// something at the same time have the same rank: see [`circles`].
pub fn ranks(before: &[NodeSoftware], after: &[NodeSoftware]) -> Vec<u32> {
    let (groups, of_node) = groups(before, after);
    let edges = edges(&groups);
    let circle = circle_of(groups.len(), &edges);
    let between =
        |(first, second): &(usize, usize)| Some((*circle.get(*first)?, *circle.get(*second)?));
    let ways: FxHashSet<(usize, usize)> = edges.iter().filter_map(between).collect();
    let ranks = longest_ways(groups.len(), &ways);
    let rank = |group: usize| ranks.get(*circle.get(group)?).copied();
    of_node
        .into_iter()
        .map(|group| rank(group).unwrap_or(0))
        .collect()
}

/// Places of nodes that no order fits, since each needs that another has changed before it: circles,
/// each of the groups of nodes that change alike. Only a change of all together is sure to fit them.
pub fn circles(before: &[NodeSoftware], after: &[NodeSoftware]) -> Vec<Vec<Vec<usize>>> {
    let (groups, of_node) = groups(before, after);
    let edges = edges(&groups);
    let mut circles: BTreeMap<usize, BTreeMap<usize, Vec<usize>>> = BTreeMap::new();
    let circle = circle_of(groups.len(), &edges);
    for (node, group) in of_node.into_iter().enumerate() {
        let of = circle.get(group).copied().unwrap_or(group);
        circles
            .entry(of)
            .or_default()
            .entry(group)
            .or_default()
            .push(node);
    }
    let several = circles.into_values().filter(|groups| groups.len() > 1);
    several
        .map(|groups| groups.into_values().collect())
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
    edges
}

fn remotes(software: &[Package]) -> impl Iterator<Item = &RequiresRemote> {
    software
        .iter()
        .flat_map(|one| &one.manifest.requires_remote)
}

/// For each group the least one that it is in a circle with, itself where there is none.
fn circle_of(count: usize, edges: &FxHashSet<(usize, usize)>) -> Vec<usize> {
    let mut next: Vec<Vec<usize>> = vec![Vec::new(); count];
    for &(first, second) in edges {
        if let Some(next) = next.get_mut(first) {
            next.push(second);
        }
    }
    let reached: Vec<FxHashSet<usize>> = (0..count).map(|from| reached(from, &next)).collect();
    let reaches = |from: usize, to: usize| reached.get(from).is_some_and(|all| all.contains(&to));
    let least =
        |group: usize| (0..group).find(|other| reaches(group, *other) && reaches(*other, group));
    (0..count)
        .map(|group| least(group).unwrap_or(group))
        .collect()
}

fn reached(from: usize, next: &[Vec<usize>]) -> FxHashSet<usize> {
    let mut seen = FxHashSet::default();
    let mut open = vec![from];
    while let Some(group) = open.pop() {
        let new = next.get(group).into_iter().flatten();
        open.extend(new.filter(|group| seen.insert(**group)));
    }
    seen
}

/// The longest way to each; there are no circles but those of one.
fn longest_ways(count: usize, edges: &FxHashSet<(usize, usize)>) -> Vec<u32> {
    let mut ranks = vec![0_u32; count];
    for _ in 0..count {
        let before = ranks.clone();
        for &(first, second) in edges.iter().filter(|(first, second)| first != second) {
            let least = ranks.get(first).map_or(0, |rank| rank + 1);
            if let Some(rank) = ranks.get_mut(second) {
                *rank = (*rank).max(least);
            }
        }
        if before == ranks {
            break;
        }
    }
    ranks
}
