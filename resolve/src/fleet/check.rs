//! Whether every node's software has what it asks for, on its own node and on others.
//!
//! Nodes with the same software and characteristics are checked once; what is asked of a class is
//! worked out once for each place where it is asked. Ten thousand nodes with a dozen sets cost little
//! more than the dozen.

use std::fmt;
use std::sync::Arc;

use model::manifest::RequiresRemote;
use model::wire::NodeName;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::deps::{self, Shelf};
use crate::{Characteristics, Package};

/// A node with what it runs, or would run.
#[derive(Debug, Clone)]
pub struct NodeSoftware {
    /// The node.
    pub name: NodeName,
    /// What it is.
    pub node: Arc<Characteristics>,
    /// Its set, front first. Nodes that share the allocation are known to have the same.
    pub software: Arc<[Package]>,
}

/// A dependency that is not met.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Discrepancy {
    /// `NAME VERSION` of the package that asks.
    pub by: String,
    /// What it asks for.
    pub needs: String,
    /// The nodes on which it asks, by name.
    pub nodes: Vec<NodeName>,
    /// Where it is missing.
    pub others: Others,
}

/// The other end of a [`Discrepancy`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Others {
    /// On the same node; what to do about it.
    Same(String),
    /// On nodes of a class.
    Class {
        /// The class.
        class: String,
        /// Only those at this location were asked.
        location: Option<String>,
        /// `all`, `any` or a number.
        quantity: String,
        /// How many have it.
        having: usize,
        /// Those that do not, by name.
        lacking: Vec<NodeName>,
    },
}

impl fmt::Display for Discrepancy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} needs {}",
            Names(&self.nodes),
            self.by,
            self.needs
        )?;
        match &self.others {
            Others::Same(hint) => write!(f, ": {hint}"),
            Others::Class {
                class,
                location,
                quantity,
                having,
                lacking,
            } => {
                write!(f, " on {quantity} of the nodes of class {class}")?;
                if let Some(location) = location {
                    write!(f, " at {location}")?;
                }
                write!(f, ": {having} have it")?;
                if !lacking.is_empty() {
                    write!(f, ", {} do not", Names(lacking))?;
                }
                Ok(())
            }
        }
    }
}

/// The first names of a list, and how many more there are.
struct Names<'a>(&'a [NodeName]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 3;
        for (i, name) in self.0.iter().take(SHOWN).enumerate() {
            write!(f, "{}{name}", if i == 0 { "" } else { ", " })?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// Every dependency of every node that is not met, within nodes and between them. `shelf` is only
/// for the hints.
pub fn check(nodes: &[NodeSoftware], shelf: &Shelf) -> Vec<Discrepancy> {
    let mut found = within(nodes, shelf);
    found.extend(between(nodes));
    found.sort();
    found
}

/// Those of `after` that `before` does not have: what a change would bring, whoever else is asked to
/// bear it. Which nodes suffer does not matter, but that more do.
pub fn fresh(before: &[Discrepancy], after: &[Discrepancy]) -> Vec<Discrepancy> {
    let mut known: FxHashMap<(&str, &str), FxHashSet<&NodeName>> = FxHashMap::default();
    for one in before {
        let nodes = known.entry((&one.by, &one.needs)).or_default();
        nodes.extend(&one.nodes);
    }
    let is_fresh = |one: &&Discrepancy| {
        let nodes = known.get(&(one.by.as_str(), one.needs.as_str()));
        nodes.is_none_or(|nodes| one.nodes.iter().any(|node| !nodes.contains(node)))
    };
    after.iter().filter(is_fresh).cloned().collect()
}

/// The address of a shared set: nodes with the same one have the same software.
fn address(software: &Arc<[Package]>) -> usize {
    Arc::as_ptr(software).addr()
}

type Alike<'a> = (usize, &'a Characteristics);

fn within(nodes: &[NodeSoftware], shelf: &Shelf) -> Vec<Discrepancy> {
    let mut groups: FxHashMap<Alike<'_>, Vec<&NodeSoftware>> = FxHashMap::default();
    for node in nodes {
        let key = (address(&node.software), &*node.node);
        groups.entry(key).or_default().push(node);
    }
    let mut found: FxHashMap<(String, String, String), Vec<NodeName>> = FxHashMap::default();
    for group in groups.values() {
        let Some(first) = group.first() else { continue };
        for unmet in deps::check(&first.software, shelf, &first.node) {
            let key = (unmet.by, unmet.needs, unmet.hint);
            let names = group.iter().map(|one| one.name.clone());
            found.entry(key).or_default().extend(names);
        }
    }
    let one = |((by, needs, hint), nodes)| Discrepancy {
        by,
        needs,
        nodes: sorted(nodes),
        others: Others::Same(hint),
    };
    found.into_iter().map(one).collect()
}

fn sorted(mut nodes: Vec<NodeName>) -> Vec<NodeName> {
    nodes.sort_unstable();
    nodes
}

/// The nodes of each class, by the location and the software that they have.
struct Fleet<'a> {
    classes: FxHashMap<&'a str, Vec<&'a NodeSoftware>>,
    locations: FxHashMap<(&'a str, &'a str), Vec<&'a NodeSoftware>>,
}

impl<'a> Fleet<'a> {
    fn of(nodes: &'a [NodeSoftware]) -> Self {
        let mut fleet = Self {
            classes: FxHashMap::default(),
            locations: FxHashMap::default(),
        };
        for node in nodes {
            for class in &node.node.classes {
                fleet.classes.entry(class).or_default().push(node);
                if let Some(location) = &node.node.location {
                    let key = (class.as_str(), location.as_str());
                    fleet.locations.entry(key).or_default().push(node);
                }
            }
        }
        fleet
    }

    fn asked(&self, class: &'a str, location: Option<&'a str>) -> &[&'a NodeSoftware] {
        let found = match location {
            Some(location) => self.locations.get(&(class, location)),
            None => self.classes.get(class),
        };
        found.map_or(&[], Vec::as_slice)
    }
}

/// One thing that is asked of other nodes, and where.
type Wish<'a> = (&'a str, &'a RequiresRemote, Option<&'a str>);

fn between(nodes: &[NodeSoftware]) -> Vec<Discrepancy> {
    let fleet = Fleet::of(nodes);
    let mut wishes: FxHashMap<(usize, usize, Option<&str>), Vec<NodeName>> = FxHashMap::default();
    let mut sets: FxHashMap<usize, Vec<(String, &RequiresRemote)>> = FxHashMap::default();
    for node in nodes {
        let set = address(&node.software);
        let remotes = sets
            .entry(set)
            .or_insert_with(|| remotes_of(&node.software));
        for (i, (_, remote)) in remotes.iter().enumerate() {
            let location = node.node.location.as_deref();
            let location = location.filter(|_| remote.scope == "location");
            let askers = wishes.entry((set, i, location)).or_default();
            askers.push(node.name.clone());
        }
    }
    let mut answered = FxHashMap::default();
    let mut found = Vec::new();
    for ((set, i, location), askers) in wishes {
        let Some((by, remote)) = sets.get(&set).and_then(|remotes| remotes.get(i)) else {
            continue;
        };
        let wish: Wish<'_> = (by, remote, location);
        found.extend(unmet_wish(wish, askers, &fleet, &mut answered));
    }
    merged(found)
}

fn remotes_of(software: &[Package]) -> Vec<(String, &RequiresRemote)> {
    let of = |one: &Package| format!("{} {}", one.id.name, one.manifest.version);
    software
        .iter()
        .flat_map(|one| {
            one.manifest
                .requires_remote
                .iter()
                .map(move |r| (of(one), r))
        })
        .collect()
}

/// Whether a set (by its address) answers a wish (by the address of its text).
type Answered = FxHashMap<(usize, usize), bool>;

fn unmet_wish<'a>(
    (by, remote, location): Wish<'a>,
    askers: Vec<NodeName>,
    fleet: &Fleet<'a>,
    answered: &mut Answered,
) -> Option<Discrepancy> {
    if remote.scope == "location" && location.is_none() {
        // Nobody knows where these nodes are, so nobody can tell who is near them.
        return Some(discrepancy((by, remote, location), askers, 0, Vec::new()));
    }
    let asked = fleet.asked(&remote.class, location);
    let text = std::ptr::from_ref(remote).addr();
    let mut has = |one: &NodeSoftware| {
        let key = (address(&one.software), text);
        *answered
            .entry(key)
            .or_insert_with(|| has_all(&one.software, remote))
    };
    let lacking: Vec<&&NodeSoftware> = asked.iter().filter(|one| !has(one)).collect();
    let having = asked.len() - lacking.len();
    let met = match remote.quantity.as_str() {
        "all" => lacking.is_empty(),
        "any" => having > 0,
        number => number.parse().is_ok_and(|number: usize| having >= number),
    };
    if met {
        return None;
    }
    let lacking = lacking.into_iter().map(|one| one.name.clone()).collect();
    Some(discrepancy((by, remote, location), askers, having, lacking))
}

/// Whether a set has everything that is asked for.
pub(super) fn has_all(software: &[Package], remote: &RequiresRemote) -> bool {
    let answers = |need| software.iter().any(|one| one.manifest.answers(need));
    remote.packages.iter().all(answers)
}

fn discrepancy(
    (by, remote, location): Wish<'_>,
    askers: Vec<NodeName>,
    having: usize,
    lacking: Vec<NodeName>,
) -> Discrepancy {
    let needs: Vec<String> = remote.packages.iter().map(ToString::to_string).collect();
    Discrepancy {
        by: by.to_owned(),
        needs: needs.join(" and "),
        nodes: sorted(askers),
        others: Others::Class {
            class: remote.class.clone(),
            location: location.map(str::to_owned),
            quantity: remote.quantity.clone(),
            having,
            lacking: sorted(lacking),
        },
    }
}

/// Sets that differ elsewhere may ask for the same.
fn merged(found: Vec<Discrepancy>) -> Vec<Discrepancy> {
    let mut by_rest: FxHashMap<(String, String, Others), Vec<NodeName>> = FxHashMap::default();
    for one in found {
        let key = (one.by, one.needs, one.others);
        by_rest.entry(key).or_default().extend(one.nodes);
    }
    let one = |((by, needs, others), nodes)| Discrepancy {
        by,
        needs,
        nodes: sorted(nodes),
        others,
    };
    by_rest.into_iter().map(one).collect()
}

#[cfg(test)]
mod tests;
