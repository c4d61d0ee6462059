//! The new ordered set: what a request makes of the active one.

use std::collections::BTreeSet;

use model::PackageName;
use model::change::{Action, PackageRef, Request, Unmet};
use resolve::deps::{Answers, check_those, closure};
use resolve::{Package, order};
use rustc_hash::{FxHashMap, FxHashSet};

use super::bringers::Bringers;
use super::index::ActiveIndex;
use super::{World, swap};

/// A set that a request leads to.
#[derive(Debug, Default, PartialEq)]
pub(super) struct NewSet {
    /// As it is kept.
    pub(super) list: Vec<Package>,
    /// In the order that holds.
    pub(super) order: Vec<Package>,
    /// For each package of `order` the place in the active order, where it stays.
    pub(super) stays: Vec<Option<u32>>,
    /// For each package of the active order the place in `order`, where it stays.
    pub(super) moved: Vec<Option<u32>>,
    /// Those of the active set that are not in the new one.
    pub(super) leaving: Vec<Package>,
    pub(super) brought: BTreeSet<PackageName>,
    pub(super) unmet: Vec<Unmet>,
    pub(super) warnings: Vec<String>,
}

impl NewSet {
    /// Packages that the active set has not, with their places in `order`.
    pub(super) fn entering(&self) -> impl Iterator<Item = (u32, &Package)> {
        let all = (0..).zip(&self.order).zip(&self.stays);
        all.filter(|(_, stays)| stays.is_none()).map(|(one, _)| one)
    }
}

/// The set after a request; what it names in vain is in `unmet`.
pub(super) fn new_set(world: &World, request: &Request) -> NewSet {
    let Some(set) = swap::swapped(world, request) else {
        return edited(world, request);
    };
    #[cfg(test)]
    assert_eq!(
        set,
        edited(world, request),
        "the fast way and the long way lead to one set"
    );
    set
}

/// The long way, for whatever is asked.
fn edited(world: &World, request: &Request) -> NewSet {
    let mut edit = Edit::new(world);
    for action in &request.actions {
        match action {
            Action::Activate(reference) => edit.activate(reference),
            Action::Deactivate(reference) => edit.deactivate(reference),
        }
    }
    edit.bring();
    let removes = |action: &Action| matches!(action, Action::Deactivate(_));
    if request.actions.iter().any(removes) {
        edit.sweep();
    }
    edit.finish()
}

struct Edit<'a> {
    world: &'a World,
    index: &'a ActiveIndex,
    list: Vec<Package>,
    /// Named by the request, to be in the set.
    wanted: Vec<Package>,
    brought: BTreeSet<PackageName>,
    unmet: Vec<Unmet>,
    warnings: Vec<String>,
}

impl<'a> Edit<'a> {
    fn new(world: &'a World) -> Self {
        Self {
            world,
            index: &world.index,
            list: world.index.active().list.clone(),
            wanted: Vec::new(),
            brought: BTreeSet::new(),
            unmet: Vec::new(),
            warnings: Vec::new(),
        }
    }

    fn activate(&mut self, reference: &PackageRef) {
        let versions = self.world.store.versions(&reference.name);
        let Some(found) = versions.iter().rev().find(|one| one.is_meant_by(reference)) else {
            let unmet = self.unknown(reference, versions);
            self.unmet.push(unmet);
            return;
        };
        let found = found.clone();
        self.wanted.retain(|one| one.id.name != found.id.name);
        self.wanted.push(found.clone());
        self.replace(found);
    }

    /// Puts it where another version of it stands; where none does, that is for later.
    fn replace(&mut self, new: Package) {
        let version = new.id.name_version();
        for gone in order::replace(&mut self.list, new) {
            self.warnings.push(format!(
                "the upgrade package {} leaves: it does not apply to {version}",
                gone.id.name_version()
            ));
        }
    }

    fn deactivate(&mut self, reference: &PackageRef) {
        let active = self
            .list
            .iter()
            .find(|one| one.id.name == reference.name)
            .cloned();
        let Some(active) = active.filter(|one| one.is_meant_by(reference)) else {
            let unmet = self.not_active(reference);
            self.unmet.push(unmet);
            return;
        };
        self.wanted.retain(|one| one.id.name != reference.name);
        if reference.version.is_some()
            && let Some(older) = self.replaced_by(&active)
        {
            self.wanted.push(older.clone());
            self.replace(older);
            return;
        }
        for gone in order::remove(&mut self.list, &reference.name)
            .iter()
            .skip(1)
        {
            let gone = gone.id.name_version();
            self.warnings.push(format!(
                "the upgrade package {gone} leaves with {reference}"
            ));
        }
    }

    /// The version that `active` replaced, where the store still has it.
    fn replaced_by(&self, active: &Package) -> Option<Package> {
        let versions = self.world.previous.get(&active.id.name)?;
        let mut others = versions.iter().rev().filter(|id| **id != active.id);
        others.find_map(|id| self.world.store.get(id)).cloned()
    }

    /// Brings what the wanted ones need from the store, and inserts all that is new.
    fn bring(&mut self) {
        let node = &self.index.active().node;
        let added = closure(&self.list, &self.wanted, &self.world.store, node);
        let there: FxHashSet<&PackageName> = self.list.iter().map(|one| &one.id.name).collect();
        let lacking = self
            .wanted
            .iter()
            .filter(|one| !there.contains(&one.id.name))
            .cloned();
        let new: Vec<Package> = lacking.chain(added.iter().cloned()).collect();
        let named = |name: &PackageName| there.contains(name);
        self.brought = added
            .iter()
            .map(|one| one.id.name.clone())
            .filter(|n| !named(n))
            .collect();
        // What is depended on goes in first, so that each finds its place before it.
        for package in order::effective(&new, node).into_iter().rev() {
            if self.list.iter().any(|one| one.id.name == package.id.name) {
                self.replace(package);
            } else {
                order::insert(&mut self.list, package, node);
            }
        }
    }

    /// Takes out what came only as a dependency and nobody requires any more, nor uses a library
    /// or an API of.
    fn sweep(&mut self) {
        let automatic = |one: &Package| self.world.automatic.contains(&one.id.name);
        if !self.list.iter().any(automatic) {
            return;
        }
        let node = &self.index.active().node;
        let manifests: Vec<_> = self.list.iter().map(|one| &*one.manifest).collect();
        let answers = Answers::of(&manifests);
        let bringers = Bringers::of(&self.list);
        let mut needed = vec![false; self.list.len()];
        let mut open: Vec<usize> = (0..needed.len())
            .filter(|&i| !automatic(&self.list[i]))
            .collect();
        while let Some(at) = open.pop() {
            if !std::mem::replace(&mut needed[at], true) {
                open.extend(order::edges_of(&self.list[at], &answers, node));
                open.extend(bringers.to(&self.list[at]));
            }
        }
        let mut needed = needed.into_iter();
        self.list.retain(|_| needed.next().unwrap_or(true));
    }

    fn finish(self) -> NewSet {
        let Self {
            index,
            list,
            brought,
            mut unmet,
            warnings,
            ..
        } = self;
        let mut set = arranged(index, list);
        set.brought = brought;
        set.warnings = warnings;
        unmet.extend(check(self.world, &set));
        set.unmet = unmet;
        set
    }

    fn unknown(&self, reference: &PackageRef, versions: &[Package]) -> Unmet {
        let hint = if versions.is_empty() {
            match nearest(reference.name.as_str(), self.world.store.names()) {
                Some(name) => format!("the store has no such package; did you mean {name}?"),
                None => "add it to the store first: pkgtool add FILE".to_owned(),
            }
        } else {
            let have: Vec<&str> = versions.iter().map(|one| one.id.version.as_str()).collect();
            format!(
                "the store has {} of it; add the one that is meant",
                have.join(", ")
            )
        };
        Unmet {
            by: "the request".to_owned(),
            needs: reference.to_string(),
            hint,
        }
    }

    fn not_active(&self, reference: &PackageRef) -> Unmet {
        let active = self.list.iter().find(|one| one.id.name == reference.name);
        let hint = match active {
            Some(active) => format!("the active version is {}", active.id.version),
            None => match nearest(
                reference.name.as_str(),
                self.list.iter().map(|one| &one.id.name),
            ) {
                Some(name) => format!("it is not active; did you mean {name}?"),
                None => "it is not active: nothing is to be done".to_owned(),
            },
        };
        Unmet {
            by: "the request".to_owned(),
            needs: format!("active package {reference}"),
            hint,
        }
    }
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
        list,
        order,
        stays,
        moved,
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
    let libraries = set
        .leaving
        .iter()
        .flat_map(|one| &one.manifest.provides_libraries);
    let sonames: FxHashSet<&str> = libraries.map(|one| one.soname.as_str()).collect();
    if !sonames.is_empty() {
        let uses = |one: &Package| {
            one.manifest
                .requires_libraries
                .iter()
                .any(|l| sonames.contains(l.soname.as_str()))
        };
        again.extend(
            (0..)
                .zip(&index.order)
                .filter(|(_, one)| uses(one))
                .map(|(i, _)| i),
        );
    }
    let places = set.stays.iter().enumerate();
    let those = places.filter(|(_, old)| old.is_none_or(|old| again.contains(&old)));
    let those: Vec<usize> = those.map(|(at, _)| at).collect();
    if those.is_empty() {
        return Vec::new();
    }
    check_those(&set.order, &those, &world.store, &index.active().node)
}

/// The package name most like `wanted`, where one is near enough to be meant.
fn nearest<'n>(
    wanted: &str,
    names: impl Iterator<Item = &'n PackageName>,
) -> Option<&'n PackageName> {
    let limit = wanted.len() / 3 + 1;
    let scored = names.map(|name| {
        let begins = name.as_str().starts_with(wanted) || wanted.starts_with(name.as_str());
        let away = distance(wanted, name.as_str());
        (if begins { away.min(limit) } else { away }, name)
    });
    scored
        .filter(|(away, _)| *away <= limit)
        .min()
        .map(|(_, name)| name)
}

/// Edits from one word to the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let change = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
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
