//! Where the nodes of a graph stand: in columns from left to right, users before what they use.

use std::collections::BTreeSet;

/// Times that the nodes of each column are sorted by those beside them.
const PASSES: usize = 8;

/// Each node's column, and its place in that column from above.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) columns: Vec<Vec<usize>>,
}

/// Lays out `nodes` nodes with these edges; circles among libraries are cut where they close.
pub(super) fn layers(nodes: usize, edges: &BTreeSet<(usize, usize)>) -> Layout {
    let depth = depths(nodes, edges);
    let mut columns: Vec<Vec<usize>> =
        vec![Vec::new(); depth.iter().max().map_or(0, |max| max + 1)];
    for (node, depth) in depth.iter().enumerate() {
        if let Some(column) = columns.get_mut(*depth) {
            column.push(node);
        }
    }
    for pass in 0..PASSES {
        if pass % 2 == 0 {
            for at in 1..columns.len() {
                sort(&mut columns, at, at - 1, edges);
            }
        } else {
            for at in (0..columns.len().saturating_sub(1)).rev() {
                sort(&mut columns, at, at + 1, edges);
            }
        }
    }
    Layout { columns }
}

/// The longest way from any user; bounded, so that a circle ends.
fn depths(nodes: usize, edges: &BTreeSet<(usize, usize)>) -> Vec<usize> {
    let mut depth = vec![0; nodes];
    for _ in 0..nodes {
        let mut moved = false;
        for (from, to) in edges {
            let below = depth.get(*from).copied().unwrap_or(0) + 1;
            if let Some(to) = depth.get_mut(*to)
                && *to < below
                && below < nodes
            {
                *to = below;
                moved = true;
            }
        }
        if !moved {
            break;
        }
    }
    packed(depth)
}

/// Without empty columns, which a circle leaves behind.
fn packed(depth: Vec<usize>) -> Vec<usize> {
    let used: BTreeSet<usize> = depth.iter().copied().collect();
    depth
        .into_iter()
        .map(|depth| used.range(..depth).count())
        .collect()
}

/// Sorts a column by the mean place of each node's neighbours in the column beside it.
fn sort(columns: &mut [Vec<usize>], at: usize, beside: usize, edges: &BTreeSet<(usize, usize)>) {
    let place = |node: usize| {
        columns
            .get(beside)
            .and_then(|column| column.iter().position(|other| *other == node))
    };
    let Some(column) = columns.get(at) else {
        return;
    };
    let mut weighed: Vec<(usize, usize, usize)> = Vec::new();
    for (own, node) in column.iter().enumerate() {
        let beside = edges
            .iter()
            .filter_map(|(from, to)| match (from == node, to == node) {
                (true, _) => place(*to),
                (_, true) => place(*from),
                (false, false) => None,
            });
        let places: Vec<usize> = beside.collect();
        let sum: usize = places.iter().sum();
        // In thousandths, so that whole numbers will do.
        let mean = (sum * 1000).checked_div(places.len()).unwrap_or(own * 1000);
        weighed.push((mean, own, *node));
    }
    weighed.sort_unstable();
    if let Some(column) = columns.get_mut(at) {
        *column = weighed.into_iter().map(|(_, _, node)| node).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_stand_before_what_they_use() {
        let edges = BTreeSet::from([(0, 1), (1, 2), (0, 2), (3, 2)]);
        assert_eq!(layers(4, &edges).columns, [vec![0, 3], vec![1], vec![2]]);
    }

    #[test]
    fn a_circle_ends_and_every_node_has_a_place() {
        let edges = BTreeSet::from([(0, 1), (1, 2), (2, 1)]);
        let mut placed: Vec<usize> = layers(3, &edges).columns.concat();
        placed.sort_unstable();
        assert_eq!(placed, [0, 1, 2]);
        assert_eq!(
            layers(0, &BTreeSet::new()).columns,
            Vec::<Vec<usize>>::new()
        );
    }
}
