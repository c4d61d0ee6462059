//! Why an envelope could not be read or written.

use std::io;

use crate::digest::Digest;
use crate::ids::PackageId;
use crate::manifest::Problem;

/// Why an envelope was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The bytes could not be had at all.
    #[error("could not read the envelope")]
    Io(#[source] io::Error),
    /// It ends too early.
    #[error("the envelope ends in the middle of {what}: it was cut short; fetch or build it again")]
    Truncated {
        /// Entry, or place between two.
        what: String,
    },
    /// Not a header that a writer of envelopes makes.
    #[error("not an envelope, or a damaged one: bad header where {expected} should be")]
    Header {
        /// What should stand there.
        expected: String,
    },
    /// Another entry than the one that must stand here.
    #[error("{found} stands where {expected} should be")]
    Order {
        /// The entry's name.
        found: String,
        /// What should stand there.
        expected: String,
    },
    /// A JSON document that says nothing sensible.
    #[error("{name} is not readable")]
    Json {
        /// The entry's name.
        name: String,
        /// What is wrong, with line and column.
        #[source]
        source: serde_json::Error,
    },
    /// Written by a newer program.
    #[error(
        "{name} has format {found}; this program reads up to {newest}: update Changeover first"
    )]
    Format {
        /// The entry's name.
        name: String,
        /// Its format.
        found: u32,
        /// The newest that is understood.
        newest: u32,
    },
    /// It holds nothing.
    #[error("the envelope holds no package")]
    Empty,
    /// Two packages of one name and version.
    #[error("the envelope holds {package} twice")]
    DuplicatePackage {
        /// Name and version.
        package: String,
    },
    /// The manifest is not the one that the index names.
    #[error("the manifest of {package} is not the one that envelope.json names (it is {found})")]
    WrongManifest {
        /// From the index.
        package: PackageId,
        /// The manifest's own identity.
        found: PackageId,
    },
    /// The manifest contradicts itself or asks for what no package may have.
    #[error("the manifest of {package} is refused: {}", list(problems))]
    BadManifest {
        /// Whose.
        package: PackageId,
        /// All that is wrong.
        problems: Vec<Problem>,
    },
    /// Its `image.json` is not the one that the index names, or is missing, or not allowed there.
    #[error("image.json is not what envelope.json says")]
    WrongImage,
    /// The image contradicts itself.
    #[error("the image {name} is refused: {}", problems.join("; "))]
    BadImage {
        /// Whose.
        name: String,
        /// All that is wrong.
        problems: Vec<String>,
    },
    /// More than its reader allows.
    #[error("{what} is {found}, more than the limit of {limit}")]
    OverLimit {
        /// What is too large or too many.
        what: String,
        /// How large or many, or at least so.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// Its bytes do not give its name.
    #[error("object {digest} is damaged: its bytes have another digest, {found}")]
    WrongDigest {
        /// The name.
        digest: Digest,
        /// What the bytes give.
        found: Digest,
    },
    /// Not as long as the manifests say.
    #[error("object {digest} is not the {expected} bytes that its manifest says")]
    WrongSize {
        /// The object.
        digest: Digest,
        /// What the manifests say.
        expected: u64,
    },
    /// Two manifests differ over one object's length.
    #[error("object {digest} is said to have {one} bytes and {other} bytes")]
    TwoSizes {
        /// The object.
        digest: Digest,
        /// One length.
        one: u64,
        /// The other.
        other: u64,
    },
    /// It cannot be decompressed.
    #[error("object {digest} is damaged: it does not decompress")]
    Compression {
        /// The object.
        digest: Digest,
        /// What the decompressor said.
        #[source]
        source: io::Error,
    },
    /// An object that no manifest names, or one that was there already.
    #[error("{found} is an object that no manifest names, or that came before")]
    Foreign {
        /// The entry's name.
        found: String,
    },
    /// An object that the manifests name is absent.
    #[error("object {digest} is missing from the envelope: build or fetch it again")]
    Missing {
        /// The object.
        digest: Digest,
    },
    /// Something stands after the end.
    #[error("there are bytes after the end of the envelope")]
    Trailing,
    /// The filling of an entry's last block is not empty.
    #[error("there are bytes between {name} and the next entry")]
    Padding {
        /// The entry's name.
        name: String,
    },
}

fn list(problems: &[Problem]) -> String {
    let shown: Vec<String> = problems.iter().take(5).map(ToString::to_string).collect();
    let more = problems.len().saturating_sub(shown.len());
    let tail = if more > 0 {
        format!("; and {more} more")
    } else {
        String::new()
    };
    shown.join("; ") + &tail
}

impl ReadError {
    /// The reason inside an error that came through [`std::io::Read`] of an
    /// [`Object`](super::Object).
    pub fn from_io(error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(inner) => inner,
            Err(error) => Self::Io(error),
        }
    }

    pub(super) fn into_io(self) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, self)
    }
}

/// Why an envelope could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The bytes could not be written.
    #[error("could not write the envelope")]
    Io(#[from] io::Error),
    /// A document that cannot be encoded.
    #[error("could not encode {name}")]
    Json {
        /// The entry's name.
        name: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// It would hold nothing.
    #[error("an envelope holds at least one package")]
    Empty,
    /// Two packages of one name and version.
    #[error("{package} is given twice")]
    DuplicatePackage {
        /// Name and version.
        package: String,
    },
    /// The name does not fit a tar header.
    #[error(
        "{name} is too long a name for an envelope: name and version together have at most 146 bytes"
    )]
    LongName {
        /// The entry's name.
        name: String,
    },
    /// Two manifests differ over one object's length.
    #[error("object {digest} is said to have {one} bytes and {other} bytes")]
    TwoSizes {
        /// The object.
        digest: Digest,
        /// One length.
        one: u64,
        /// The other.
        other: u64,
    },
    /// Not the object that must come next.
    #[error("object {found} was given where {expected} must come")]
    Order {
        /// What was given.
        found: Digest,
        /// What must come, or `the end`.
        expected: String,
    },
    /// An object that the manifests name was never given.
    #[error("object {digest} was never given")]
    Missing {
        /// The object.
        digest: Digest,
    },
}
