//! Who in a set answers a requirement.

use model::Manifest;
use model::PackageName;
use model::requirement::Requirement;
use rustc_hash::FxHashMap;

/// A set's packages by every name that they answer to.
#[derive(Debug)]
pub struct Answers<'a> {
    manifests: Vec<&'a Manifest>,
    by_name: FxHashMap<&'a PackageName, Vec<usize>>,
}

impl<'a> Answers<'a> {
    /// Over these packages; they are known by their place in the list.
    pub fn of(manifests: &[&'a Manifest]) -> Self {
        let mut by_name: FxHashMap<&PackageName, Vec<usize>> = FxHashMap::default();
        for (i, manifest) in manifests.iter().enumerate() {
            by_name.entry(&manifest.name).or_default().push(i);
            for provided in &manifest.provides {
                by_name.entry(&provided.name).or_default().push(i);
            }
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
            let named = self.by_name.get(&one.name).into_iter().flatten().copied();
            found.extend(named.filter(|&i| self.manifests[i].answers_one(one)));
        }
        found
    }

    /// Whether anything answers `need`.
    pub fn has(&self, need: &Requirement) -> bool {
        need.alternatives().iter().any(|one| {
            let named = self.by_name.get(&one.name).into_iter().flatten();
            named
                .into_iter()
                .any(|&i| self.manifests[i].answers_one(one))
        })
    }

    /// Packages of this name or that provide it, whatever their version.
    pub fn named(&self, name: &PackageName) -> impl Iterator<Item = &'a Manifest> {
        self.by_name
            .get(name)
            .into_iter()
            .flatten()
            .map(|&i| self.manifests[i])
    }
}
