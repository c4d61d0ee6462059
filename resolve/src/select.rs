//! The file tree of an ordered set: for each path the first package that has it.

use std::fmt;

use model::PackagePath;
use model::manifest::{FileEntry, Node};
use rustc_hash::FxHashMap;

use crate::loader::View;
use crate::{Characteristics, Package};

/// Where an entry stands: the package's place in the order and the entry's place in its manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Index into the ordered set.
    pub package: u32,
    /// Index into the manifest's files.
    pub file: u32,
}

/// A composed tree.
#[derive(Debug, Clone)]
pub struct Tree<'a> {
    order: &'a [Package],
    by_path: FxHashMap<&'a str, Place>,
}

/// A path that is a file or link in one package and a directory in another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Conflict {
    /// The path that cannot be both.
    pub path: PackagePath,
    /// The package that has a file or link there.
    pub file_of: String,
    /// A path below it, and the package that has it.
    pub below: (PackagePath, String),
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (below, of) = &self.below;
        write!(
            f,
            "{} of {} stands where {below} of {of} needs a directory",
            self.path, self.file_of
        )
    }
}

/// Whether a node like this gets the entry.
pub fn is_chosen(entry: &FileEntry, node: &Characteristics) -> bool {
    match &entry.node {
        Node::File(file) => node.takes(file),
        Node::Link { .. } | Node::Directory => true,
    }
}

/// Composes the tree of an ordered set. Files for other architectures are not in it; directories
/// merge: a path may be a directory in many packages, the first one's mode and owner hold.
pub fn compose<'a>(order: &'a [Package], node: &Characteristics) -> Tree<'a> {
    let mut by_path = FxHashMap::default();
    by_path.reserve(order.iter().map(|one| one.manifest.files.len()).sum());
    for (package, one) in (0..).zip(order) {
        for (file, entry) in (0..).zip(&one.manifest.files) {
            if is_chosen(entry, node) {
                by_path
                    .entry(entry.path.as_str())
                    .or_insert(Place { package, file });
            }
        }
    }
    Tree { order, by_path }
}

impl<'a> Tree<'a> {
    /// Where the entry at a path stands.
    pub fn place(&self, path: &str) -> Option<Place> {
        self.by_path.get(path).copied()
    }

    /// The package and entry at a place.
    pub fn at(&self, place: Place) -> (&'a Package, &'a FileEntry) {
        let package = &self.order[place.package as usize];
        (package, &package.manifest.files[place.file as usize])
    }

    /// Every path, sorted, with its package and entry.
    pub fn entries(&self) -> Vec<(&'a Package, &'a FileEntry)> {
        let mut all: Vec<_> = self.by_path.values().map(|place| self.at(*place)).collect();
        all.sort_unstable_by(|a, b| a.1.path.cmp(&b.1.path));
        all
    }

    /// Paths that would have to be a file and a directory at once.
    pub fn conflicts(&self) -> Vec<Conflict> {
        let mut conflicts: Vec<Conflict> = Vec::new();
        for (package, entry) in self.entries() {
            if let Some(conflict) = conflict_above(self, package, entry)
                && conflicts
                    .last()
                    .is_none_or(|last| last.path != conflict.path)
            {
                conflicts.push(conflict);
            }
        }
        conflicts
    }
}

impl View for Tree<'_> {
    fn entry(&self, path: &str) -> Option<&FileEntry> {
        self.place(path).map(|place| self.at(place).1)
    }
}

fn conflict_above(tree: &Tree<'_>, package: &Package, entry: &FileEntry) -> Option<Conflict> {
    let mut above = entry.path.parent();
    while let Some(path) = above {
        if let Some(place) = tree.place(path.as_str()) {
            let (owner, there) = tree.at(place);
            if !matches!(there.node, Node::Directory) {
                return Some(Conflict {
                    file_of: owner.id.name_version(),
                    below: (entry.path.clone(), package.id.name_version()),
                    path,
                });
            }
        }
        above = path.parent();
    }
    None
}

#[cfg(test)]
mod tests;
