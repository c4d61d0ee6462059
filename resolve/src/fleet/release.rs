//! What a node must refuse, whoever orders it: what was not released for it, what is below the
//! floor, and what needs an operator's signature.

use model::wire::Release;
use model::{PackageName, Version};
use rustc_hash::FxHashSet;

use crate::{Characteristics, Package};

/// What a node is to do, as far as these rules look at it.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// What it runs.
    pub current: &'a [Package],
    /// What it is to run.
    pub target: &'a [Package],
    /// Vetoes are to be overridden.
    pub force: bool,
    /// An operator's signature over the order was found to be good.
    pub operator: bool,
}

/// Why a node refuses a change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Refusal {
    /// The release key has not released it for any of the node's classes.
    #[error(
        "{0} was not released for a class of this node; have the release document signed with it"
    )]
    NotReleased(String),
    /// Its version is below the floor.
    #[error(
        "{name}={version} is below {floor}, under which nothing may go; an operator has to sign the order"
    )]
    BelowFloor {
        /// The package.
        name: PackageName,
        /// The version that it is to have.
        version: Version,
        /// The least that it may have.
        floor: Version,
    },
    /// A package is to leave.
    #[error("{0} is to leave; an operator has to sign the order")]
    Removal(PackageName),
    /// Vetoes are to be overridden.
    #[error("vetoes are to be overridden; an operator has to sign the order")]
    Force,
}

/// What a node has to refuse. `releases` are the newest that it knows, of any classes; those of its
/// own count. A node of no released class refuses nothing here: it has not been told to.
///
/// What runs already needs no release, so that a new document never stops running software.
pub fn refusals(releases: &[Release], node: &Characteristics, change: Change<'_>) -> Vec<Refusal> {
    let is_own = |release: &&Release| {
        let class = release.class.as_str();
        node.classes.iter().any(|one| one == class)
    };
    let own: Vec<&Release> = releases.iter().filter(is_own).collect();
    if own.is_empty() {
        return Vec::new();
    }
    let mut found = not_released(&own, change);
    if !change.operator {
        found.extend(below_floor(&own, change));
        found.extend(removed(change));
        found.extend(change.force.then_some(Refusal::Force));
    }
    found
}

fn not_released(own: &[&Release], change: Change<'_>) -> Vec<Refusal> {
    let released = own.iter().flat_map(|release| &release.packages);
    let released: FxHashSet<_> = released.map(|one| &one.id).collect();
    let running: FxHashSet<_> = change.current.iter().map(|one| &one.id).collect();
    let missing = change
        .target
        .iter()
        .filter(|one| !released.contains(&one.id) && !running.contains(&one.id));
    missing
        .map(|one| Refusal::NotReleased(one.id.to_string()))
        .collect()
}

fn below_floor(own: &[&Release], change: Change<'_>) -> Vec<Refusal> {
    let running: FxHashSet<_> = change.current.iter().map(|one| &one.id).collect();
    let coming = change
        .target
        .iter()
        .filter(|one| !running.contains(&one.id));
    let floor = |name: &PackageName| own.iter().filter_map(|one| one.floor.get(name)).max();
    coming
        .filter_map(|one| {
            let (name, version) = (&one.id.name, &one.manifest.version);
            let floor = floor(name).filter(|floor| version < *floor)?;
            Some(Refusal::BelowFloor {
                name: name.clone(),
                version: version.clone(),
                floor: floor.clone(),
            })
        })
        .collect()
}

fn removed(change: Change<'_>) -> Vec<Refusal> {
    let stays: FxHashSet<_> = change.target.iter().map(|one| &one.id.name).collect();
    let leaves = change.current.iter().map(|one| &one.id.name);
    let leaves = leaves.filter(|name| !stays.contains(name));
    leaves.map(|name| Refusal::Removal(name.clone())).collect()
}

/// Whether a release that is offered is older than the one of its class that is known: a node
/// refuses it.
pub fn is_older(known: &[Release], offered: &Release) -> bool {
    known
        .iter()
        .any(|one| one.class == offered.class && offered.number < one.number)
}

#[cfg(test)]
mod tests;
