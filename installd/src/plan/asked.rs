//! Packages that a change concerns though it reaches none of their files: those that require a
//! changed package or a library of it, directly or not, what an upgrade package applies to, and
//! those that consume an API of a changed file.

use model::manifest::Node;
use model::{PackageName, Requirement};
use resolve::{Package, order};
use rustc_hash::FxHashMap;

use super::How;
use super::diff::NewTree;
use super::index::ActiveIndex;
use super::set::{NewSet, describe};

/// Why each such package is asked; chains are written out when they are shown.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// Packages that enter or leave, and how.
    changed: FxHashMap<PackageName, String>,
    /// By place in the active order; empty where nothing changed.
    because: Vec<Because>,
    /// The places that have a reason.
    places: Vec<u32>,
    /// Chains that do not follow from places.
    chains: Vec<Vec<String>>,
}

#[derive(Debug, Clone, Copy, Default)]
enum Because {
    /// It is not asked.
    #[default]
    Nothing,
    /// It leaves, perhaps for another version of it.
    Changed,
    /// The chain of this number.
    Chain(u32),
    /// It requires the package at this place, by name or a library of it.
    Requires(u32),
}

impl Asked {
    /// Finds them all.
    pub(super) fn new(tree: &NewTree<'_>, set: &NewSet) -> Self {
        let changed = describe(set);
        if changed.is_empty() && tree.differences.is_empty() {
            return Self::default();
        }
        let index = tree.index;
        let asked = Self {
            changed,
            because: vec![Because::default(); index.order.len()],
            places: Vec::with_capacity(index.order.len()),
            ..Self::default()
        };
        let mut search = Search { index, asked };
        for gone in &set.leaving {
            if let Some(at) = index.position.get(&gone.id.name) {
                search.reach(*at, Because::Changed);
            }
        }
        for (_, new) in set.entering() {
            search.requirers_of(new, set);
        }
        for (_, new) in set.entering() {
            search.upgraded_by(new);
        }
        for gone in &set.leaving {
            search.upgraded_by(gone);
        }
        search.consumers(tree);
        search.spread();
        search.asked
    }

    /// Whether this package's processes are asked.
    pub(super) fn is_asked(&self, package: &PackageName, index: &ActiveIndex) -> bool {
        let because = || {
            let at = *index.position.get(package)?;
            self.because.get(at as usize)
        };
        self.changed.contains_key(package)
            || because().is_some_and(|one| !matches!(one, Because::Nothing))
    }

    /// Places in the active order of the packages that are asked.
    pub(super) fn places(&self) -> &[u32] {
        &self.places
    }

    /// The chain from the change to this package.
    pub(super) fn chain(&self, package: &PackageName, index: &ActiveIndex) -> Vec<String> {
        if let Some(text) = self.changed.get(package) {
            return vec![text.clone()];
        }
        let mut backwards = Vec::new();
        let mut at = index.position.get(package).copied();
        while let Some(place) = at {
            let name = &index.order[place as usize].id.name;
            at = match self.because.get(place as usize).copied() {
                None | Some(Because::Nothing) => None,
                Some(Because::Changed) => {
                    backwards.extend(self.changed.get(name).cloned());
                    None
                }
                Some(Because::Chain(number)) => {
                    let chain = self.chains.get(number as usize).into_iter().flatten();
                    backwards.extend(chain.rev().cloned());
                    None
                }
                Some(Because::Requires(other)) => {
                    backwards.push(index.tie(place, other));
                    Some(other)
                }
            };
        }
        backwards.reverse();
        backwards
    }
}

struct Search<'a> {
    index: &'a ActiveIndex,
    asked: Asked,
}

impl Search<'_> {
    /// Those that require what enters. Where it takes the place of a version that answered the same,
    /// they require that one.
    fn requirers_of(&mut self, new: &Package, set: &NewSet) {
        if set.stays.is_plain() {
            return;
        }
        let manifest = &new.manifest;
        let provided = manifest.provides.iter().map(|one| &one.name);
        let requirers = &self.index.requirers;
        let places = provided
            .chain([&manifest.name])
            .filter_map(|name| requirers.get(name));
        let mut places: Vec<u32> = places.flatten().copied().collect();
        places.sort_unstable();
        places.dedup();
        let node = &self.index.active().node;
        for at in places {
            let package = &self.index.order[at as usize];
            if package
                .requirements(node)
                .any(|need| manifest.answers(need))
            {
                let link = format!("{} requires {}", package.id.name, new.id.name);
                self.told(at, &new.id.name, link);
            }
        }
        for library in &manifest.provides_libraries {
            let users = self.index.asks.library_users.get(&library.soname);
            for &at in users.into_iter().flatten() {
                let name = &self.index.order[at as usize].id.name;
                let link = format!("{name} requires {} of {}", library.soname, new.id.name);
                self.told(at, &new.id.name, link);
            }
        }
    }

    /// What an upgrade that comes or goes applies to.
    fn upgraded_by(&mut self, upgrade: &Package) {
        let manifest = &upgrade.manifest;
        let needs = manifest.upgrades.iter().flat_map(Requirement::alternatives);
        for one in needs {
            let base = self.index.position.get(&one.name).copied();
            let base = base
                .filter(|&at| order::upgrades(manifest, &self.index.order[at as usize].manifest));
            if let Some(at) = base {
                let link = format!("{} is an upgrade of {}", upgrade.id.name, one.name);
                self.told(at, &upgrade.id.name, link);
            }
        }
    }

    /// A place that is reached from a changed package by this link.
    fn told(&mut self, at: u32, changed: &PackageName, link: String) {
        let cause = self.asked.changed.get(changed).cloned();
        self.chain(at, cause.into_iter().chain([link]).collect());
    }

    fn chain(&mut self, at: u32, chain: Vec<String>) {
        let number = u32::try_from(self.asked.chains.len()).unwrap_or(u32::MAX);
        if self.reach(at, Because::Chain(number)) {
            self.asked.chains.push(chain);
        }
    }

    fn consumers(&mut self, tree: &NewTree<'_>) {
        let differences = tree.differences.iter();
        for one in differences.filter(|one| one.how != How::Rebuilt) {
            for (_, entry) in one.old.iter().chain(&one.new) {
                let Node::File(file) = &entry.node else {
                    continue;
                };
                for api in &file.provides_apis {
                    for &at in self.index.consumers.get(api).into_iter().flatten() {
                        let name = &self.index.order[at as usize].id.name;
                        let cause = format!("{}, which provides {api}, changed", one.path);
                        self.chain(at, vec![cause, format!("{name} consumes {api}")]);
                    }
                }
            }
        }
    }

    fn reach(&mut self, at: u32, because: Because) -> bool {
        let Some(place) = self.asked.because.get_mut(at as usize) else {
            return false;
        };
        if !matches!(place, Because::Nothing) {
            return false;
        }
        *place = because;
        self.asked.places.push(at);
        true
    }

    /// Breadth first, so that chains are short.
    fn spread(&mut self) {
        let index = self.index;
        let mut next = 0;
        while let Some(at) = self.asked.places.get(next).copied() {
            for &user in index.ties.row(at) {
                self.reach(user, Because::Requires(at));
            }
            next += 1;
        }
    }
}
