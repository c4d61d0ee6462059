//! What nodes answer when they are asked, and what the master makes of it.

use serde::{Deserialize, Serialize};

use super::RolloutId;
use crate::digest::Digest;
use crate::ids::ProcessName;

/// A node's answer to an [`Ask`](super::Ask): good for this base and this target until it expires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Ballot {
    /// What it was asked for.
    pub rollout: RolloutId,
    /// Which asking of that rollout.
    pub round: u32,
    /// The software hash that the node runs; a ballot on another base is asked for again.
    pub base: Digest,
    /// The software hash that it voted on, computed by the node.
    pub target: Digest,
    /// Seconds since 1970, after which it is asked again.
    pub expires: u64,
    /// What it says.
    pub vote: Vote,
    /// Processes that the change reaches there.
    #[serde(default)]
    pub reached: u32,
    /// Processes that would be without service for a moment.
    #[serde(default)]
    pub restarts: u32,
    /// Bytes of objects that it has to fetch.
    #[serde(default)]
    pub bytes: u64,
    /// The machine itself has to restart for it, because of this; named before the decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reboot: Option<String>,
}

/// What a node says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Vote {
    /// Everything that was asked agrees.
    Accept,
    /// At least one process objects.
    Veto {
        /// By process; never empty.
        objections: Vec<Objection>,
    },
    /// Somebody asks for another moment.
    Later {
        /// By process; never empty.
        objections: Vec<Objection>,
        /// Seconds since 1970 from which it may be asked again.
        not_before: u64,
    },
    /// It cannot be carried out there, with the reason.
    Failed {
        /// Unmet dependencies, a bad package, no room.
        reason: String,
    },
}

/// One process's objection.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Objection {
    /// Who.
    pub process: ProcessName,
    /// Why; never empty.
    pub reason: String,
}

/// All votes of a rollout, summed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Tally {
    /// Nodes asked.
    pub asked: u32,
    /// That accept.
    pub accept: u32,
    /// That object.
    pub veto: u32,
    /// That ask for another moment.
    pub later: u32,
    /// That are not connected.
    pub absent: u32,
    /// Where it cannot be carried out.
    pub failed: u32,
    /// That have not answered yet.
    pub open: u32,
    /// The reasons, the most frequent first.
    pub reasons: Vec<TallyReason>,
}

/// One reason, with how often it was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TallyReason {
    /// `call in progress`
    pub reason: String,
    /// On how many nodes.
    pub nodes: u32,
    /// By which processes.
    pub processes: Vec<ProcessName>,
}
