//! What people's programs ask of a master and get, besides the fleet's and the updates' documents.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    BootGate, FleetName, NodeName, NodeProgress, NodeRollout, NodeView, Origin, Phase, Presence,
    RolloutId, StorePolicy, Tally,
};
use crate::digest::Digest;
use crate::ids::PackageId;

/// What an operator says of a node: `PUT /v1/nodes/NAME`. What is absent stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct NodeEdit {
    /// Labels to set; an empty value takes the label away.
    pub labels: BTreeMap<FleetName, String>,
    /// The type that counts, whatever the node says; an empty text: what the node says.
    #[serde(rename = "type")]
    pub node_type: Option<String>,
    /// The location that counts, whatever the node says; an empty text: what the node says.
    pub location: Option<String>,
}

/// Why a node is to run what it is to run: `GET /v1/nodes/NAME/why`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NodeWhy {
    /// All of the node; its packages have their origins.
    pub node: NodeView,
    /// Packages that were left out, with where that was said.
    pub without: Vec<(String, Origin)>,
    /// Features that the master assigns, with where that was said.
    pub features: Vec<(FleetName, Origin)>,
    /// What is kept on it, and where that was said; absent: nowhere.
    pub store: (StorePolicy, Option<Origin>),
    /// What its boot does, and where that was said; absent: nowhere.
    pub boot_gate: (BootGate, Option<Origin>),
    /// Sentences for people: what is wanted and not installed and why, holds, updates.
    pub because: Vec<String>,
}

/// Something has changed: one JSON text of `GET /v1/events`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum FleetEvent {
    /// A node came, went, or says that it runs something else.
    Node {
        /// Which.
        node: NodeName,
        /// Whether it is there.
        presence: Presence,
        /// Hash of what it says that it runs.
        software: Option<Digest>,
        /// What runs is a trial.
        trial: bool,
    },
    /// An update is somewhere else, or more votes are in.
    Rollout {
        /// Which.
        rollout: RolloutId,
        /// Where it is.
        phase: Phase,
        /// Nothing new is begun.
        paused: bool,
        /// The wave, from 0, and how many there are.
        wave: (u32, u32),
        /// All votes.
        tally: Box<Tally>,
        /// Why it stopped, or is held.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
    },
    /// One node's part of an update is somewhere else.
    Part {
        /// Which update.
        rollout: RolloutId,
        /// The node's part.
        part: Box<NodeRollout>,
    },
    /// How far a node is.
    Progress {
        /// Which.
        node: NodeName,
        /// How far.
        progress: NodeProgress,
    },
    /// Packages have come that were not there.
    Imported {
        /// Which.
        packages: Vec<PackageId>,
    },
    /// The reader was too slow, and so many were left out: ask for the whole again.
    Lost {
        /// How many.
        count: u64,
    },
}
