//! What the new tree lacks or contradicts: found before anything is touched.

use std::collections::BTreeMap;

use model::PackagePath;
use model::change::Unmet;
use model::manifest::{FileEntry, FileType, Node};
use model::process::Kind;
use resolve::Package;
use resolve::loader::View;
use rustc_hash::FxHashSet;

use super::diff::{Difference, NewTree, below};
use super::exports::NewExports;
use super::graph::{LoadedFile, NodeId, facts, known_of};
use super::index::ActiveTree;
use super::new_graph::{NewGraph, loaded_by};
use super::set::NewSet;

/// Libraries that the loader would not find: errors where no package has them, warnings where one
/// has and only a process that has loaded it by then can use the file.
pub(super) fn libraries(tree: &NewTree<'_>, graph: &NewGraph) -> (Vec<Unmet>, Vec<String>) {
    let (mut unmet, mut warnings) = (Vec::new(), Vec::new());
    let sonames = Sonames::of(tree);
    let first = u32::try_from(graph.before().nodes.len()).unwrap_or(u32::MAX);
    let mut ids: Vec<NodeId> = graph.again.keys().copied().collect();
    ids.extend((first..).zip(&graph.added).map(|(id, _)| id));
    ids.sort_unstable();
    for id in ids {
        let Some(node) = graph.node(id) else { continue };
        let Some(facts) = tree.entry(&node.path).and_then(facts) else {
            continue;
        };
        for edge in graph.edges(id) {
            if edge.target.is_some()
                || !edge.via.is_at_start()
                || was_lacking(tree, graph, id, &edge.name)
            {
                continue;
            }
            let soname: &str = &edge.name;
            let there = sonames.has(soname);
            if there && facts.interpreter.is_none() {
                warnings.push(format!(
                    "{} needs {soname}, which the loader does not find from there: only a process \
                     that has loaded it already can use it",
                    node.path
                ));
            } else {
                unmet.push(lacking_library(node, soname, there));
            }
        }
    }
    (unmet, warnings)
}

/// The names of the libraries that the new tree has, wherever they are in it.
struct Sonames<'a> {
    tree: &'a NewTree<'a>,
    entering: FxHashSet<&'a str>,
    leaving: FxHashSet<&'a str>,
}

impl<'a> Sonames<'a> {
    fn of(tree: &'a NewTree<'a>) -> Self {
        let name = |one: Option<(&'a Package, &'a FileEntry)>| facts(one?.1)?.soname.as_deref();
        let entering = tree.differences.iter().filter_map(|one| name(one.new));
        let leaving = tree.differences.iter().filter_map(|one| name(one.old));
        Self {
            tree,
            entering: entering.collect(),
            leaving: leaving.collect(),
        }
    }

    fn has(&self, soname: &str) -> bool {
        let before = || self.tree.index.tree.sonames.contains(soname);
        self.entering.contains(soname)
            || (before() && (!self.leaving.contains(soname) || self.stays(soname)))
    }

    /// Whether one of this name stays where another of it leaves: rare enough to look at all.
    fn stays(&self, soname: &str) -> bool {
        self.tree.index.tree.entries().any(|(_, entry)| {
            facts(entry).is_some_and(|one| one.soname.as_deref() == Some(soname))
                && self.tree.difference(entry.path.as_str()).is_none()
        })
    }
}

/// Whether the active tree has this lack already: then it is not this change's.
fn was_lacking(tree: &NewTree<'_>, graph: &NewGraph, id: NodeId, name: &str) -> bool {
    let Some(before) = graph.before().nodes.get(id as usize) else {
        return false;
    };
    tree.difference(&before.path).is_none()
        && before
            .edges
            .iter()
            .any(|edge| *edge.name == *name && edge.target.is_none())
}

fn lacking_library(node: &LoadedFile, soname: &str, there: bool) -> Unmet {
    let hint = if there {
        "it is in the set, but not where the loader looks for this file: give the file a RUNPATH"
    } else {
        "add and activate the package that brings it"
    };
    let needs = if there {
        format!("library {soname} where the loader finds it")
    } else {
        format!("library {soname}, which no package provides")
    };
    Unmet {
        by: node.path.clone().into(),
        needs,
        hint: hint.to_owned(),
    }
}

/// Programs of another architecture in packages that enter.
pub(super) fn architectures(tree: &NewTree<'_>, set: &NewSet) -> Vec<Unmet> {
    let node = &tree.index.active().node;
    let foreign = |entry: &FileEntry| match &entry.node {
        Node::File(file) if file.file_type == FileType::Executable => {
            let machine = file.elf.as_ref().map(|facts| &facts.machine);
            machine
                .or(file.architecture.as_ref())
                .filter(|one| !node.runs(one))
                .cloned()
        }
        Node::File(_) | Node::Link { .. } | Node::Directory => None,
    };
    let mut unmet = Vec::new();
    for (_, package) in set.entering() {
        // A package for all architectures brings each its own programs; the node takes its.
        if package.manifest.architecture.is_none() {
            continue;
        }
        for entry in &package.manifest.files {
            if let Some(machine) = foreign(entry) {
                unmet.push(Unmet {
                    by: format!("{} of {}", entry.path, package.id.name_version()),
                    needs: format!("a node of architecture {machine}"),
                    hint: format!("this node is {}: add the package built for it", node.arch),
                });
            }
        }
    }
    unmet
}

/// Paths that would have to be a file and a directory at once.
pub(super) fn conflicts(tree: &NewTree<'_>) -> Vec<Unmet> {
    let mut unmet: BTreeMap<PackagePath, Unmet> = BTreeMap::new();
    for one in &tree.differences {
        let Some((package, entry)) = one.new else {
            continue;
        };
        let mut above = one.path.parent();
        while let Some(path) = above {
            if tree
                .entry(path.as_str())
                .is_some_and(|e| !matches!(e.node, Node::Directory))
            {
                unmet.insert(path.clone(), conflict(&path, package, entry));
            }
            above = path.parent();
        }
        if !matches!(entry.node, Node::Directory)
            && let Some(inside) = something_below(tree, one)
        {
            unmet.insert(one.path.clone(), conflict(one.path, package, &inside));
        }
    }
    unmet.into_values().collect()
}

fn something_below(tree: &NewTree<'_>, one: &Difference<'_>) -> Option<FileEntry> {
    let active: &ActiveTree = &tree.index.tree;
    if !active.directories.contains(one.path.as_str()) {
        return None;
    }
    let mut entries = active.entries().map(|(_, entry)| entry);
    let stands = |entry: &&FileEntry| {
        below(entry.path.as_str(), one.path.as_str()) && tree.entry(entry.path.as_str()).is_some()
    };
    entries.find(stands).cloned()
}

fn conflict(path: &PackagePath, package: &Package, other: &FileEntry) -> Unmet {
    Unmet {
        by: package.id.name_version(),
        needs: format!(
            "{path} to be a file or link and the directory of {}",
            other.path
        ),
        hint: "one of the packages must move its file".to_owned(),
    }
}

/// Simple processes that enter and can reach a `dlopen` of which nobody has said what it opens.
pub(super) fn on_faith(
    tree: &NewTree<'_>,
    graph: &NewGraph,
    set: &NewSet,
    exports: &NewExports,
) -> Vec<String> {
    if exports.differ.is_empty() {
        return Vec::new();
    }
    let declared: FxHashSet<&str> = set
        .order
        .iter()
        .flat_map(|one| &one.manifest.dlopen)
        .map(|one| one.file.as_str())
        .collect();
    let unknown = |path: &str| {
        tree.entry(path).and_then(facts).is_some_and(|facts| {
            facts.calls_dlopen
                && facts.dlopen_notes.is_empty()
                && !declared.contains(path)
                && known_of(facts, path).is_none()
        })
    };
    let mut by_file: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, exported) in &exports.differ {
        let Some(exported) = exported
            .as_ref()
            .filter(|one| one.spec.kind == Kind::Simple)
        else {
            continue;
        };
        for id in loaded_by(graph, &exported.program.roots) {
            if let Some(node) = graph.node(id).filter(|node| unknown(&node.path)) {
                by_file.entry(&node.path).or_default().push(name.as_str());
            }
        }
    }
    let text = |(file, names): (&str, Vec<&str>)| {
        let names = names.join(", ");
        format!(
            "{file} opens libraries at run time and nobody has declared which ([[dlopen]] in its \
             package): {names} cannot be Simple on faith"
        )
    };
    by_file.into_iter().map(text).collect()
}
