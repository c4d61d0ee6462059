//! Whether a set answers what its packages ask of it.

use model::change::Unmet;
use model::manifest::LibraryNeed;
use model::requirement::Requirement;
use rustc_hash::FxHashSet;

use super::answers::Several;
use super::closure::covers;
use super::{Answers, Shelf};
use crate::{Characteristics, Package};

/// A set that can be asked what it provides.
#[derive(Debug)]
pub struct Checked<'a> {
    set: &'a [Package],
    node: &'a Characteristics,
    answers: Answers<'a>,
    libraries: Several<&'a str, &'a LibraryNeed>,
    apis: FxHashSet<&'a str>,
}

/// Every requirement of the set that it does not meet itself. `shelf` is only for the hints.
pub fn check(set: &[Package], shelf: &Shelf, node: &Characteristics) -> Vec<Unmet> {
    let checked = Checked::new(set, node);
    (0..set.len())
        .flat_map(|i| checked.unmet(i, shelf))
        .collect()
}

/// As [`check`], for the packages at these places only.
pub fn check_those(
    set: &[Package],
    those: &[usize],
    shelf: &Shelf,
    node: &Characteristics,
) -> Vec<Unmet> {
    let checked = Checked::new(set, node);
    those
        .iter()
        .flat_map(|&i| checked.unmet(i, shelf))
        .collect()
}

impl<'a> Checked<'a> {
    /// Ready to be asked.
    pub fn new(set: &'a [Package], node: &'a Characteristics) -> Self {
        let manifests: Vec<_> = set.iter().map(|one| &*one.manifest).collect();
        let count = manifests
            .iter()
            .map(|one| one.provides_libraries.len())
            .sum();
        let mut libraries = Several::with_room(count);
        for library in manifests.iter().flat_map(|one| &one.provides_libraries) {
            libraries.put(library.soname.as_str(), library);
        }
        let apis = set
            .iter()
            .flat_map(Package::provides_apis)
            .map(String::as_str)
            .collect();
        Self {
            set,
            node,
            answers: Answers::of(&manifests),
            libraries,
            apis,
        }
    }

    /// Who answers what in this set.
    pub fn answers(&self) -> &Answers<'a> {
        &self.answers
    }

    /// What the package at this place asks for in vain.
    pub fn unmet(&self, at: usize, shelf: &Shelf) -> Vec<Unmet> {
        let package = &self.set[at];
        let by = format!("{} {}", package.id.name, package.manifest.version);
        let mut unmet = Vec::new();
        let mut tell = |needs: String, hint: String| {
            unmet.push(Unmet {
                by: by.clone(),
                needs,
                hint,
            });
        };
        if let Some(machine) = package.manifest.architecture.as_ref()
            && !self.node.runs(machine)
        {
            let hint = format!(
                "this node is {}: add the package built for it",
                self.node.arch
            );
            tell(format!("a node of architecture {machine}"), hint);
        }
        let upgraded = package.manifest.upgrades.iter();
        for need in package.requirements(self.node).chain(upgraded) {
            if !self.answers.has(need) {
                tell(need.to_string(), self.hint(need, shelf));
            }
        }
        for need in &package.manifest.requires_libraries {
            if let Some((needs, hint)) = self.library_lack(need, shelf) {
                tell(needs, hint);
            }
        }
        for (api, file) in package.consumed_apis() {
            if !self.apis.contains(api.as_str()) {
                let hint = "activate the package that provides it in the same command".to_owned();
                tell(
                    format!("API {api}, consumed by {file}, which no package provides"),
                    hint,
                );
            }
        }
        unmet
    }

    fn library_lack(&self, need: &LibraryNeed, shelf: &Shelf) -> Option<(String, String)> {
        let there: Vec<&LibraryNeed> = self.libraries.of(&need.soname.as_str()).collect();
        if there.iter().any(|one| covers(one, need)) {
            return None;
        }
        let hint = match shelf.bringing(need) {
            Some(one) => format!("activate {} too: it brings it", one.id.name_version()),
            None => "add a package that brings it (pkgtool add), or correct the path where the \
                     library stands"
                .to_owned(),
        };
        if there.is_empty() {
            return Some((
                format!("library {}, which no package provides", need.soname),
                hint,
            ));
        }
        let has = |version: &String| there.iter().any(|one| one.versions.contains(version));
        let lacking: Vec<&str> = need
            .versions
            .iter()
            .filter(|version| !has(version))
            .map(String::as_str)
            .collect();
        let what = if lacking.is_empty() {
            need.versions.join(", ")
        } else {
            lacking.join(", ")
        };
        Some((
            format!("symbol version {what} of library {}", need.soname),
            hint,
        ))
    }

    fn hint(&self, need: &Requirement, shelf: &Shelf) -> String {
        let stored = need.alternatives().iter().find_map(|one| shelf.best(one));
        let there = need
            .alternatives()
            .iter()
            .find_map(|one| self.answers.named(&one.name));
        match (stored, there) {
            (Some(stored), Some(there)) => format!(
                "the set has {} {}: activate {} in the same command",
                there.name,
                there.version,
                stored.id.name_version()
            ),
            (Some(stored), None) => {
                format!("activate {} in the same command", stored.id.name_version())
            }
            (None, Some(there)) => format!(
                "the set has {} {}; add a version that is admitted (pkgtool add)",
                there.name, there.version
            ),
            (None, None) => "add a package that answers it (pkgtool add)".to_owned(),
        }
    }
}
