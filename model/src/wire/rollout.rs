//! Updates: what is asked for, how it is to go, and how it stands.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Counter, FleetName, NodeName, Objection, Selector, StorePolicy, Tally};
use crate::change::{ChangeReport, PackageRef};
use crate::digest::Digest;
use crate::ids::PackageName;
use crate::trust::Signed;

/// An update's number, one for the whole fleet, never used again.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct RolloutId(pub u64);

impl fmt::Display for RolloutId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What an operator asks for: `POST /v1/updates`, or `/v1/plan` to see it only.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Update {
    /// Which nodes; empty: those that the image names, or all whose assigned software differs from
    /// what is wanted.
    pub nodes: Selector,
    /// An image that was imported, by its name: its packages, nodes and assignments.
    pub image: Option<String>,
    /// Packages that the nodes get besides what is assigned.
    pub packages: Vec<PackageRef>,
    /// Packages that leave; needs an operator's signature.
    pub remove: Vec<PackageName>,
    /// Back to what each node ran before this update.
    pub back_from: Option<RolloutId>,
    /// How it is to go.
    pub strategy: Strategy,
    /// Put an unfinished update of the same nodes aside.
    pub supersede: Option<RolloutId>,
    /// A repeated request with the same key starts nothing twice.
    pub idempotency_key: Option<String>,
    /// Why, for the audit log and for those who are asked.
    pub reason: String,
}

/// How an update is to go.
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent switches, as on the command line"
)]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Strategy {
    /// Milliseconds that nodes have to vote.
    pub vote_timeout_ms: u64,
    /// What to do about nodes that are away.
    pub absent: Absent,
    /// The parts, one after another.
    pub waves: Waves,
    /// Milliseconds between the end of a wave and the next.
    pub soak_ms: u64,
    /// Stop when more nodes than this have failed.
    pub most_failed: Option<u32>,
    /// Stop when more than this many of a hundred nodes have failed, once `sample` have ended.
    pub most_failed_percent: Option<u8>,
    /// Nodes that must have ended before a percentage counts.
    pub sample: u32,
    /// Take back what was done when it stops.
    pub take_back: bool,
    /// All nodes of the update at one moment.
    pub together: bool,
    /// Milliseconds that a node waits, ready, for the others.
    pub go_timeout_ms: u64,
    /// Milliseconds within which a node must be back in contact after its switch.
    pub contact_timeout_ms: u64,
    /// Nodes stay in trial until `fleet commit` or `fleet rollback`.
    pub trial: bool,
    /// A program of the new set to run once in the trial.
    pub check: Vec<String>,
    /// Objects are fetched before the vote.
    pub prefetch: bool,
    /// `HH:MM-HH:MM`, in the node's own time.
    pub window: Option<String>,
    /// Another operator has to agree before anything is done.
    pub second_person: bool,
    /// Go on though a process's state cannot be taken back.
    pub one_way: bool,
    /// What nodes keep of it; absent: what is assigned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<StorePolicy>,
}

impl Default for Strategy {
    fn default() -> Self {
        Self {
            vote_timeout_ms: 60_000,
            absent: Absent::Hold,
            waves: Waves::default(),
            soak_ms: 0,
            most_failed: Some(0),
            most_failed_percent: None,
            sample: 5,
            take_back: false,
            together: false,
            go_timeout_ms: 30_000,
            contact_timeout_ms: 60_000,
            trial: false,
            check: Vec::new(),
            prefetch: false,
            window: None,
            second_person: false,
            one_way: false,
            store: None,
        }
    }
}

/// What to do about nodes that are not connected when they are asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Absent {
    /// Wait for them until the vote's deadline; then the operator decides.
    #[default]
    Hold,
    /// Leave them out; they are asked when they return.
    Skip,
    /// Nothing is done.
    Abort,
}

/// The parts of an update.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Waves {
    /// All at once.
    #[default]
    One,
    /// So many first, then so many percent of all (each number counts those before), by a shuffle of
    /// this update.
    Percent {
        /// Nodes of the first wave.
        canary: u32,
        /// For example 10, 50, 100; the last is taken as 100.
        steps: Vec<u8>,
    },
    /// One location after another.
    Locations,
}

/// Where an update is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// It waits for another operator's agreement.
    Approval,
    /// Nodes plan and vote; nothing is touched.
    Asking,
    /// Not all accept: an operator decides.
    Held,
    /// A wave is on its way.
    Rolling,
    /// A wave is done; the next waits.
    Soaking,
    /// More failed than may; an operator decides.
    Stopped,
    /// What was done is being taken back.
    TakingBack,
    /// All that take part run it as a trial.
    Trial,
    /// It ended; every node that takes part runs what it is to run.
    Done,
    /// It ended, and nothing was touched.
    Aborted,
    /// It ended; some nodes run it, some do not, each named.
    Partial,
    /// It ended; all that had been changed runs as before.
    TakenBack,
    /// Another update has taken its place.
    Superseded,
}

impl Phase {
    /// Whether nothing more comes.
    pub fn is_end(self) -> bool {
        match self {
            Self::Done | Self::Aborted | Self::Partial | Self::TakenBack | Self::Superseded => true,
            Self::Approval
            | Self::Asking
            | Self::Held
            | Self::Rolling
            | Self::Soaking
            | Self::Stopped
            | Self::TakingBack
            | Self::Trial => false,
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Approval => "approval",
            Self::Asking => "asking",
            Self::Held => "held",
            Self::Rolling => "rolling",
            Self::Soaking => "soaking",
            Self::Stopped => "stopped",
            Self::TakingBack => "taking-back",
            Self::Trial => "trial",
            Self::Done => "done",
            Self::Aborted => "aborted",
            Self::Partial => "partial",
            Self::TakenBack => "taken-back",
            Self::Superseded => "superseded",
        })
    }
}

/// Where one node of an update is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "kebab-case", deny_unknown_fields)]
pub enum NodePhase {
    /// Not asked yet.
    Open,
    /// Asked, not answered.
    Asked,
    /// It accepts.
    Accepted,
    /// It objects.
    Vetoed {
        /// Who and why.
        objections: Vec<Objection>,
    },
    /// It asks for another moment.
    Later {
        /// Who and why.
        objections: Vec<Objection>,
        /// Seconds since 1970.
        not_before: u64,
    },
    /// It is not connected.
    Absent,
    /// It said why it cannot.
    Impossible {
        /// Why.
        reason: String,
    },
    /// An operator, or the strategy, has left it out.
    LeftOut {
        /// Why.
        reason: String,
    },
    /// Decided; it fetches, and changes.
    Changing,
    /// Ready, and waiting for the others.
    Waiting,
    /// It was told `go`, or to switch, and has not been heard of since.
    Switched,
    /// It runs it as a trial.
    Trial,
    /// It runs it.
    Done,
    /// It does not run it.
    Failed {
        /// Why.
        reason: String,
    },
    /// It is on its way back.
    GoingBack,
    /// It runs what it ran before.
    WentBack {
        /// Why.
        reason: String,
    },
}

/// One node's part of an update.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NodeRollout {
    /// Which node.
    pub node: NodeName,
    /// Its wave, from 0.
    pub wave: u32,
    /// Where it is.
    #[serde(flatten)]
    pub phase: NodePhase,
    /// Its vetoes are overridden.
    #[serde(default)]
    pub forced: bool,
    /// What it ran when it was asked.
    pub base: Option<Digest>,
    /// The software list that it ran when it was asked.
    pub base_list: Option<Digest>,
    /// What it is to run.
    pub target: Digest,
    /// The software list.
    pub list: Digest,
    /// Of the wanted state that was signed for it.
    pub counter: Option<Counter>,
    /// The change at the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Box<ChangeReport>>,
    /// What its check said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<(i32, String)>,
    /// The machine has to restart for it, because of this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reboot: Option<String>,
    /// What it says that it is doing; not stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
}

/// An update as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RolloutView {
    /// Its number.
    pub id: RolloutId,
    /// Where it is.
    pub phase: Phase,
    /// Nothing new is begun.
    pub paused: bool,
    /// What was asked for.
    pub update: Update,
    /// By whom.
    pub by: FleetName,
    /// When, RFC 3339 in UTC.
    pub began: String,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// All votes.
    pub tally: Tally,
    /// The wave that is on its way, from 0, and how many there are.
    pub wave: (u32, u32),
    /// What was decided, by whom.
    pub decisions: Vec<(FleetName, Decision)>,
    /// Dependencies, within nodes and between them, that the fleet would not meet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub discrepancies: Vec<String>,
    /// Nodes that were meant and have no part, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Why it stopped, or is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Its nodes, by name.
    pub nodes: Vec<NodeRollout>,
}

/// What an operator decides: `POST /v1/rollouts/{id}/decision`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Decision {
    /// What.
    pub choice: Choice,
    /// Why.
    #[serde(default)]
    pub reason: String,
    /// Force does not carry over to nodes that vote later, unless this says so.
    #[serde(default)]
    pub carries_over: bool,
    /// The decision's JSON text signed by an operator, where nodes want one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<Signed>,
}

/// An operator's buttons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Choice {
    /// Another operator agrees that it begins.
    Approve,
    /// Only the nodes that accept.
    Accepting,
    /// Those that accept, and these against their veto.
    Force(Vec<NodeName>),
    /// All.
    ForceAll,
    /// None.
    Abort,
    /// Ask those that objected, asked for another moment or were away again.
    AskAgain,
    /// Begin nothing new.
    Pause,
    /// Go on.
    Resume,
    /// Take back what was done.
    TakeBack,
    /// What runs as a trial stays.
    Commit,
}
