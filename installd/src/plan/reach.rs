//! What a change of the tree reaches: the causes, and how they spread to those who load what changed.

use model::manifest::FileEntry;
use resolve::loader::{View, follow};
use rustc_hash::FxHashMap;

use super::How;
use super::diff::{Difference, NewTree, is_equal};
use super::graph::{Graph, NodeId, Target, Via, facts, opens};
use super::labels::{Label, Labels, Step};
use super::new_graph::{NewGraph, describe_edge};

/// A need that another file answers now, or none.
#[derive(Debug)]
pub(super) struct ChangedNeed {
    /// The link of a reason chain.
    pub(super) text: String,
    pub(super) via: Via,
    /// What answered it before.
    pub(super) before: Option<NodeId>,
}

/// Everything that a change reaches, with the reasons.
#[derive(Debug, Default)]
pub(super) struct Reached {
    causes: Vec<String>,
    known: FxHashMap<String, u32>,
    needs: Vec<ChangedNeed>,
    labels: Labels,
    /// By node whether it is reached by files that are loaded without fail, whatever a process has
    /// mapped; empty where that is not asked.
    sure: Vec<bool>,
}

impl Reached {
    /// Finds the causes and lets them spread; where it is known of some process what it has mapped,
    /// also what reaches others whatever they have.
    pub(super) fn new(tree: &NewTree<'_>, graph: &NewGraph, some_mapped: bool) -> Self {
        let mut reached = Self {
            labels: Labels::of(graph.nodes()),
            ..Self::default()
        };
        reached.changed_files(tree, graph);
        reached.changed_needs(tree, graph);
        reached.new_openings(tree, graph);
        let users = NewUsers::of_graph(graph);
        reached.spread(&users);
        if some_mapped {
            reached.spread_surely(&users);
        }
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

    fn changed_files(&mut self, tree: &NewTree<'_>, graph: &NewGraph) {
        for one in tree
            .differences
            .iter()
            .filter(|one| one.how == How::Changed)
        {
            let nodes = graph.before().nodes_of(one.path.as_str());
            if !nodes.is_empty() {
                let cause = self.cause(format!("{} changed", one.path));
                for &id in nodes {
                    self.labels.put(id, cause, Step::Own);
                }
            }
        }
    }

    fn changed_needs(&mut self, tree: &NewTree<'_>, graph: &NewGraph) {
        let mut ids: Vec<NodeId> = graph.again.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            let node = &graph.before().nodes[id as usize];
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
        self.labels.put(id, cause, Step::Need(number));
    }

    /// Libraries that come and that a package has declared to be opened by pattern. What is
    /// only known of well-known libraries (any name service may be opened by libc) counts when it
    /// changes or goes, not when it comes: nothing could use it before.
    fn new_openings(&mut self, tree: &NewTree<'_>, graph: &NewGraph) {
        for one in &tree.differences {
            let path = one.path.as_str();
            let library = one.new.is_some_and(|(_, entry)| facts(entry).is_some());
            if one.how == How::Added && library {
                let declared = &graph.before().declared;
                for (id, _) in declared.iter().filter(|(_, pattern)| opens(pattern, path)) {
                    let opener = &graph.before().nodes[*id as usize].path;
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

    /// Breadth first, so that chains are short.
    fn spread(&mut self, users: &NewUsers<'_>) {
        let mut number = 0;
        while let Some(&Label { node, cause, .. }) = self.labels.get(number) {
            for (user, _) in users.of(node).filter(|(user, _)| *user != node) {
                self.labels.put(user, cause, Step::From(number));
            }
            number += 1;
        }
    }

    /// Marks what is reached by needs that are met at every start, or whose author says so.
    fn spread_surely(&mut self, users: &NewUsers<'_>) {
        let begins = |label: &&Label| match label.step {
            Step::Own => true,
            Step::Need(need) => {
                let need = self.needs.get(need as usize);
                need.is_some_and(|need| need.via != Via::MayOpen)
            }
            Step::From(_) => false,
        };
        let mut sure = vec![false; self.labels.count()];
        let begin = self.labels.iter().filter(begins);
        let mut open: Vec<NodeId> = begin.map(|label| label.node).collect();
        while let Some(at) = open.pop() {
            let Some(place) = sure.get_mut(at as usize) else {
                continue;
            };
            if !std::mem::replace(place, true) {
                let users = users.of(at).filter(|(_, sure)| *sure);
                open.extend(users.map(|(user, _)| user));
            }
        }
        self.sure = sure;
    }

    /// Whether anything reaches this node.
    pub(super) fn is_reached(&self, id: NodeId) -> bool {
        self.labels.has(id)
    }

    /// Whether it is reached whatever a process has mapped; known only where it was asked for.
    pub(super) fn is_surely_reached(&self, id: NodeId) -> bool {
        self.sure.get(id as usize).copied().unwrap_or(false)
    }

    /// Every node that is reached, some perhaps more than once.
    pub(super) fn nodes(&self) -> impl Iterator<Item = NodeId> {
        self.labels.nodes()
    }

    /// The reason chains of a node, the shortest first, each from the cause to the node's needs.
    pub(super) fn chains(&self, id: NodeId, graph: &NewGraph) -> Vec<Vec<String>> {
        let labels = self.labels.of_node(id);
        labels.map(|label| self.chain(label, graph)).collect()
    }

    /// What reaches a node by itself, not through what it loads: each cause, with the need that
    /// it concerns where it is not the node's own file.
    pub(super) fn at(&self, id: NodeId) -> impl Iterator<Item = (&str, Option<&ChangedNeed>)> {
        self.labels.of_node(id).filter_map(|label| {
            let need = match label.step {
                Step::Own => None,
                Step::Need(need) => Some(self.needs.get(need as usize)?),
                Step::From(_) => return None,
            };
            Some((self.causes.get(label.cause as usize)?.as_str(), need))
        })
    }

    fn chain(&self, label: &Label, graph: &NewGraph) -> Vec<String> {
        let mut backwards = Vec::new();
        let mut label = label;
        loop {
            match label.step {
                Step::Own => break,
                Step::Need(need) => {
                    let need = self.needs.get(need as usize);
                    backwards.extend(need.map(|need| need.text.clone()));
                    break;
                }
                Step::From(number) => {
                    let Some(from) = self.labels.get(number) else {
                        break;
                    };
                    backwards.push(describe_edge(graph, label.node, from.node));
                    label = from;
                }
            }
        }
        backwards.extend(self.causes.get(label.cause as usize).cloned());
        backwards.reverse();
        backwards
    }
}

/// Who loads a file, in the new graph or in the one before.
struct NewUsers<'a> {
    before: &'a Graph,
    /// Those of which the needs are resolved again, or that are new, sorted.
    new: FxHashMap<NodeId, Vec<(NodeId, bool)>>,
}

impl<'a> NewUsers<'a> {
    fn of_graph(graph: &'a NewGraph) -> Self {
        let mut new: FxHashMap<NodeId, Vec<(NodeId, bool)>> = FxHashMap::default();
        let first = u32::try_from(graph.before().nodes.len()).unwrap_or(u32::MAX);
        let added = (first..).zip(&graph.added);
        let added = added.map(|(id, node)| (id, &node.edges));
        let again = graph.again.iter().map(|(id, edges)| (*id, edges));
        for (id, edges) in again.chain(added) {
            for edge in edges {
                if let Some(target) = &edge.target {
                    let users = new.entry(target.node).or_default();
                    users.push((id, edge.via != Via::MayOpen));
                }
            }
        }
        for users in new.values_mut() {
            users.sort_unstable();
        }
        let before = graph.before();
        Self { before, new }
    }

    /// Each with whether it loads the file without fail.
    fn of(&self, id: NodeId) -> impl Iterator<Item = (NodeId, bool)> {
        let new = self.new.get(&id).into_iter().flatten().copied();
        self.before.users_of(id).chain(new)
    }
}

/// What differs between the old and the new answer to one need, as the cause of a chain.
fn differs(
    tree: &NewTree<'_>,
    graph: &NewGraph,
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
