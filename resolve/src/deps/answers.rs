//! Who in a set answers a requirement.

use std::hash::Hash;

use model::Manifest;
use model::PackageName;
use model::requirement::Requirement;
use rustc_hash::FxHashMap;

/// Several values for a key, without an allocation for each key: sets are indexed for each plan.
#[derive(Debug)]
pub(super) struct Several<K, V> {
    first: FxHashMap<K, u32>,
    /// Each value with the place of the next one of its key.
    values: Vec<(V, Option<u32>)>,
}

impl<K: Eq + Hash, V: Copy> Several<K, V> {
    /// Room for this many values.
    pub(super) fn with_room(values: usize) -> Self {
        let mut first = FxHashMap::default();
        first.reserve(values);
        Self {
            first,
            values: Vec::with_capacity(values),
        }
    }

    /// Adds a value, before those that its key has.
    pub(super) fn put(&mut self, key: K, value: V) {
        let place = u32::try_from(self.values.len()).unwrap_or(u32::MAX);
        let next = self.first.insert(key, place);
        self.values.push((value, next));
    }

    /// The values of a key, the last one that was put first.
    pub(super) fn of<'s>(&'s self, key: &K) -> impl Iterator<Item = V> + use<'s, K, V> {
        let mut next = self.first.get(key).copied();
        std::iter::from_fn(move || {
            let (value, then) = *self.values.get(next? as usize)?;
            next = then;
            Some(value)
        })
    }
}

/// A set's packages by every name that they answer to.
#[derive(Debug)]
pub struct Answers<'a> {
    manifests: Vec<&'a Manifest>,
    by_name: Several<&'a PackageName, usize>,
}

impl<'a> Answers<'a> {
    /// Over these packages; they are known by their place in the list.
    pub fn of(manifests: &[&'a Manifest]) -> Self {
        let mut by_name = Several::with_room(manifests.len());
        // From the end, so that the first of the list comes first.
        for (i, manifest) in manifests.iter().enumerate().rev() {
            for provided in &manifest.provides {
                by_name.put(&provided.name, i);
            }
            by_name.put(&manifest.name, i);
        }
        Self {
            manifests: manifests.to_vec(),
            by_name,
        }
    }

    /// The package at this place.
    pub fn manifest(&self, at: usize) -> &'a Manifest {
        self.manifests[at]
    }

    /// The places of those that answer `need`, by any of its alternatives.
    pub fn to(&self, need: &Requirement) -> Vec<usize> {
        let mut found = Vec::new();
        for one in need.alternatives() {
            let named = self.by_name.of(&&one.name);
            found.extend(named.filter(|&i| self.manifests[i].answers_one(one)));
        }
        found
    }

    /// Whether anything answers `need`.
    pub fn has(&self, need: &Requirement) -> bool {
        need.alternatives().iter().any(|one| {
            let mut named = self.by_name.of(&&one.name);
            named.any(|i| self.manifests[i].answers_one(one))
        })
    }

    /// A package of this name or that provides it, whatever its version.
    pub fn named(&self, name: &PackageName) -> Option<&'a Manifest> {
        self.by_name.of(&name).next().map(|i| self.manifests[i])
    }
}
