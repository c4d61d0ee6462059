//! Can these nodes go back to that version now?

use serde::{Deserialize, Serialize};

use super::{NodeName, Selector};
use crate::change::PackageRef;
use crate::ids::PackageId;

/// The question: `POST /v1/goback`. Nobody is asked and nothing is changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct GoBackQuestion {
    /// Which nodes.
    pub nodes: Selector,
    /// To what: a name with a version.
    pub to: PackageRef,
}

/// The answer, as it is now: votes of processes come only with an update.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct GoBack {
    /// To what.
    pub to: PackageRef,
    /// Nodes that can.
    pub can: u32,
    /// Nodes that cannot.
    pub cannot: u32,
    /// Nodes that run it already.
    pub run_it: u32,
    /// Nodes that run no version of it.
    pub have_none: u32,
    /// Each node, by name.
    pub nodes: Vec<GoBackNode>,
}

/// The answer for one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct GoBackNode {
    /// Which.
    pub node: NodeName,
    /// Whether it can.
    #[serde(flatten)]
    pub answer: GoBackAnswer,
}

/// Whether a node can go back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum GoBackAnswer {
    /// It can.
    Yes {
        /// What it has to fetch for that; nothing: its store has everything.
        fetch: Vec<PackageId>,
    },
    /// It cannot.
    No {
        /// Each a sentence.
        reasons: Vec<String>,
    },
    /// It runs that already.
    RunsIt,
    /// It runs no version of it.
    HasNone,
}
