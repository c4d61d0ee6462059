//! What must come from the store so that a set's requirements are met.

use std::collections::BTreeMap;

use model::manifest::LibraryNeed;
use model::requirement::{Alternative, Requirement};
use model::{PackageId, PackageName};
use rustc_hash::FxHashMap;

use crate::{Characteristics, Package};

/// The packages that there are to choose from, each version of each.
#[derive(Debug, Clone, Default)]
pub struct Shelf {
    /// By name, oldest version first.
    by_name: BTreeMap<PackageName, Vec<Package>>,
    /// Names of packages that provide a name besides their own.
    providers: BTreeMap<PackageName, Vec<PackageName>>,
    /// Names of packages that bring a library, by its soname.
    libraries: FxHashMap<String, Vec<PackageName>>,
}

impl Shelf {
    /// A shelf with these packages.
    pub fn new(packages: impl IntoIterator<Item = Package>) -> Self {
        let mut shelf = Self::default();
        packages.into_iter().for_each(|package| shelf.put(package));
        shelf
    }

    /// Puts a package there; one of the same identity is replaced.
    pub fn put(&mut self, package: Package) {
        let manifest = &package.manifest;
        let name = &package.id.name;
        for provided in &manifest.provides {
            note(
                self.providers.entry(provided.name.clone()).or_default(),
                name,
            );
        }
        for library in &manifest.provides_libraries {
            note(
                self.libraries.entry(library.soname.clone()).or_default(),
                name,
            );
        }
        let versions = self.by_name.entry(name.clone()).or_default();
        versions.retain(|one| one.id != package.id);
        let at = versions.partition_point(|one| one.manifest.version <= manifest.version);
        versions.insert(at, package);
    }

    /// Takes a package away.
    pub fn take(&mut self, id: &PackageId) {
        if let Some(versions) = self.by_name.get_mut(&id.name) {
            versions.retain(|one| one.id != *id);
        }
        self.by_name.retain(|_, versions| !versions.is_empty());
    }

    /// Every version of a name, oldest first.
    pub fn versions(&self, name: &PackageName) -> &[Package] {
        self.by_name.get(name).map_or(&[], Vec::as_slice)
    }

    /// Every package name there is.
    pub fn names(&self) -> impl Iterator<Item = &PackageName> {
        self.by_name.keys()
    }

    /// The package of this identity.
    pub fn get(&self, id: &PackageId) -> Option<&Package> {
        self.versions(&id.name).iter().find(|one| one.id == *id)
    }

    /// Every package.
    pub fn iter(&self) -> impl Iterator<Item = &Package> {
        self.by_name.values().flatten()
    }

    /// The best answer to one alternative: the newest version of that name, else of the first
    /// package that provides it.
    pub fn best(&self, one: &Alternative) -> Option<&Package> {
        let answers = |package: &&Package| package.manifest.answers_one(one);
        let named = self.versions(&one.name).iter().rev().find(answers);
        named.or_else(|| {
            let providers = self.providers.get(&one.name).into_iter().flatten();
            providers
                .into_iter()
                .find_map(|name| self.versions(name).iter().rev().find(answers))
        })
    }

    /// The newest package that brings a library with all of these symbol versions.
    pub fn bringing(&self, need: &LibraryNeed) -> Option<&Package> {
        let names = self.libraries.get(&need.soname).into_iter().flatten();
        names.into_iter().find_map(|name| {
            let brings = |one: &&Package| {
                one.manifest
                    .provides_libraries
                    .iter()
                    .any(|l| covers(l, need))
            };
            self.versions(name).iter().rev().find(brings)
        })
    }
}

fn note(names: &mut Vec<PackageName>, name: &PackageName) {
    if !names.contains(name) {
        names.push(name.clone());
    }
}

/// Whether a provided library has what is needed of it.
pub(super) fn covers(provided: &LibraryNeed, need: &LibraryNeed) -> bool {
    provided.soname == need.soname
        && need
            .versions
            .iter()
            .all(|version| provided.versions.contains(version))
}

/// The packages from the shelf that a set lacks: for every requirement and library of `wanted`,
/// and of what that brings in turn, which the set does not answer. The newest version that is
/// admitted is taken; what the set has is preferred, and a package of the set gives way only to a
/// newer version of itself, and only where `wanted` does not name it.
///
/// What the shelf cannot answer is left for [`super::check`] to tell. The answer is in an order
/// in which each can be inserted: what is depended on first.
pub fn closure(
    set: &[Package],
    wanted: &[Package],
    shelf: &Shelf,
    node: &Characteristics,
) -> Vec<Package> {
    let mut search = Search::new(set, wanted);
    let mut open: Vec<Package> = wanted.iter().rev().cloned().collect();
    while let Some(package) = open.pop() {
        for found in search.lacking(&package, shelf, node) {
            search.take(found.clone());
            open.push(found);
        }
    }
    in_order_of_insertion(&search.added, node)
}

fn in_order_of_insertion(added: &[Package], node: &Characteristics) -> Vec<Package> {
    let mut order = crate::order::effective(added, node);
    order.reverse();
    order
}

/// The set while it grows.
struct Search {
    /// Everything in the set by name.
    set: FxHashMap<PackageName, Package>,
    /// Names in the set that provide a name besides their own.
    providers: FxHashMap<PackageName, Vec<PackageName>>,
    /// Names in the set that bring a library.
    libraries: FxHashMap<String, Vec<PackageName>>,
    /// Names that no dependency may change.
    fixed: Vec<PackageName>,
    added: Vec<Package>,
}

impl Search {
    fn new(set: &[Package], wanted: &[Package]) -> Self {
        let mut search = Self {
            set: FxHashMap::default(),
            providers: FxHashMap::default(),
            libraries: FxHashMap::default(),
            fixed: wanted.iter().map(|one| one.id.name.clone()).collect(),
            added: Vec::new(),
        };
        set.iter()
            .chain(wanted)
            .for_each(|one| search.know(one.clone()));
        search
    }

    fn know(&mut self, package: Package) {
        let name = package.id.name.clone();
        for provided in &package.manifest.provides {
            self.providers
                .entry(provided.name.clone())
                .or_default()
                .push(name.clone());
        }
        for library in &package.manifest.provides_libraries {
            self.libraries
                .entry(library.soname.clone())
                .or_default()
                .push(name.clone());
        }
        self.set.insert(name, package);
    }

    fn take(&mut self, package: Package) {
        self.added.retain(|one| one.id.name != package.id.name);
        self.added.push(package.clone());
        self.know(package);
    }

    fn lacking(&self, package: &Package, shelf: &Shelf, node: &Characteristics) -> Vec<Package> {
        let mut found: Vec<Package> = Vec::new();
        let needs = package
            .requirements(node)
            .chain(package.manifest.upgrades.iter());
        for need in needs.filter(|need| !self.answers(need)) {
            found.extend(self.choose(need, shelf).cloned());
        }
        for need in package
            .manifest
            .requires_libraries
            .iter()
            .filter(|need| !self.brings(need))
        {
            let known = |one: &Package| found.iter().any(|other| other.id.name == one.id.name);
            let chosen = shelf
                .bringing(need)
                .filter(|one| self.may_enter(one) && !known(one));
            found.extend(chosen.cloned());
        }
        found
    }

    fn answers(&self, need: &Requirement) -> bool {
        need.alternatives().iter().any(|one| {
            let providers = self.providers.get(&one.name).into_iter().flatten();
            let mut named = providers
                .chain([&one.name])
                .filter_map(|name| self.set.get(name));
            named.any(|package| package.manifest.answers_one(one))
        })
    }

    fn brings(&self, need: &LibraryNeed) -> bool {
        let names = self.libraries.get(&need.soname).into_iter().flatten();
        let mut packages = names.filter_map(|name| self.set.get(name));
        packages.any(|one| {
            one.manifest
                .provides_libraries
                .iter()
                .any(|l| covers(l, need))
        })
    }

    fn choose<'s>(&self, need: &Requirement, shelf: &'s Shelf) -> Option<&'s Package> {
        let mut best = need.alternatives().iter().filter_map(|one| shelf.best(one));
        best.find(|one| self.may_enter(one))
    }

    fn may_enter(&self, package: &Package) -> bool {
        let name = &package.id.name;
        let newer = |old: &Package| package.manifest.version > old.manifest.version;
        !self.fixed.contains(name) && self.set.get(name).is_none_or(newer)
    }
}
