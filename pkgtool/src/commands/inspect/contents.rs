//! A package file, read.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use model::digest::Digest;
use model::envelope::{Limits, ReadPackage, Reader};
use model::{Manifest, PackageId};
use serde::Serialize;

use crate::outcome::CommandError;

/// What a package file holds, but for the objects' bytes.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) path: PathBuf,
    /// Length of the file.
    pub(super) packed: u64,
    pub(super) packages: Vec<ReadPackage>,
    pub(super) objects: usize,
    /// Plain bytes of all objects.
    pub(super) plain: u64,
    /// Whether each object was decompressed and gave its name.
    pub(super) verified: bool,
}

/// What `--json` shows.
#[derive(Debug, Serialize)]
pub(super) struct Document<'a> {
    file: &'a Path,
    bytes: u64,
    verified: bool,
    objects: Objects,
    packages: Vec<DocumentPackage<'a>>,
}

#[derive(Debug, Serialize)]
struct Objects {
    count: usize,
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct DocumentPackage<'a> {
    id: &'a PackageId,
    digest: Digest,
    signed: bool,
    manifest: &'a Manifest,
}

impl Contents {
    /// Reads the file to its end, so that one that was cut short is not shown as whole.
    pub(super) fn read(path: &Path, verify: bool) -> Result<Self, CommandError> {
        let mut reader = open(path)?;
        let objects = reader.objects().count();
        let plain = reader.objects().map(|(_, size)| size).sum();
        while let Some(object) = reader.next_object().map_err(|error| bad(path, error))? {
            if verify {
                object
                    .copy_to(&mut std::io::sink())
                    .map_err(|error| bad(path, error))?;
            }
        }
        Ok(Self {
            path: path.to_owned(),
            packed: fs_err::metadata(path)?.len(),
            packages: reader.packages().to_vec(),
            objects,
            plain,
            verified: verify,
        })
    }

    pub(super) fn document(&self) -> Document<'_> {
        let package = |package: &'_ ReadPackage| -> Digest { Digest::of(&package.bytes) };
        let packages = self.packages.iter().map(|one| DocumentPackage {
            id: &one.id,
            digest: package(one),
            signed: one.signature.is_some(),
            manifest: &one.manifest,
        });
        Document {
            file: &self.path,
            bytes: self.packed,
            verified: self.verified,
            objects: Objects {
                count: self.objects,
                bytes: self.plain,
            },
            packages: packages.collect(),
        }
    }

    /// Writes the objects `wanted` to files of their digests' names in `directory`.
    pub(super) fn extract(
        &self,
        wanted: &BTreeSet<Digest>,
        directory: &Path,
    ) -> Result<(), CommandError> {
        if wanted.is_empty() {
            return Ok(());
        }
        let mut reader = open(&self.path)?;
        reader.already_has(|digest| !wanted.contains(digest));
        while let Some(object) = reader
            .next_object()
            .map_err(|error| bad(&self.path, error))?
        {
            let mut file = fs_err::File::create(directory.join(object.digest().to_string()))?;
            object
                .copy_to(&mut file)
                .map_err(|error| bad(&self.path, error))?;
        }
        Ok(())
    }
}

fn open(path: &Path) -> Result<Reader<impl Read>, CommandError> {
    let file = fs_err::File::open(path)?;
    Reader::open(file, Limits::default()).map_err(|error| bad(path, error))
}

fn bad(path: &Path, error: model::envelope::ReadError) -> CommandError {
    anyhow::Error::new(error)
        .context(path.display().to_string())
        .into()
}
