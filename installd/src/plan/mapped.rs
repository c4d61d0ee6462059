//! What reaches a process that runs: what it has mapped says which of the files that it may open it
//! has opened.
//!
//! A module that it has not opened cannot be old in it. And one that it opens later fits: a process
//! that nothing reaches stays in its generation, with the modules of that.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use super::graph::{Edge, NodeId, Via};
use super::labels::MAX_CAUSES;
use super::new_graph::NewGraph;
use super::reach::{ChangedNeed, Reached};
use super::running::RunningSet;

/// The files that one process has mapped.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mapped<'a> {
    running: &'a RunningSet,
    place: u32,
}

impl<'a> Mapped<'a> {
    /// Of the process of this number; `None` where that is not known: it does not run, or nobody
    /// could look.
    pub(super) fn of(running: &'a RunningSet, number: u32) -> Option<Self> {
        let place = running.place(number)?;
        running.knows(place).then_some(Self { running, place })
    }

    pub(super) fn has(&self, path: &str) -> bool {
        let holders = self.running.holders(path);
        holders.binary_search(&self.place).is_ok()
    }

    /// As [`Reached::chains`], by what this process has really loaded from `root` on.
    pub(super) fn chains(
        &self,
        reached: &Reached,
        root: NodeId,
        graph: &NewGraph,
    ) -> Vec<Vec<String>> {
        let mut walk = Walk::new(graph, root);
        let mut causes: Vec<&str> = Vec::new();
        let mut chains = Vec::new();
        while let Some(at) = walk.open.pop_front() {
            for (cause, need) in reached.at(at) {
                let counts = need.is_none_or(|need| self.concerns(need, graph));
                if counts && chains.len() < usize::from(MAX_CAUSES) && !causes.contains(&cause) {
                    causes.push(cause);
                    chains.push(walk.chain(cause, need, at));
                }
            }
            for edge in graph.all_edges(at) {
                let Some(target) = &edge.target else { continue };
                if reached.is_reached(target.node) && self.follows(edge, target.node, graph) {
                    walk.enter(target.node, at, edge);
                }
            }
        }
        chains
    }

    /// Whether the process has loaded, by this need, what answers it.
    fn follows(&self, edge: &Edge, target: NodeId, graph: &NewGraph) -> bool {
        edge.via != Via::MayOpen || self.has_node(target, graph)
    }

    /// Whether a need that is answered otherwise now matters to the process.
    fn concerns(&self, need: &ChangedNeed, graph: &NewGraph) -> bool {
        let opened = |node| self.has_node(node, graph);
        need.via != Via::MayOpen || need.before.is_some_and(opened)
    }

    fn has_node(&self, id: NodeId, graph: &NewGraph) -> bool {
        graph.node(id).is_some_and(|node| self.has(&node.path))
    }
}

/// A walk from a program to what it loads, breadth first, so that chains are short.
struct Walk<'g> {
    graph: &'g NewGraph,
    root: NodeId,
    /// Who loads a node, and by which need.
    users: FxHashMap<NodeId, (NodeId, &'g Edge)>,
    open: VecDeque<NodeId>,
}

impl<'g> Walk<'g> {
    fn new(graph: &'g NewGraph, root: NodeId) -> Self {
        let open = VecDeque::from([root]);
        Self {
            graph,
            root,
            users: FxHashMap::default(),
            open,
        }
    }

    fn enter(&mut self, node: NodeId, user: NodeId, edge: &'g Edge) {
        if node != self.root && !self.users.contains_key(&node) {
            self.users.insert(node, (user, edge));
            self.open.push_back(node);
        }
    }

    fn chain(&self, cause: &str, need: Option<&ChangedNeed>, at: NodeId) -> Vec<String> {
        let mut chain = vec![cause.to_owned()];
        chain.extend(need.map(|need| need.text.clone()));
        let mut at = at;
        // Ends: each step leads to a node that was entered before.
        while let Some((user, edge)) = self.users.get(&at) {
            let path = self.graph.node(*user).map_or("", |node| &node.path);
            chain.push(edge.via.describe(path, &edge.name));
            at = *user;
        }
        chain
    }
}
