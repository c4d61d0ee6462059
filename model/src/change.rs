//! A change as it is told to people and programs: the plan, its verdicts, the outcome.
//!
//! These are the documents behind `--json` and on the bus; programs rely on their fields.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, Signature};
use crate::ids::{ChangeId, Generation, PackageId, PackageName, ProcessName};
use crate::manifest::Manifest;
use crate::path::PackagePath;
use crate::process::Kind;
use crate::version::Version;

/// A package as a person names it: `NAME` or `NAME=VERSION`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PackageRef {
    /// The name.
    pub name: PackageName,
    /// The version; the newest in the store where absent.
    pub version: Option<Version>,
}

impl PackageRef {
    /// Whether this manifest is meant.
    pub fn means(&self, manifest: &Manifest) -> bool {
        manifest.name == self.name && self.version.as_ref().is_none_or(|v| *v == manifest.version)
    }
}

impl std::str::FromStr for PackageRef {
    type Err = crate::ids::NameError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((name, version)) => Ok(Self {
                name: name.parse()?,
                version: Some(version.parse()?),
            }),
            None => Ok(Self {
                name: text.parse()?,
                version: None,
            }),
        }
    }
}

impl fmt::Display for PackageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Some(version) => write!(f, "{}={version}", self.name),
            None => self.name.fmt(f),
        }
    }
}

impl TryFrom<String> for PackageRef {
    type Error = crate::ids::NameError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<PackageRef> for String {
    fn from(reference: PackageRef) -> Self {
        reference.to_string()
    }
}

/// One line of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Put it into the software set; another version of the same name leaves.
    Activate(PackageRef),
    /// Take it out. `NAME=VERSION`, where an older version was replaced by this one, goes back to
    /// that older one; \[0095\] "add then remove gives the old set".
    Deactivate(PackageRef),
}

/// A batch of activations and deactivations, one change together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Request {
    /// In the order given.
    pub actions: Vec<Action>,
    /// Override vetoes; they are asked for and recorded all the same.
    #[serde(default)]
    pub force: bool,
    /// Keep the new set though something did not come up.
    #[serde(default)]
    pub keep_on_failure: bool,
}

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
    pub processes: Vec<ProcessImpact>,
    /// Why it cannot be activated; empty: it can.
    pub unmet: Vec<Unmet>,
    /// Steps in groups: those of one group may run together.
    pub order: Vec<Vec<String>>,
    /// What it costs.
    pub bytes: Bytes,
    /// What is worth knowing but stops nothing.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// The software set before and after, each `name=version`, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetChange {
    /// The active set.
    pub before: Vec<String>,
    /// The set after the change.
    pub after: Vec<String>,
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
}

/// How a change ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The new set runs.
    Done,
    /// It did not come up; the old set runs again.
    RolledBack,
    /// A process objected; nothing was touched.
    Vetoed,
    /// It failed; `detail` says what runs.
    Failed,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Done => "done",
            Self::RolledBack => "rolled-back",
            Self::Vetoed => "vetoed",
            Self::Failed => "failed",
        })
    }
}

/// What a failed change left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Failure {
    /// Nothing was touched; the old set runs.
    Unchanged,
    /// The new set runs, as was asked for (`keep-on-failure`), but not all of it came up.
    Kept,
    /// The way back failed too; `status` shows what runs.
    RollbackFailed,
}

/// What a change did; the last line of `activate --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ChangeReport {
    /// Its number in the history.
    pub change: ChangeId,
    /// How it ended.
    pub outcome: Outcome,
    /// The generation that runs now.
    pub generation: Generation,
    /// The processes that it touched or asked.
    pub processes: Vec<ProcessOutcome>,
    /// What a change that `failed` left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Why it did not end with `done`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Every objection, forced over or not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vetoes: Vec<Veto>,
    /// What is true now and should not be: dependencies, left-over mappings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub discrepancies: Vec<String>,
}

/// What became of one process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessOutcome {
    /// The process.
    pub name: ProcessName,
    /// What was done to it; a `notify` that had to be restarted says `restart`.
    pub verdict: Verdict,
    /// Milliseconds from its stop signal to its new program's start; 0 where it kept running.
    pub down_ms: u64,
    /// Milliseconds from its new program's start to ready; for `notify` from told to done.
    pub ready_ms: u64,
    /// What is worth knowing of it: why a `notify` was restarted, why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// An objection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Veto {
    /// Who objects.
    pub process: ProcessName,
    /// Why; never empty.
    pub reason: String,
}

/// A step of a running change, as it is told while it goes on (`Progress` signal).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Progress {
    /// `plan`, `ask`, `stage`, `prepare`, `switch`, `process`, `verify`, `persist`.
    pub phase: String,
    /// For people: `stopping nginx`, `nginx is ready`.
    pub what: String,
    /// Done so far and in all, where the phase counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<(u64, u64)>,
}

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
}

/// The node in one document; `status --json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StatusReport {
    /// The generation that runs; 0: none.
    pub generation: Generation,
    /// The generation that the next boot runs.
    pub committed: Generation,
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
    /// The phase that it is in, as in [`Progress`].
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

/// Why a process, path or package is as it is; `why --json`. One of the three is there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct WhyReport {
    /// Where a process was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<WhyProcess>,
    /// Where a path was named, or a library's file name or soname.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<WhyPath>,
    /// Where a package was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<WhyPackage>,
}

/// What a process is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct WhyProcess {
    /// The process.
    pub name: ProcessName,
    /// `NAME=VERSION` of the package that exports it.
    pub package: String,
    /// Simple or Self-Managing.
    pub kind: Kind,
    /// Every file that it can load or run, sorted by path.
    pub uses: Vec<WhyUse>,
    /// What makes it unsure that this is all: unannotated `dlopen`, for example.
    pub unsure: Vec<String>,
}

/// A file that something uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct WhyUse {
    /// The file.
    pub path: PackagePath,
    /// `NAME=VERSION` of the package that brings it.
    pub package: String,
    /// The chain from the file to its user, as in [`ProcessImpact::because`].
    pub because: Vec<String>,
}

/// Where a path comes from and who uses it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct WhyPath {
    /// The path.
    pub path: PackagePath,
    /// `NAME=VERSION` of the package that wins it.
    pub package: String,
    /// Packages that have it too and lose it, in order of the set.
    pub shadowed: Vec<String>,
    /// Digest of its bytes and signature of its substance, for a regular file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// See `digest`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
    /// Processes that can load or run it, each with a chain.
    pub used_by: Vec<WhyUser>,
}

/// A process that uses a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct WhyUser {
    /// The process.
    pub process: ProcessName,
    /// The chain from the file to it.
    pub because: Vec<String>,
}

/// What a package is in its set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct WhyPackage {
    /// `NAME=VERSION`.
    pub package: String,
    /// Its place in the active set, from 1; absent: not active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<u64>,
    /// `NAME=VERSION: requirement` of every active package that it answers.
    pub required_by: Vec<String>,
    /// Its own requirements with what answers each: `libc6 (>= 2.36) ← libc6=2.36-9`.
    pub requires: Vec<String>,
    /// The processes that it exports.
    pub processes: Vec<ProcessName>,
}

/// A change in the history, newest first; `history --json` is a list of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HistoryEntry {
    /// Its number.
    pub change: ChangeId,
    /// Who asked for it.
    pub by: String,
    /// When it began, RFC 3339 in UTC.
    pub began: String,
    /// When it ended; absent while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// What was asked for.
    pub request: Request,
    /// The software sets.
    pub set: SetChange,
    /// The generation before it.
    pub from: Generation,
    /// Its end; absent while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<ChangeReport>,
}
