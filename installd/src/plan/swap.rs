//! The usual change, planned fast: other versions of active packages that require, and answer for
//! others, exactly what the old ones did.
//!
//! Then who depends on whom is as it was, so the order is too, and what was met stays met: only the
//! packages that change places are looked at. Whatever is not plainly so is left to [`super::set`].

use std::collections::BTreeSet;

use model::change::{Action, Request};
use model::manifest::LibraryNeed;
use model::requirement::{Alternative, Requirement};
use model::{Manifest, PackageName};
use resolve::Package;

use super::World;
use super::index::ActiveIndex;
use super::listed::{Listed, Stays};
use super::set::{NewSet, automatic};

/// The set after a request that only puts versions in the place of others; `None`: not so plain.
pub(super) fn swapped(world: &World, request: &Request) -> Option<NewSet> {
    let swaps = Swaps::of(world, request)?;
    if !swaps.are_plain() {
        return None;
    }
    let index = &*world.index;
    let put = |place: &dyn Fn(u32) -> u32| {
        let all = swaps.really().map(|one| (place(one.at), one.new.clone()));
        all.collect()
    };
    let mut set = NewSet {
        list: Listed::swapped(&index.list, put(&|at| index.asks.list_at[at as usize])),
        order: Listed::swapped(&index.order, put(&|at| at)),
        stays: Stays::AllBut(swaps.really().map(|one| one.at).collect()),
        leaving: swaps.really().map(|one| one.old.clone()).collect(),
        ..NewSet::default()
    };
    set.automatic = automatic(world, request, &set);
    Some(set)
}

/// One package of the request, and the one whose place it takes; perhaps the same.
struct Swap<'a> {
    /// The place in the active order.
    at: u32,
    old: &'a Package,
    new: &'a Package,
}

struct Swaps<'a> {
    index: &'a ActiveIndex,
    /// By place.
    all: Vec<Swap<'a>>,
}

impl<'a> Swaps<'a> {
    fn of(world: &'a World, request: &Request) -> Option<Self> {
        let index = &*world.index;
        let mut all: Vec<Swap<'a>> = Vec::new();
        for action in &request.actions {
            let Action::Activate(reference) = action else {
                return None;
            };
            let at = *index.position.get(&reference.name)?;
            let versions = world.store.versions(&reference.name);
            let new = versions
                .iter()
                .rev()
                .find(|one| one.is_meant_by(reference))?;
            all.push(Swap {
                at,
                old: &index.order[at as usize],
                new,
            });
        }
        all.sort_by_key(|one| one.at);
        let twice = all.windows(2).any(|pair| pair[0].at == pair[1].at);
        // An upgrade package has a place of its own beside what it upgrades.
        let upgrades =
            index.asks.has_upgrades || all.iter().any(|one| one.new.manifest.upgrades.is_some());
        (!twice && !upgrades).then_some(Self { index, all })
    }

    fn really(&self) -> impl Iterator<Item = &Swap<'a>> {
        self.all.iter().filter(|one| one.old.id != one.new.id)
    }

    fn are_plain(&self) -> bool {
        let node = &self.index.active().node;
        self.all.iter().all(|one| {
            let manifest = &*one.new.manifest;
            let runs = manifest
                .architecture
                .as_ref()
                .is_none_or(|machine| node.runs(machine));
            runs && self.has_all(one.new)
        }) && self
            .really()
            .all(|one| self.requires_the_same(one) && self.answers_the_same(one))
    }

    /// The package at a place of the new order.
    fn package(&self, at: u32) -> &'a Package {
        match self.all.binary_search_by_key(&at, |one| one.at) {
            Ok(found) => self.all[found].new,
            Err(_) => &self.index.order[at as usize],
        }
    }

    /// Whether the new set has what this package asks for.
    fn has_all(&self, package: &Package) -> bool {
        let node = &self.index.active().node;
        let apis = package.consumed_apis().iter();
        package
            .requirements(node)
            .all(|need| !self.answering(need).is_empty())
            && package
                .manifest
                .requires_libraries
                .iter()
                .all(|need| self.brings(need))
            && apis.map(|(api, _)| api).all(|api| self.provides_api(api))
    }

    /// Places of those that answer, in the new set, sorted.
    fn answering(&self, need: &Requirement) -> Vec<u32> {
        let mut found = Vec::new();
        for one in need.alternatives() {
            let named = self.index.position.get(&one.name);
            let providers = self.index.asks.providers.get(&one.name);
            let swapped = self.all.iter().map(|swap| swap.at);
            let candidates = named
                .into_iter()
                .chain(providers.into_iter().flatten())
                .copied();
            let answers = |at: &u32| self.package(*at).manifest.answers_one(one);
            found.extend(candidates.chain(swapped).filter(answers));
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    fn brings(&self, need: &LibraryNeed) -> bool {
        let places = self
            .index
            .asks
            .libraries
            .get(&need.soname)
            .into_iter()
            .flatten()
            .copied();
        let mut places = places.chain(self.all.iter().map(|swap| swap.at));
        places.any(|at| brings(&self.package(at).manifest, need))
    }

    fn provides_api(&self, api: &String) -> bool {
        let places = self.index.asks.apis.get(api).into_iter().flatten().copied();
        let mut places = places.chain(self.all.iter().map(|swap| swap.at));
        places.any(|at| self.package(at).provides_apis().contains(api))
    }

    /// Whether the same packages answer its requirements as answered the old one's.
    fn requires_the_same(&self, swap: &Swap<'_>) -> bool {
        let node = &self.index.active().node;
        let answering = swap
            .new
            .requirements(node)
            .flat_map(|need| self.answering(need));
        let edges: BTreeSet<usize> = answering
            .filter(|at| *at != swap.at)
            .map(|at| at as usize)
            .collect();
        edges.into_iter().eq(self.index.edges[swap.at as usize]
            .iter()
            .copied()
            .collect::<BTreeSet<_>>())
    }

    /// Whether whoever had something of the old one has it of the new one, and nobody more.
    fn answers_the_same(&self, swap: &Swap<'_>) -> bool {
        let (old, new) = (&*swap.old.manifest, &*swap.new.manifest);
        let libraries = old.provides_libraries.iter().all(|one| brings(new, one));
        let apis = swap
            .old
            .provides_apis()
            .iter()
            .all(|api| swap.new.provides_apis().contains(api));
        let same = |one: &Alternative| old.answers_one(one) == new.answers_one(one);
        libraries
            && apis
            && names(old)
                .chain(names(new))
                .all(|name| self.asked_by(name).all(same))
    }

    /// Everything that is asked of a name in the active set, once each.
    fn asked_by(&self, name: &PackageName) -> impl Iterator<Item = &'a Alternative> {
        self.index.asks.wanted.get(name).into_iter().flatten()
    }
}

fn names(manifest: &Manifest) -> impl Iterator<Item = &PackageName> {
    manifest
        .provides
        .iter()
        .map(|one| &one.name)
        .chain([&manifest.name])
}

fn brings(manifest: &Manifest, need: &LibraryNeed) -> bool {
    manifest.provides_libraries.iter().any(|one| {
        one.soname == need.soname
            && need
                .versions
                .iter()
                .all(|version| one.versions.contains(version))
    })
}
