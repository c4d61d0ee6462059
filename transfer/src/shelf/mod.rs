//! The master's side: objects stored compressed, and offered as static files.
//!
//! ```text
//! PUBLIC/objects/HASH      blobs; written under PRIVATE/tmp and renamed, never changed
//! PUBLIC/lists/…           pointers to indices
//! PRIVATE/shelf.db         what is where: objects, packs, patches, lists
//! PRIVATE/tmp/             what is being written; swept at start
//! ```
//!
//! Everything here blocks: async callers use a thread for it.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fs_err::File;
use fs_err::os::unix::fs::FileExt;
use model::Digest;
use rusqlite::Connection;

use crate::encode;
use crate::error::{Doing, Error};

mod collect;
mod import;
mod offer;
mod packer;
mod publish;
mod records;

pub use collect::Collected;
pub use import::{Import, Put};
pub use offer::{Effort, Offered};

/// The objects of a master.
#[derive(Debug)]
pub struct Shelf {
    public: PathBuf,
    private: PathBuf,
    records: Mutex<Connection>,
}

impl Shelf {
    /// The shelf whose served files are below `public` and whose own are below `private`, on one
    /// file system; both are made where they are missing.
    pub fn open(public: &Path, private: &Path) -> Result<Self, Error> {
        let what = || format!("open the shelf in {}", public.display());
        let tmp = private.join("tmp");
        if tmp.exists() {
            fs_err::remove_dir_all(&tmp).doing(what)?;
        }
        for directory in [public.join("objects"), public.join("lists"), tmp] {
            fs_err::create_dir_all(directory).doing(what)?;
        }
        let path = private.join("shelf.db");
        let records = records::open(&path).map_err(|source| Error::Records { path, source })?;
        Ok(Self {
            public: public.to_owned(),
            private: private.to_owned(),
            records: Mutex::new(records),
        })
    }

    /// The length in plain bytes of the object, where the shelf has it.
    pub fn size(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        let found = self.records(|records| records::object(records, digest))?;
        Ok(found.map(|found| found.size))
    }

    /// Whether the shelf has the object.
    pub fn has(&self, digest: &Digest) -> Result<bool, Error> {
        Ok(self.size(digest)?.is_some())
    }

    /// The plain bytes of the object; not checked again, which is the reader's part.
    pub fn read(&self, digest: &Digest) -> Result<impl Read + 'static, Error> {
        let found = self.records(|records| records::object(records, digest))?;
        let found = found.ok_or(Error::Absent { digest: *digest })?;
        let path = self.blob_path(&found.place.blob);
        let what = || format!("read object {digest}");
        let file = File::open(path).doing(what)?;
        let packed = Section {
            file,
            at: found.place.at,
            end: found.place.at + found.place.length,
        };
        encode::unpack(packed, found.size).doing(what)
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.public.join("objects").join(digest.to_string())
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn records<T>(&self, act: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Error> {
        act(&self.lock()).map_err(|source| self.records_failed(source))
    }

    fn write_records<T>(
        &self,
        act: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        let mut records = self.lock();
        let all = || {
            let transaction = records.transaction()?;
            let value = act(&transaction)?;
            transaction.commit()?;
            Ok(value)
        };
        all().map_err(|source| self.records_failed(source))
    }

    fn records_failed(&self, source: rusqlite::Error) -> Error {
        Error::Records {
            path: self.private.join("shelf.db"),
            source,
        }
    }
}

/// A range of a file, read from its start.
struct Section {
    file: File,
    at: u64,
    end: u64,
}

impl Read for Section {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let most = left.min(into.len());
        let count = self
            .file
            .read_at(into.get_mut(..most).unwrap_or_default(), self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}
