//! Retention: which generations and packages may go.

use std::collections::{BTreeMap, BTreeSet};

use model::{Digest, Generation, PackageId};

use super::world::{KeptGeneration, World};

/// What the store holds and who needs it.
#[derive(Debug, Clone, Default)]
pub struct Holdings {
    /// Generations with the packages and objects that each is made of.
    pub generations: BTreeMap<Generation, Contents>,
    /// Packages in the store with the objects that each names.
    pub packages: BTreeMap<PackageId, BTreeSet<Digest>>,
    /// The active generation.
    pub active: Generation,
    /// The generation that the next boot uses.
    pub committed: Generation,
    /// Generations in which a process lives.
    pub inhabited: BTreeSet<Generation>,
    /// Generations that a running change needs.
    pub held: BTreeSet<Generation>,
    /// Generations that are kept whatever their number.
    pub pinned: BTreeSet<Generation>,
}

/// What a generation is made of.
#[derive(Debug, Clone, Default)]
pub struct Contents {
    /// Its packages.
    pub packages: BTreeSet<PackageId>,
    /// Its objects.
    pub objects: BTreeSet<Digest>,
}

/// What may be removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Garbage {
    /// Trees of generations.
    pub generations: Vec<Generation>,
    /// Packages of which nothing is kept.
    pub packages: Vec<PackageId>,
}

/// What may go when the last `keep` generations, and those that are pinned, are kept to go back to.
///
/// Invariant: the active generation, the committed one, those in which a process lives, those that
/// are pinned and those that a change needs are never collected, nor a package that one of the kept is made of. A
/// package that was never active stays: it was added to be used. So does one that is younger than
/// the oldest kept generation of its name.
pub fn collect(holdings: &Holdings, keep: usize) -> Garbage {
    let needed = |generation: &Generation| {
        *generation == holdings.active
            || *generation == holdings.committed
            || holdings.inhabited.contains(generation)
            || holdings.held.contains(generation)
            || holdings.pinned.contains(generation)
    };
    let recent = recent(holdings.generations.keys(), &holdings.pinned, keep);
    let (kept, gone): (Vec<Generation>, Vec<Generation>) = (holdings.generations.keys())
        .copied()
        .partition(|generation| needed(generation) || recent.contains(generation));
    let packages_of = |generations: &[Generation]| -> BTreeSet<&PackageId> {
        let contents = generations
            .iter()
            .filter_map(|one| holdings.generations.get(one));
        contents.flat_map(|contents| &contents.packages).collect()
    };
    let (used, once) = (packages_of(&kept), packages_of(&gone));
    let packages = holdings
        .packages
        .keys()
        .filter(|id| once.contains(id) && !used.contains(id));
    Garbage {
        packages: packages.cloned().collect(),
        generations: gone,
    }
}

/// The last `keep` of those that are not pinned.
fn recent<'a>(
    all: impl DoubleEndedIterator<Item = &'a Generation>,
    pinned: &BTreeSet<Generation>,
    keep: usize,
) -> BTreeSet<Generation> {
    let free = all.rev().filter(|one| !pinned.contains(one));
    free.take(keep).copied().collect()
}

/// The generations that go when one more is made, unless a process lives in them.
pub(super) fn pushed_out(world: &World) -> Vec<Generation> {
    let next = Generation(world.generations.keys().last().map_or(0, |last| last.0) + 1);
    let all = world.generations.keys().chain([&next]);
    let recent = recent(all, &world.pinned, world.keep);
    let stays = |one: &&Generation| recent.contains(one) || world.pinned.contains(one);
    let gone = world.generations.keys().filter(|one| !stays(one));
    gone.copied().collect()
}

/// The generations that could no longer be gone back to without these packages.
pub fn unreachable_without(
    packages: &BTreeSet<PackageId>,
    generations: &BTreeMap<Generation, KeptGeneration>,
) -> Vec<Generation> {
    let needs = |kept: &KeptGeneration| kept.list.iter().any(|id| packages.contains(id));
    let all = generations.iter().filter(|(_, kept)| needs(kept));
    all.map(|(generation, _)| *generation).collect()
}

/// The objects that stay when `garbage` is gone; every other object in the store may go.
pub fn live_objects(holdings: &Holdings, garbage: &Garbage) -> BTreeSet<Digest> {
    let generations = holdings
        .generations
        .iter()
        .filter(|(n, _)| !garbage.generations.contains(n));
    let packages = holdings
        .packages
        .iter()
        .filter(|(id, _)| !garbage.packages.contains(id));
    let of_generations = generations.flat_map(|(_, contents)| &contents.objects);
    of_generations
        .chain(packages.flat_map(|(_, objects)| objects))
        .copied()
        .collect()
}
