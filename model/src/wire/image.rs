//! Composite images that a master has.

use serde::{Deserialize, Serialize};

use super::FleetName;
use crate::digest::Digest;
use crate::envelope::BootImage;
use crate::ids::PackageId;
use crate::version::Version;

/// A composite image that was imported: `GET /v1/images`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ImageView {
    /// Its name.
    pub name: FleetName,
    /// Its version; every version is kept until it is taken away.
    pub version: Version,
    /// One line for people.
    pub summary: String,
    /// The exact `image.json`, which is an object.
    pub document: Digest,
    /// Its packages, in its order.
    pub packages: Vec<PackageId>,
    /// Its boot images: objects.
    pub boot: Vec<BootImage>,
    /// How many nodes it names.
    pub nodes: u32,
    /// How many scopes it assigns to.
    pub assignments: u32,
    /// When it was imported, RFC 3339 in UTC.
    pub imported: String,
    /// Who has signed it: key ids.
    pub signed_by: Vec<String>,
    /// What it says of nodes and assignments was taken up by an update, and by no other version
    /// since.
    pub in_use: bool,
}

/// What a collection freed: the answer to `POST /v1/collect`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Collected {
    /// Software lists that nobody runs, wants or may go back to.
    pub lists: u64,
    /// Objects that are no longer there.
    pub objects: u64,
    /// Files on the master's disk.
    pub blobs: u64,
    /// Bytes on the master's disk.
    pub bytes: u64,
}
