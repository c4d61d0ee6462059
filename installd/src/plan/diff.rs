//! Which paths differ between the active tree and the new one, and how.

use model::manifest::{FileEntry, FileType, Node, RegularFile};
use model::{Digest, PackagePath};
use resolve::Package;
use resolve::loader::{View, follow};
use resolve::select::is_chosen;
use rustc_hash::{FxHashMap, FxHashSet};

use super::How;
use super::index::ActiveIndex;
use super::set::NewSet;

/// One path of both trees, where it differs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Difference<'a> {
    pub(super) path: &'a PackagePath,
    pub(super) how: How,
    pub(super) old: Option<(&'a Package, &'a FileEntry)>,
    pub(super) new: Option<(&'a Package, &'a FileEntry)>,
    /// The object in the place of the new entry's own: one that runs and stays, where that is only
    /// rebuilt, or one that the generation gone back to had.
    pub(super) keeps: Option<Digest>,
}

/// The new tree, as what differs from the active one.
#[derive(Debug)]
pub(super) struct NewTree<'a> {
    pub(super) index: &'a ActiveIndex,
    pub(super) differences: Vec<Difference<'a>>,
    at: FxHashMap<&'a str, u32>,
    rearranged: bool,
}

impl<'a> NewTree<'a> {
    /// Whether a link to a directory differs: then any path may lead elsewhere.
    pub(super) fn is_rearranged(&self) -> bool {
        self.rearranged
    }

    /// How this path differs; `None`: it does not.
    pub(super) fn difference(&self, path: &str) -> Option<&Difference<'a>> {
        self.at.get(path).map(|&at| &self.differences[at as usize])
    }

    /// Compares the trees on every path that a change of the set may touch.
    pub(super) fn new(index: &'a ActiveIndex, set: &'a NewSet) -> Self {
        let mut tree = Self {
            index,
            differences: Vec::new(),
            at: FxHashMap::default(),
            rearranged: false,
        };
        let entering = entries_of_entering(index, set);
        let mut seen: FxHashSet<&str> = FxHashSet::default();
        let of_leaving = set.leaving.iter().flat_map(|one| &one.manifest.files);
        let of_entering = entering.values().map(|(_, _, entry)| *entry);
        let shared = shared_that_may_turn(index, set);
        for entry in of_leaving.chain(of_entering).chain(shared) {
            if seen.insert(entry.path.as_str()) {
                tree.compare(set, &entering, &entry.path);
            }
        }
        tree.differences.sort_unstable_by_key(|one| one.path);
        let paths = (0..)
            .zip(&tree.differences)
            .map(|(at, one)| (one.path.as_str(), at));
        tree.at = paths.collect();
        tree.rearranged = tree
            .differences
            .iter()
            .any(|one| moves_a_directory(&tree, one));
        tree
    }

    fn compare(&mut self, set: &'a NewSet, entering: &Entering<'a>, path: &'a PackagePath) {
        let old = self.index.lookup(path.as_str());
        let stays = staying_winner(self.index, set, path.as_str());
        let enters = entering.get(path.as_str());
        let new = match (stays, enters) {
            (Some((at, ..)), Some((new_at, package, entry))) if *new_at < at => {
                Some((*package, *entry))
            }
            (None, Some((_, package, entry))) => Some((*package, *entry)),
            (Some((_, package, entry)), _) => Some((package, entry)),
            (None, None) => None,
        };
        let had = set.kept.get(path).copied();
        let (how, keeps) = match (old, new) {
            (None, None) => return,
            (None, Some(_)) => (How::Added, had),
            (Some(_), None) => (How::Removed, None),
            (Some((_, old)), Some((_, new))) => match compare(self.index, old, new) {
                Compared::Same => return,
                Compared::Changed => (How::Changed, had),
                Compared::Rebuilt(object) => (How::Rebuilt, Some(object)),
            },
        };
        self.differences.push(Difference {
            path,
            how,
            old,
            new,
            keeps,
        });
    }
}

impl View for NewTree<'_> {
    fn entry(&self, path: &str) -> Option<&FileEntry> {
        match self.difference(path) {
            Some(difference) => difference.new.map(|(_, entry)| entry),
            None => self.index.tree.entry(path),
        }
    }
}

/// By path the first of the entering packages that has it, with its place in the new order.
type Entering<'a> = FxHashMap<&'a str, (u32, &'a Package, &'a FileEntry)>;

fn entries_of_entering<'a>(index: &ActiveIndex, set: &'a NewSet) -> Entering<'a> {
    let mut found = FxHashMap::default();
    for (at, package) in set.entering() {
        for entry in &package.manifest.files {
            if is_chosen(entry, &index.active().node) {
                found
                    .entry(entry.path.as_str())
                    .or_insert((at, package, entry));
            }
        }
    }
    found
}

/// The first staying package that has a path, by the new order.
fn staying_winner<'a>(
    index: &'a ActiveIndex,
    set: &NewSet,
    path: &str,
) -> Option<(u32, &'a Package, &'a FileEntry)> {
    let winner = index.tree.place(path)?;
    let all = index
        .tree
        .shared
        .get(path)
        .map_or(std::slice::from_ref(&winner), Vec::as_slice);
    let staying = all.iter().filter_map(|place| {
        let at = set.stays.moved(place.package)?;
        let (package, entry) = index.tree.at(*place);
        Some((at, package, entry))
    });
    staying.min_by_key(|(at, ..)| *at)
}

/// Paths of several packages, where those that stay have changed places among themselves.
fn shared_that_may_turn<'a>(
    index: &'a ActiveIndex,
    set: &NewSet,
) -> impl Iterator<Item = &'a FileEntry> {
    let turned = set.stays.are_turned();
    let shared = index.tree.shared.values().filter(move |_| turned);
    shared
        .filter_map(|places| places.first())
        .map(|place| index.tree.at(*place).1)
}

/// Whether a link that leads to a directory, in either tree, differs.
fn moves_a_directory(tree: &NewTree<'_>, one: &Difference<'_>) -> bool {
    let leads_to_directory = |entry: &FileEntry, view: &dyn Fn(&str) -> Option<bool>| {
        matches!(entry.node, Node::Link { .. }) && view(entry.path.as_str()) == Some(false)
    };
    let old = |path: &str| {
        let end = follow(&tree.index.tree, path)?;
        let is_file = tree
            .index
            .tree
            .entry(&end)
            .is_some_and(|e| matches!(e.node, Node::File(_)));
        (is_file || tree.index.tree.directories.contains(end.as_str())).then_some(is_file)
    };
    let new = |path: &str| {
        let end = follow(tree, path)?;
        let is_file = tree
            .entry(&end)
            .is_some_and(|e| matches!(e.node, Node::File(_)));
        let is_directory = tree.index.tree.directories.contains(end.as_str())
            || tree
                .differences
                .iter()
                .any(|d| d.new.is_some() && below(d.path.as_str(), &end));
        (is_file || is_directory).then_some(is_file)
    };
    one.old
        .is_some_and(|(_, entry)| leads_to_directory(entry, &old))
        || one
            .new
            .is_some_and(|(_, entry)| leads_to_directory(entry, &new))
}

/// Whether `path` is below `directory`.
pub(super) fn below(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory)
        .is_some_and(|rest| rest.starts_with('/'))
}

enum Compared {
    Same,
    Changed,
    Rebuilt(Digest),
}

/// A file of the same substance stays the object that runs; where that is not the new entry's own,
/// it has to be recorded, also when a generation that is gone back to had just that object.
fn compare(index: &ActiveIndex, old: &FileEntry, new: &FileEntry) -> Compared {
    if !same_rights(old, new) {
        return Compared::Changed;
    }
    match (&old.node, &new.node) {
        (Node::File(before), Node::File(after)) => {
            let runs = index
                .active()
                .kept
                .get(&old.path)
                .copied()
                .unwrap_or(before.digest);
            if !same_substance(before, after) {
                Compared::Changed
            } else if runs == after.digest {
                Compared::Same
            } else {
                Compared::Rebuilt(runs)
            }
        }
        (Node::Link { target: before }, Node::Link { target: after }) if before == after => {
            Compared::Same
        }
        (Node::Directory, Node::Directory) => Compared::Same,
        _ => Compared::Changed,
    }
}

fn same_rights(old: &FileEntry, new: &FileEntry) -> bool {
    old.mode == new.mode
        && name_or_root(old.owner.as_ref()) == name_or_root(new.owner.as_ref())
        && name_or_root(old.group.as_ref()) == name_or_root(new.group.as_ref())
}

fn name_or_root(name: Option<&String>) -> &str {
    name.map_or("root", String::as_str)
}

fn same_substance(old: &RegularFile, new: &RegularFile) -> bool {
    old.signature == new.signature && old.capabilities == new.capabilities
}

/// Whether two files, perhaps at different paths, are the same to whoever uses them.
pub(super) fn is_equal(old: &FileEntry, new: &FileEntry) -> bool {
    same_rights(old, new)
        && match (&old.node, &new.node) {
            (Node::File(before), Node::File(after)) => same_substance(before, after),
            _ => false,
        }
}

/// Whether it is a shared library.
pub(super) fn is_library(entry: &FileEntry) -> bool {
    matches!(&entry.node, Node::File(file) if file.file_type == FileType::SharedLibrary)
}

/// Whether a difference is one of a shared library: of the file, or of a link that leads to one.
pub(super) fn concerns_library(tree: &NewTree<'_>, one: &Difference<'_>) -> bool {
    let leads = |view: &dyn Fn(&str) -> bool, entry: &FileEntry| match &entry.node {
        Node::File(_) => is_library(entry),
        Node::Link { .. } => view(entry.path.as_str()),
        Node::Directory => false,
    };
    let active = &tree.index.tree;
    let old = |path: &str| {
        follow(active, path)
            .and_then(|end| active.entry(&end).map(is_library))
            .unwrap_or(false)
    };
    let new = |path: &str| {
        follow(tree, path)
            .and_then(|end| tree.entry(&end).map(is_library))
            .unwrap_or(false)
    };
    one.old.is_some_and(|(_, entry)| leads(&old, entry))
        || one.new.is_some_and(|(_, entry)| leads(&new, entry))
}
