//! Whether a manifest makes sense by itself: all that is wrong with it, at once.
//!
//! Whatever crosses a boundary is checked here again, so a store that takes a manifest may rely on
//! these rules. Nothing outside the manifest is looked at.
//!
//! **Set-uid and set-gid files** are allowed where the manifest's `mode` says so: the manifest is
//! what is signed and shown. `pkgtool build` puts such a mode there only when `package.toml` spells
//! it out for that file; a set-id bit that a source file happens to have is refused.

use std::collections::BTreeMap;
use std::fmt;

use super::{FORMAT, FileEntry, Manifest, RequiresRemote};
use crate::ids::ProcessName;
use crate::path::PackagePath;

mod files;
mod processes;
mod setup;

/// What a problem is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// The package as such.
    Package,
    /// One of its paths.
    File(PackagePath),
    /// One of its processes.
    Process(ProcessName),
    /// The annotation for this file.
    Dlopen(PackagePath),
    /// Its set-up.
    Setup,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Package => f.write_str("the package"),
            Self::File(path) => path.fmt(f),
            Self::Process(name) => write!(f, "process {name}"),
            Self::Dlopen(path) => write!(f, "dlopen of {path}"),
            Self::Setup => f.write_str("setup"),
        }
    }
}

/// One thing that is wrong with a manifest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// What it is about.
    pub subject: Subject,
    /// What is wrong and what would be right.
    pub reason: String,
}

impl Problem {
    /// A problem in words.
    pub fn new(subject: Subject, reason: impl Into<String>) -> Self {
        Self {
            subject,
            reason: reason.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.reason)
    }
}

/// All that is wrong with a manifest; empty: it may be stored and planned with.
pub fn check(manifest: &Manifest) -> Vec<Problem> {
    let files: Files<'_> = manifest
        .files
        .iter()
        .map(|entry| (&entry.path, entry))
        .collect();
    let mut found = Found::default();
    package(manifest, &mut found);
    files::check(manifest, &files, &mut found);
    processes::check(manifest, &files, &mut found);
    setup::check(manifest, &files, &mut found);
    found.0
}

type Files<'a> = BTreeMap<&'a PackagePath, &'a FileEntry>;

/// Problems as they are found.
#[derive(Debug, Default)]
struct Found(Vec<Problem>);

impl Found {
    fn add(&mut self, subject: Subject, reason: impl Into<String>) {
        self.0.push(Problem::new(subject, reason));
    }

    fn unless(&mut self, holds: bool, subject: &Subject, reason: impl FnOnce() -> String) {
        if !holds {
            self.add(subject.clone(), reason());
        }
    }
}

fn package(manifest: &Manifest, found: &mut Found) {
    let subject = Subject::Package;
    found.unless((1..=FORMAT).contains(&manifest.format), &subject, || {
        format!(
            "format {} is unknown; this program knows up to {FORMAT}",
            manifest.format
        )
    });
    if let Some(upgrades) = &manifest.upgrades {
        let [one] = upgrades.alternatives() else {
            return found.add(subject, "'upgrades' names exactly one package");
        };
        found.unless(one.name != manifest.name, &subject, || {
            "'upgrades' names another package than itself".to_owned()
        });
    }
    for remote in &manifest.requires_remote {
        requires_remote(remote, found);
    }
}

fn requires_remote(remote: &RequiresRemote, found: &mut Found) {
    let number = || {
        remote
            .quantity
            .parse::<u32>()
            .is_ok_and(|number| number > 0)
    };
    let quantity = matches!(remote.quantity.as_str(), "all" | "any") || number();
    found.unless(quantity, &Subject::Package, || {
        format!(
            "quantity {:?} is not all, any or a number above 0",
            remote.quantity
        )
    });
    let scope = matches!(remote.scope.as_str(), "fleet" | "location");
    found.unless(scope, &Subject::Package, || {
        format!("scope {:?} is not fleet or location", remote.scope)
    });
}

/// Whether `text` may name a user or group: as useradd has it, or a number.
fn is_account(text: &str) -> bool {
    let head = text
        .bytes()
        .next()
        .is_some_and(|c| c.is_ascii_alphanumeric() || c == b'_');
    let tail = |c: u8| c.is_ascii_alphanumeric() || b"_.-".contains(&c);
    head && text.len() <= 32 && text.strip_suffix('$').unwrap_or(text).bytes().all(tail)
}

/// Whether `text` is an access mode in octal.
fn is_octal_mode(text: &str) -> bool {
    let digits = !text.is_empty() && text.bytes().all(|c| (b'0'..=b'7').contains(&c));
    digits && u32::from_str_radix(text, 8).is_ok_and(|mode| mode <= 0o7777)
}

/// Whether `text` is an absolute path without `.`, `..`, empty parts or control characters.
fn is_absolute(text: &str) -> bool {
    text.strip_prefix('/').is_some_and(is_relative) || text == "/"
}

/// Whether `text` is a relative path without `.`, `..`, empty parts or control characters.
fn is_relative(text: &str) -> bool {
    let part = |part: &str| !matches!(part, "" | "." | "..") && part.len() <= 255;
    text.len() <= 4095 && !text.bytes().any(|c| c < b' ' || c == 0x7f) && text.split('/').all(part)
}

#[cfg(test)]
mod tests;
