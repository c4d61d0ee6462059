//! `package.toml`, read and checked.
//!
//! Nothing stops at the first mistake: each section, and each key in it, is read by itself, so that
//! an author sees everything that is wrong at once, with its line.

mod files;
mod place;
mod salvage;
mod sections;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use model::Manifest;
use model::manifest::Subject;

pub use files::{Destination, FileRule};
pub use place::{Lines, Mistake, Mistakes};

use self::salvage::Reading;

/// A `package.toml`, understood but for the files that it names.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The file itself; sources are relative to its directory.
    pub path: PathBuf,
    /// The package as far as it is declared.
    pub draft: Manifest,
    /// Which files go where.
    pub files: Vec<FileRule>,
    /// Its line numbers.
    pub lines: Lines,
    /// Where each subject is declared, as byte offsets.
    pub places: BTreeMap<Subject, usize>,
}

impl Spec {
    /// The directory that sources are relative to.
    pub fn directory(&self) -> &Path {
        self.path
            .parent()
            .filter(|path| !path.as_os_str().is_empty())
            .unwrap_or(Path::new("."))
    }

    /// The line where `subject` is declared; the first where it is not.
    pub fn line(&self, subject: &Subject) -> usize {
        self.places
            .get(subject)
            .map_or(1, |place| self.lines.of(*place))
    }
}

/// Reads `text`, the contents of the package.toml at `path`.
///
/// # Errors
/// Everything that is wrong with it, in the order of its lines.
pub fn parse(path: &Path, text: &str) -> Result<Spec, Mistakes> {
    let mut reading = Reading::new(text);
    let root = reading.document();
    let parts = sections::read(&mut reading, root);
    let Reading {
        lines, mistakes, ..
    } = reading;
    let places = parts.places;
    match parts.draft {
        Some(draft) if mistakes.is_empty() => Ok(Spec {
            path: path.to_owned(),
            draft,
            files: parts.files,
            lines,
            places,
        }),
        _ => Err(Mistakes::new(path, mistakes)),
    }
}

#[cfg(test)]
mod tests;
