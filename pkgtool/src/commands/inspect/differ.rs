//! What differs between two package files.

mod files;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use model::envelope::ReadPackage;
use model::process::ProcessSpec;
use model::{Manifest, PackageName};
use serde::Serialize;

use self::files::FileChanges;
use super::contents::Contents;
use crate::outcome::CommandError;

pub(super) use words::text;

/// What differs; `--json` shows it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Packages that differ, by name.
    pub(super) packages: Vec<PackageChange>,
    /// Packages that are the same in both.
    pub(super) same: Vec<String>,
}

/// How one package differs.
#[derive(Debug, Default, Serialize)]
pub(super) struct PackageChange {
    pub(super) name: String,
    /// `None`: only in the new file.
    pub(super) old: Option<String>,
    /// `None`: only in the old file.
    pub(super) new: Option<String>,
    pub(super) requires: Change,
    pub(super) libraries: LibraryChanges,
    pub(super) processes: ProcessChanges,
    pub(super) files: FileChanges,
}

/// Texts that came and went.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Change {
    pub(super) added: Vec<String>,
    pub(super) removed: Vec<String>,
}

impl Change {
    pub(super) fn of(old: &BTreeSet<String>, new: &BTreeSet<String>) -> Self {
        let only = |one: &BTreeSet<String>, other| one.difference(other).cloned().collect();
        Self {
            added: only(new, old),
            removed: only(old, new),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty()
    }
}

#[derive(Debug, Default, Serialize)]
pub(super) struct LibraryChanges {
    pub(super) requires: Change,
    pub(super) provides: Change,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct ProcessChanges {
    #[serde(flatten)]
    pub(super) change: Change,
    /// Which fields of which process have another value.
    pub(super) changed: BTreeMap<String, Vec<String>>,
}

/// Compares package by package, by name.
pub(super) fn compare(old: &Contents, new: &Contents) -> Result<Report, CommandError> {
    let (before, after) = (by_name(old), by_name(new));
    let names: BTreeSet<&PackageName> = before.keys().chain(after.keys()).copied().collect();
    let mut report = Report {
        packages: Vec::new(),
        same: Vec::new(),
    };
    let reading = files::Reading::new(old, new)?;
    for name in names {
        match (before.get(name), after.get(name)) {
            (Some(one), Some(two)) if one.id == two.id => {
                report.same.push(one.id.name_version());
            }
            (Some(one), Some(two)) => {
                report
                    .packages
                    .push(changed(&one.manifest, &two.manifest, &reading)?);
            }
            (one, two) => {
                let version = |package: Option<&&ReadPackage>| {
                    package.map(|package| package.manifest.version.to_string())
                };
                report.packages.push(PackageChange {
                    name: name.to_string(),
                    old: version(one),
                    new: version(two),
                    ..PackageChange::default()
                });
            }
        }
    }
    Ok(report)
}

fn by_name(contents: &Contents) -> BTreeMap<&PackageName, &ReadPackage> {
    contents
        .packages
        .iter()
        .map(|package| (&package.manifest.name, package))
        .collect()
}

fn changed(
    old: &Manifest,
    new: &Manifest,
    reading: &files::Reading,
) -> Result<PackageChange, CommandError> {
    let sonames = |needs: &[model::manifest::LibraryNeed]| -> BTreeSet<String> {
        let one = |need: &model::manifest::LibraryNeed| {
            let versions = need
                .versions
                .iter()
                .map(|version| format!("{} {version}", need.soname));
            std::iter::once(need.soname.clone())
                .chain(versions)
                .collect::<Vec<_>>()
        };
        needs.iter().flat_map(one).collect()
    };
    Ok(PackageChange {
        name: new.name.to_string(),
        old: Some(old.version.to_string()),
        new: Some(new.version.to_string()),
        requires: Change::of(&requires(old), &requires(new)),
        libraries: LibraryChanges {
            requires: Change::of(
                &sonames(&old.requires_libraries),
                &sonames(&new.requires_libraries),
            ),
            provides: Change::of(
                &sonames(&old.provides_libraries),
                &sonames(&new.provides_libraries),
            ),
        },
        processes: processes(old, new)?,
        files: files::compare(old, new, reading)?,
    })
}

fn requires(manifest: &Manifest) -> BTreeSet<String> {
    manifest.requires.iter().map(ToString::to_string).collect()
}

fn processes(old: &Manifest, new: &Manifest) -> Result<ProcessChanges, CommandError> {
    let named = |manifest: &Manifest| -> BTreeMap<String, ProcessSpec> {
        let pair = |one: &ProcessSpec| (one.name.to_string(), one.clone());
        manifest.processes.iter().map(pair).collect()
    };
    let (before, after) = (named(old), named(new));
    let names = |processes: &BTreeMap<String, ProcessSpec>| processes.keys().cloned().collect();
    let mut changes = ProcessChanges {
        change: Change::of(&names(&before), &names(&after)),
        changed: BTreeMap::new(),
    };
    for (name, one) in &before {
        if let Some(two) = after.get(name).filter(|two| *two != one) {
            changes.changed.insert(name.clone(), fields(one, two)?);
        }
    }
    Ok(changes)
}

/// Names of the fields that differ, as the manifest has them.
fn fields(one: &ProcessSpec, two: &ProcessSpec) -> Result<Vec<String>, CommandError> {
    let object = |process: &ProcessSpec| -> Result<_, CommandError> {
        let value = serde_json::to_value(process)?;
        Ok(value.as_object().cloned().unwrap_or_default())
    };
    let (one, two) = (object(one)?, object(two)?);
    let keys: BTreeSet<&String> = one.keys().chain(two.keys()).collect();
    Ok(keys
        .into_iter()
        .filter(|key| one.get(*key) != two.get(*key))
        .cloned()
        .collect())
}
