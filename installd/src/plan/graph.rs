//! Who loads what: ELF files as nodes, their needs as edges, resolved by the loader's rules.
//!
//! A file is one node, but for libraries below a file with `DT_RPATH` or a process with
//! `LD_LIBRARY_PATH`: what these load depends on who loads it, so they are a node for each such
//! context. That a library loaded already answers later needs of its soname is not modelled: where
//! one process would find two files for one soname, both are taken for loaded (one restart too many
//! rather than one too few).

use model::elf::{ElfFacts, annotations};
use model::manifest::{DlopenUse, FileEntry, Node as TreeNode};
use resolve::loader::{Context, Finder, Found, Rules, View};
use rustc_hash::FxHashMap;

use super::rows::Rows;

/// A node's number.
pub(super) type NodeId = u32;

/// How one file comes to load another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Via {
    /// It names it (`DT_NEEDED`).
    Needs,
    /// It is its loader (`PT_INTERP`).
    Interpreter,
    /// It opens it at run time: the author of its package says so.
    Opens,
    /// It may open it at run time: by its own notes, or by what is known of well-known libraries.
    MayOpen,
}

impl Via {
    /// Whether it is loaded without fail when the file that needs it is.
    pub(super) fn is_at_start(self) -> bool {
        match self {
            Self::Needs | Self::Interpreter => true,
            Self::Opens | Self::MayOpen => false,
        }
    }

    /// The link of a reason chain.
    pub(super) fn describe(self, path: &str, name: &str) -> String {
        match self {
            Self::Needs | Self::Interpreter => format!("{path} needs {name}"),
            Self::Opens | Self::MayOpen => format!("{path} may open {name}"),
        }
    }
}

/// One need of a file and what answers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edge {
    pub(super) via: Via,
    /// The name as the file has it.
    pub(super) name: Box<str>,
    pub(super) target: Option<Target>,
}

/// What answers a need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// The path that is opened, often a link.
    pub(super) opened: Box<str>,
    /// The file that it leads to.
    pub(super) node: NodeId,
}

/// An ELF file in one context.
#[derive(Debug, Clone)]
pub(super) struct LoadedFile {
    pub(super) path: Box<str>,
    pub(super) context: u32,
    pub(super) edges: Vec<Edge>,
}

/// All of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Graph {
    pub(super) nodes: Vec<LoadedFile>,
    /// For each node those that have an edge to it, doubled; odd where it is loaded without fail.
    users: Rows<u32>,
    /// By path; the first is the one without context.
    pub(super) by_path: FxHashMap<Box<str>, Vec<NodeId>>,
    /// By the last part of a needed name those that need it.
    pub(super) needers: FxHashMap<Box<str>, Vec<NodeId>>,
    /// Those with a need that nothing answers.
    pub(super) wanting: Vec<NodeId>,
    /// Patterns of paths that a file may open by its package's declaration.
    pub(super) declared: Vec<(NodeId, Box<str>)>,
    contexts: Vec<Context>,
}

impl Graph {
    pub(super) fn nodes_of(&self, path: &str) -> &[NodeId] {
        self.by_path.get(path).map_or(&[], Vec::as_slice)
    }

    /// Those that have an edge to a node, each with whether they load it without fail, or their
    /// author says that they do.
    pub(super) fn users_of(&self, id: NodeId) -> impl Iterator<Item = (NodeId, bool)> {
        let users = self.users.row(id).iter();
        users.map(|packed| (packed >> 1, packed & 1 == 1))
    }
}

/// Grows a graph over one tree, as the continuation of another graph or from nothing.
pub(super) struct Builder<'a, V> {
    view: &'a V,
    finder: Finder<'a, V>,
    /// Nodes below this number belong to `before` and are looked up there.
    before: Option<&'a Graph>,
    base: NodeId,
    graph: Graph,
    known: FxHashMap<(Box<str>, u32), NodeId>,
    context_numbers: FxHashMap<Context, u32>,
    open: Vec<NodeId>,
}

impl<'a, V: View> Builder<'a, V> {
    /// Nodes of `before`, where there is one, keep their numbers.
    pub(super) fn new(view: &'a V, rules: &'a Rules, before: Option<&'a Graph>) -> Self {
        let contexts = before.map_or_else(|| vec![Context::default()], |one| one.contexts.clone());
        let numbers = (0..)
            .zip(&contexts)
            .map(|(i, one)| (one.clone(), i))
            .collect();
        Self {
            view,
            finder: Finder::new(view, rules),
            before,
            base: before.map_or(0, |one| number(one.nodes.len())),
            graph: Graph {
                contexts,
                ..Graph::default()
            },
            known: FxHashMap::default(),
            context_numbers: numbers,
            open: Vec::new(),
        }
    }

    pub(super) fn view(&self) -> &'a V {
        self.view
    }

    /// The node of the ELF file at this path.
    pub(super) fn node(&mut self, path: &str, context: u32) -> NodeId {
        if let Some(before) = self.before {
            let of_path = before.nodes_of(path).iter();
            let mut same = of_path.filter(|&&id| before.nodes[id as usize].context == context);
            if let Some(known) = same.next() {
                return *known;
            }
        }
        if let Some(known) = self.known.get(&(path.into(), context)) {
            return *known;
        }
        let id = self.base + number(self.graph.nodes.len());
        self.known.insert((path.into(), context), id);
        self.graph.nodes.push(LoadedFile {
            path: path.into(),
            context,
            edges: Vec::new(),
        });
        self.open.push(id);
        id
    }

    /// The path of a node.
    pub(super) fn path(&self, id: NodeId) -> String {
        let node = match self.before.and_then(|before| before.nodes.get(id as usize)) {
            Some(node) => Some(node),
            None => self.graph.nodes.get((id - self.base) as usize),
        };
        node.map_or_else(String::new, |node| node.path.to_string())
    }

    pub(super) fn context(&mut self, context: Context) -> u32 {
        if let Some(known) = self.context_numbers.get(&context) {
            return *known;
        }
        let number = number(self.graph.contexts.len());
        self.graph.contexts.push(context.clone());
        self.context_numbers.insert(context, number);
        number
    }

    /// Resolves the needs of every node that was added, and of those that this adds.
    pub(super) fn resolve(&mut self) {
        while let Some(id) = self.open.pop() {
            let at = (id - self.base) as usize;
            let (path, context) = {
                let node = &self.graph.nodes[at];
                (node.path.clone(), node.context)
            };
            let edges = self.edges(&path, context);
            self.graph.nodes[at].edges = edges;
        }
    }

    /// The needs of the file at `path` as this tree answers them.
    pub(super) fn edges(&mut self, path: &str, context: u32) -> Vec<Edge> {
        let view = self.view;
        let Some(facts) = view.entry(path).and_then(facts) else {
            return Vec::new();
        };
        let own = self.graph.contexts[context as usize].clone();
        let below = self.context(own.below(path, facts));
        let interpreter = facts
            .interpreter
            .iter()
            .map(|name| (Via::Interpreter, name));
        let needed = facts.needed.iter().map(|name| (Via::Needs, name));
        let noted = facts.dlopen_notes.iter().flat_map(|note| &note.soname);
        let noted = noted.map(|name| (Via::MayOpen, name));
        let names: Vec<(Via, &String)> = interpreter.chain(needed).chain(noted).collect();
        names
            .into_iter()
            .map(|(via, name)| {
                let found = self.finder.find(name, path, facts, &own);
                let target = found.map(|found| self.target(&found, below));
                Edge {
                    via,
                    name: name.as_str().into(),
                    target,
                }
            })
            .collect()
    }

    /// The needs of a node of the graph before, with those openings that only declarations know.
    pub(super) fn again(&mut self, node: &LoadedFile) -> Vec<Edge> {
        let mut edges = self.edges(&node.path, node.context);
        let view = self.view;
        let Some(facts) = view.entry(&node.path).and_then(facts) else {
            return edges;
        };
        let own = self.graph.contexts[node.context as usize].clone();
        let declared = node.edges.iter().filter(|edge| !edge.via.is_at_start());
        for edge in declared {
            if !edges
                .iter()
                .any(|one| one.via == edge.via && one.name == edge.name)
            {
                let found = self.finder.find(&edge.name, &node.path, facts, &own);
                let target = found.map(|found| self.target(&found, node.context));
                edges.push(Edge {
                    via: edge.via,
                    name: edge.name.clone(),
                    target,
                });
            }
        }
        edges
    }

    /// A library for `name` on behalf of a process whose program is at `path`.
    pub(super) fn preloaded(&mut self, name: &str, path: &str, context: u32) -> Option<NodeId> {
        let facts = self.view.entry(path).and_then(facts)?;
        let own = self.graph.contexts[context as usize].clone();
        let found = self.finder.find(name, path, facts, &own)?;
        Some(self.node(&found.file, context))
    }

    fn target(&mut self, found: &Found, context: u32) -> Target {
        let node = self.node(&found.file, context);
        Target {
            opened: found.opened.as_str().into(),
            node,
        }
    }

    /// Adds what files open at run time: by declarations, and by what is known of well-known
    /// libraries. `libraries` are the paths that patterns are matched against.
    pub(super) fn open<'d>(
        &mut self,
        declared: impl Iterator<Item = &'d DlopenUse>,
        libraries: &[&str],
    ) {
        let mut opens: Vec<(NodeId, Via, &str)> = Vec::new();
        for one in declared {
            let file = resolve::loader::follow(self.view, one.file.as_str());
            let nodes = file.map(|file| self.own_nodes(&file)).unwrap_or_default();
            for node in nodes {
                let libraries = one.libraries.iter();
                opens.extend(libraries.map(|library| (node, Via::Opens, library.as_str())));
            }
        }
        self.graph.declared = opens
            .iter()
            .map(|(node, _, what)| (*node, (*what).into()))
            .collect();
        for id in 0..number(self.graph.nodes.len()) {
            let path = self.graph.nodes[id as usize].path.clone();
            let shipped = self
                .view
                .entry(&path)
                .and_then(facts)
                .and_then(|f| known_of(f, &path));
            let patterns = shipped.into_iter().flat_map(|one| &one.opens);
            opens.extend(patterns.map(|pattern| (id, Via::MayOpen, pattern.as_str())));
        }
        for (id, via, what) in opens {
            self.add_open((id, via), what, libraries);
        }
        self.resolve();
    }

    fn own_nodes(&self, path: &str) -> Vec<NodeId> {
        let all = (0..).zip(&self.graph.nodes);
        all.filter(|(_, node)| *node.path == *path)
            .map(|(id, _)| id)
            .collect()
    }

    fn add_open(&mut self, (id, via): (NodeId, Via), what: &str, libraries: &[&str]) {
        let LoadedFile { path, context, .. } = self.graph.nodes[id as usize].clone();
        let found: Vec<Found> = if what.starts_with('/') {
            let (before, after) = prefix_range(libraries, what);
            let machine = self
                .view
                .entry(&path)
                .and_then(facts)
                .map(|one| one.machine.clone());
            let machine = machine.unwrap_or_default();
            let matching = libraries[before..after]
                .iter()
                .filter(|one| opens(what, one));
            matching
                .filter_map(|one| self.finder.at_path(one, &machine))
                .collect()
        } else {
            let Some(facts) = self.view.entry(&path).and_then(facts) else {
                return;
            };
            let own = self.graph.contexts[context as usize].clone();
            self.finder
                .find(what, &path, facts, &own)
                .into_iter()
                .collect()
        };
        let mut edges = Vec::new();
        for found in found.iter().filter(|found| *found.file != *path) {
            let target = Some(self.target(found, context));
            let name = if what.starts_with('/') {
                found.opened.as_str()
            } else {
                what
            };
            edges.push(Edge {
                via,
                name: name.into(),
                target,
            });
        }
        if edges.is_empty() && !what.contains('*') {
            // Not there yet: a change may bring it.
            edges.push(Edge {
                via,
                name: what.into(),
                target: None,
            });
        }
        self.graph.nodes[id as usize].edges.extend(edges);
    }

    /// The nodes that were added, with numbers from the end of the graph before.
    pub(super) fn finish_continued(mut self) -> Vec<LoadedFile> {
        self.resolve();
        self.graph.nodes
    }

    /// The whole graph, with its reverse.
    pub(super) fn finish(self) -> Graph {
        let mut graph = self.graph;
        let mut users: Vec<(NodeId, u32)> = Vec::new();
        for (id, node) in (0..).zip(&graph.nodes) {
            graph.by_path.entry(node.path.clone()).or_default().push(id);
            for edge in &node.edges {
                let last = edge.name.rsplit('/').next().unwrap_or_default();
                graph.needers.entry(last.into()).or_default().push(id);
                match &edge.target {
                    Some(target) => {
                        let sure = u32::from(edge.via != Via::MayOpen);
                        users.push((target.node, id << 1 | sure));
                    }
                    None if !edge.via.is_at_start() => {}
                    None => graph.wanting.push(id),
                }
            }
        }
        graph.by_path.values_mut().for_each(|ids| {
            ids.sort_unstable_by_key(|&id| graph.nodes[id as usize].context);
        });
        graph.users = Rows::of(graph.nodes.len(), users.iter().copied());
        let lists = graph.needers.values_mut().chain([&mut graph.wanting]);
        lists.for_each(Vec::dedup);
        graph
    }
}

/// The part of a sorted list that begins as the pattern does before its first star.
fn prefix_range(sorted: &[&str], pattern: &str) -> (usize, usize) {
    let prefix = pattern.split('*').next().unwrap_or_default();
    let from = sorted.partition_point(|one| *one < prefix);
    let len = sorted[from..].partition_point(|one| one.starts_with(prefix));
    (from, from + len)
}

/// Whether a declared pattern means this path; in it `**` also crosses directories.
pub(super) fn opens(pattern: &str, path: &str) -> bool {
    model::pattern::matches(pattern, path)
}

/// What is known of a well-known library or program.
pub(super) fn known_of(facts: &ElfFacts, path: &str) -> Option<&'static annotations::Annotation> {
    let name = path.rsplit('/').next().unwrap_or_default();
    annotations::of(facts.soname.as_deref().unwrap_or(name))
}

/// The ELF facts of an entry.
pub(super) fn facts(entry: &FileEntry) -> Option<&ElfFacts> {
    match &entry.node {
        TreeNode::File(file) => file.elf.as_deref(),
        TreeNode::Link { .. } | TreeNode::Directory => None,
    }
}

/// Numbers of nodes fit: an envelope's limits keep a set's files far below.
fn number(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
