//! A change as it is told to people and programs: the plan, its verdicts, the outcome.
//!
//! These are the documents behind `--json` and on the bus; programs rely on their fields.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{ChangeId, Generation, PackageName, ProcessName};
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
            Some((name, version)) => {
                Ok(Self { name: name.parse()?, version: Some(version.parse()?) })
            }
            None => Ok(Self { name: text.parse()?, version: None }),
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
    /// that older one; [0095] "add then remove gives the old set".
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
