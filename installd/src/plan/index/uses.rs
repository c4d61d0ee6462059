//! Who uses what in the active set, and through whom: what `why` answers.

use model::process::Kind;
use model::{PackagePath, ProcessName};
use rustc_hash::{FxHashMap, FxHashSet};

use super::super::graph::{NodeId, facts, known_of};
use super::super::program::Opened;
use super::{ActiveIndex, Exported};

/// A file that a process can load or run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// The file.
    pub path: PackagePath,
    /// From the file to the process, each link a sentence; the first is the path.
    pub because: Vec<String>,
}

/// How a node came to be loaded.
#[derive(Clone, Copy)]
enum From {
    /// It is the program, or is preloaded.
    Root,
    /// By the need of this number of that node.
    Need(NodeId, usize),
}

impl ActiveIndex {
    /// Everything that a process can load or run, each with its shortest chain, sorted by path;
    /// `None` where the set exports no such process.
    pub fn uses(&self, name: &ProcessName) -> Option<Vec<Use>> {
        let exported = self.processes.get(name)?;
        let loaded = self.loaded(exported);
        let mut uses: Vec<Use> = loaded
            .keys()
            .filter_map(|id| self.one_use(*id, exported, &loaded))
            .collect();
        let files = exported.program.files.iter();
        uses.extend(files.filter_map(|file| {
            let because = [file.clone()].into_iter().chain(run_by(exported, file));
            Some(Use {
                path: file.parse().ok()?,
                because: because.collect(),
            })
        }));
        // A file in several contexts is told once, with its shortest chain.
        uses.sort_by(|a, b| (&a.path, a.because.len()).cmp(&(&b.path, b.because.len())));
        uses.dedup_by(|a, b| a.path == b.path);
        Some(uses)
    }

    /// The processes that can load or run a file, by name, each with its shortest chain.
    pub fn users(&self, path: &PackagePath) -> Vec<(ProcessName, Vec<String>)> {
        let all = self.processes.iter().filter_map(|exported| {
            let name = &exported.spec.name;
            let loaded = self.loaded(exported);
            let nodes = self.graph.nodes_of(path.as_str()).iter();
            let chains = nodes
                .filter_map(|id| self.one_use(*id, exported, &loaded))
                .map(|one| one.because);
            let own = exported
                .program
                .files
                .iter()
                .filter(|file| *file == path.as_str());
            let own = own.map(|file| {
                let first = std::iter::once(file.clone());
                first.chain(run_by(exported, file)).collect()
            });
            let shortest = chains.chain(own).min_by_key(Vec::len)?;
            Some((name.clone(), shortest))
        });
        all.collect()
    }

    /// What makes it unsure that [`Self::uses`] has all: files that open others at run time, of
    /// which nobody has said what.
    pub fn unsure(&self, name: &ProcessName) -> Vec<String> {
        let Some(exported) = self.processes.get(name) else {
            return Vec::new();
        };
        let declared = self.order.iter().flat_map(|one| &one.manifest.dlopen);
        let declared: FxHashSet<&str> = declared.map(|one| one.file.as_str()).collect();
        let loaded = self.loaded(exported);
        let paths = loaded
            .keys()
            .filter_map(|id| self.graph.nodes.get(*id as usize));
        let mut paths: Vec<&str> = paths.map(|node| &*node.path).collect();
        paths.sort_unstable();
        paths.dedup();
        let unknown = |path: &&str| {
            let entry = self.lookup(path).map(|(_, entry)| entry);
            entry.and_then(facts).is_some_and(|facts| {
                facts.calls_dlopen
                    && facts.dlopen_notes.is_empty()
                    && !declared.contains(path)
                    && known_of(facts, path).is_none()
            })
        };
        let told = exported.spec.kind == Kind::SelfManaging;
        let end = if told {
            ""
        } else {
            ": it cannot be Simple on faith"
        };
        let text = |path: &str| {
            format!(
                "{path} opens libraries at run time and nobody has declared which ([[dlopen]]){end}"
            )
        };
        paths.into_iter().filter(unknown).map(text).collect()
    }

    /// Every node that a process loads, with how: breadth first, so that chains are short.
    fn loaded(&self, exported: &Exported) -> FxHashMap<NodeId, From> {
        let mut loaded = FxHashMap::default();
        let mut open: Vec<NodeId> = Vec::new();
        for root in &exported.program.roots {
            loaded.insert(*root, From::Root);
            open.push(*root);
        }
        let mut at = 0;
        while let Some(id) = open.get(at).copied() {
            at += 1;
            let edges = self
                .graph
                .nodes
                .get(id as usize)
                .map_or(&[][..], |node| &node.edges);
            for (number, edge) in edges.iter().enumerate() {
                let Some(target) = &edge.target else { continue };
                if let std::collections::hash_map::Entry::Vacant(entry) = loaded.entry(target.node)
                {
                    entry.insert(From::Need(id, number));
                    open.push(target.node);
                }
            }
        }
        loaded
    }

    fn one_use(
        &self,
        id: NodeId,
        exported: &Exported,
        loaded: &FxHashMap<NodeId, From>,
    ) -> Option<Use> {
        let path = &self.graph.nodes.get(id as usize)?.path;
        let mut because = vec![path.to_string()];
        let mut at = id;
        // Ends: each step leads to a node that was found before.
        while let From::Need(user, number) = loaded.get(&at)? {
            let node = self.graph.nodes.get(*user as usize)?;
            let edge = node.edges.get(*number)?;
            because.push(edge.via.describe(&node.path, &edge.name));
            at = *user;
        }
        let root = &self.graph.nodes.get(at as usize)?.path;
        because.extend(run_by(exported, root));
        Some(Use {
            path: path.parse().ok()?,
            because,
        })
    }
}

/// From a file of the program to the process: a script stands between it and its interpreter.
fn run_by(exported: &Exported, file: &str) -> Vec<String> {
    let program = &exported.program;
    let mut links = Vec::new();
    let mut runs = file;
    let is_program = program.files.iter().any(|one| one == file);
    let opens = |one: &&Opened| one.file.as_ref().is_some_and(|(opened, _)| opened == file);
    if let (false, Some(opened)) = (is_program, program.opened.iter().find(opens)) {
        links.push(opened.describe());
        runs = &opened.script;
    }
    let before = program
        .files
        .iter()
        .position(|one| one == runs)
        .unwrap_or_default();
    let scripts = program.files.get(..before).unwrap_or_default();
    for script in scripts.iter().rev() {
        links.push(format!("{script} runs {runs}"));
        runs = script;
    }
    links.push(format!("{} runs {}", exported.spec.name, program.exec));
    links
}
