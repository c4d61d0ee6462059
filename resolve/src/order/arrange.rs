//! A list put into dependency order with as little moved as possible.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The order of `0..edges.len()` in which each stands before all of its `edges`, except those of
/// its own circle. What may stand where it stood, stands there: of all that could come next, the
/// first of the list comes next, so a list in order is answered as it is.
pub fn arrange(edges: &[Vec<usize>]) -> Vec<usize> {
    // Most lists are in order already: then there is no circle either.
    if edges
        .iter()
        .enumerate()
        .all(|(i, to)| to.iter().all(|&to| to > i))
    {
        return (0..edges.len()).collect();
    }
    let circles = components(edges);
    let counts = |i: usize, to: usize| circles[i] != circles[to];
    let mut waits = vec![0_usize; edges.len()];
    for (i, to) in edges.iter().enumerate() {
        to.iter()
            .filter(|&&to| counts(i, to))
            .for_each(|&to| waits[to] += 1);
    }
    let free = |waits: &[usize], i: usize| waits[i] == 0;
    let mut open: BinaryHeap<Reverse<usize>> = (0..edges.len())
        .filter(|&i| free(&waits, i))
        .map(Reverse)
        .collect();
    let mut order = Vec::with_capacity(edges.len());
    while let Some(Reverse(next)) = open.pop() {
        order.push(next);
        for &to in edges[next].iter().filter(|&&to| counts(next, to)) {
            waits[to] -= 1;
            if free(&waits, to) {
                open.push(Reverse(to));
            }
        }
    }
    order
}

/// For each its circle's number: Tarjan's strongly connected components, without recursion.
fn components(edges: &[Vec<usize>]) -> Vec<usize> {
    const UNSEEN: usize = usize::MAX;
    let mut state = Tarjan {
        number: vec![UNSEEN; edges.len()],
        low: vec![UNSEEN; edges.len()],
        component: vec![UNSEEN; edges.len()],
        stack: Vec::new(),
        next: 0,
        circles: 0,
    };
    for root in 0..edges.len() {
        if state.number[root] != UNSEEN {
            continue;
        }
        let mut path = vec![(root, 0_usize)];
        state.enter(root);
        while let Some((at, edge)) = path.last_mut() {
            let at = *at;
            let Some(&to) = edges[at].get(*edge) else {
                path.pop();
                state.leave(at);
                if let Some((parent, _)) = path.last() {
                    state.low[*parent] = state.low[*parent].min(state.low[at]);
                }
                continue;
            };
            *edge += 1;
            if state.number[to] == UNSEEN {
                state.enter(to);
                path.push((to, 0));
            } else if state.component[to] == UNSEEN {
                state.low[at] = state.low[at].min(state.number[to]);
            }
        }
    }
    state.component
}

struct Tarjan {
    number: Vec<usize>,
    low: Vec<usize>,
    component: Vec<usize>,
    stack: Vec<usize>,
    next: usize,
    circles: usize,
}

impl Tarjan {
    fn enter(&mut self, at: usize) {
        self.number[at] = self.next;
        self.low[at] = self.next;
        self.next += 1;
        self.stack.push(at);
    }

    fn leave(&mut self, at: usize) {
        if self.low[at] != self.number[at] {
            return;
        }
        while let Some(one) = self.stack.pop() {
            self.component[one] = self.circles;
            if one == at {
                break;
            }
        }
        self.circles += 1;
    }
}
