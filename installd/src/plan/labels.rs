//! Which causes reach which nodes, and by what step: compact, for there are as many nodes as files.

use super::graph::NodeId;

/// Labels per node; more would say nothing new to a person.
pub(super) const MAX_CAUSES: u8 = 3;

/// How a node is reached by a cause.
#[derive(Debug, Clone, Copy)]
pub(super) struct Label {
    pub(super) node: NodeId,
    pub(super) cause: u32,
    pub(super) step: Step,
    /// The number of the node's next label, from 1; 0: it is the last.
    next: u32,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    /// The cause is its own file.
    Own,
    /// The cause is what answers one of its needs: an index into the changed needs.
    Need(u32),
    /// By a node that it loads: the number of that node's label.
    From(u32),
}

/// All labels, in the order in which they were put on.
#[derive(Debug, Default)]
pub(super) struct Labels {
    /// By node what there is to know at a glance: one byte, so that it stays in the cache.
    glance: Vec<u8>,
    /// By node the number of its first label, where it has one.
    first: Vec<u32>,
    all: Vec<Label>,
}

/// No label.
const NONE: u8 = 0;
/// One or more, to be looked up.
const SOME: u8 = 254;
/// As many as there may be.
const FULL: u8 = 255;

/// One label, of this cause.
fn one(cause: u32) -> u8 {
    let small = u8::try_from(cause).ok().filter(|cause| *cause < SOME - 1);
    small.map_or(SOME, |cause| cause + 1)
}

impl Labels {
    pub(super) fn of(nodes: usize) -> Self {
        Self {
            glance: vec![NONE; nodes],
            first: vec![0; nodes],
            // Room costs nothing until it is used; growing would copy all again and again.
            all: Vec::with_capacity(nodes),
        }
    }

    /// Puts a label on a node that has none of this cause, and not too many.
    pub(super) fn put(&mut self, node: NodeId, cause: u32, step: Step) {
        let Some(glance) = self.glance.get_mut(node as usize) else {
            return;
        };
        if *glance == FULL || (*glance == one(cause) && *glance != SOME) {
            return;
        }
        let number = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        if *glance == NONE {
            *glance = one(cause);
            if let Some(first) = self.first.get_mut(node as usize) {
                *first = number;
            }
        } else if let Some(count) = self.append(node, cause, number) {
            let glance = self.glance.get_mut(node as usize);
            let now = if count < MAX_CAUSES { SOME } else { FULL };
            if let Some(glance) = glance {
                *glance = now;
            }
        } else {
            return;
        }
        self.all.push(Label {
            node,
            cause,
            step,
            next: 0,
        });
    }

    /// Ties a further label to the node's last one and answers how many it has then; `None` where it
    /// has one of this cause.
    fn append(&mut self, node: NodeId, cause: u32, number: u32) -> Option<u8> {
        let mut count = 1;
        let mut at = self.first.get(node as usize).copied()?;
        loop {
            let label = self.all.get_mut(at as usize)?;
            count += 1;
            if label.cause == cause {
                return None;
            }
            if label.next == 0 {
                label.next = number + 1;
                return Some(count);
            }
            at = label.next - 1;
        }
    }

    pub(super) fn get(&self, number: u32) -> Option<&Label> {
        self.all.get(number as usize)
    }

    /// The labels of a node, in the order in which they were put on.
    pub(super) fn of_node(&self, node: NodeId) -> impl Iterator<Item = &Label> {
        let has = self.has(node);
        let first = self.first.get(node as usize).filter(|_| has);
        let first = first.and_then(|first| self.get(*first));
        std::iter::successors(first, |label| self.get(label.next.checked_sub(1)?))
    }

    pub(super) fn has(&self, node: NodeId) -> bool {
        self.glance
            .get(node as usize)
            .is_some_and(|one| *one != NONE)
    }

    /// Every node that has a label; by number where most have one, so that whoever looks them up
    /// goes straight through memory.
    pub(super) fn nodes(&self) -> Box<dyn Iterator<Item = NodeId> + '_> {
        if self.all.len() > self.glance.len() / 8 {
            let all = (0..).zip(&self.glance);
            return Box::new(all.filter(|(_, one)| **one != NONE).map(|(node, _)| node));
        }
        Box::new(self.all.iter().map(|label| label.node))
    }

    /// Every label, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Label> {
        self.all.iter()
    }

    pub(super) fn count(&self) -> usize {
        self.glance.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_has_each_cause_once_and_not_more_than_are_shown() {
        let mut labels = Labels::of(3);
        for cause in [300, 7, 300, 7, 1000, 8, 9] {
            labels.put(1, cause, Step::Own);
        }
        labels.put(2, 7, Step::From(1));
        labels.put(2, 7, Step::Own);
        labels.put(9, 7, Step::Own);
        let causes = |node| {
            labels
                .of_node(node)
                .map(|one| one.cause)
                .collect::<Vec<_>>()
        };
        assert_eq!(causes(0), [0; 0]);
        assert_eq!(causes(1), [300, 7, 1000]);
        assert_eq!(causes(2), [7]);
        assert_eq!(labels.iter().count(), 4);
        let mut nodes: Vec<NodeId> = labels.nodes().collect();
        nodes.dedup();
        assert_eq!(nodes, [1, 2]);
    }
}
