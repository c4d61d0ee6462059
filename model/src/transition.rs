//! What installd tells sysmgrd: who must be asked, who must get ready, and the next state.
//!
//! The four lists are the source document's \[0163\]: new, obsolete, changed, dependent; the fifth
//! holds the processes that are told and handle the change themselves \[0162\].

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::change::{Moment, ProcessOutcome, Verdict, Veto};
use crate::ids::{ChangeId, Generation, PackageName, ProcessName};
use crate::path::PackagePath;
use crate::process::{CommandLine, ProcessSpec};

/// A generation's tree as views are made of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Tree {
    /// Its number.
    pub generation: Generation,
    /// The directory that holds `usr`, and `opt` where packages use it; absolute.
    pub root: PathBuf,
}

/// A process to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Wanted {
    /// How to run it.
    pub spec: ProcessSpec,
    /// The package that exports it.
    pub package: PackageName,
}

/// A shared library that a change replaces, as a process needs it to find its own mappings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ChangedFile {
    /// Where it is in the view, before and after.
    pub path: PackagePath,
    /// Device and inode of the old object; absent for an added file.
    pub old: Option<(u64, u64)>,
    /// Device and inode of the new object; absent for a removed file.
    pub new: Option<(u64, u64)>,
    /// Whether it is a shared library.
    pub library: bool,
}

/// What a change is, as it is told to processes that are asked or told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Announcement {
    /// The change.
    pub change: ChangeId,
    /// `name=version` of every package that enters.
    pub entering: Vec<String>,
    /// `name=version` of every package that leaves.
    pub leaving: Vec<String>,
    /// Files that differ by signature.
    pub files: Vec<ChangedFile>,
}

/// Processes to be asked. Answered with [`Votes`] when all have answered or the time is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Ask {
    /// What changes.
    pub announcement: Announcement,
    /// Milliseconds until silence is a veto.
    pub timeout_ms: u64,
    /// Milliseconds that a process may get beyond that when it asks for more time, once.
    #[serde(default)]
    pub more_time_ms: u64,
    /// What would happen to each process that is to be asked, with its shortest reason chain.
    /// Registered processes that are not in it are told with [`Verdict::None`].
    pub asked: Vec<Asked>,
}

/// One process's part in a question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Asked {
    /// Who.
    pub process: ProcessName,
    /// What would happen to it.
    pub verdict: Verdict,
    /// Why.
    pub because: Vec<Vec<String>>,
}

/// The answers to [`Ask`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Votes {
    /// Who objects.
    pub vetoes: Vec<Veto>,
    /// Those of `vetoes` who have only asked for more time than there is, in milliseconds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub later: Vec<(ProcessName, u64)>,
    /// Who agreed, by an answer.
    pub accepted: Vec<ProcessName>,
    /// Processes that the plan did not reach and that say they are.
    pub also_reached: Vec<ProcessName>,
    /// When each was asked and answered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub moments: Vec<(ProcessName, Moment)>,
}

/// "Going to change": registered processes get ready and wait. Answered with [`Prepared`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Prepare {
    /// What changes, with the devices and inodes of staged objects.
    pub announcement: Announcement,
    /// Milliseconds for each level.
    pub timeout_ms: u64,
    /// Those that hold the change up, level by level, dependents first.
    pub levels: Vec<Vec<ProcessName>>,
}

/// The answers to [`Prepare`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Prepared {
    /// Those that did not say *ready and waiting*, with the reason.
    pub not_ready: Vec<Veto>,
    /// When each was told and was ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub moments: Vec<(ProcessName, Moment)>,
}

/// The next state. Answered with [`TransitionReport`] when the machine is stable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Transition {
    /// The change.
    pub change: ChangeId,
    /// The tree that started and moved processes get.
    pub tree: Tree,
    /// Processes to start.
    pub new: Vec<Wanted>,
    /// Processes to stop.
    pub obsolete: Vec<ProcessName>,
    /// Processes whose own program or declaration differs: stopped and started, of either kind.
    pub changed: Vec<Wanted>,
    /// Simple processes that depend on a changed library: stopped and started.
    pub dependent: Vec<Wanted>,
    /// Processes that handle it themselves: moved into the tree, told *changed*, awaited until *done*.
    pub told: Vec<Told>,
    /// What is done to the state of processes before they are started.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub state: BTreeMap<ProcessName, StateAct>,
    /// Milliseconds for which a started process must stay up after it is ready, before the answer.
    #[serde(default)]
    pub settling_ms: u64,
    /// Device and inode of every replaced file: none of the processes that are started or told may
    /// have one of them mapped afterwards, and whether one has is in the answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stale: Vec<(u64, u64)>,
}

/// What is done to a process's state directories after its old program has ended and before its
/// new one starts. Each can be taken twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct StateAct {
    /// The state version that they are in; `STATE_FROM` of the program.
    pub from: u32,
    /// The state version that they are to be in; `STATE_TO` of the program.
    pub to: u32,
    /// Where they are copied to, before anything else; a copy that is there already stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<PathBuf>,
    /// The copy that is put back then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore: Option<PathBuf>,
    /// The copy that is put back where it is there: that of a change which is taken back, and which
    /// may have ended before it touched the state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub take_back: Option<PathBuf>,
    /// The program that rewrites them, run as the process's user; empty: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: CommandLine,
    /// The tree whose view the program runs in.
    pub tree: Tree,
    /// Milliseconds that the program may take.
    pub timeout_ms: u64,
}

/// A process that handles a change itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Told {
    /// How to run it, should it have to be restarted.
    pub wanted: Wanted,
    /// Whether it holds the change up until it says *done*.
    pub reached: bool,
    /// Milliseconds until silence means a restart.
    pub timeout_ms: u64,
}

/// What became of a [`Transition`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TransitionReport {
    /// Every process of the lists.
    pub processes: Vec<ProcessOutcome>,
    /// Those that are not where they should be, with the reason and the last lines they wrote.
    pub failed: Vec<Veto>,
    /// Who of them has a file of [`Transition::stale`] mapped all the same; absent: nobody looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub still_mapped: Option<Vec<StillMapped>>,
}

/// A replaced file that a process of a transition has mapped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct StillMapped {
    /// The supervised process.
    pub process: ProcessName,
    /// The process of its control group.
    pub pid: u32,
    /// Device and inode.
    pub file: (u64, u64),
}

/// The end of a change for those who were told of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Ended {
    /// The change.
    pub change: ChangeId,
    /// `false`: it was aborted, nothing changed.
    pub completed: bool,
    /// For people.
    pub detail: String,
}
