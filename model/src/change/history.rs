//! Changes of the past.

use serde::{Deserialize, Serialize};

use super::{ChangeReport, Outcome, PlanReport, Request, SetChange};
use crate::ids::{ChangeId, Generation, PackageName, ProcessName};
use crate::transition::Votes;

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

/// Which changes of the history are meant; all fields that are there must agree.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct HistoryFilter {
    /// At most so many, the newest; 0: all.
    #[serde(default)]
    pub limit: u32,
    /// Changes that did something to this process, or asked it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessName>,
    /// Changes in which this package came, went or took another version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<PackageName>,
    /// Changes that ended so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
}

/// All that is known of one change; `history show --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ChangeRecord {
    /// What the list of the history says of it.
    #[serde(flatten)]
    pub entry: HistoryEntry,
    /// The plan that was carried out.
    pub plan: PlanReport,
    /// The answers of those who were asked; absent: nobody was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub votes: Option<Votes>,
    /// The steps of its journal, in order.
    pub steps: Vec<StepRecord>,
}

/// A step of a change's journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StepRecord {
    /// `stage`, `prepare`, `switch`, `config`, `transition`, `persist`, `roll-back` …
    pub step: String,
    /// When it was written that it would be taken, RFC 3339 in UTC.
    pub intended: String,
    /// When it had been taken; absent: the daemon was stopped in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<String>,
}
