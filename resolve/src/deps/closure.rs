//! What must come from the store so that a set's requirements are met.

use std::collections::BTreeMap;

use model::manifest::LibraryNeed;
use model::requirement::{Alternative, Requirement};
use model::{PackageId, PackageName};
use rustc_hash::FxHashMap;

use super::answers::Several;
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
/// What the shelf cannot answer is left for [`super::check()`] to tell. The answer is in an order
/// in which each can be inserted: what is depended on first.
pub fn closure(
    set: &[Package],
    wanted: &[Package],
    shelf: &Shelf,
    node: &Characteristics,
) -> Vec<Package> {
    let mut search = Search::new(set, wanted);
    let mut open: Vec<&Package> = wanted.iter().rev().collect();
    while let Some(package) = open.pop() {
        for found in search.lacking(package, shelf, node) {
            search.take(found);
            open.push(found);
        }
    }
    let added: Vec<Package> = search.added.into_iter().cloned().collect();
    in_order_of_insertion(&added, node)
}

fn in_order_of_insertion(added: &[Package], node: &Characteristics) -> Vec<Package> {
    let mut order = crate::order::effective(added, node);
    order.reverse();
    order
}

/// The set while it grows.
struct Search<'a> {
    /// Everything in the set by name; a newer version stands in for the one that it replaces.
    set: FxHashMap<&'a PackageName, &'a Package>,
    /// Names in the set that provide a name besides their own.
    providers: Several<&'a PackageName, &'a PackageName>,
    /// Names in the set that bring a library.
    libraries: Several<&'a str, &'a PackageName>,
    /// Names that no dependency may change.
    fixed: Vec<&'a PackageName>,
    added: Vec<&'a Package>,
}

impl<'a> Search<'a> {
    fn new(set: &'a [Package], wanted: &'a [Package]) -> Self {
        let count = |of: fn(&Package) -> usize| set.iter().map(of).sum();
        let mut search = Self {
            set: FxHashMap::default(),
            providers: Several::with_room(count(|one| one.manifest.provides.len())),
            libraries: Several::with_room(count(|one| one.manifest.provides_libraries.len())),
            fixed: wanted.iter().map(|one| &one.id.name).collect(),
            added: Vec::new(),
        };
        search.set.reserve(set.len());
        set.iter().chain(wanted).for_each(|one| search.know(one));
        search
    }

    fn know(&mut self, package: &'a Package) {
        let name = &package.id.name;
        for provided in &package.manifest.provides {
            self.providers.put(&provided.name, name);
        }
        for library in &package.manifest.provides_libraries {
            self.libraries.put(&library.soname, name);
        }
        self.set.insert(name, package);
    }

    fn take(&mut self, package: &'a Package) {
        self.added.retain(|one| one.id.name != package.id.name);
        self.added.push(package);
        self.know(package);
    }

    fn lacking(
        &self,
        package: &'a Package,
        shelf: &'a Shelf,
        node: &'a Characteristics,
    ) -> Vec<&'a Package> {
        let mut found: Vec<&Package> = Vec::new();
        let needs = package
            .requirements(node)
            .chain(package.manifest.upgrades.iter());
        for need in needs.filter(|need| !self.answers(need)) {
            found.extend(self.choose(need, shelf));
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
            found.extend(chosen);
        }
        found
    }

    fn answers(&self, need: &Requirement) -> bool {
        need.alternatives().iter().any(|one| {
            let providers = self.providers.of(&&one.name);
            let mut named = providers
                .chain([&one.name])
                .filter_map(|name| self.set.get(name));
            named.any(|package| package.manifest.answers_one(one))
        })
    }

    fn brings(&self, need: &LibraryNeed) -> bool {
        let names = self.libraries.of(&need.soname.as_str());
        let mut packages = names.filter_map(|name| self.set.get(name));
        packages.any(|one| {
            one.manifest
                .provides_libraries
                .iter()
                .any(|l| covers(l, need))
        })
    }

    fn choose(&self, need: &Requirement, shelf: &'a Shelf) -> Option<&'a Package> {
        let mut best = need.alternatives().iter().filter_map(|one| shelf.best(one));
        best.find(|one| self.may_enter(one))
    }

    fn may_enter(&self, package: &Package) -> bool {
        let name = &package.id.name;
        let newer = |old: &&Package| package.manifest.version > old.manifest.version;
        !self.fixed.contains(&name) && self.set.get(name).is_none_or(newer)
    }
}
