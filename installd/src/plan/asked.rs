//! Packages that a change concerns though it reaches none of their files: those that require a
//! changed package, directly or not, and those that consume an API of a changed file.

use std::collections::VecDeque;

use model::PackageName;
use model::manifest::Node;
use resolve::Package;
use rustc_hash::FxHashMap;

use super::How;
use super::diff::NewTree;
use super::index::ActiveIndex;
use super::set::{NewSet, describe};

/// For each such package the chain from the change to it.
pub(super) fn asked(tree: &NewTree<'_>, set: &NewSet) -> FxHashMap<PackageName, Vec<String>> {
    let index = tree.index;
    let mut search = Search {
        index,
        chains: FxHashMap::default(),
        open: VecDeque::new(),
    };
    for (name, text) in describe(set) {
        search.chains.insert(name.clone(), vec![text]);
    }
    let entering = set.entering().map(|(_, one)| one);
    for changed in entering.chain(&set.leaving) {
        search.requirers_of(changed);
    }
    search.consumers(tree);
    search.spread();
    search.chains
}

struct Search<'a> {
    index: &'a ActiveIndex,
    chains: FxHashMap<PackageName, Vec<String>>,
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
        let Some(cause) = self.chains.get(&manifest.name).cloned() else {
            return;
        };
        for at in places {
            let package = &self.index.order[at as usize];
            if package
                .requirements(node)
                .any(|need| manifest.answers(need))
            {
                self.reach(
                    at,
                    &cause,
                    format!("{} requires {}", package.id.name, manifest.name),
                );
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
                        let cause = [format!("{}, which provides {api}, changed", one.path)];
                        self.reach(at, &cause, format!("{name} consumes {api}"));
                    }
                }
            }
        }
    }

    fn reach(&mut self, at: u32, cause: &[String], step: String) {
        let name = &self.index.order[at as usize].id.name;
        if !self.chains.contains_key(name) {
            let chain = cause.iter().cloned().chain([step]).collect();
            self.chains.insert(name.clone(), chain);
            self.open.push_back(at);
        }
    }

    fn spread(&mut self) {
        while let Some(at) = self.open.pop_front() {
            let name = &self.index.order[at as usize].id.name;
            let Some(cause) = self.chains.get(name).cloned() else {
                continue;
            };
            for &user in &self.index.dependents[at as usize] {
                let step = format!(
                    "{} requires {name}",
                    self.index.order[user as usize].id.name
                );
                self.reach(user, &cause, step);
            }
        }
    }
}
