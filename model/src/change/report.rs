//! How a change went and ended.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Verdict;
use crate::ids::{ChangeId, Generation, ProcessName};

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
    /// Those of `vetoes` that were overridden.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overridden: Vec<ProcessName>,
    /// Whether it is a trial: gone after a reboot unless it is committed.
    #[serde(default)]
    pub trial: bool,
    /// How long each phase took, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<PhaseTime>,
    /// What is true now and should not be: dependencies, left-over mappings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub discrepancies: Vec<String>,
    /// The daemon goes on by itself, because what kept it from the end may pass: the end is in the
    /// history when it is reached.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unfinished: bool,
}

impl ChangeReport {
    /// An end of which nothing more is known yet.
    pub fn new(change: ChangeId, outcome: Outcome, generation: Generation) -> Self {
        Self {
            change,
            outcome,
            generation,
            processes: Vec::new(),
            failure: None,
            detail: None,
            vetoes: Vec::new(),
            overridden: Vec::new(),
            trial: false,
            phases: Vec::new(),
            discrepancies: Vec::new(),
            unfinished: false,
        }
    }
}

/// How long a phase of a change took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PhaseTime {
    /// As in [`Progress`].
    pub phase: String,
    /// When it began, milliseconds since 1970 in UTC.
    pub began_ms: i64,
    /// Microseconds that it took.
    pub took_us: u64,
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
    /// What happened to it, in order of time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub moments: Vec<Moment>,
}

/// Something that happened to a process in a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Moment {
    /// What.
    pub what: What,
    /// When, milliseconds since 1970 in UTC.
    pub at_ms: i64,
}

/// What can happen to a process in a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// It was asked.
    Asked,
    /// It agreed.
    Accepted,
    /// It objected.
    Objected,
    /// It was told to get ready.
    Preparing,
    /// It said *ready and waiting*.
    Waiting,
    /// It got its stop signal.
    Stopping,
    /// It was gone.
    Stopped,
    /// Its program was started.
    Started,
    /// It was ready.
    Ready,
    /// Its health check succeeded.
    Checked,
    /// Its view was moved and it was told *changed*.
    Changed,
    /// It said *done*.
    Done,
    /// It failed; the detail says how.
    Failed,
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
