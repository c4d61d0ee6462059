//! What a node is to run: decided, numbered, signed.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Facts, NodeName, RolloutId};
use crate::digest::Digest;
use crate::ids::{PackageId, ProcessName};
use crate::trust::Signed;

/// Grows when a master's store was put back from a backup, or another master took over.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Epoch(pub u64);

/// Grows with each decision of an epoch that concerns the node.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Counter(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The packages of a software set in their order: an object, shared by all nodes that are to run
/// it. Its identity is the digest of its JSON bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SoftwareList {
    /// Front of the set first.
    pub packages: Vec<Listed>,
}

/// One package of a [`SoftwareList`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Listed {
    /// The package.
    pub id: PackageId,
    /// The whole digest of its manifest, which is an object.
    pub manifest: Digest,
    /// The release signatures over the manifest, as a `.sig` file; absent: unsigned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signatures: Option<String>,
}

/// What a node is to run, and under what orders it comes to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Wanted {
    /// For whom.
    pub node: NodeName,
    /// Refused when lower than one that the node has seen.
    pub epoch: Epoch,
    /// Refused when not higher than the last of the same epoch, but for the same document again.
    pub counter: Counter,
    /// Seconds since 1970.
    pub issued: u64,
    /// Seconds since 1970. After it nothing new is begun by this document; what runs, runs on.
    pub expires: u64,
    /// The [`SoftwareList`].
    pub list: Digest,
    /// Over the ordered package ids and the selected (path, signature) pairs; the node computes it
    /// itself and refuses a difference.
    pub software: Digest,
    /// Characteristics that the master adds to the node's own: classes, roles, the recorded type
    /// and location.
    #[serde(default)]
    pub selected_for: Facts,
    /// The release documents of the node's classes: objects, each the JSON text of a
    /// [`Signed`] [`Release`](super::Release).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub releases: Vec<Digest>,
    /// How a node that runs comes to it.
    #[serde(default)]
    pub orders: Orders,
    /// What is kept on the node.
    #[serde(default)]
    pub store: StorePolicy,
    /// What a boot does while the master is away.
    #[serde(default)]
    pub boot_gate: BootGate,
}

/// How a node that runs comes to its wanted state.
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent switches, as on the command line"
)]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Orders {
    /// The update that decided it; absent: enrolment or a restored store.
    pub rollout: Option<RolloutId>,
    /// The software hash that the decision was made on; a node that runs another one asks first.
    pub base: Option<Digest>,
    /// Override every veto.
    pub force: bool,
    /// Override the vetoes of these processes.
    pub force_processes: Vec<ProcessName>,
    /// Wait, all staged and ready, for `go`.
    pub together: bool,
    /// Milliseconds that a waiting node waits for `go` before it aborts by itself.
    pub go_timeout_ms: u64,
    /// Milliseconds within which the node must have been in contact after the switch, or it goes
    /// back by itself.
    pub contact_timeout_ms: u64,
    /// The node stays in trial until it is told to commit or to regress.
    pub trial: bool,
    /// A program of the new set that is run once after it came up; its exit status and last lines
    /// are reported.
    pub check: Vec<String>,
    /// Keep what came up though something did not.
    pub keep_on_failure: bool,
    /// Go on though a process's state cannot be taken back.
    pub one_way: bool,
    /// An operator's signed word for what a master alone may not order: force, removal, a version
    /// below the floor. An [`OperatorOrder`](super::OperatorOrder).
    pub operator: Option<Box<Signed>>,
}

/// What is kept on the node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StorePolicy {
    /// Packages stay in the node's store.
    #[default]
    Keep,
    /// Loaded into memory at each boot; nothing is kept.
    Memory,
}

/// What a boot does before it starts the committed set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BootGate {
    /// The committed set runs at once and is checked later.
    #[default]
    Run,
    /// It waits for the master's word.
    Wait {
        /// So long, in milliseconds; absent: until it comes.
        timeout_ms: Option<u64>,
    },
}
