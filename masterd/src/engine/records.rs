//! What the engine writes into the store: types of its own, never a message by accident.
//!
//! ```text
//! node/NAME            NodeRecord        who it is, what operators said of it
//! installed/NAME       InstalledRecord   what it said last that it runs
//! wanted/NAME          WantedRecord      what was decided and signed
//! image/NAME/VERSION   ImageRecord       image-in-use/NAME  InUseRecord
//! assign/SCOPE         Assignment        package/ID  PackageRecord        group/NAME  Selector
//! rollout/ID           Head              rollout-node/ID/NAME  Part       both of plan::rollout
//! ```

use std::collections::BTreeMap;

use model::trust::{KeyId, Signed};
use model::wire::{
    ClassName, Counter, Facts, FleetName, Have, Installed, NodeName, RolloutId, Scope,
};
use model::{Digest, PackageId, Version};
use serde::{Deserialize, Serialize};

/// What a node said of itself, and what operators said of it. Its right to its name is trust's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct NodeRecord {
    /// Its name.
    pub name: NodeName,
    /// Two live links had its identity; an operator has to decide.
    #[serde(default)]
    pub quarantined: bool,
    /// What it said last that it is.
    pub facts: Facts,
    /// The type that an operator recorded.
    #[serde(default)]
    pub node_type: Option<FleetName>,
    /// The location that an operator recorded.
    #[serde(default)]
    pub location: Option<FleetName>,
    /// Classes that an image put it in, besides its own.
    #[serde(default)]
    pub classes: Vec<ClassName>,
    /// What operators wrote on it.
    #[serde(default)]
    pub labels: BTreeMap<FleetName, String>,
}

/// What a node said last that it runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct InstalledRecord {
    /// As it said it.
    pub installed: Option<Installed>,
    /// Its packages, where it was asked for them.
    pub have: Option<Have>,
}

/// What was decided for a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct WantedRecord {
    /// The last number that was given; it only grows.
    pub counter: Counter,
    /// The signed document; absent: nothing is decided.
    pub signed: Option<Signed>,
}

/// A package of the master's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PackageRecord {
    /// Its identity.
    pub id: PackageId,
    /// Its manifest, an object on the shelf.
    pub manifest: Digest,
    /// Length of the manifest in bytes.
    pub manifest_size: u64,
    /// One line for people.
    pub summary: String,
    /// Bytes of its files.
    pub size: u64,
    /// Milliseconds since 1970.
    pub imported_ms: u64,
    /// The signatures over the manifest, as a `.sig` file.
    #[serde(default)]
    pub signatures: Option<String>,
    /// Whose they are.
    #[serde(default)]
    pub signed_by: Vec<KeyId>,
}

/// A composite image of the master's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ImageRecord {
    /// The exact `image.json`, an object on the shelf.
    pub document: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Its packages, in its order.
    pub packages: Vec<PackageId>,
    /// Milliseconds since 1970.
    pub imported_ms: u64,
    /// Whose signatures it has.
    #[serde(default)]
    pub signed_by: Vec<KeyId>,
}

/// Which version of an image has its word among what is intended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct InUseRecord {
    /// The version.
    pub version: Version,
}

/// The idempotency keys that began updates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    /// The update that it began.
    pub rollout: RolloutId,
}

pub(super) fn node(name: &NodeName) -> String {
    format!("node/{name}")
}

pub(super) fn installed(name: &NodeName) -> String {
    format!("installed/{name}")
}

pub(super) fn wanted(name: &NodeName) -> String {
    format!("wanted/{name}")
}

pub(super) fn package(id: &PackageId) -> String {
    format!("package/{id}")
}

pub(super) fn image(name: &FleetName, version: &Version) -> String {
    format!("image/{name}/{version}")
}

pub(super) fn image_in_use(name: &FleetName) -> String {
    format!("image-in-use/{name}")
}

/// Numbers stand with leading zeros, so that keys are in the order of the numbers.
pub(super) fn rollout(id: RolloutId) -> String {
    format!("rollout/{:020}", id.0)
}

pub(super) fn part(id: RolloutId, node: &NodeName) -> String {
    format!("rollout-node/{:020}/{node}", id.0)
}

pub(super) fn assign(scope: &Scope) -> String {
    format!("assign/{}", scope_path(scope))
}

/// `class/edge`; of the fleet `fleet`.
pub fn scope_path(scope: &Scope) -> String {
    match scope {
        Scope::Fleet => "fleet".to_owned(),
        Scope::Type(name) => format!("type/{name}"),
        Scope::Class(name) => format!("class/{name}"),
        Scope::Location(name) => format!("location/{name}"),
        Scope::Node(name) => format!("node/{name}"),
    }
}

/// The scope of a path that [`scope_path`] wrote.
pub fn scope_of(path: &str) -> Option<Scope> {
    let (kind, name) = path.split_once('/').unwrap_or((path, ""));
    match kind {
        "fleet" => name.is_empty().then_some(Scope::Fleet),
        "type" => name.parse().ok().map(Scope::Type),
        "class" => name.parse().ok().map(Scope::Class),
        "location" => name.parse().ok().map(Scope::Location),
        "node" => name.parse().ok().map(Scope::Node),
        _ => None,
    }
}

/// An idempotency key is anything; its place in the store is its hash.
pub(super) fn key(text: &str) -> String {
    format!("update-key/{}", Digest::of(text.as_bytes()))
}
