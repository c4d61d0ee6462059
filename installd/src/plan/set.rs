//! The new ordered set: what a request makes of the active one.

mod back;
mod edit;
mod exactly;
mod nearest;

use std::collections::{BTreeMap, BTreeSet};

use model::change::{Request, Unmet};
use model::{Digest, Later, PackageName, PackagePath};
use resolve::deps::{Answers, check_those};
use resolve::{Package, order};
use rustc_hash::{FxHashMap, FxHashSet};

use super::index::ActiveIndex;
use super::listed::{Listed, Stays};
use super::{World, swap};
pub(super) use edit::automatic;

/// A set that a request leads to.
#[derive(Debug, Clone, Default)]
pub(super) struct NewSet {
    /// As it is kept.
    pub(super) list: Listed,
    /// In the order that holds.
    pub(super) order: Listed,
    /// What stays of the active set, and where.
    pub(super) stays: Stays,
    /// Those of the active set that are not in the new one.
    pub(super) leaving: Vec<Package>,
    pub(super) brought: BTreeSet<PackageName>,
    /// Packages of the new set that nobody asked for by name.
    pub(super) automatic: Later<BTreeSet<PackageName>>,
    /// Objects that the generation gone back to had in the place of its manifests' own.
    pub(super) kept: BTreeMap<PackagePath, Digest>,
    pub(super) unmet: Vec<Unmet>,
    pub(super) warnings: Vec<String>,
}

impl NewSet {
    /// Packages that the active set has not, with their places in `order`.
    pub(super) fn entering(&self) -> impl Iterator<Item = (u32, &Package)> {
        let places = self.stays.entering();
        places.filter_map(|at| Some((at, self.order.get(at)?)))
    }
}

/// The set after a request; what it names in vain is in `unmet`.
pub(super) fn new_set(world: &World, request: &Request) -> NewSet {
    if let Some(generation) = request.to {
        return back::gone_back(world, request, generation);
    }
    if let Some(wanted) = &request.exactly {
        return exactly::exactly(world, request, wanted);
    }
    let Some(set) = swap::swapped(world, request) else {
        return edit::edited(world, request);
    };
    #[cfg(test)]
    assert_same(&set, &edit::edited(world, request));
    set
}

/// The fast way and the long way lead to one set.
#[cfg(test)]
fn assert_same(fast: &NewSet, long: &NewSet) {
    assert_eq!(fast.list.to_vec(), long.list.to_vec());
    assert_eq!(fast.order.to_vec(), long.order.to_vec());
    for at in (0..).take(fast.order.to_vec().len()) {
        assert_eq!(fast.stays.old(at), long.stays.old(at));
        assert_eq!(fast.stays.moved(at), long.stays.moved(at));
    }
    assert_eq!(fast.leaving, long.leaving);
    assert_eq!(fast.brought, long.brought);
    assert_eq!(fast.automatic, long.automatic);
    assert_eq!(fast.unmet, long.unmet);
    assert_eq!(fast.warnings, long.warnings);
}

/// The list in the order that holds, with what stays of the active set. Only packages whose
/// requirements a change may answer otherwise are looked at again.
fn arranged(index: &ActiveIndex, list: Vec<Package>) -> NewSet {
    let node = &index.active().node;
    let stays_of = |one: &Package| {
        let old = *index.position.get(&one.id.name)?;
        (index.order[old as usize].id == one.id).then_some(old)
    };
    let stays: Vec<Option<u32>> = list.iter().map(stays_of).collect();
    let mut at_of_old = vec![None; index.order.len()];
    for (at, old) in stays.iter().enumerate() {
        if let Some(old) = old {
            at_of_old[*old as usize] = Some(at);
        }
    }
    let entering = list
        .iter()
        .zip(&stays)
        .filter(|(_, old)| old.is_none())
        .map(|(one, _)| one);
    let gone = index
        .order
        .iter()
        .zip(&at_of_old)
        .filter(|(_, at)| at.is_none());
    let leaving: Vec<Package> = gone.map(|(one, _)| one.clone()).collect();
    let again = askers(index, entering.chain(&leaving));
    let edges: Vec<Vec<usize>> = {
        let manifests: Vec<_> = list.iter().map(|one| &*one.manifest).collect();
        let answers = Answers::of(&manifests);
        let edges = list.iter().zip(&stays).map(|(one, old)| match old {
            Some(old) if !again.contains(old) => index.edges[*old as usize]
                .iter()
                .filter_map(|&to| at_of_old[to])
                .collect(),
            _ => order::edges_of(one, &answers, node),
        });
        edges.collect()
    };
    let arranged = order::arrange(&edges);
    let order: Vec<Package> = arranged.iter().map(|&i| list[i].clone()).collect();
    let stays: Vec<Option<u32>> = arranged.iter().map(|&i| stays[i]).collect();
    let mut moved = vec![None; index.order.len()];
    for (at, old) in (0..).zip(&stays) {
        if let Some(old) = old {
            moved[*old as usize] = Some(at);
        }
    }
    NewSet {
        list: list.into(),
        order: order.into(),
        stays: Stays::Some { stays, moved },
        leaving,
        ..NewSet::default()
    }
}

/// Places in the active order of those that require something by a name that these answer to.
fn askers<'a>(index: &ActiveIndex, changed: impl Iterator<Item = &'a Package>) -> FxHashSet<u32> {
    let names = changed.flat_map(|one| {
        let provided = one.manifest.provides.iter().map(|provided| &provided.name);
        provided.chain([&one.id.name])
    });
    names
        .filter_map(|name| index.requirers.get(name))
        .flatten()
        .copied()
        .collect()
}

/// What entering packages, and those that the change may leave without an answer, ask in vain.
fn check(world: &World, set: &NewSet) -> Vec<Unmet> {
    let index = &world.index;
    let mut again = askers(index, set.leaving.iter());
    let apis = set.leaving.iter().flat_map(Package::provides_apis);
    again.extend(apis.filter_map(|api| index.consumers.get(api)).flatten());
    let left = set
        .leaving
        .iter()
        .flat_map(|one| &one.manifest.provides_libraries);
    let users = &index.asks.library_users;
    again.extend(left.filter_map(|one| users.get(&one.soname)).flatten());
    let order = set.order.to_vec();
    let places = (0..).zip(0..order.len());
    let counts = |at: u32| set.stays.old(at).is_none_or(|old| again.contains(&old));
    let those = places.filter(|(at, _)| counts(*at));
    let those: Vec<usize> = those.map(|(_, at)| at).collect();
    if those.is_empty() {
        return Vec::new();
    }
    check_those(&order, &those, &world.store, &index.active().node)
}

/// How packages that enter and leave stand to each other, for people: `libssl3 3.0.17 -> 3.0.18`.
pub(super) fn describe(set: &NewSet) -> FxHashMap<PackageName, String> {
    let mut texts = FxHashMap::default();
    for gone in &set.leaving {
        texts.insert(
            gone.id.name.clone(),
            format!("{} leaves", gone.id.name_version()),
        );
    }
    for (_, new) in set.entering() {
        let old = set.leaving.iter().find(|one| one.id.name == new.id.name);
        let text = match old {
            Some(old) => format!("{} {} -> {}", new.id.name, old.id.version, new.id.version),
            None => format!("{} enters", new.id.name_version()),
        };
        texts.insert(new.id.name.clone(), text);
    }
    texts
}
