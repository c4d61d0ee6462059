//! Which node is in which wave.

use std::collections::BTreeSet;

use model::Digest;
use model::wire::{FleetName, NodeName, Waves};

/// The wave of each node, in the order given. The shuffle is another one for each update, so that not
/// the same nodes go first for ever.
pub(super) fn waves(
    waves: &Waves,
    nodes: &[(NodeName, Option<FleetName>)],
    update: u64,
) -> Vec<u32> {
    match waves {
        Waves::One => vec![0; nodes.len()],
        Waves::Locations => by_location(nodes),
        Waves::Percent { canary, steps } => by_percent(*canary, steps, nodes, update),
    }
}

fn by_location(nodes: &[(NodeName, Option<FleetName>)]) -> Vec<u32> {
    let places: BTreeSet<&Option<FleetName>> = nodes.iter().map(|(_, place)| place).collect();
    let places: Vec<_> = places.into_iter().collect();
    let number = |place: &Option<FleetName>| places.iter().position(|one| *one == place);
    let wave = |number: Option<usize>| u32::try_from(number.unwrap_or(0)).unwrap_or(u32::MAX);
    nodes.iter().map(|(_, place)| wave(number(place))).collect()
}

fn by_percent(
    canary: u32,
    steps: &[u8],
    nodes: &[(NodeName, Option<FleetName>)],
    update: u64,
) -> Vec<u32> {
    let mut shuffled: Vec<usize> = (0..nodes.len()).collect();
    shuffled.sort_by_cached_key(|at| {
        let name = nodes.get(*at).map_or("", |(name, _)| name.as_str());
        *Digest::of(format!("{update} {name}").as_bytes()).as_bytes()
    });
    // How many are in each wave and those before it; nobody is left over.
    let mut ends = vec![usize::try_from(canary).unwrap_or(usize::MAX)];
    let percent = |step: &u8| (nodes.len() * usize::from(*step)).div_ceil(100);
    ends.extend(steps.iter().map(percent));
    ends.retain(|end| *end > 0 && *end < nodes.len());
    ends.sort_unstable();
    ends.dedup();
    let mut waves = vec![0; nodes.len()];
    for (place, at) in shuffled.into_iter().enumerate() {
        let wave = ends.iter().filter(|end| **end <= place).count();
        if let Some(one) = waves.get_mut(at) {
            *one = u32::try_from(wave).unwrap_or(u32::MAX);
        }
    }
    waves
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(count: usize) -> Vec<(NodeName, Option<FleetName>)> {
        let place = |n: usize| Some(format!("p{}", n % 3).parse().unwrap());
        (0..count)
            .map(|n| (format!("n{n}").parse().unwrap(), place(n)))
            .collect()
    }

    fn sizes(waves: &[u32]) -> Vec<usize> {
        let last = waves.iter().max().copied().unwrap_or(0);
        (0..=last)
            .map(|wave| waves.iter().filter(|one| **one == wave).count())
            .collect()
    }

    #[test]
    fn canaries_go_first_then_percentages_of_all_by_another_shuffle_each_time() {
        let percent = Waves::Percent {
            canary: 2,
            steps: vec![10, 50, 100],
        };
        let nodes = nodes(100);
        let first = waves(&percent, &nodes, 1);
        assert_eq!(sizes(&first), [2, 8, 40, 50]);
        assert_eq!(first, waves(&percent, &nodes, 1));
        assert_ne!(first, waves(&percent, &nodes, 2));
        assert_eq!(sizes(&waves(&Waves::Locations, &nodes, 1)), [34, 33, 33]);
        assert_eq!(sizes(&waves(&Waves::One, &nodes, 1)), [100]);
        let few = Waves::Percent {
            canary: 5,
            steps: vec![],
        };
        assert_eq!(sizes(&waves(&few, &nodes[..3], 1)), [3]);
    }
}
