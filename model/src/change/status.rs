//! The node, its packages and its processes as they are.

use serde::{Deserialize, Serialize};

use crate::ids::{ChangeId, Generation, PackageId, PackageName, ProcessName};
use crate::trust::Admitted;

/// A supervised process as `ps --json` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ProcessStatus {
    /// The process.
    pub name: ProcessName,
    /// The package that exports it.
    pub package: PackageName,
    /// Main process, in the daemon's pid namespace; absent while it does not run.
    pub pid: Option<u32>,
    /// `starting`, `ready`, `stopping`, `stopped`, `waiting` (to be restarted), `failed`, `done`.
    pub state: String,
    /// The generation that it runs in.
    pub generation: Generation,
    /// When it came into this state, RFC 3339 in UTC.
    pub since: String,
    /// Starts since it was first asked for, without the first.
    pub restarts: u32,
    /// Whether it has registered for changes.
    #[serde(default)]
    pub registered: bool,
    /// `STATUS=` of its last notification, or why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
}

/// A package that `add` has read; `add` answers a list of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AddedPackage {
    /// `NAME=VERSION`.
    pub package: String,
    /// Its identity in the store.
    pub id: PackageId,
    /// `false`: the store had it already.
    pub new: bool,
    /// On whose word it was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admitted: Option<Admitted>,
}

/// A package in the store; `list --json` is a list of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StoredPackage {
    /// `NAME=VERSION`.
    pub package: String,
    /// Its identity in the store.
    pub id: PackageId,
    /// Whether it is in the software set that runs.
    pub active: bool,
    /// Bytes of its files, as its manifest has them (contents that packages share count in each).
    pub size: u64,
    /// One line for people.
    pub summary: String,
    /// When it was added, RFC 3339 in UTC.
    pub added: String,
    /// On whose word it was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admitted: Option<Admitted>,
    /// Why it cannot be activated any more: the key that it rests on is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<String>,
}

/// The node in one document; `status --json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StatusReport {
    /// The generation that runs; 0: none.
    pub generation: Generation,
    /// The generation that the next boot runs.
    pub committed: Generation,
    /// Whether what runs is a trial, gone after a reboot unless it is committed.
    #[serde(default)]
    pub trial: bool,
    /// Where `rollback` without a number goes; absent: there is nothing to go back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub way_back: Option<Generation>,
    /// `NAME=VERSION` of every active package, in order.
    pub active: Vec<String>,
    /// The change that is going on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<RunningChange>,
    /// What is true and should not be.
    pub discrepancies: Vec<String>,
    /// Generations that can be gone back to, the running one among them, newest first.
    pub generations: Vec<GenerationStatus>,
    /// Supervised processes.
    pub processes: Vec<ProcessStatus>,
    /// Whether sysmgrd answers; without it `processes` is empty.
    pub sysmgrd: bool,
    /// Bytes and counts of the store.
    pub store: StoreStatus,
}

/// A change that is going on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RunningChange {
    /// Its number.
    pub change: ChangeId,
    /// Who asked for it: `root (pid 4711)`.
    pub by: String,
    /// When it began, RFC 3339 in UTC.
    pub since: String,
    /// The phase that it is in, as in [`super::Progress`].
    pub phase: String,
}

/// A generation that stands on the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct GenerationStatus {
    /// Its number.
    pub generation: Generation,
    /// When its set was put together, RFC 3339 in UTC.
    pub created: String,
    /// `NAME=VERSION` of its packages, in order.
    pub set: Vec<String>,
    /// Processes that live in it.
    pub processes: Vec<ProcessName>,
    /// Whether it is kept until it is unpinned.
    #[serde(default)]
    pub pinned: bool,
    /// Whether it is a trial.
    #[serde(default)]
    pub trial: bool,
}

/// What the store holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StoreStatus {
    /// Packages.
    pub packages: u64,
    /// Objects: each content once for each mode, owner, group and set of capabilities.
    pub objects: u64,
    /// Bytes of all objects.
    pub bytes: u64,
}
