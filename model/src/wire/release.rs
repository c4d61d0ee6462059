//! What the offline release key says about classes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ClassName;
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

/// One package of a [`Release`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Released {
    /// The package.
    pub id: PackageId,
    /// The whole digest of its manifest.
    pub manifest: Digest,
}
