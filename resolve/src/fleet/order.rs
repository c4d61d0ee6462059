//! From what is assigned to a node to its software set in its order.

use model::change::{PackageRef, Unmet};

use crate::deps::{Shelf, check, closure};
use crate::order::{effective, insert, replace};
use crate::{Characteristics, Package};

/// What a node gets.
#[derive(Debug, Clone, Default)]
pub struct Ordered {
    /// The set in the order that holds, front first.
    pub order: Vec<Package>,
    /// What was assigned and is not on the shelf, or not for a node like this.
    pub unknown: Vec<PackageRef>,
    /// What the set asks for in vain.
    pub unmet: Vec<Unmet>,
}

/// The packages of a shelf that a node like this can run, to be given to [`order_for`]: nodes of one
/// architecture share it.
pub fn shelf_for(shelf: &Shelf, node: &Characteristics) -> Shelf {
    Shelf::new(shelf.iter().filter(|one| runs(one, node)).cloned())
}

fn runs(package: &Package, node: &Characteristics) -> bool {
    let machine = package.manifest.architecture.as_ref();
    machine.is_none_or(|machine| node.runs(machine))
}

/// The software set of a node: what is assigned (the first of a name counts), front first, and what
/// that requires: of `current`, which the node runs, where it answers, otherwise the newest of the
/// shelf. A reference without a version means the newest.
pub fn order_for(
    assigned: &[PackageRef],
    current: &[Package],
    shelf: &Shelf,
    node: &Characteristics,
) -> Ordered {
    let mut ordered = Ordered::default();
    let mut list: Vec<Package> = Vec::new();
    for reference in assigned {
        if list.iter().any(|one| one.id.name == reference.name) {
            continue;
        }
        match meant(reference, shelf, node) {
            Some(package) => list.push(package.clone()),
            None => ordered.unknown.push(reference.clone()),
        }
    }
    let chosen = list.clone();
    let kept = Shelf::new(current.iter().filter(|one| runs(one, node)).cloned());
    for package in closure(&[], &chosen, &kept, node) {
        insert(&mut list, package, node);
    }
    for package in closure(&list, &chosen, shelf, node) {
        take(&mut list, package, node);
    }
    // What came from `current` may ask for what it does not have.
    let all = list.clone();
    for package in closure(&list, &all, shelf, node) {
        take(&mut list, package, node);
    }
    ordered.order = effective(&list, node);
    ordered.unmet = check(&ordered.order, shelf, node);
    ordered
}

fn take(list: &mut Vec<Package>, package: Package, node: &Characteristics) {
    if list.iter().any(|one| one.id.name == package.id.name) {
        replace(list, package);
    } else {
        insert(list, package, node);
    }
}

/// The newest package that is meant, of those that run on a node like this.
pub fn meant<'s>(
    reference: &PackageRef,
    shelf: &'s Shelf,
    node: &Characteristics,
) -> Option<&'s Package> {
    let versions = shelf.versions(&reference.name).iter().rev();
    let mut meant = versions.filter(|one| one.is_meant_by(reference));
    meant.find(|one| runs(one, node))
}

#[cfg(test)]
mod tests;
