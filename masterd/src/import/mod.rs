//! Packages that come to the master: read from an envelope, every word of their manifests held
//! against the bytes, all of them or none.
//!
//! Objects and manifests go onto the shelf first; nobody sees them there. What makes packages
//! visible is the engine's one small write afterwards, so an import that was cut short leaves only
//! what the next collection sweeps.

mod compare;
mod objects;

use std::collections::BTreeMap;
use std::io::{BufReader, Read};
use std::path::Path;

use model::envelope::{Image, Limits, ReadError, ReadImage, ReadPackage, Reader};
use model::manifest::{Manifest, Node};
use model::trust::{KeyId, Signatures};
use model::{Digest, PackageId};
use transfer::Shelf;

pub use compare::verdicts;
use objects::Awaited;

/// Why packages are not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It is no proper envelope.
    #[error("the envelope is not taken")]
    Envelope(#[from] ReadError),
    /// A manifest says what is not so.
    #[error("{0}: the manifest is wrong; build the package again")]
    Lies(String),
    /// Two packages would have one identity.
    #[error("{id} has the identity of another package that the master has")]
    Twin {
        /// The identity.
        id: PackageId,
    },
    /// The signatures beside a manifest cannot be read.
    #[error("the signatures of {of} cannot be read")]
    Signatures {
        /// Whose.
        of: String,
        /// Why.
        #[source]
        source: model::trust::SignaturesError,
    },
    /// Objects could not be stored.
    #[error("could not store its objects")]
    Shelf(#[from] transfer::Error),
    /// Neither read nor written.
    #[error("could not {doing}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// A package whose bytes are on the shelf and agree with its manifest.
#[derive(Debug, Clone)]
pub struct Taken {
    /// Its identity.
    pub id: PackageId,
    /// What it says of itself.
    pub manifest: Manifest,
    /// The manifest's digest: it is an object.
    pub digest: Digest,
    /// The manifest's length in bytes.
    pub manifest_size: u64,
    /// The signatures beside it, as a `.sig` file.
    pub signatures: Option<String>,
    /// Who has signed it, by key; whose word counts is each node's to say.
    pub signed_by: Vec<KeyId>,
    /// Bytes of its files.
    pub size: u64,
}

/// What a composite image says besides its packages; its document and boot images are on the shelf.
#[derive(Debug, Clone)]
pub struct TakenImage {
    /// What it says.
    pub image: Image,
    /// The digest of its exact text: it is an object.
    pub digest: Digest,
    /// The text's length in bytes.
    pub size: u64,
    /// Who has signed it, by key.
    pub signed_by: Vec<KeyId>,
}

/// Reads an envelope onto the shelf. `known` are the packages that the master has, with their
/// manifests' digests; `spool` is a directory on the disk for what does not fit into memory.
///
/// # Errors
/// Whatever is wrong with the envelope is named; nothing of it can then be seen.
pub fn take(
    envelope: impl Read,
    shelf: &Shelf,
    known: &BTreeMap<PackageId, Digest>,
    spool: &Path,
) -> Result<(Vec<Taken>, Option<TakenImage>), Error> {
    let envelope = BufReader::with_capacity(1 << 20, envelope);
    let mut reader = Reader::open(envelope, Limits::default())?;
    let taken = reader
        .packages()
        .iter()
        .map(|package| describe(package, known))
        .collect::<Result<Vec<_>, _>>()?;
    let image = reader.image().map(describe_image).transpose()?;
    let boot = image.iter().flat_map(|one| &one.image.boot);
    let awaited = Awaited::all(reader.packages(), boot, known)?;
    let mut batch = shelf.begin();
    awaited.had(shelf, spool)?;
    let mut failed = None;
    reader.already_has(|digest| match shelf.has(digest) {
        Ok(has) => has,
        Err(error) => {
            // The object is then taken again, which fails with the same reason.
            tracing::debug!(%error, "shelf");
            false
        }
    });
    while failed.is_none() {
        let Some(object) = reader.next_object()? else {
            break;
        };
        let (digest, size) = (object.digest(), object.size());
        failed = awaited
            .take(object, (digest, size), &mut batch, spool)
            .err();
    }
    if let Some(error) = failed {
        return Err(error);
    }
    for package in reader.packages() {
        let digest = Digest::of(&package.bytes);
        batch.put(&digest, package.bytes.len() as u64, &package.bytes[..])?;
    }
    if let (Some(taken), Some(read)) = (&image, reader.image()) {
        batch.put(&taken.digest, taken.size, &read.bytes[..])?;
    }
    batch.finish()?;
    Ok((taken, image))
}

fn describe_image(read: &ReadImage) -> Result<TakenImage, Error> {
    let of = || format!("image {}", read.image.name);
    let (signed_by, _) = signatures(read.signature.as_deref(), of)?;
    Ok(TakenImage {
        image: read.image.clone(),
        digest: Digest::of(&read.bytes),
        size: read.bytes.len() as u64,
        signed_by,
    })
}

/// Whose signatures stand in a `.sig` file, and its text.
fn signatures(
    file: Option<&[u8]>,
    of: impl Fn() -> String,
) -> Result<(Vec<KeyId>, Option<String>), Error> {
    let Some(bytes) = file else {
        return Ok((Vec::new(), None));
    };
    let parsed =
        Signatures::parse(bytes).map_err(|source| Error::Signatures { of: of(), source })?;
    let signed_by = parsed.iter().map(|(key, _)| key).collect();
    Ok((signed_by, Some(String::from_utf8_lossy(bytes).into_owned())))
}

fn describe(package: &ReadPackage, known: &BTreeMap<PackageId, Digest>) -> Result<Taken, Error> {
    let id = &package.id;
    let digest = Digest::of(&package.bytes);
    // Eight digits of the digest are in the identity; the rest has to agree as well.
    if known.get(id).is_some_and(|other| *other != digest) {
        return Err(Error::Twin { id: id.clone() });
    }
    let (signed_by, signatures) = signatures(package.signature.as_deref(), || id.to_string())?;
    Ok(Taken {
        id: id.clone(),
        manifest: package.manifest.clone(),
        digest,
        manifest_size: package.bytes.len() as u64,
        signatures,
        signed_by,
        size: objects(&package.manifest).map(|(_, size)| size).sum(),
    })
}

/// The objects of a package's files, with their lengths.
pub fn objects(manifest: &Manifest) -> impl Iterator<Item = (Digest, u64)> {
    manifest.files.iter().filter_map(|entry| match &entry.node {
        Node::File(file) => Some((file.digest, file.size)),
        Node::Link { .. } | Node::Directory => None,
    })
}

#[cfg(test)]
mod tests;
