//! The active set, ready to be planned against: built once per generation.

mod asks;
mod declared;
mod processes;
mod uses;

use std::collections::BTreeMap;
use std::sync::Arc;

use model::manifest::{FileEntry, Node};
use model::process::ProcessSpec;
use model::{Digest, PackageName, PackagePath, ProcessName};
use resolve::deps::Answers;
use resolve::loader::{Rules, View, follow};
use resolve::select::{Place, is_chosen};
use resolve::{Characteristics, Package, order};
use rustc_hash::{FxHashMap, FxHashSet};

use super::graph::{Builder, Graph, facts};
use super::program::ProgramOf;
use super::rows::Rows;
use asks::Asks;
pub(super) use declared::{Declarations, NewDeclarations};
pub(super) use processes::{Exported, Processes};

/// What an index is built from.
#[derive(Debug, Clone, Default)]
pub struct Active {
    /// The list as it is kept ([`super::Plan::list`]).
    pub list: Vec<Package>,
    /// Objects that differ from what the manifests name ([`super::Plan::kept`]).
    pub kept: BTreeMap<PackagePath, Digest>,
    /// What the node is.
    pub node: Characteristics,
    /// The loader's cache and the processor's level.
    pub rules: Rules,
}

/// The active set's tree, its ELF files and who loads what.
#[derive(Debug)]
pub struct ActiveIndex {
    active: Active,
    pub(super) list: Arc<Vec<Package>>,
    pub(super) order: Arc<Vec<Package>>,
    /// By name the package's place in `order`.
    pub(super) position: FxHashMap<PackageName, u32>,
    /// For each package of `order` those that must stand behind it.
    pub(super) edges: Vec<Vec<usize>>,
    /// For each package of `order` who requires it, by name or a library of it.
    pub(super) ties: Rows<u32>,
    /// Packages with a requirement that a name may answer.
    pub(super) requirers: FxHashMap<PackageName, Vec<u32>>,
    /// Packages that consume an API.
    pub(super) consumers: FxHashMap<String, Vec<u32>>,
    pub(super) asks: Asks,
    pub(super) tree: ActiveTree,
    pub(super) declared: Declarations,
    pub(super) graph: Graph,
    pub(super) processes: Processes,
    /// By each path that is looked at for a process's program the processes, sorted.
    pub(super) run_by: FxHashMap<Box<str>, Vec<ProcessName>>,
}

/// The winners of all paths, and the losers.
#[derive(Debug, Default)]
pub(super) struct ActiveTree {
    packages: Arc<Vec<Package>>,
    winners: FxHashMap<Box<str>, Place>,
    /// Every package's entry for paths that several have, the winner included.
    pub(super) shared: FxHashMap<Box<str>, Vec<Place>>,
    /// Every directory that something stands in.
    pub(super) directories: FxHashSet<Box<str>>,
    /// Sonames of all libraries, wherever they stand.
    pub(super) sonames: FxHashSet<Box<str>>,
}

impl ActiveTree {
    fn compose(order: &Arc<Vec<Package>>, node: &Characteristics) -> Self {
        let mut tree = Self {
            packages: Arc::clone(order),
            ..Self::default()
        };
        for (package, one) in (0..).zip(order.iter()) {
            for (file, entry) in (0..).zip(&one.manifest.files) {
                if is_chosen(entry, node) {
                    tree.put(&entry.path, Place { package, file });
                }
            }
        }
        tree
    }

    fn put(&mut self, path: &PackagePath, place: Place) {
        self.note(path, place);
        let first = *self.winners.entry(path.as_str().into()).or_insert(place);
        if first != place {
            let all = self
                .shared
                .entry(path.as_str().into())
                .or_insert_with(|| vec![first]);
            all.push(place);
        }
    }

    fn note(&mut self, path: &PackagePath, place: Place) {
        let mut above = path.as_str();
        while let Some((parent, _)) = above.rsplit_once('/') {
            if parent.is_empty() || !self.directories.insert(parent.into()) {
                break;
            }
            above = parent;
        }
        let soname = facts(self.at(place).1).and_then(|facts| facts.soname.clone());
        self.sonames.extend(soname.map(String::into_boxed_str));
    }

    pub(super) fn place(&self, path: &str) -> Option<Place> {
        self.winners.get(path).copied()
    }

    pub(super) fn at(&self, place: Place) -> (&Package, &FileEntry) {
        let package = &self.packages[place.package as usize];
        (package, &package.manifest.files[place.file as usize])
    }

    /// Every path with what stands there, in no order.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&Package, &FileEntry)> {
        self.winners.values().map(|place| self.at(*place))
    }
}

impl View for ActiveTree {
    fn entry(&self, path: &str) -> Option<&FileEntry> {
        self.place(path).map(|place| self.at(place).1)
    }
}

impl ActiveIndex {
    /// Every path with the package that brings it and what stands there; and, where an older build
    /// of the file was kept, the bytes of that. In no order.
    pub fn files(&self) -> Vec<(&Package, &FileEntry, Option<Digest>)> {
        let kept = |entry: &FileEntry| self.active.kept.get(&entry.path).copied();
        let files = self.tree.entries();
        files
            .map(|(package, entry)| (package, entry, kept(entry)))
            .collect()
    }

    /// Composes the tree and resolves every library need in it.
    pub fn build(active: Active) -> Self {
        let manifests: Vec<_> = active.list.iter().map(|one| &*one.manifest).collect();
        let answers = Answers::of(&manifests);
        let of_list = active
            .list
            .iter()
            .map(|one| order::edges_of(one, &answers, &active.node));
        let of_list: Vec<Vec<usize>> = of_list.collect();
        let arranged = order::arrange(&of_list);
        let order: Vec<Package> = arranged.iter().map(|&i| active.list[i].clone()).collect();
        let order = Arc::new(order);
        let mut place = vec![0; arranged.len()];
        arranged
            .iter()
            .enumerate()
            .for_each(|(to, &from)| place[from] = to);
        let moved = |edges: &Vec<usize>| edges.iter().map(|&to| place[to]).collect();
        let edges: Vec<Vec<usize>> = arranged.iter().map(|&i| moved(&of_list[i])).collect();
        let position: FxHashMap<PackageName, u32> = (0..)
            .zip(order.iter())
            .map(|(i, one)| (one.id.name.clone(), i))
            .collect();
        let tree = ActiveTree::compose(&order, &active.node);
        let declared = Declarations::of(&order);
        let (graph, processes) = resolve_all(&tree, &order, &active.rules, &declared);
        let (requirers, consumers) = who_asks(&order, &active.node);
        let asks = Asks::of(&order, &arranged, &active.node);
        let run_by = who_runs(&processes);
        let nodes = graph.nodes.len();
        Self {
            ties: ties(&order, &edges, &asks),
            asks,
            run_by,
            processes: Processes::of(processes.into_values().collect(), nodes, &position),
            list: Arc::new(active.list.clone()),
            active,
            order,
            position,
            edges,
            requirers,
            consumers,
            tree,
            declared,
            graph,
        }
    }

    /// What it was built from.
    pub fn active(&self) -> &Active {
        &self.active
    }

    /// The packages in the order that holds: the first that has a path wins it.
    pub fn order(&self) -> &[Package] {
        &self.order
    }

    /// What stands at a path, and the package that won it.
    pub fn lookup(&self, path: &str) -> Option<(&Package, &FileEntry)> {
        self.tree.place(path).map(|place| self.tree.at(place))
    }

    /// The object that stands for a regular file of the tree.
    pub fn object(&self, entry: &FileEntry) -> Option<Digest> {
        match &entry.node {
            Node::File(file) => Some(
                self.active
                    .kept
                    .get(&entry.path)
                    .copied()
                    .unwrap_or(file.digest),
            ),
            Node::Link { .. } | Node::Directory => None,
        }
    }

    /// Why the package at one place requires that at another, as the link of a chain.
    pub(super) fn tie(&self, user: u32, used: u32) -> String {
        let (user_at, used_at) = (user as usize, used as usize);
        let (user, used) = (&self.order[user_at], &self.order[used_at]);
        let (name, other) = (&user.id.name, &used.id.name);
        if self.edges[user_at].contains(&used_at) {
            return format!("{name} requires {other}");
        }
        let mut provided = used.manifest.provides_libraries.iter();
        let needs = &user.manifest.requires_libraries;
        let library = provided.find(|one| needs.iter().any(|need| need.soname == one.soname));
        match library {
            Some(library) => format!("{name} requires {} of {other}", library.soname),
            None => format!("{name} requires {other}"),
        }
    }

    /// The processes that the set exports, by name, each with its package.
    pub fn processes(&self) -> impl Iterator<Item = (&PackageName, &Arc<ProcessSpec>)> {
        self.processes.iter().map(|one| (&one.package, &one.spec))
    }
}

fn ties(order: &[Package], edges: &[Vec<usize>], asks: &Asks) -> Rows<u32> {
    let mut ties: Vec<(u32, u32)> = Vec::new();
    for (from, to) in (0..).zip(edges) {
        let to = to.iter().filter_map(|&to| u32::try_from(to).ok());
        ties.extend(to.map(|to| (to, from)));
    }
    for (at, one) in (0..).zip(order) {
        for library in &one.manifest.provides_libraries {
            let users = asks
                .library_users
                .get(&library.soname)
                .into_iter()
                .flatten();
            let others = users.filter(|user| **user != at);
            ties.extend(others.map(|user| (at, *user)));
        }
    }
    ties.sort_unstable();
    ties.dedup();
    Rows::of(order.len(), ties.iter().copied())
}

fn resolve_all(
    tree: &ActiveTree,
    order: &[Package],
    rules: &Rules,
    declared: &Declarations,
) -> (Graph, BTreeMap<ProcessName, Exported>) {
    let mut builder = Builder::new(tree, rules, None);
    let elf = tree.entries().filter_map(|(_, entry)| match &entry.node {
        Node::File(file) => file.elf.as_deref().map(|_| entry.path.as_str()),
        Node::Link { .. } | Node::Directory => None,
    });
    let mut paths: Vec<&str> = elf.collect();
    // Numbers do not depend on the hash table's order: equal sets give equal plans.
    paths.sort_unstable();
    for path in &paths {
        builder.node(path, 0);
    }
    let mut processes = BTreeMap::new();
    for package in order {
        for spec in &package.manifest.processes {
            processes
                .entry(spec.name.clone())
                .or_insert_with(|| Exported {
                    package: package.id.name.clone(),
                    program: ProgramOf::new(&mut builder, declared).find(spec),
                    spec: Arc::new(spec.clone()),
                });
        }
    }
    builder.resolve();
    let dlopen = order.iter().flat_map(|one| &one.manifest.dlopen);
    let leads_to_elf = |entry: &FileEntry| {
        matches!(entry.node, Node::Link { .. })
            && follow(tree, entry.path.as_str())
                .is_some_and(|end| tree.entry(&end).and_then(facts).is_some())
    };
    let links = tree
        .entries()
        .map(|(_, entry)| entry)
        .filter(|entry| leads_to_elf(entry));
    paths.extend(links.map(|entry| entry.path.as_str()));
    paths.sort_unstable();
    builder.open(dlopen, &paths);
    (builder.finish(), processes)
}

/// The processes whose program may be another one when a path differs.
fn who_runs(processes: &BTreeMap<ProcessName, Exported>) -> FxHashMap<Box<str>, Vec<ProcessName>> {
    let mut run_by: FxHashMap<Box<str>, Vec<ProcessName>> = FxHashMap::default();
    for (name, Exported { program, .. }) in processes {
        let opened = program.opened.iter().flat_map(|one| {
            let file = one.file.iter().map(|(file, _)| file);
            file.chain([&one.name])
        });
        for path in program.files.iter().chain([&program.exec]).chain(opened) {
            run_by
                .entry(path.as_str().into())
                .or_default()
                .push(name.clone());
        }
    }
    run_by.values_mut().for_each(Vec::dedup);
    run_by
}

type Asking<K> = FxHashMap<K, Vec<u32>>;

fn who_asks(order: &[Package], node: &Characteristics) -> (Asking<PackageName>, Asking<String>) {
    let mut requirers: Asking<PackageName> = FxHashMap::default();
    let mut consumers: Asking<String> = FxHashMap::default();
    for (i, package) in (0..).zip(order) {
        let upgraded = package.manifest.upgrades.iter();
        for need in package.requirements(node).chain(upgraded) {
            for one in need.alternatives() {
                requirers.entry(one.name.clone()).or_default().push(i);
            }
        }
        for (api, _) in package.consumed_apis() {
            consumers.entry(api.clone()).or_default().push(i);
        }
    }
    requirers.values_mut().for_each(Vec::dedup);
    (requirers, consumers)
}
