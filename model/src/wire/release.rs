//! What the offline release key says about classes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ClassName, RolloutId};
use crate::digest::Digest;
use crate::ids::{PackageId, PackageName};
use crate::version::Version;

/// Which packages the nodes of a class may run. Its JSON text is signed with the release key
/// (`trust::Kind::Release`), which the master does not have: a stolen master can choose among what
/// was released, and no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Release {
    /// The class.
    pub class: ClassName,
    /// Grows with each release of the class; a node refuses a lower one than it has seen.
    pub number: u64,
    /// Seconds since 1970.
    pub issued: u64,
    /// What may run.
    pub packages: Vec<Released>,
    /// Versions below these need an operator's signature, even where they were released once.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub floor: BTreeMap<PackageName, Version>,
}

/// What an operator allows that a master alone may not order: that vetoes are overridden, packages
/// leave, or versions go below the floor. Its JSON text is signed with the operator's own key
/// (`trust::Kind::Order`), of which nodes have the public half in their `operators.d`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct OperatorOrder {
    /// The update that it is for.
    pub rollout: RolloutId,
    /// The software hashes that nodes may come to by it: another set needs another signature.
    pub targets: Vec<Digest>,
    /// Seconds since 1970, after which nothing is begun by it.
    pub expires: u64,
    /// Why.
    #[serde(default)]
    pub reason: String,
}

/// One package of a [`Release`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Released {
    /// The package.
    pub id: PackageId,
    /// The whole digest of its manifest.
    pub manifest: Digest,
}
