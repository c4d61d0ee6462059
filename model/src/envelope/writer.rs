//! Writes an envelope as a stream.

use std::collections::HashSet;
use std::io::{self, Read, Write};

use super::compress::Compressor;
use super::entry::{self, BLOCK, Entry};
use super::error::WriteError;
use super::expected::{Expected, expected};
use super::image::{Image, ReadImage};
use super::{FORMAT, IMAGE_FORMAT, Index, IndexEntry};
use crate::digest::Digest;
use crate::ids::PackageId;
use crate::manifest::Manifest;

/// A package to be written.
#[derive(Debug, Clone)]
pub struct WritePackage {
    id: PackageId,
    manifest: Manifest,
    bytes: Vec<u8>,
    signature: Option<Vec<u8>>,
}

impl WritePackage {
    /// A package that is not signed.
    pub fn new(manifest: Manifest) -> Result<Self, WriteError> {
        let bytes = manifest.to_bytes().map_err(|source| WriteError::Json {
            name: format!("the manifest of {}", manifest.name),
            source,
        })?;
        Ok(Self {
            id: manifest.id(&bytes),
            manifest,
            bytes,
            signature: None,
        })
    }

    /// A package whose manifest has exactly these bytes, as they were signed.
    pub fn from_bytes(manifest: Manifest, bytes: Vec<u8>) -> Self {
        Self {
            id: manifest.id(&bytes),
            manifest,
            bytes,
            signature: None,
        }
    }

    /// The same with a signature over the manifest's bytes.
    #[must_use]
    pub fn signed(mut self, signature: Vec<u8>) -> Self {
        self.signature = Some(signature);
        self
    }

    /// The package's identity.
    pub fn id(&self) -> &PackageId {
        &self.id
    }

    /// Its manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn directory(&self) -> String {
        format!("{}_{}", self.id.name, self.id.version)
    }
}

/// What a composite image has besides packages, to be written.
#[derive(Debug, Clone)]
pub struct WriteImage(ReadImage);

impl WriteImage {
    /// An image that is not signed.
    pub fn new(image: Image) -> Result<Self, WriteError> {
        let json = |source| WriteError::Json {
            name: "image.json".to_owned(),
            source,
        };
        let mut bytes = serde_json::to_vec_pretty(&image).map_err(json)?;
        bytes.push(b'\n');
        Ok(Self(ReadImage {
            image,
            bytes,
            signature: None,
        }))
    }

    /// Its exact bytes: what is signed.
    pub fn bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    /// The same with a signature over its bytes.
    #[must_use]
    pub fn signed(mut self, signature: Vec<u8>) -> Self {
        self.0.signature = Some(signature);
        self
    }
}

impl From<&ReadImage> for WriteImage {
    fn from(image: &ReadImage) -> Self {
        Self(image.clone())
    }
}

/// Writes an envelope. The manifests come first; then each object that [`Writer::wanted`] asks for.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    /// In reverse: the next one last.
    wanted: Vec<Expected>,
}

impl<W: Write> Writer<W> {
    /// Begins an envelope with these packages, in this order.
    pub fn new(out: W, packages: &[WritePackage]) -> Result<Self, WriteError> {
        Self::with_image(out, packages, None)
    }

    /// Begins a composite image: these packages, and what `image` has besides.
    pub fn with_image(
        out: W,
        packages: &[WritePackage],
        image: Option<&WriteImage>,
    ) -> Result<Self, WriteError> {
        if packages.is_empty() {
            return Err(WriteError::Empty);
        }
        let mut names = HashSet::new();
        for package in packages {
            if !names.insert(package.directory()) {
                return Err(WriteError::DuplicatePackage {
                    package: package.id.name_version(),
                });
            }
        }
        let boot = image.map_or(&[][..], |one| &one.0.image.boot);
        let manifests = packages.iter().map(|package| &package.manifest);
        let mut wanted = expected(manifests, boot).map_err(|two| WriteError::TwoSizes {
            digest: two.digest,
            one: two.one,
            other: two.other,
        })?;
        wanted.reverse();
        let mut writer = Self { out, wanted };
        writer.head(packages, image)?;
        Ok(writer)
    }

    fn head(
        &mut self,
        packages: &[WritePackage],
        image: Option<&WriteImage>,
    ) -> Result<(), WriteError> {
        let entries = packages.iter().map(|package| IndexEntry {
            id: package.id.clone(),
            manifest: Digest::of(&package.bytes),
        });
        let index = Index {
            format: image.map_or(FORMAT, |_| IMAGE_FORMAT),
            packages: entries.collect(),
            image: image.map(|one| Digest::of(&one.0.bytes)),
        };
        let mut bytes = serde_json::to_vec_pretty(&index).map_err(|source| WriteError::Json {
            name: "envelope.json".to_owned(),
            source,
        })?;
        bytes.push(b'\n');
        self.entry("envelope.json".to_owned(), &bytes)?;
        if let Some(WriteImage(image)) = image {
            self.entry("image.json".to_owned(), &image.bytes)?;
            if let Some(signature) = &image.signature {
                self.entry("image.json.sig".to_owned(), signature)?;
            }
        }
        for package in packages {
            self.entry(entry::manifest_name(&package.directory()), &package.bytes)?;
            if let Some(signature) = &package.signature {
                self.entry(entry::signature_name(&package.directory()), signature)?;
            }
        }
        Ok(())
    }

    /// The object that must come next, and its length in plain bytes.
    pub fn wanted(&self) -> Option<(Digest, u64)> {
        self.wanted.last().map(|next| (next.digest, next.size))
    }

    pub(super) fn all_wanted(&self) -> impl Iterator<Item = Digest> + '_ {
        self.wanted.iter().rev().map(|next| next.digest)
    }

    /// Writes an object from its plain bytes.
    pub fn object(&mut self, compressor: &mut Compressor, plain: &[u8]) -> Result<(), WriteError> {
        let digest = self.next(Digest::of(plain))?;
        let mut packed = Vec::new();
        compressor.object(plain, &mut packed)?;
        self.entry(entry::object_name(&digest), &packed)
    }

    /// Writes an object whose `size` compressed bytes come from `source`, as
    /// [`Compressor`] made them.
    pub fn compressed(
        &mut self,
        digest: Digest,
        size: u64,
        source: impl Read,
    ) -> Result<(), WriteError> {
        let digest = self.next(digest)?;
        self.header(entry::object_name(&digest), size)?;
        if io::copy(&mut source.take(size), &mut self.out)? != size {
            return Err(WriteError::Io(io::ErrorKind::UnexpectedEof.into()));
        }
        self.pad(size)
    }

    /// Counts the next `digests` as written and hands out the place where whoever has their
    /// finished entries writes them, end to end.
    pub(super) fn entries(
        &mut self,
        digests: impl Iterator<Item = Digest>,
    ) -> Result<&mut W, WriteError> {
        for digest in digests {
            self.next(digest)?;
        }
        Ok(&mut self.out)
    }

    /// Ends the envelope; every object must have been written.
    pub fn finish(mut self) -> Result<W, WriteError> {
        if let Some((digest, _)) = self.wanted() {
            return Err(WriteError::Missing { digest });
        }
        self.out.write_all(&[0; 2 * BLOCK])?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn next(&mut self, found: Digest) -> Result<Digest, WriteError> {
        match self.wanted.pop() {
            Some(next) if next.digest == found => Ok(found),
            other => {
                let expected =
                    other.map_or_else(|| "the end".to_owned(), |next| next.digest.to_string());
                Err(WriteError::Order { found, expected })
            }
        }
    }

    fn entry(&mut self, name: String, bytes: &[u8]) -> Result<(), WriteError> {
        let size = bytes.len() as u64;
        self.header(name, size)?;
        self.out.write_all(bytes)?;
        self.pad(size)
    }

    fn header(&mut self, name: String, size: u64) -> Result<(), WriteError> {
        let entry = Entry { name, size };
        let Some(header) = entry.header() else {
            return Err(WriteError::LongName { name: entry.name });
        };
        Ok(self.out.write_all(&header)?)
    }

    fn pad(&mut self, size: u64) -> Result<(), WriteError> {
        let zeros = [0; BLOCK];
        let padding = zeros.get(..Entry::padding(size)).unwrap_or_default();
        Ok(self.out.write_all(padding)?)
    }
}
