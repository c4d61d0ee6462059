//! What a change of the tree reaches: the new graph where it differs, the causes, and how they
//! spread to those who load what changed.

use std::collections::VecDeque;

use model::manifest::FileEntry;
use resolve::loader::{View, follow};
use rustc_hash::{FxHashMap, FxHashSet};

use super::How;
use super::diff::{Difference, NewTree, is_equal};
use super::graph::{Builder, Edge, Graph, LoadedFile, NodeId, Target, Via, facts, opens};

/// Reason chains per node; more would say nothing new to a person.
pub(super) const MAX_CAUSES: usize = 3;

/// The graph of the new tree, as what differs from the active one.
#[derive(Debug)]
pub(super) struct NewGraph<'a> {
    pub(super) before: &'a Graph,
    /// Needs of nodes of the graph before, resolved again.
    pub(super) again: FxHashMap<NodeId, Vec<Edge>>,
    /// Nodes that the graph before has not.
    pub(super) added: Vec<LoadedFile>,
}

impl NewGraph<'_> {
    pub(super) fn node(&self, id: NodeId) -> Option<&LoadedFile> {
        let at = id as usize;
        self.before
            .nodes
            .get(at)
            .or_else(|| self.added.get(at - self.before.nodes.len()))
    }

    /// The needs of a node in the new tree, then those in the tree before.
    pub(super) fn all_edges(&self, id: NodeId) -> impl Iterator<Item = &Edge> {
        let before = self.before.nodes.get(id as usize);
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

    fn nodes(&self) -> usize {
        self.before.nodes.len() + self.added.len()
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
            ids.extend(nodes.flat_map(|&id| &graph.users[id as usize]));
        }
        if old.and_then(facts) != new.and_then(facts) {
            ids.extend(graph.nodes_of(one.path.as_str()));
        }
    }
    ids
}

/// A need that another file answers now, or none.
#[derive(Debug)]
pub(super) struct ChangedNeed {
    /// The link of a reason chain.
    pub(super) text: String,
    pub(super) via: Via,
    /// What answered it before.
    pub(super) before: Option<NodeId>,
}

/// A node's labels, in place: there is one of these for each file of the set.
#[derive(Debug, Clone, Copy, Default)]
struct Labels {
    len: u8,
    first: [Label; MAX_CAUSES],
}

impl Labels {
    fn all(&self) -> &[Label] {
        &self.first[..usize::from(self.len)]
    }
}

/// How a node is reached by a cause.
#[derive(Debug, Clone, Copy, Default)]
struct Label {
    cause: u32,
    step: Step,
}

#[derive(Debug, Clone, Copy, Default)]
enum Step {
    /// The cause is its own file.
    #[default]
    Own,
    /// The cause is what answers one of its needs: an index into the changed needs.
    Need(u32),
    /// By a node that it loads, which is reached by that node's label of this number.
    From(NodeId, u8),
}

/// Everything that a change reaches, with the reasons.
#[derive(Debug, Default)]
pub(super) struct Reached {
    causes: Vec<String>,
    known: FxHashMap<String, u32>,
    needs: Vec<ChangedNeed>,
    labels: Vec<Labels>,
}

impl Reached {
    /// Finds the causes and lets them spread.
    pub(super) fn new(tree: &NewTree<'_>, graph: &NewGraph<'_>) -> Self {
        let mut reached = Self {
            labels: vec![Labels::default(); graph.nodes()],
            ..Self::default()
        };
        reached.changed_files(tree, graph);
        reached.changed_needs(tree, graph);
        reached.new_openings(tree, graph);
        reached.spread(graph);
        reached
    }

    fn cause(&mut self, text: String) -> u32 {
        if let Some(known) = self.known.get(&text) {
            return *known;
        }
        let number = u32::try_from(self.causes.len()).unwrap_or(u32::MAX);
        self.causes.push(text.clone());
        self.known.insert(text, number);
        number
    }

    fn label(&mut self, id: NodeId, label: Label) -> bool {
        let labels = &mut self.labels[id as usize];
        if labels.all().iter().any(|one| one.cause == label.cause) {
            return false;
        }
        let Some(free) = labels.first.get_mut(usize::from(labels.len)) else {
            return false;
        };
        *free = label;
        labels.len += 1;
        true
    }

    fn changed_files(&mut self, tree: &NewTree<'_>, graph: &NewGraph<'_>) {
        for one in tree
            .differences
            .iter()
            .filter(|one| one.how == How::Changed)
        {
            let nodes = graph.before.nodes_of(one.path.as_str());
            if !nodes.is_empty() {
                let cause = self.cause(format!("{} changed", one.path));
                for &id in nodes {
                    self.label(
                        id,
                        Label {
                            cause,
                            step: Step::Own,
                        },
                    );
                }
            }
        }
    }

    fn changed_needs(&mut self, tree: &NewTree<'_>, graph: &NewGraph<'_>) {
        let mut ids: Vec<NodeId> = graph.again.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            let node = &graph.before.nodes[id as usize];
            // A file that changed itself is a cause already, whatever it needs now.
            if tree
                .difference(&node.path)
                .is_some_and(|one| one.how == How::Changed)
            {
                continue;
            }
            for new in &graph.again[&id] {
                let mut same = node
                    .edges
                    .iter()
                    .filter(|old| (old.via, &old.name) == (new.via, &new.name));
                let old = same.next().and_then(|old| old.target.as_ref());
                if let Some(text) = differs(tree, graph, old, new.target.as_ref()) {
                    let cause = self.cause(text);
                    let need = ChangedNeed {
                        text: new.via.describe(&node.path, &new.name),
                        via: new.via,
                        before: old.map(|old| old.node),
                    };
                    self.need(id, cause, need);
                }
            }
        }
    }

    fn need(&mut self, id: NodeId, cause: u32, need: ChangedNeed) {
        let number = u32::try_from(self.needs.len()).unwrap_or(u32::MAX);
        self.needs.push(need);
        self.label(
            id,
            Label {
                cause,
                step: Step::Need(number),
            },
        );
    }

    /// Libraries that come and that a package has declared to be opened by pattern. What is
    /// only known of well-known libraries (any name service may be opened by libc) counts when it
    /// changes or goes, not when it comes: nothing could use it before.
    fn new_openings(&mut self, tree: &NewTree<'_>, graph: &NewGraph<'_>) {
        for one in &tree.differences {
            let path = one.path.as_str();
            let library = one.new.is_some_and(|(_, entry)| facts(entry).is_some());
            if one.how == How::Added && library {
                let declared = &graph.before.declared;
                for (id, _) in declared.iter().filter(|(_, pattern)| opens(pattern, path)) {
                    let opener = &graph.before.nodes[*id as usize].path;
                    let cause = self.cause(format!("{path} added"));
                    let need = ChangedNeed {
                        text: Via::Opens.describe(opener, path),
                        via: Via::Opens,
                        before: None,
                    };
                    self.need(*id, cause, need);
                }
            }
        }
    }

    fn spread(&mut self, graph: &NewGraph<'_>) {
        let mut users: FxHashMap<NodeId, Vec<NodeId>> = FxHashMap::default();
        let first = u32::try_from(graph.before.nodes.len()).unwrap_or(u32::MAX);
        let added = (first..)
            .zip(&graph.added)
            .map(|(id, node)| (id, &node.edges));
        for (id, edges) in graph
            .again
            .iter()
            .map(|(id, edges)| (*id, edges))
            .chain(added)
        {
            for target in edges.iter().filter_map(|edge| edge.target.as_ref()) {
                users.entry(target.node).or_default().push(id);
            }
        }
        for ids in users.values_mut() {
            ids.sort_unstable();
        }
        let labelled = (0..).zip(&self.labels);
        let mut open: VecDeque<(NodeId, u8)> = labelled
            .flat_map(|(id, labels)| (0..labels.len).map(move |slot| (id, slot)))
            .collect();
        while let Some((at, slot)) = open.pop_front() {
            let cause = self.labels[at as usize].first[slot as usize].cause;
            let old = graph
                .before
                .users
                .get(at as usize)
                .map_or(&[][..], Vec::as_slice);
            let new = users.get(&at).map_or(&[][..], Vec::as_slice);
            for &user in old.iter().chain(new) {
                if user != at
                    && self.label(
                        user,
                        Label {
                            cause,
                            step: Step::From(at, slot),
                        },
                    )
                {
                    open.push_back((user, self.labels[user as usize].len - 1));
                }
            }
        }
    }

    /// Whether anything reaches this node.
    pub(super) fn is_reached(&self, id: NodeId) -> bool {
        self.labels
            .get(id as usize)
            .is_some_and(|labels| labels.len > 0)
    }

    /// The reason chains of a node, the shortest first, each from the cause to the node's needs.
    pub(super) fn chains(&self, id: NodeId, graph: &NewGraph<'_>) -> Vec<Vec<String>> {
        let count = self
            .labels
            .get(id as usize)
            .map_or(0, |labels| usize::from(labels.len));
        (0..count).map(|slot| self.chain(id, slot, graph)).collect()
    }

    /// What reaches a node by itself, not through what it loads: each cause, with the need that
    /// it concerns where it is not the node's own file.
    pub(super) fn at(&self, id: NodeId) -> impl Iterator<Item = (&str, Option<&ChangedNeed>)> {
        let labels = self.labels.get(id as usize);
        labels
            .into_iter()
            .flat_map(Labels::all)
            .filter_map(|label| {
                let need = match label.step {
                    Step::Own => None,
                    Step::Need(need) => Some(self.needs.get(need as usize)?),
                    Step::From(..) => return None,
                };
                Some((self.causes.get(label.cause as usize)?.as_str(), need))
            })
    }

    fn chain(&self, id: NodeId, slot: usize, graph: &NewGraph<'_>) -> Vec<String> {
        let mut backwards = Vec::new();
        let (mut at, mut label) = (id, self.labels[id as usize].first[slot]);
        loop {
            match label.step {
                Step::Own => break,
                Step::Need(need) => {
                    backwards.push(self.needs[need as usize].text.clone());
                    break;
                }
                Step::From(from, slot) => {
                    backwards.push(describe_edge(graph, at, from));
                    (at, label) = (from, self.labels[from as usize].first[slot as usize]);
                }
            }
        }
        backwards.push(self.causes[label.cause as usize].clone());
        backwards.reverse();
        backwards
    }
}

/// What differs between the old and the new answer to one need, as the cause of a chain.
fn differs(
    tree: &NewTree<'_>,
    graph: &NewGraph<'_>,
    old: Option<&Target>,
    new: Option<&Target>,
) -> Option<String> {
    let (old, new) = match (old, new) {
        (None, None) => return None,
        (None, Some(new)) => return Some(format!("{} added", new.opened)),
        (Some(old), None) => return Some(format!("{} removed", old.opened)),
        (Some(old), Some(new)) => (old, new),
    };
    let old_file = &graph.node(old.node)?.path;
    let new_file = &graph.node(new.node)?.path;
    let equal = match (tree.index.tree.entry(old_file), tree.entry(new_file)) {
        (Some(before), Some(after)) => is_equal(before, after),
        _ => false,
    };
    if old.opened == new.opened {
        // The same file changed in place is a cause of its own.
        return (!equal && old_file != new_file).then(|| format!("{} changed", new.opened));
    }
    let by_place = tree.entry(new_file).and_then(facts).is_some_and(|facts| {
        facts
            .runpath
            .iter()
            .chain(&facts.rpath)
            .any(|one| one.contains("ORIGIN"))
    });
    if equal && !by_place {
        return None;
    }
    let still_there = follow(tree, &old.opened).is_some_and(|path| tree.entry(&path).is_some());
    Some(if still_there {
        format!("{} now comes before {}", new.opened, old.opened)
    } else {
        format!("{} takes the place of {}", new.opened, old.opened)
    })
}

/// A file that came into a removed file's directory and is equal to it: it was only renamed.
pub(super) fn replacement<'a>(
    tree: &NewTree<'a>,
    removed: &Difference<'a>,
) -> Option<&'a FileEntry> {
    let (_, old) = removed.old?;
    let parent = removed.path.parent();
    let added = tree.differences.iter().filter(|one| one.how == How::Added);
    let beside = added.filter(|one| one.path.parent() == parent);
    beside
        .filter_map(|one| one.new)
        .map(|(_, entry)| entry)
        .find(|new| is_equal(old, new))
}

/// How `user` loads `used`, in the new graph or in the one before.
fn describe_edge(graph: &NewGraph<'_>, user: NodeId, used: NodeId) -> String {
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
pub(super) fn loaded_by(graph: &NewGraph<'_>, roots: &[NodeId]) -> FxHashSet<NodeId> {
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
