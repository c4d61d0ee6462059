//! `image.json`: what a composite image has besides packages.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::version::Version;
use crate::wire::{Assignment, ClassName, FleetName, NodeName, Scope};

/// A whole fleet in one file: its packages are the envelope's, the rest is here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Image {
    /// [`IMAGE_FORMAT`](super::IMAGE_FORMAT).
    pub format: u32,
    /// How the image is called at the master.
    pub name: FleetName,
    /// Its version; a newer one of the name takes its place.
    pub version: Version,
    /// One line for people.
    #[serde(default)]
    pub summary: String,
    /// Boot images: opaque objects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub boot: Vec<BootImage>,
    /// Nodes that are known beforehand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<ImageNode>,
    /// What is intended, each scope at most once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assign: Vec<ImageAssignment>,
}

/// A boot image: opaque bytes for machines of one type and architecture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct BootImage {
    /// The node type that boots it; absent: any of the architecture.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub node_type: Option<FleetName>,
    /// ELF machine name.
    pub arch: String,
    /// Its version.
    pub version: Version,
    /// The object with its bytes.
    pub object: Digest,
    /// How many they are.
    pub size: u64,
}

/// A node that is known before it comes; it still has to enrol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ImageNode {
    /// Its name.
    pub name: NodeName,
    /// Its type, which counts whatever the node says.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub node_type: Option<FleetName>,
    /// Its location, which counts whatever the node says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<FleetName>,
    /// Its classes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<ClassName>,
    /// Its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<FleetName, String>,
}

/// What is intended for one scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ImageAssignment {
    /// For whom.
    pub scope: Scope,
    /// What.
    pub assignment: Assignment,
}

/// An image as an envelope has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadImage {
    /// What it says; the reader found nothing against it.
    pub image: Image,
    /// The document's exact bytes: what is hashed and signed.
    pub bytes: Vec<u8>,
    /// The signature beside it, where there is one; not looked at here.
    pub signature: Option<Vec<u8>>,
}

/// What is wrong with an image, each in words; empty: nothing.
pub(super) fn check(image: &Image) -> Vec<String> {
    let mut problems = Vec::new();
    let mut nodes = HashSet::new();
    for node in &image.nodes {
        if !nodes.insert(&node.name) {
            problems.push(format!("node {} stands in it twice", node.name));
        }
    }
    let mut scopes = HashSet::new();
    for one in &image.assign {
        if !scopes.insert(&one.scope) {
            problems.push(format!("{:?} is assigned to twice", one.scope));
        }
    }
    let mut boot = HashSet::new();
    for one in &image.boot {
        if !boot.insert((&one.node_type, &one.arch)) {
            let of = one
                .node_type
                .as_ref()
                .map_or("any type", |one| one.as_str());
            problems.push(format!("two boot images are for {of} and {}", one.arch));
        }
    }
    problems
}
