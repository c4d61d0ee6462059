//! The fleet as people see and edit it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{BootGate, ClassName, Facts, FleetName, Installed, NodeName, RolloutId, StorePolicy};
use crate::change::PackageRef;
use crate::digest::Digest;
use crate::ids::{PackageId, PackageName};
use crate::path::PackagePath;

/// Which nodes are meant: those that match every field given; all of them with `all`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Selector {
    /// These.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<NodeName>,
    /// In one of these classes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<ClassName>,
    /// Of one of these types.
    #[serde(rename = "types", skip_serializing_if = "Vec::is_empty")]
    pub node_types: Vec<FleetName>,
    /// At one of these locations.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub locations: Vec<FleetName>,
    /// With all of these labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<FleetName, String>,
    /// In this saved group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<FleetName>,
    /// Every node.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
}

impl Selector {
    /// Whether nothing was said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What an assignment is for; a narrower one takes precedence: node, location, class, type, fleet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "scope", content = "name", rename_all = "kebab-case")]
pub enum Scope {
    /// Every node.
    Fleet,
    /// Nodes of a type.
    Type(FleetName),
    /// Nodes of a class.
    Class(ClassName),
    /// Nodes at a location.
    Location(FleetName),
    /// One node.
    Node(NodeName),
}

/// What is intended for a scope. Editing it touches no node: an update does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Assignment {
    /// Packages, in order; a narrower scope's version of the same name counts.
    pub packages: Vec<PackageRef>,
    /// Names that a wider scope assigns and that nodes of this scope do not get.
    pub without: Vec<PackageName>,
    /// Roles: features that the master assigns.
    pub features: Vec<FleetName>,
    /// What is kept on nodes.
    pub store: Option<StorePolicy>,
    /// What a boot does while the master is away.
    pub boot_gate: Option<BootGate>,
}

/// One package that is assigned to a node, and by what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Assigned {
    /// As it was written.
    pub package: PackageRef,
    /// What it means now; absent: the master has no such package.
    pub id: Option<PackageId>,
    /// Whose intent it is.
    pub origin: Origin,
}

/// Where something that holds for a node was said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Origin {
    /// The scope.
    pub scope: Scope,
    /// Wider ones that it takes precedence over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub over: Vec<Scope>,
}

/// Whether a node is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Presence {
    /// Its link is open since then, RFC 3339 in UTC.
    Connected {
        /// Since when.
        since: String,
    },
    /// It is not connected.
    Away {
        /// When it was last heard; absent: never since the master started.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last: Option<String>,
    },
    /// It asks to be let in; this is the beginning of its key's hash.
    Pending {
        /// To be compared with what the node shows.
        fingerprint: String,
    },
    /// Two live links have its identity.
    Quarantined,
    /// Its certificate does not count any more.
    Retired,
}

/// A node as the master knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NodeView {
    /// The node.
    pub name: NodeName,
    /// Whether it is there.
    pub presence: Presence,
    /// What counts: what it reported, with what an operator recorded over it.
    pub facts: Facts,
    /// Labels that operators gave it.
    pub labels: BTreeMap<FleetName, String>,
    /// What is intended, in order.
    pub assigned: Vec<Assigned>,
    /// Software hash of what was decided.
    pub wanted: Option<Digest>,
    /// `NAME=VERSION` of what was decided, in order.
    pub wanted_set: Vec<String>,
    /// What it says that it runs: a claim, shown as such.
    pub installed: Option<Installed>,
    /// The update that it takes part in.
    pub rollout: Option<RolloutId>,
    /// Its certificate's end, RFC 3339 in UTC.
    pub certificate_until: Option<String>,
    /// What is true of it and should not be.
    pub discrepancies: Vec<String>,
}

/// A class as the master knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ClassView {
    /// The class.
    pub name: ClassName,
    /// How many nodes it has.
    pub nodes: u32,
    /// That are connected.
    pub connected: u32,
    /// Distinct software hashes that its nodes run, with how many run each: one line says whether
    /// they are equal.
    pub software: Vec<(Digest, u32)>,
    /// What is assigned to it.
    pub assignment: Assignment,
}

/// The fleet in one document.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FleetView {
    /// Nodes that are enrolled.
    pub nodes: u32,
    /// That are connected.
    pub connected: u32,
    /// That run what is wanted.
    pub as_wanted: u32,
    /// Distinct software hashes with how many run each, the most frequent first.
    pub software: Vec<(Digest, u32)>,
    /// Updates that have not ended.
    pub rollouts: Vec<RolloutId>,
    /// Nodes that run a trial.
    pub trials: Vec<StoredTrial>,
    /// What is true and should not be; each names both ends.
    pub discrepancies: Vec<String>,
}

/// A node that runs a trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StoredTrial {
    /// The node.
    pub node: NodeName,
    /// The update that it is of; absent: somebody's at the node.
    pub rollout: Option<RolloutId>,
}

/// A package of the master's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PackageView {
    /// Its identity.
    pub id: PackageId,
    /// Its manifest, which is an object.
    pub manifest: Digest,
    /// One line for people.
    pub summary: String,
    /// Bytes of its files.
    pub size: u64,
    /// When it was imported, RFC 3339 in UTC.
    pub imported: String,
    /// Who has signed it: key ids.
    pub signed_by: Vec<String>,
    /// Nodes that say that they run it.
    pub nodes: u32,
}

/// What an import made of one package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ImportedPackage {
    /// The package.
    pub id: PackageId,
    /// `false`: the master had it.
    pub new: bool,
    /// Its files, against the newest version that the master had.
    pub files: Vec<ImportedFile>,
}

/// One module of an import.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ImportedFile {
    /// Which.
    pub path: PackagePath,
    /// What it is to what was there.
    pub verdict: ModuleVerdict,
}

/// What a module is to the one that was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModuleVerdict {
    /// There was none, or one of another substance.
    New,
    /// Other bytes, the same signature.
    SameSignature,
    /// The same bytes.
    SameBytes,
}
