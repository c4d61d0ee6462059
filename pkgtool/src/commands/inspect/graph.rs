//! Which process uses which library, as a graph.

use std::collections::{BTreeMap, BTreeSet};

use model::Manifest;
use model::manifest::{FileEntry, Node};
use model::path::{PackagePath, merged_usr};

/// What a node of the graph is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    Process,
    Program,
    Library,
    /// A soname that is left to another package.
    Other,
}

/// Processes, programs and libraries with who uses whom.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Graph {
    /// Text and kind of each node.
    pub(super) nodes: Vec<(String, What)>,
    /// From user to used; `true` where it is opened at run time.
    pub(super) edges: BTreeSet<(usize, usize, bool)>,
}

/// The graph of these packages together: from the processes down, or, where there is none, from
/// every program and library.
pub(super) fn of<'a>(manifests: impl Iterator<Item = &'a Manifest>) -> Graph {
    let manifests: Vec<&Manifest> = manifests.collect();
    let mut drawing = Drawing::new(&manifests);
    for process in manifests.iter().flat_map(|manifest| &manifest.processes) {
        let node = drawing.node(process.name.as_str(), What::Process);
        let program = process
            .exec
            .first()
            .map(|word| word.trim_start_matches('-'));
        if let Some(file) = program.and_then(|word| drawing.follow(word)) {
            let program = drawing.file(&file);
            drawing.graph.edges.insert((node, program, false));
        }
    }
    if drawing.graph.nodes.is_empty() {
        let all: Vec<PackagePath> = drawing.elf_files().cloned().collect();
        for path in all {
            drawing.file(&path);
        }
    }
    drawing.graph
}

struct Drawing<'a> {
    files: BTreeMap<&'a PackagePath, &'a FileEntry>,
    /// Which file provides a soname.
    sonames: BTreeMap<&'a str, &'a PackagePath>,
    /// What a file opens at run time.
    opens: BTreeMap<&'a PackagePath, Vec<&'a str>>,
    known: BTreeMap<(String, What), usize>,
    graph: Graph,
}

impl<'a> Drawing<'a> {
    fn new(manifests: &[&'a Manifest]) -> Self {
        let entries = manifests.iter().flat_map(|manifest| &manifest.files);
        let files: BTreeMap<_, _> = entries.map(|entry| (&entry.path, entry)).collect();
        let sonames = files.iter().filter_map(|(path, entry)| {
            let Node::File(file) = &entry.node else {
                return None;
            };
            Some((file.elf.as_ref()?.soname.as_deref()?, *path))
        });
        let mut opens: BTreeMap<_, Vec<&str>> = BTreeMap::new();
        for one in manifests.iter().flat_map(|manifest| &manifest.dlopen) {
            opens
                .entry(&one.file)
                .or_default()
                .extend(one.libraries.iter().map(String::as_str));
        }
        let sonames = sonames.collect();
        Self {
            files,
            sonames,
            opens,
            known: BTreeMap::new(),
            graph: Graph::default(),
        }
    }

    fn elf_files(&self) -> impl Iterator<Item = &PackagePath> {
        let is_elf =
            |entry: &FileEntry| matches!(&entry.node, Node::File(file) if file.elf.is_some());
        self.files
            .iter()
            .filter(move |(_, entry)| is_elf(entry))
            .map(|(path, _)| *path)
    }

    fn follow(&self, word: &str) -> Option<PackagePath> {
        let mut path: PackagePath = merged_usr(word).parse().ok()?;
        for _ in 0..40 {
            match &self.files.get(&path)?.node {
                Node::File(_) => return Some(path),
                Node::Link { target } => path = path.link_target(target)?,
                Node::Directory => return None,
            }
        }
        None
    }

    fn node(&mut self, text: &str, what: What) -> usize {
        let next = self.graph.nodes.len();
        let node = *self.known.entry((text.to_owned(), what)).or_insert(next);
        if node == next {
            self.graph.nodes.push((text.to_owned(), what));
        }
        node
    }

    /// The node of a file, with all that it uses.
    fn file(&mut self, path: &PackagePath) -> usize {
        let what = match self.files.get(path).map(|entry| &entry.node) {
            Some(Node::File(file)) if file.elf.as_ref().is_none_or(|elf| elf.program) => {
                What::Program
            }
            _ => What::Library,
        };
        let before = self.graph.nodes.len();
        let node = self.node(path.as_str(), what);
        // Whoever was there before has its edges, or is about to get them.
        if node == before {
            self.uses(node, path);
        }
        node
    }

    fn uses(&mut self, node: usize, path: &PackagePath) {
        let Some(Node::File(file)) = self.files.get(path).map(|entry| &entry.node) else {
            return;
        };
        let (Some(elf), Some(uses)) = (&file.elf, &file.uses) else {
            return;
        };
        for used in &uses.direct {
            let used = self.file(used);
            self.graph.edges.insert((node, used, false));
        }
        for name in elf.needed.iter().filter(|name| uses.others.contains(name)) {
            self.named(node, name, false);
        }
        for name in self.opens.get(path).cloned().unwrap_or_default() {
            self.named(node, name, true);
        }
    }

    /// A library by soname: another package of this set may have it.
    fn named(&mut self, node: usize, name: &str, opened: bool) {
        let used = match self.sonames.get(name).copied() {
            Some(path) => self.file(path),
            None => self.node(name, What::Other),
        };
        self.graph.edges.insert((node, used, opened));
    }
}

/// In Graphviz's language.
pub(super) fn dot(graph: &Graph) -> String {
    let mut out = String::from(
        "digraph uses {\n  rankdir=LR;\n  node [fontname=\"sans-serif\", fontsize=11];\n",
    );
    for (number, (text, what)) in graph.nodes.iter().enumerate() {
        let shape = match what {
            What::Process => "shape=oval, style=bold",
            What::Program => "shape=box, style=bold",
            What::Library => "shape=box",
            What::Other => "shape=box, style=dashed",
        };
        let text = text.replace('\\', "\\\\").replace('"', "\\\"");
        out += &[
            "  n",
            &number.to_string(),
            " [label=\"",
            &text,
            "\", ",
            shape,
            "];\n",
        ]
        .concat();
    }
    for (from, to, opened) in &graph.edges {
        let style = if *opened {
            " [style=dashed, label=\"dlopen\"]"
        } else {
            ""
        };
        out += &[
            "  n",
            &from.to_string(),
            " -> n",
            &to.to_string(),
            style,
            ";\n",
        ]
        .concat();
    }
    out + "}\n"
}
