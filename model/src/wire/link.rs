//! The messages of the link: JSON texts of a WebSocket that the node opened and holds.

use serde::{Deserialize, Serialize};

use super::{Ballot, Counter, Epoch, Facts, RolloutId, StorePolicy};
use crate::change::ChangeReport;
use crate::digest::Digest;
use crate::ids::PackageId;
use crate::trust::Signed;

/// From a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum FromNode {
    /// The first message of each link.
    Hello(Box<Hello>),
    /// What the node runs has changed, by whatever cause.
    Installed(Box<Installed>),
    /// Its packages, where the master asked for them.
    Have(Have),
    /// Its answer to [`ToNode::Ask`].
    Ballot(Box<Ballot>),
    /// How far it is; never stored by the master.
    Progress(NodeProgress),
    /// All staged and ready; it waits for [`ToNode::Go`].
    Waiting {
        /// Of which update.
        rollout: RolloutId,
    },
    /// How its part of an update ended.
    Ended(Box<NodeEnd>),
}

/// The first message of each link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Hello {
    /// [`PROTOCOL`](super::PROTOCOL).
    pub protocol: u32,
    /// What it is.
    pub facts: Facts,
    /// What it runs.
    pub installed: Installed,
    /// The kernel's id of this boot: two live links of one name with different ids are a clone.
    pub boot: String,
    /// Whether its boot waits for the answer.
    #[serde(default)]
    pub boot_gate: bool,
}

/// What a node runs, as it says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Installed {
    /// Hash of what runs; absent: nothing was ever activated.
    pub software: Option<Digest>,
    /// Hash of what the next boot runs.
    pub committed: Option<Digest>,
    /// The newest wanted state that it has taken.
    #[serde(default)]
    pub epoch: Epoch,
    /// Of that epoch.
    #[serde(default)]
    pub counter: Counter,
    /// What runs is a trial.
    #[serde(default)]
    pub trial: bool,
    /// The update whose change is going on or waits for contact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutId>,
    /// Somebody at the node took it out of the fleet's hands until then, with a reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// What is true there and should not be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub discrepancies: Vec<String>,
}

/// A local override.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Hold {
    /// Why.
    pub reason: String,
    /// Seconds since 1970.
    pub until: u64,
}

/// The packages of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Have {
    /// What runs, front first.
    pub active: Vec<PackageId>,
    /// What the store has besides, which it may go back to.
    #[serde(default)]
    pub kept: Vec<PackageId>,
}

/// How far a node's part is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct NodeProgress {
    /// Of which update.
    pub rollout: RolloutId,
    /// `fetch`, or a phase of the change.
    pub phase: String,
    /// For people.
    pub what: String,
    /// Done so far and in all, where the phase counts; bytes where it fetches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<(u64, u64)>,
}

/// How a node's part of an update ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct NodeEnd {
    /// Of which update.
    pub rollout: RolloutId,
    /// The wanted state that it concerns.
    pub epoch: Epoch,
    /// Of that epoch.
    pub counter: Counter,
    /// How; absent: no change was begun, and `detail` says why.
    pub report: Option<Box<ChangeReport>>,
    /// Why it did not end well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What the orders' check said: exit status and last lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<(i32, String)>,
    /// What runs now.
    pub installed: Installed,
}

/// To a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ToNode {
    /// The answer to [`FromNode::Hello`].
    Welcome {
        /// Whether it runs what it is to run.
        verdict: Verdict,
        /// How it is to keep the link.
        settings: LinkSettings,
    },
    /// It is to say which packages it has.
    List,
    /// Would it go there? It plans and asks its processes, and touches nothing.
    Ask(Box<Ask>),
    /// The question is void: nothing comes of it.
    Withdraw {
        /// Of which update.
        rollout: RolloutId,
        /// Why, for the processes that were asked.
        reason: String,
    },
    /// It is to run this; what was decided is in the store.
    Wanted(Signed),
    /// All are ready: switch.
    Go {
        /// Of which update.
        rollout: RolloutId,
        /// Of the decision that is in the store.
        epoch: Epoch,
        /// Of the wanted state that it waits with.
        counter: Counter,
    },
    /// It is to leave, or take back, what it has begun of this update.
    Abort {
        /// Of which update.
        rollout: RolloutId,
        /// Why.
        reason: String,
    },
    /// Its report has arrived: what runs as a trial stays.
    Commit {
        /// Of which update.
        rollout: RolloutId,
    },
}

/// What the master says of a node that has made itself known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It runs what it is to run.
    GoOn,
    /// It does not; the wanted state follows.
    Differs,
    /// Nothing was decided for it yet.
    Unassigned,
    /// Another link has the same identity; neither is believed until an operator has decided.
    Quarantined,
}

/// `POST /v1/check`, on a connection that a node keeps open: does it run what it is to run?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Check {
    /// Hash of what runs; absent: nothing was ever activated.
    pub software: Option<Digest>,
}

/// The answer to [`Check`]. Where it is not [`Verdict::GoOn`], the node opens a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Checked {
    /// Whether it runs what it is to run.
    pub verdict: Verdict,
}

/// How a node is to keep its link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LinkSettings {
    /// Milliseconds between two signs of life.
    pub ping_ms: u64,
    /// A lost link is opened again after a random time between these, in milliseconds.
    pub retry_min_ms: u64,
    /// The longer of the two.
    pub retry_max_ms: u64,
    /// Bytes per second that the node may fetch; 0: as fast as it goes.
    #[serde(default)]
    pub rate: u64,
}

/// A question: would the node go there?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Ask {
    /// Of which update.
    pub rollout: RolloutId,
    /// Which asking of it.
    pub round: u32,
    /// The software list.
    pub list: Digest,
    /// The software hash that it gives on this node.
    pub target: Digest,
    /// Characteristics that the master adds to the node's own.
    pub selected_for: Facts,
    /// Milliseconds for the answer.
    pub within_ms: u64,
    /// Fetch the objects already.
    #[serde(default)]
    pub prefetch: bool,
    /// What would be kept of it: nothing of software that is in memory only is on the disk before.
    #[serde(default)]
    pub store: StorePolicy,
}
