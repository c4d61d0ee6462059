//! The graph of the new tree, where it differs from that of the active one.

use std::sync::Arc;

use model::manifest::FileEntry;
use resolve::loader::View;
use rustc_hash::{FxHashMap, FxHashSet};

use super::diff::NewTree;
use super::graph::{Builder, Edge, Graph, LoadedFile, NodeId, facts};
use super::index::ActiveIndex;

/// The graph of the new tree, as what differs from the active one.
#[derive(Debug)]
pub(super) struct NewGraph {
    pub(super) index: Arc<ActiveIndex>,
    /// Needs of nodes of the graph before, resolved again.
    pub(super) again: FxHashMap<NodeId, Vec<Edge>>,
    /// Nodes that the graph before has not.
    pub(super) added: Vec<LoadedFile>,
}

impl NewGraph {
    /// That of the active tree.
    pub(super) fn before(&self) -> &Graph {
        &self.index.graph
    }

    pub(super) fn node(&self, id: NodeId) -> Option<&LoadedFile> {
        let at = id as usize;
        self.before()
            .nodes
            .get(at)
            .or_else(|| self.added.get(at - self.before().nodes.len()))
    }

    /// The needs of a node in the new tree, then those in the tree before.
    pub(super) fn all_edges(&self, id: NodeId) -> impl Iterator<Item = &Edge> {
        let before = self.before().nodes.get(id as usize);
        let before = before.map_or(&[][..], |node| &node.edges);
        self.edges(id).iter().chain(before)
    }

    /// The needs of a node in the new tree, and what they lead to.
    pub(super) fn edges(&self, id: NodeId) -> &[Edge] {
        match self.again.get(&id) {
            Some(edges) => edges,
            None => self.node(id).map_or(&[], |node| &node.edges),
        }
    }

    pub(super) fn nodes(&self) -> usize {
        self.before().nodes.len() + self.added.len()
    }
}

/// Resolves what a changed tree may answer otherwise; the builder is then ready for more.
pub(super) fn resolve_again<'a>(
    tree: &'a NewTree<'a>,
    builder: &mut Builder<'a, NewTree<'a>>,
) -> FxHashMap<NodeId, Vec<Edge>> {
    let graph = &tree.index.graph;
    let mut ids: Vec<NodeId> = if tree.is_rearranged() {
        (0..).zip(&graph.nodes).map(|(id, _)| id).collect()
    } else {
        touched(tree)
    };
    ids.sort_unstable();
    ids.dedup();
    let mut again = FxHashMap::default();
    for id in ids {
        let node = &graph.nodes[id as usize];
        if tree.entry(&node.path).and_then(facts).is_some() {
            again.insert(id, builder.again(node));
        }
    }
    for difference in &tree.differences {
        let new = difference.new.filter(|(_, entry)| facts(entry).is_some());
        if new.is_some() && graph.nodes_of(difference.path.as_str()).is_empty() {
            builder.node(difference.path.as_str(), 0);
        }
    }
    again
}

/// Nodes whose needs the differences may answer otherwise.
fn touched(tree: &NewTree<'_>) -> Vec<NodeId> {
    let graph = &tree.index.graph;
    let mut ids = graph.wanting.clone();
    for one in &tree.differences {
        let (old, new) = (one.old.map(|(_, e)| e), one.new.map(|(_, e)| e));
        let machine = |entry: Option<&FileEntry>| entry.and_then(facts).map(|f| f.machine.clone());
        let stays_a_library = old.and_then(facts).is_some() && machine(old) == machine(new);
        if !stays_a_library {
            let needers = graph.needers.get(one.path.file_name());
            ids.extend(needers.into_iter().flatten());
            let nodes = graph.nodes_of(one.path.as_str()).iter();
            ids.extend(
                nodes
                    .flat_map(|&id| graph.users_of(id))
                    .map(|(user, _)| user),
            );
        }
        if old.and_then(facts) != new.and_then(facts) {
            ids.extend(graph.nodes_of(one.path.as_str()));
        }
    }
    ids
}

/// How `user` loads `used`, in the new graph or in the one before.
pub(super) fn describe_edge(graph: &NewGraph, user: NodeId, used: NodeId) -> String {
    let leads = |edge: &&Edge| {
        edge.target
            .as_ref()
            .is_some_and(|target| target.node == used)
    };
    let path = graph.node(user).map_or("", |node| &node.path);
    let edges = || graph.all_edges(user);
    let sure = edges().filter(|edge| edge.via.is_at_start()).find(leads);
    match sure.or_else(|| edges().find(leads)) {
        Some(edge) => edge.via.describe(path, &edge.name),
        None => format!("{path} uses it"),
    }
}

/// Every file that `roots` load, directly or not, in the new tree.
pub(super) fn loaded_by(graph: &NewGraph, roots: &[NodeId]) -> FxHashSet<NodeId> {
    let mut seen = FxHashSet::default();
    let mut open = roots.to_vec();
    while let Some(id) = open.pop() {
        if seen.insert(id) {
            let targets = graph
                .edges(id)
                .iter()
                .filter_map(|edge| edge.target.as_ref());
            open.extend(targets.map(|target| target.node));
        }
    }
    seen
}
