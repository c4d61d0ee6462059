//! The ordered list of packages that is a software set \[0095\].
//!
//! Application packages stand first and base packages last; the first package that has a path
//! wins it. The list that is edited and kept ([`insert`], [`remove`], [`replace`]) is exactly what
//! was asked for, so that every edit can be taken back; [`arrange()`] makes the order that holds from
//! it: the list itself wherever it keeps its rules, and otherwise (a new version that requires
//! what stood before it) the nearest order that does.
//!
//! Real packages require each other in circles (libc6 and libgcc-s1). Within a circle no order is
//! right, so the list's own is kept.

mod arrange;

use std::sync::Arc;

use model::{Manifest, PackageName};

pub use arrange::arrange;

use crate::deps::Answers;
use crate::{Characteristics, Package};

/// Puts a package that is not in the set into the list, directly before the first package that it
/// depends on; at the end where it depends on none. An upgrade package goes directly before the
/// package that it upgrades, before older upgrades of it and behind newer ones.
pub fn insert(list: &mut Vec<Package>, new: Package, node: &Characteristics) {
    let at = position_for(list, &new, node);
    list.insert(at, new);
}

fn position_for(list: &[Package], new: &Package, node: &Characteristics) -> usize {
    if let Some(base) = list
        .iter()
        .position(|one| upgrades(&new.manifest, &one.manifest))
    {
        return position_before_base(list, base, new);
    }
    let needed = |one: &Package| {
        new.requirements(node)
            .any(|need| one.manifest.answers(need))
    };
    let at = list.iter().position(needed).unwrap_or(list.len());
    // Never between a package and the upgrades that stand directly before it.
    let mut at = at;
    while at > 0 && at < list.len() && upgrades_same(list, at - 1, at) {
        at -= 1;
    }
    at
}

/// Whether `list[before]` is an upgrade of `list[at]` or of what `list[at]` upgrades.
fn upgrades_same(list: &[Package], before: usize, at: usize) -> bool {
    let Some(range) = &list[before].manifest.upgrades else {
        return false;
    };
    let (before, at) = (&list[before].manifest, &list[at].manifest);
    upgrades(before, at)
        || at.upgrades.as_ref().is_some_and(|other| {
            let bases = |one: &model::Requirement| {
                one.alternatives()
                    .iter()
                    .map(|a| a.name.clone())
                    .collect::<Vec<_>>()
            };
            bases(range) == bases(other)
        })
}

/// Directly before `base`, past those upgrades of it that are older.
fn position_before_base(list: &[Package], base: usize, new: &Package) -> usize {
    let mut at = base;
    while at > 0 {
        let other = &list[at - 1];
        let same_base = upgrades(&other.manifest, &list[base].manifest);
        if !same_base || other.manifest.version > new.manifest.version {
            break;
        }
        at -= 1;
    }
    at
}

/// Whether `upgrade` is an upgrade package of exactly this base.
pub fn upgrades(upgrade: &Manifest, base: &Manifest) -> bool {
    upgrade
        .upgrades
        .as_ref()
        .is_some_and(|range| range.admits(&base.name, &base.version))
}

/// Takes a package out of the list, and with it the upgrades that then have no base. Answers what
/// left, the package itself first; nothing where it was not in the list.
pub fn remove(list: &mut Vec<Package>, name: &PackageName) -> Vec<Package> {
    let Some(at) = list.iter().position(|one| one.id.name == *name) else {
        return Vec::new();
    };
    let mut gone = vec![list.remove(at)];
    gone.extend(drop_orphans(list, name));
    gone
}

/// Puts another version of a package where the old one stands. Upgrades leave whose range excludes
/// the new version; they are answered. An upgrade that is newer now than one before it, or older
/// than one behind it, goes to its place among them. Nothing happens where no version of it is in
/// the list.
pub fn replace(list: &mut Vec<Package>, new: Package) -> Vec<Package> {
    let Some(at) = list.iter().position(|one| one.id.name == new.id.name) else {
        return Vec::new();
    };
    let name = new.id.name.clone();
    list[at] = new;
    keep_newest_first(list, at);
    drop_orphans(list, &name)
}

/// Moves the upgrade at this place where it stands wrong among the upgrades of its base.
fn keep_newest_first(list: &mut Vec<Package>, at: usize) {
    let base = list
        .iter()
        .position(|base| upgrades(&list[at].manifest, &base.manifest));
    let Some(base) = base.filter(|base| *base > at) else {
        return;
    };
    let version = |at: usize| &list[at].manifest.version;
    let same = |other: usize| upgrades(&list[other].manifest, &list[base].manifest);
    let wrong_before = at > 0 && same(at - 1) && version(at - 1) < version(at);
    let wrong_behind = at + 1 < base && same(at + 1) && version(at + 1) > version(at);
    if wrong_before || wrong_behind {
        let moved = list.remove(at);
        let at = position_before_base(list, base - 1, &moved);
        list.insert(at, moved);
    }
}

/// Takes out the upgrades of `base` whose range no package in the list answers any more.
fn drop_orphans(list: &mut Vec<Package>, base: &PackageName) -> Vec<Package> {
    let orphans: Vec<PackageName> = list
        .iter()
        .filter(|one| is_upgrade_of(&one.manifest, base))
        .filter(|one| {
            !list
                .iter()
                .any(|other| upgrades(&one.manifest, &other.manifest))
        })
        .map(|one| one.id.name.clone())
        .collect();
    orphans
        .iter()
        .flat_map(|orphan| remove(list, orphan))
        .collect()
}

fn is_upgrade_of(manifest: &Manifest, base: &PackageName) -> bool {
    let range = manifest.upgrades.as_ref();
    range.is_some_and(|range| range.alternatives().iter().any(|one| one.name == *base))
}

/// The order that holds for a list: see the module's text.
pub fn effective(list: &[Package], node: &Characteristics) -> Vec<Package> {
    let manifests: Vec<&Manifest> = list.iter().map(|one| &*one.manifest).collect();
    let answers = Answers::of(&manifests);
    let edges: Vec<Vec<usize>> = list
        .iter()
        .map(|one| edges_of(one, &answers, node))
        .collect();
    arrange(&edges)
        .into_iter()
        .map(|i| list[i].clone())
        .collect()
}

/// The packages that must stand behind `one`: what answers its requirements, and its base.
pub fn edges_of(one: &Package, answers: &Answers<'_>, node: &Characteristics) -> Vec<usize> {
    let upgraded = one.manifest.upgrades.iter();
    let mut edges: Vec<usize> = one
        .requirements(node)
        .chain(upgraded)
        .flat_map(|need| answers.to(need))
        .collect();
    edges.sort_unstable();
    edges.dedup();
    edges.retain(|&other| !std::ptr::eq(answers.manifest(other), Arc::as_ptr(&one.manifest)));
    edges
}

#[cfg(test)]
mod tests;
