//! Blobs being written: small pieces end to end in packs, large ones alone.

use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use fs_err::File;
use model::Digest;
use tempfile::NamedTempFile;

use crate::PACK;
use crate::error::{Doing, Error};
use crate::groups::{self, GROUPED_ABOVE};
use crate::index::Blob;

/// Pieces above this get a blob of their own: a pack of them would save few requests.
pub(super) const ALONE: u64 = 512 << 10;

/// Compressed bytes that became part of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Packed<T> {
    /// What they are.
    pub(super) what: T,
    /// Where they start.
    pub(super) at: u64,
    /// How long they are.
    pub(super) length: u64,
    /// Their BLAKE3.
    pub(super) sum: Digest,
}

/// A blob and the pieces in it.
pub(super) type Written<T> = (Blob, Vec<Packed<T>>);

/// Collects pieces into blobs.
#[derive(Debug)]
pub(super) struct Packer<T> {
    tmp: PathBuf,
    objects: PathBuf,
    open: Vec<u8>,
    pieces: Vec<Packed<T>>,
    done: Vec<Written<T>>,
}

impl<T> Packer<T> {
    pub(super) fn new(private: &Path, public: &Path) -> Self {
        Self {
            tmp: private.join("tmp"),
            objects: public.join("objects"),
            open: Vec::new(),
            pieces: Vec::new(),
            done: Vec::new(),
        }
    }

    /// A file for a piece that is being made.
    pub(super) fn temporary(&self) -> Result<NamedTempFile, Error> {
        NamedTempFile::new_in(&self.tmp).doing(|| format!("make a file in {}", self.tmp.display()))
    }

    /// Takes a piece that was written to memory.
    pub(super) fn add(&mut self, what: T, bytes: &[u8]) -> Result<(), Error> {
        let length = bytes.len() as u64;
        if length > ALONE {
            let mut file = self.temporary()?;
            file.write_all(bytes).doing(|| "write a blob".to_owned())?;
            return self.add_file(what, file);
        }
        if self.open.len() as u64 + length > PACK {
            self.close()?;
        }
        self.pieces.push(Packed {
            what,
            at: self.open.len() as u64,
            length,
            sum: Digest::of(bytes),
        });
        self.open.extend_from_slice(bytes);
        Ok(())
    }

    /// Takes a piece that was written to a file.
    pub(super) fn add_file(&mut self, what: T, mut file: NamedTempFile) -> Result<(), Error> {
        let doing = || "write a blob".to_owned();
        let length = file.seek(SeekFrom::End(0)).doing(doing)?;
        file.rewind().doing(doing)?;
        if length <= ALONE {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut file, &mut bytes).doing(doing)?;
            return self.add(what, &bytes);
        }
        let blob = self.keep(file, length)?;
        let piece = Packed {
            what,
            at: 0,
            length,
            sum: blob.digest,
        };
        self.done.push((blob, vec![piece]));
        Ok(())
    }

    fn close(&mut self) -> Result<(), Error> {
        if self.pieces.is_empty() {
            return Ok(());
        }
        let mut file = self.temporary()?;
        file.write_all(&self.open)
            .doing(|| "write a pack".to_owned())?;
        let blob = self.keep(file, self.open.len() as u64)?;
        self.done.push((blob, std::mem::take(&mut self.pieces)));
        self.open.clear();
        Ok(())
    }

    /// Puts the file where it is served, under its hash.
    fn keep(&self, mut file: NamedTempFile, size: u64) -> Result<Blob, Error> {
        let doing = || "put a blob on the shelf".to_owned();
        file.rewind().doing(doing)?;
        let (digest, _) = Digest::of_reader(&mut file).doing(doing)?;
        file.rewind().doing(doing)?;
        let groups = if size > GROUPED_ABOVE {
            groups::groups(&mut file, size).doing(doing)?
        } else {
            Vec::new()
        };
        publish_file(file, &self.objects.join(digest.to_string())).doing(doing)?;
        Ok(Blob {
            digest,
            size,
            groups,
        })
    }

    /// All blobs, on the disk.
    pub(super) fn finish(mut self) -> Result<Vec<Written<T>>, Error> {
        self.close()?;
        let doing = || format!("store {}", self.objects.display());
        File::open(&self.objects)
            .and_then(|directory| directory.sync_all())
            .doing(doing)?;
        Ok(self.done)
    }
}

/// Makes a finished temporary file a served one: readable by all, on the disk, in one step.
pub(super) fn publish_file(file: NamedTempFile, path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let open = std::fs::Permissions::from_mode(0o644);
    file.as_file().set_permissions(open)?;
    file.as_file().sync_all()?;
    file.persist(path).map(drop).map_err(|error| error.error)
}
