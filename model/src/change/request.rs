//! What is asked for: a batch of activations and deactivations, or the way back.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{Generation, PackageId, PackageName, ProcessName};
use crate::manifest::Manifest;
use crate::version::Version;

/// A package as a person names it: `NAME` or `NAME=VERSION`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PackageRef {
    /// The name.
    pub name: PackageName,
    /// The version; the newest in the store where absent.
    pub version: Option<Version>,
}

impl PackageRef {
    /// Whether this manifest is meant.
    pub fn means(&self, manifest: &Manifest) -> bool {
        manifest.name == self.name && self.version.as_ref().is_none_or(|v| *v == manifest.version)
    }
}

impl std::str::FromStr for PackageRef {
    type Err = crate::ids::NameError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((name, version)) => Ok(Self {
                name: name.parse()?,
                version: Some(version.parse()?),
            }),
            None => Ok(Self {
                name: text.parse()?,
                version: None,
            }),
        }
    }
}

impl fmt::Display for PackageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Some(version) => write!(f, "{}={version}", self.name),
            None => self.name.fmt(f),
        }
    }
}

impl TryFrom<String> for PackageRef {
    type Error = crate::ids::NameError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<PackageRef> for String {
    fn from(reference: PackageRef) -> Self {
        reference.to_string()
    }
}

/// One line of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Put it into the software set; another version of the same name leaves.
    Activate(PackageRef),
    /// Take it out. `NAME=VERSION`, where an older version was replaced by this one, goes back to
    /// that older one; \[0095\] "add then remove gives the old set".
    Deactivate(PackageRef),
}

/// A batch of activations and deactivations, one change together.
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent switches, as on the command line"
)]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Request {
    /// In the order given.
    #[serde(default)]
    pub actions: Vec<Action>,
    /// Go to the software set of this kept generation; `actions` is empty then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Generation>,
    /// Go to exactly this set, front first; `actions` is empty then, and nothing is brought.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exactly: Option<Vec<PackageId>>,
    /// Override all vetoes; they are asked for and recorded all the same.
    #[serde(default)]
    pub force: bool,
    /// Override the vetoes of these processes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub force_processes: Vec<ProcessName>,
    /// Keep the new set though something did not come up.
    #[serde(default)]
    pub keep_on_failure: bool,
    /// Run it from memory: gone after a reboot unless it is committed.
    #[serde(default)]
    pub trial: bool,
    /// Run it from the disk without making it what the next boot runs, until it is committed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub uncommitted: bool,
    /// With `trial`: its packages are in memory too, and it is not there to be committed: a fleet's
    /// master has it loaded at each boot.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub loaded: bool,
    /// A trial may change files below `/etc`; the next boot undoes that.
    #[serde(default)]
    pub with_config: bool,
    /// Milliseconds for which started processes must stay up; the node's own setting where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settling_ms: Option<u64>,
    /// Go on though a process's state cannot be taken back.
    #[serde(default)]
    pub one_way: bool,
}

impl Request {
    /// Whether the next boot does not run it unless it is committed.
    pub fn is_trial(&self) -> bool {
        self.trial || self.uncommitted
    }
}
