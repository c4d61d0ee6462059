//! Which nodes change in which wave.

use model::Digest;
use model::wire::{FleetName, NodeName, RolloutId, Strategy, Waves};

/// A node to be put into a wave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Its name.
    pub node: NodeName,
    /// Where it is.
    pub location: Option<FleetName>,
    /// From [`resolve::fleet::ranks`]: lower ones change first.
    pub rank: u32,
}

/// The wave of each node, from 0, without gaps, in the order given. Providers change before those
/// that need them: within each wave that the strategy makes, one part for each rank. The first ones
/// are not the same ones in each update: the shuffle is this update's own. Together is one wave.
pub fn waves(strategy: &Strategy, id: RolloutId, nodes: &[Placed]) -> Vec<u32> {
    if strategy.together {
        return vec![0; nodes.len()];
    }
    let steps = match &strategy.waves {
        Waves::One => vec![0; nodes.len()],
        Waves::Percent { canary, steps } => by_percent(*canary, steps, id, nodes),
        Waves::Locations => by_location(nodes),
    };
    let keys = |(step, node): (u32, &Placed)| (node.rank, step);
    // All providers change before the first consumer: a canary of consumers is tried against them.
    dense(steps.into_iter().zip(nodes).map(keys).collect())
}

/// The same order in numbers without gaps.
fn dense<K: Ord + Copy>(keys: Vec<K>) -> Vec<u32> {
    let mut known = keys.clone();
    known.sort_unstable();
    known.dedup();
    let number = |key: K| known.partition_point(|one| *one < key);
    keys.into_iter()
        .map(|key| u32::try_from(number(key)).unwrap_or(u32::MAX))
        .collect()
}

fn by_location(nodes: &[Placed]) -> Vec<u32> {
    // Those of no location come last.
    dense(
        nodes
            .iter()
            .map(|one| (one.location.is_none(), one.location.as_ref()))
            .collect(),
    )
}

fn by_percent(canary: u32, steps: &[u8], id: RolloutId, nodes: &[Placed]) -> Vec<u32> {
    let mut shuffled: Vec<usize> = (0..nodes.len()).collect();
    shuffled.sort_by_cached_key(|&i| nodes.get(i).map(|one| lot(id, &one.node)));
    let ends = ends(canary as usize, steps, nodes.len());
    let mut waves = vec![0; nodes.len()];
    for (place, node) in shuffled.into_iter().enumerate() {
        let wave = ends.partition_point(|end| *end <= place);
        if let Some(slot) = waves.get_mut(node) {
            *slot = u32::try_from(wave).unwrap_or(u32::MAX);
        }
    }
    waves
}

/// A node's lot in this update.
fn lot(id: RolloutId, node: &NodeName) -> Digest {
    Digest::of(format!("changeover wave {id} {node}").as_bytes())
}

/// How many nodes are in each wave and those before it; the last is all of them.
fn ends(canary: usize, steps: &[u8], all: usize) -> Vec<usize> {
    let share = |percent: &u8| (all * usize::from((*percent).min(100))).div_ceil(100);
    let mut ends: Vec<usize> = [canary.min(all)]
        .into_iter()
        .chain(steps.iter().map(share))
        .collect();
    ends.push(all);
    let mut most = 0;
    ends.retain(|end| {
        let more = *end > most;
        most = most.max(*end);
        more
    });
    // The last that was asked for is taken as all.
    let asked = usize::from(canary > 0) + steps.len().max(1);
    if ends.len() > asked {
        ends.remove(ends.len() - 2);
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(count: u32) -> Vec<Placed> {
        (0..count)
            .map(|i| Placed {
                node: format!("n{i}").parse().unwrap(),
                location: Some(format!("l{}", i % 3).parse().unwrap()),
                rank: 0,
            })
            .collect()
    }

    fn sizes(waves: &[u32]) -> Vec<usize> {
        let most = waves.iter().max().copied().unwrap_or(0);
        (0..=most)
            .map(|wave| waves.iter().filter(|one| **one == wave).count())
            .collect()
    }

    fn by(waves: Waves) -> Strategy {
        Strategy {
            waves,
            ..Strategy::default()
        }
    }

    fn percent(canary: u32, steps: &[u8]) -> Strategy {
        by(Waves::Percent {
            canary,
            steps: steps.to_vec(),
        })
    }

    #[test]
    fn a_canary_comes_first_and_percentages_count_those_before() {
        let of = |strategy: &Strategy| sizes(&waves(strategy, RolloutId(7), &nodes(200)));
        assert_eq!(of(&by(Waves::One)), [200]);
        assert_eq!(of(&percent(1, &[10, 50, 100])), [1, 19, 80, 100]);
        assert_eq!(
            of(&percent(0, &[10, 50])),
            [20, 180],
            "the last is taken as all"
        );
        assert_eq!(of(&percent(5, &[])), [5, 195], "then all");
        assert_eq!(of(&percent(300, &[50, 100])), [200]);
        assert_eq!(of(&by(Waves::Locations)), [67, 67, 66]);
        assert_eq!(waves(&by(Waves::One), RolloutId(7), &[]), Vec::<u32>::new());
    }

    #[test]
    fn another_update_has_other_canaries_and_the_same_one_the_same() {
        let first = |id: u64| {
            let waves = waves(&percent(1, &[100]), RolloutId(id), &nodes(50));
            waves.iter().position(|wave| *wave == 0)
        };
        assert_eq!(first(1), first(1));
        let mut canaries: Vec<_> = (0..40).map(first).collect();
        canaries.sort_unstable();
        canaries.dedup();
        assert!(canaries.len() > 15, "{canaries:?}");
    }

    #[test]
    fn providers_are_all_done_before_the_first_that_needs_them() {
        let mut all = nodes(40);
        all.iter_mut().skip(20).for_each(|one| one.rank = 1);
        let waves = waves(&percent(2, &[50, 100]), RolloutId(3), &all);
        let last_provider = waves.iter().take(20).max().unwrap();
        let first_consumer = waves.iter().skip(20).min().unwrap();
        assert!(last_provider < first_consumer, "{waves:?}");
        let together = Strategy {
            together: true,
            ..percent(2, &[50, 100])
        };
        let at_once = super::waves(&together, RolloutId(3), &all);
        assert_eq!(sizes(&at_once), [40]);
    }
}
