//! What a node says that it is.

use serde::{Deserialize, Serialize};

use super::{ClassName, FleetName};

/// What a node says that it is, and what its operator configured on it. Where the master's operator
/// has recorded a type or location, that one counts, and a difference is a discrepancy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Facts {
    /// ELF machine name.
    pub arch: String,
    /// What kind of node it is.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub node_type: Option<FleetName>,
    /// Where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<FleetName>,
    /// The classes that its own configuration puts it in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<ClassName>,
    /// Features that are configured on it or that a probe found; sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<FleetName>,
    /// `sysname release`, for people.
    #[serde(default)]
    pub kernel: String,
    /// The version of its installd.
    #[serde(default)]
    pub installd: String,
    /// Minutes east of UTC of the node's own time, in which maintenance windows are meant.
    #[serde(default)]
    pub utc_offset: i32,
}
