//! What an update would do, before anybody is asked.

use serde::{Deserialize, Serialize};

use super::NodeName;
use crate::digest::Digest;

/// The answer to `POST /v1/plan`: what the master can tell from what it knows. Processes are
/// reached on nodes, and each node says so with its ballot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FleetPlan {
    /// The nodes that are meant, by name.
    pub nodes: Vec<PlannedNode>,
    /// How many waves.
    pub waves: u32,
    /// Dependencies, within nodes and between them, that would not be met; each names both ends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub discrepancies: Vec<String>,
    /// Nodes that are meant and have no part, and why; what an image names besides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// One node of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PlannedNode {
    /// Which.
    pub node: NodeName,
    /// Its wave, from 0.
    pub wave: u32,
    /// Whether its link is open.
    pub connected: bool,
    /// Software hash of what it says that it runs.
    pub base: Option<Digest>,
    /// Software hash that it would come to.
    pub target: Digest,
    /// `NAME=VERSION` of what comes in, in the order of the set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub comes: Vec<String>,
    /// `NAME=VERSION` of what leaves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leaves: Vec<String>,
    /// Why it takes no part, where it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
}
