//! What differs between the files of two versions.

use std::collections::{BTreeMap, BTreeSet};

use model::Manifest;
use model::digest::Digest;
use model::elf::{Difference, Part, Verdict, explain};
use model::manifest::{FileEntry, Node, RegularFile};
use model::mapped::Mapped;
use model::path::PackagePath;
use serde::Serialize;

use super::super::contents::Contents;
use crate::outcome::CommandError;
use crate::render::bytes;

/// The paths that differ.
#[derive(Debug, Default, Serialize)]
pub(in super::super) struct FileChanges {
    pub(in super::super) added: Vec<String>,
    pub(in super::super) removed: Vec<String>,
    /// The substance is another one.
    pub(in super::super) changed: Vec<FileChange>,
    /// Other bytes, the same substance.
    pub(in super::super) rebuilt: Vec<String>,
    /// The same bytes; mode, owner, type or what else is said of them is another one.
    pub(in super::super) described: Vec<FileChange>,
}

/// A path with what differs there.
#[derive(Debug, Serialize)]
pub(in super::super) struct FileChange {
    pub(in super::super) path: String,
    pub(in super::super) why: String,
}

/// The bytes of those ELF files of which the substance changed, in files for a while.
pub(super) struct Reading(tempfile::TempDir);

impl Reading {
    /// Reads each envelope once more for the objects that must be compared byte by byte.
    pub(super) fn new(old: &Contents, new: &Contents) -> Result<Self, CommandError> {
        let mut wanted = (BTreeSet::new(), BTreeSet::new());
        for before in &old.packages {
            let same =
                |after: &&model::envelope::ReadPackage| after.manifest.name == before.manifest.name;
            let Some(after) = new.packages.iter().find(same) else {
                continue;
            };
            for (one, two) in changed_elf(&before.manifest, &after.manifest) {
                wanted.0.insert(one.digest);
                wanted.1.insert(two.digest);
            }
        }
        let directory = tempfile::tempdir()?;
        old.extract(&wanted.0, directory.path())?;
        new.extract(&wanted.1, directory.path())?;
        Ok(Self(directory))
    }

    fn bytes(&self, digest: Digest) -> Result<Mapped, CommandError> {
        Ok(Mapped::open(&self.0.path().join(digest.to_string()))?)
    }
}

type Entries<'a> = BTreeMap<&'a PackagePath, &'a FileEntry>;

fn entries(manifest: &Manifest) -> Entries<'_> {
    manifest
        .files
        .iter()
        .map(|entry| (&entry.path, entry))
        .collect()
}

fn changed_elf<'a>(
    old: &'a Manifest,
    new: &'a Manifest,
) -> Vec<(&'a RegularFile, &'a RegularFile)> {
    let after = entries(new);
    let pair = |entry: &'a FileEntry| match (&entry.node, &after.get(&entry.path)?.node) {
        (Node::File(one), Node::File(two))
            if one.signature != two.signature && one.elf.is_some() && two.elf.is_some() =>
        {
            Some((&**one, &**two))
        }
        _ => None,
    };
    old.files.iter().filter_map(pair).collect()
}

pub(super) fn compare(
    old: &Manifest,
    new: &Manifest,
    reading: &Reading,
) -> Result<FileChanges, CommandError> {
    let (before, after) = (entries(old), entries(new));
    let only = |one: &Entries<'_>, other: &Entries<'_>| {
        one.keys()
            .filter(|path| !other.contains_key(*path))
            .map(ToString::to_string)
            .collect()
    };
    let mut changes = FileChanges {
        added: only(&after, &before),
        removed: only(&before, &after),
        ..FileChanges::default()
    };
    for (path, one) in &before {
        if let Some(two) = after.get(path).filter(|two| **two != *one) {
            changes.entry(one, two, reading)?;
        }
    }
    Ok(changes)
}

impl FileChanges {
    fn entry(
        &mut self,
        one: &FileEntry,
        two: &FileEntry,
        reading: &Reading,
    ) -> Result<(), CommandError> {
        let path = one.path.to_string();
        let (Node::File(before), Node::File(after)) = (&one.node, &two.node) else {
            let why = format!("{} → {}", node(&one.node), node(&two.node));
            self.changed.push(FileChange { path, why });
            return Ok(());
        };
        if before.signature != after.signature {
            let why = substance(before, after, reading)?;
            self.changed.push(FileChange { path, why });
        } else if before.digest != after.digest {
            self.rebuilt.push(path);
        } else {
            self.described.push(FileChange {
                path,
                why: described(one, two),
            });
        }
        Ok(())
    }
}

fn node(node: &Node) -> String {
    match node {
        Node::File(_) => "file".to_owned(),
        Node::Link { target } => format!("link to {target}"),
        Node::Directory => "directory".to_owned(),
    }
}

fn described(one: &FileEntry, two: &FileEntry) -> String {
    let mut parts = Vec::new();
    if one.mode != two.mode {
        parts.push(format!("mode {:04o} → {:04o}", one.mode, two.mode));
    }
    for (what, one, two) in [
        ("owner", &one.owner, &two.owner),
        ("group", &one.group, &two.group),
    ] {
        if one != two {
            let name = |name: &Option<String>| name.clone().unwrap_or_else(|| "root".to_owned());
            parts.push(format!("{what} {} → {}", name(one), name(two)));
        }
    }
    if parts.is_empty() {
        parts.push("what is said of it".to_owned());
    }
    parts.join(", ")
}

fn substance(
    before: &RegularFile,
    after: &RegularFile,
    reading: &Reading,
) -> Result<String, CommandError> {
    if before.elf.is_none() || after.elf.is_none() {
        return Ok(format!("{} → {}", bytes(before.size), bytes(after.size)));
    }
    let (one, two) = (reading.bytes(before.digest)?, reading.bytes(after.digest)?);
    Ok(why(&explain(&one, &two)))
}

fn why(difference: &Difference) -> String {
    let names: Vec<&str> = difference
        .parts
        .iter()
        .map(|part| part.name.as_str())
        .collect();
    match difference.verdict {
        Verdict::Identical => "nothing".to_owned(),
        Verdict::Rebuilt => "only rebuilt".to_owned(),
        Verdict::PathsAndDates => {
            let strings = difference
                .parts
                .iter()
                .find_map(|part: &Part| part.text.as_ref());
            let example =
                strings.map_or_else(String::new, |(one, two)| format!(" ({one:?} → {two:?})"));
            format!("differs only in strings that look like paths or dates{example}")
        }
        Verdict::Substance => match names.len() {
            0..=6 => format!("differs in {}", names.join(", ")),
            more => {
                let first = names.get(..5).unwrap_or_default().join(", ");
                format!("differs in {first} and {} more parts", more - 5)
            }
        },
    }
}
