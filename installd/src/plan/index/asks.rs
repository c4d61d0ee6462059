//! Who has what others may ask for, by what they ask for.

use std::hash::Hash;

use model::requirement::Alternative;
use model::{Later, PackageName, Requirement};
use resolve::{Characteristics, Package};
use rustc_hash::{FxHashMap, FxHashSet};

/// Places in the active order by what stands there provides.
#[derive(Debug, Default)]
pub(in crate::plan) struct Asks {
    /// By a name that is provided besides the own one.
    pub(in crate::plan) providers: FxHashMap<PackageName, Vec<u32>>,
    /// By soname.
    pub(in crate::plan) libraries: FxHashMap<String, Vec<u32>>,
    /// By soname those that require it.
    pub(in crate::plan) library_users: FxHashMap<String, Vec<u32>>,
    /// By API.
    pub(in crate::plan) apis: FxHashMap<String, Vec<u32>>,
    /// Whether there is an upgrade package.
    pub(in crate::plan) has_upgrades: bool,
    /// For each package of the order its place in the list as it is kept.
    pub(in crate::plan) list_at: Vec<u32>,
    /// Each package as `name=version`.
    pub(in crate::plan) names: Later<Vec<String>>,
    /// By name what is asked of it, once each.
    pub(in crate::plan) wanted: FxHashMap<PackageName, Vec<Alternative>>,
}

impl Asks {
    /// Of this order; `arranged` are its places in the list.
    pub(super) fn of(order: &[Package], arranged: &[usize], node: &Characteristics) -> Self {
        let place = |at: &usize| u32::try_from(*at).unwrap_or(u32::MAX);
        let mut asks = Self {
            has_upgrades: order.iter().any(|one| one.manifest.upgrades.is_some()),
            list_at: arranged.iter().map(place).collect(),
            names: order
                .iter()
                .map(|one| one.id.name_version())
                .collect::<Vec<_>>()
                .into(),
            wanted: wanted(order, node),
            ..Self::default()
        };
        for (at, one) in (0..).zip(order) {
            one.manifest
                .provides
                .iter()
                .for_each(|name| put(&mut asks.providers, &name.name, at));
            let libraries = one.manifest.provides_libraries.iter();
            libraries.for_each(|library| put(&mut asks.libraries, &library.soname, at));
            let needed = one.manifest.requires_libraries.iter();
            needed.for_each(|need| put(&mut asks.library_users, &need.soname, at));
            one.provides_apis()
                .iter()
                .for_each(|api| put(&mut asks.apis, api, at));
        }
        asks
    }
}

fn wanted(order: &[Package], node: &Characteristics) -> FxHashMap<PackageName, Vec<Alternative>> {
    let mut wanted: FxHashMap<PackageName, Vec<Alternative>> = FxHashMap::default();
    let mut seen = FxHashSet::default();
    let needs = order.iter().flat_map(|one| one.requirements(node));
    for one in needs.flat_map(Requirement::alternatives) {
        if seen.insert(one) {
            wanted
                .entry(one.name.clone())
                .or_default()
                .push(one.clone());
        }
    }
    wanted
}

fn put<K: Clone + Eq + Hash>(to: &mut FxHashMap<K, Vec<u32>>, what: &K, at: u32) {
    to.entry(what.clone()).or_default().push(at);
}
