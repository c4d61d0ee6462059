//! Which running processes run something else than what is on the disk now.
//!
//! ```text
//! scan: /proc ─► sights ─► judge: what became of each file ─► report: by unit, with what restarts it
//!        └─ places: the file at a path in a process's root · contents: digest and signature, once
//! ```
//! It needs no package and no daemon of ours. `judge`, `units` and `report` are pure; the
//! others read, and write nothing.
//!
//! What it cannot see: what a process has read and not mapped (scripts, modules, classes,
//! configuration), files that were overwritten in place (the process sees the new bytes already),
//! and the running kernel.

mod contents;
pub mod judge;
mod maps;
mod places;
mod report;
pub mod scan;
pub mod units;

use serde::Serialize;

use self::units::{Owner, Restart};

/// What became of a file that a process runs, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// Another substance is at its path now.
    Changed,
    /// Nothing is at its path now.
    Deleted,
    /// It is not the file at its path, and its bytes could not be read.
    Unknown,
    /// Other bytes of the same substance are at its path now.
    Rebuilt,
    /// A byte-identical copy is at its path now.
    Same,
    /// It was deleted from where programs put files that only they use.
    Temporary,
}

impl How {
    /// In one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Deleted => "deleted",
            Self::Unknown => "unknown",
            Self::Rebuilt => "rebuilt",
            Self::Same => "same",
            Self::Temporary => "temporary",
        }
    }

    /// Whether a restart would make the process run something else.
    pub fn is_drift(self) -> bool {
        matches!(self, Self::Changed | Self::Deleted)
    }
}

/// A file that a process runs and that is not the one at its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The process.
    pub process: Process,
    /// Who restarts it.
    pub owner: Owner,
    /// The path, as in the process's own root.
    pub path: String,
    /// What became of it.
    pub how: How,
    /// How that was told, for people.
    pub reason: String,
}

/// A process.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Process {
    /// Its pid.
    pub pid: u32,
    /// What the kernel calls it.
    pub name: String,
}

/// What was seen of all processes.
#[derive(Debug, Default)]
pub struct Sights {
    /// Processes that were looked at.
    pub looked_at: usize,
    /// Processes that this user may not look at.
    pub unread: usize,
    /// Whether deleted bytes of libraries could be read.
    pub old_bytes: bool,
    /// All files that are not as they were.
    pub findings: Vec<Finding>,
    /// Processes whose scripts cannot be seen.
    pub blind: Vec<(String, Process)>,
}

/// `drift --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// The worst of all groups; absent where nothing was replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub how: Option<How>,
    /// Processes that were looked at.
    pub looked_at: usize,
    /// Processes of other users, which need root to be looked at.
    pub unread: usize,
    /// Whether the old bytes of libraries could be read, which needs root.
    pub old_bytes: bool,
    /// By what restarts them, the worst first.
    pub groups: Vec<Group>,
    /// Programs that run what they read and do not map.
    pub blind: Vec<Blind>,
}

/// Processes that are restarted together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Group {
    /// What they belong to.
    pub owner: Owner,
    /// The worst of its files.
    pub how: How,
    /// What makes them run what is on the disk; absent where nothing has to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart: Option<Restart>,
    /// Their files, the worst first.
    pub files: Vec<DriftedFile>,
}

/// A file that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct DriftedFile {
    /// Where it was mapped from.
    pub path: String,
    /// What became of it.
    pub how: How,
    /// How that was told.
    pub reason: String,
    /// Who runs the old one.
    pub processes: Vec<Process>,
}

/// A program that runs what it reads and does not map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Blind {
    /// The program.
    pub program: String,
    /// Its processes.
    pub processes: Vec<Process>,
}

pub use report::report;
