//! The one container format: holds one component, one package, or a set of packages.
//!
//! An envelope is a tar that any `tar tf` lists, in exactly this order:
//!
//! ```text
//! envelope.json                            the index: format, the packages, their manifests' digests
//! image.json                               in a composite image: boot images, nodes, assignments
//! image.json.sig                           where it is signed
//! packages/NAME_VERSION/manifest.json      one per package, in the index's order
//! packages/NAME_VERSION/manifest.json.sig  where the package is signed; crate::trust reads it
//! objects/HASH.zst                         each distinct content once, in the order in which the
//!                                          manifests, then the boot images, name it; HASH is
//!                                          BLAKE3 of the plain bytes
//! two blocks of zeros                      and nothing after them
//! ```
//!
//! A component is a package of one file: its manifest carries the file's characteristics.
//!
//! The order leaves a writer no choice, so the same packages give the same bytes, and it lets a
//! reader refuse a missing, doubled or foreign object at the byte where it shows. A reader knows
//! every size from the manifests before it sees the first object, so each limit is checked before
//! memory or disk is spent. Headers must be byte for byte what [`Writer`] would have written.
//!
//! **Invariant:** an object is handed out with its last byte only after its bytes gave its name.

mod combine;
mod compress;
mod entry;
mod error;
mod expected;
mod image;
mod input;
mod limits;
mod object;
mod reader;
mod resign;
mod spool;
mod writer;

use serde::{Deserialize, Serialize};

pub use combine::{CombineError, combine};
pub use compress::{Compressor, FRAME};
pub use error::{ReadError, WriteError};
pub use image::{BootImage, Image, ImageAssignment, ImageNode, ReadImage};
pub use limits::Limits;
pub use object::Object;
pub use reader::{ReadPackage, Reader};
pub use resign::{ResignError, resign};
pub use spool::{Filled, Source, Spool, SpoolError};
pub use writer::{WriteImage, WritePackage, Writer};

use crate::digest::Digest;
use crate::ids::PackageId;

/// The format of an envelope of packages.
pub const FORMAT: u32 = 1;

/// The format of an envelope that is a composite image, and of its `image.json`.
pub const IMAGE_FORMAT: u32 = 2;

/// `envelope.json`: what the envelope holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Index {
    /// [`FORMAT`], or [`IMAGE_FORMAT`] with an image.
    pub format: u32,
    /// The packages, in the order of their manifests; at least one.
    pub packages: Vec<IndexEntry>,
    /// BLAKE3 of `image.json`, where it is a composite image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Digest>,
}

/// One package of an envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct IndexEntry {
    /// The package.
    pub id: PackageId,
    /// BLAKE3 of its `manifest.json`.
    pub manifest: Digest,
}

#[cfg(test)]
mod tests;
