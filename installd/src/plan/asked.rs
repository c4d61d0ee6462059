//! Packages that a change concerns though it reaches none of their files: those that require a
//! changed package or a library of it, directly or not, what an upgrade package applies to, and
//! those that consume an API of a changed file.

use std::collections::VecDeque;
use std::collections::hash_map::Entry;

use model::PackageName;
use model::manifest::Node;
use resolve::{Package, order};
use rustc_hash::FxHashMap;

use super::How;
use super::diff::NewTree;
use super::index::ActiveIndex;
use super::set::{NewSet, describe};

/// Why each such package is asked; chains are written out for those that are.
#[derive(Debug, Default)]
pub(super) struct Asked {
    because: FxHashMap<PackageName, Because>,
}

#[derive(Debug)]
enum Because {
    /// It changed, or consumes what changed: the whole chain.
    Chain(Vec<String>),
    /// It requires a package that is asked itself.
    Requires(PackageName),
    /// It requires this library of a package that is asked itself.
    Library(PackageName, String),
    /// This package, which comes or goes, is an upgrade of it.
    UpgradedBy(PackageName),
}

impl Asked {
    /// Finds them all.
    pub(super) fn new(tree: &NewTree<'_>, set: &NewSet) -> Self {
        let changed = describe(set).into_iter();
        let because = changed
            .map(|(name, text)| (name, Because::Chain(vec![text])))
            .collect();
        let mut search = Search {
            index: tree.index,
            because,
            open: VecDeque::new(),
        };
        let entering = set.entering().map(|(_, one)| one);
        for changed in entering.chain(&set.leaving) {
            search.requirers_of(changed);
        }
        search.consumers(tree);
        search.spread();
        Self {
            because: search.because,
        }
    }

    /// Whether this package's processes are asked.
    pub(super) fn is_asked(&self, package: &PackageName) -> bool {
        !self.because.is_empty() && self.because.contains_key(package)
    }

    /// The chain from the change to this package.
    pub(super) fn chain(&self, package: &PackageName) -> Vec<String> {
        let mut backwards = Vec::new();
        let mut at = package;
        while let Some(because) = self.because.get(at) {
            match because {
                Because::Chain(chain) => {
                    backwards.extend(chain.iter().rev().cloned());
                    break;
                }
                Because::Requires(other) => {
                    backwards.push(format!("{at} requires {other}"));
                    at = other;
                }
                Because::Library(other, soname) => {
                    backwards.push(format!("{at} requires {soname} of {other}"));
                    at = other;
                }
                Because::UpgradedBy(other) => {
                    backwards.push(format!("{other} is an upgrade of {at}"));
                    at = other;
                }
            }
        }
        backwards.reverse();
        backwards
    }
}

struct Search<'a> {
    index: &'a ActiveIndex,
    because: FxHashMap<PackageName, Because>,
    /// Places in the active order.
    open: VecDeque<u32>,
}

impl Search<'_> {
    fn requirers_of(&mut self, changed: &Package) {
        let manifest = &changed.manifest;
        let names = manifest
            .provides
            .iter()
            .map(|one| &one.name)
            .chain([&manifest.name]);
        let places = names
            .filter_map(|name| self.index.requirers.get(name))
            .flatten();
        let mut places: Vec<u32> = places.copied().collect();
        places.sort_unstable();
        places.dedup();
        let node = &self.index.active().node;
        for at in places {
            let package = &self.index.order[at as usize];
            if package
                .requirements(node)
                .any(|need| manifest.answers(need))
            {
                self.reach(at, Because::Requires(manifest.name.clone()));
            }
        }
        self.users_of_libraries(changed);
        if let Some(need) = &manifest.upgrades {
            for one in need.alternatives() {
                let base = self.index.position.get(&one.name).copied();
                let base = base.filter(|&at| {
                    order::upgrades(manifest, &self.index.order[at as usize].manifest)
                });
                if let Some(at) = base {
                    self.reach(at, Because::UpgradedBy(manifest.name.clone()));
                }
            }
        }
    }

    fn users_of_libraries(&mut self, package: &Package) {
        let index = self.index;
        for library in &package.manifest.provides_libraries {
            let users = index.asks.library_users.get(&library.soname);
            for &at in users.into_iter().flatten() {
                let soname = library.soname.clone();
                self.reach(at, Because::Library(package.id.name.clone(), soname));
            }
        }
    }

    fn consumers(&mut self, tree: &NewTree<'_>) {
        for one in tree
            .differences
            .iter()
            .filter(|one| one.how != How::Rebuilt)
        {
            for (_, entry) in one.old.iter().chain(&one.new) {
                let Node::File(file) = &entry.node else {
                    continue;
                };
                for api in &file.provides_apis {
                    for &at in self.index.consumers.get(api).into_iter().flatten() {
                        let name = &self.index.order[at as usize].id.name;
                        let cause = format!("{}, which provides {api}, changed", one.path);
                        let chain = vec![cause, format!("{name} consumes {api}")];
                        self.reach(at, Because::Chain(chain));
                    }
                }
            }
        }
    }

    fn reach(&mut self, at: u32, because: Because) {
        let name = &self.index.order[at as usize].id.name;
        if let Entry::Vacant(vacant) = self.because.entry(name.clone()) {
            vacant.insert(because);
            self.open.push_back(at);
        }
    }

    fn spread(&mut self) {
        while let Some(at) = self.open.pop_front() {
            let name = self.index.order[at as usize].id.name.clone();
            for &user in &self.index.dependents[at as usize] {
                self.reach(user, Because::Requires(name.clone()));
            }
            let package = self.index.order[at as usize].clone();
            self.users_of_libraries(&package);
        }
    }
}
