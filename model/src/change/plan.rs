//! What a change would do; `plan --json`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{Generation, PackageName, ProcessName};
use crate::later::Later;
use crate::path::PackagePath;
use crate::process::Kind;

/// Everything a change would do; `plan --json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PlanReport {
    /// The ordered software sets.
    pub set: SetChange,
    /// All files.
    pub files: FileChanges,
    /// The shared libraries among them.
    pub libraries: FileChanges,
    /// Every process of either set, with its verdict.
    pub processes: Later<Vec<ProcessImpact>>,
    /// Why it cannot be activated; empty: it can.
    pub unmet: Vec<Unmet>,
    /// Steps in groups: those of one group may run together.
    pub order: Later<Vec<Vec<String>>>,
    /// What it costs.
    pub bytes: Bytes,
    /// Processes whose state an older version cannot read and that have neither a snapshot nor a way
    /// to migrate back; carrying it out needs `one-way`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub one_way: Vec<ProcessName>,
    /// Kept generations that cannot be gone back to afterwards.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rollback_points_lost: Vec<Generation>,
    /// `NAME=VERSION` of upgrade packages of the new set whose files a newer base contains all of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub superseded: Vec<String>,
    /// What is worth knowing but stops nothing.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// The software set before and after, each `name=version`, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetChange {
    /// The active set.
    pub before: Later<Vec<String>>,
    /// The set after the change.
    pub after: Later<Vec<String>>,
}

/// Changed paths, each list sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileChanges {
    /// Only in the new set.
    pub added: Vec<PackagePath>,
    /// In both, with another signature, mode or owner.
    pub changed: Vec<PackagePath>,
    /// Only in the old set.
    pub removed: Vec<PackagePath>,
    /// In both, with other bytes and the same signature: they keep the object that runs.
    pub rebuilt: Vec<PackagePath>,
}

/// What a change means for one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// New: it is started.
    Start,
    /// Obsolete: it is stopped.
    Stop,
    /// Changed or dependent: it is stopped and started.
    Restart,
    /// Self-Managing or a user of changed files: it is told and handles it.
    Notify,
    /// Not reached, but its package depends on a changed one: its veto counts.
    Ask,
    /// Nothing happens to it.
    None,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Notify => "notify",
            Self::Ask => "ask",
            Self::None => "none",
        })
    }
}

/// One process's verdict and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ProcessImpact {
    /// The process.
    pub name: ProcessName,
    /// The package that exports it.
    pub package: PackageName,
    /// Simple or Self-Managing.
    pub kind: Kind,
    /// What happens to it.
    pub verdict: Verdict,
    /// Reason chains, each from the cause to the process; the shortest first.
    pub because: Vec<Vec<String>>,
}

/// A dependency that the new set would not meet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Unmet {
    /// Who needs it: a package, path or process.
    pub by: String,
    /// What is missing.
    pub needs: String,
    /// What to do.
    pub hint: String,
}

/// Bytes that a change writes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bytes {
    /// Of objects that the new generation adds to the active one.
    pub store: u64,
    /// Of memory that a trial takes: its changed files.
    #[serde(default)]
    pub memory: u64,
    /// Of disk that it takes besides the store's objects: the directories of the new generation,
    /// and files below `/etc`.
    #[serde(default)]
    pub disk: u64,
}
