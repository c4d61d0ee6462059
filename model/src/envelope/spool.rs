//! Objects compressed ahead of the manifests that name them.
//!
//! A manifest holds the digests of its files and comes before them, so whoever makes a package
//! reads every file, once, before the first byte of the envelope can be written. A spool keeps
//! the compressed objects meanwhile, in one file, as finished tar entries.
//!
//! ```text
//! sources ─► batches of jobs, each at most a frame ─► workers: read, hash, look, compress ─► in order ─► file
//! ```

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use super::compress::Compressor;
use super::entry::{self, BLOCK, Entry};
use super::error::WriteError;
use super::writer::Writer;
use crate::digest::Digest;

mod collect;
mod work;

pub use work::Source;

/// Why objects could not be spooled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpoolError {
    /// A source cannot be read.
    #[error("could not read {}", path.display())]
    Read {
        /// The source.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A source had another length when it was read than when it was looked at.
    #[error("{} changed while it was read: build again when nothing writes to it", path.display())]
    Changed {
        /// The source.
        path: PathBuf,
    },
    /// The spool itself cannot be written.
    #[error("could not write the compressed objects")]
    Spool(#[from] io::Error),
    /// An object's name does not fit; it always does.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// What became of one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filled<T> {
    /// BLAKE3 of its bytes.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// What `look` made of it.
    pub seen: T,
}

/// Where an object's finished entry is, padding included.
#[derive(Debug, Clone, Copy)]
struct Stored {
    start: u64,
    end: u64,
}

/// Compressed objects in a file.
#[derive(Debug)]
pub struct Spool {
    file: File,
    stored: HashMap<Digest, Stored>,
    end: u64,
}

impl Spool {
    /// A spool in `file`: empty, opened for reading and writing, best without a name.
    pub fn new(file: File) -> Self {
        Self {
            file,
            stored: HashMap::new(),
            end: 0,
        }
    }

    /// Whether it holds this object.
    pub fn contains(&self, digest: &Digest) -> bool {
        self.stored.contains_key(digest)
    }

    /// Bytes that it takes on disk.
    pub fn size(&self) -> u64 {
        self.end
    }

    /// Writes every object that `writer` asks for and ends the envelope. The bytes go from file to
    /// file inside the kernel where `W` is a [`File`].
    pub fn finish<W: Write>(&self, mut writer: Writer<W>) -> Result<W, WriteError> {
        while let Some(run) = self.run(&writer)? {
            let mut file = &self.file;
            file.seek(SeekFrom::Start(run.start))?;
            let length = run.end - run.start;
            let out = writer.entries(run.digests.into_iter())?;
            if io::copy(&mut file.take(length), out)? != length {
                return Err(WriteError::Io(io::ErrorKind::UnexpectedEof.into()));
            }
        }
        writer.finish()
    }

    /// The longest run of wanted objects that stand end to end in the file.
    fn run<W: Write>(&self, writer: &Writer<W>) -> Result<Option<Run>, WriteError> {
        let mut run: Option<Run> = None;
        for digest in writer.all_wanted() {
            let found = self.stored.get(&digest);
            match (&mut run, found) {
                (None, None) => return Err(WriteError::Missing { digest }),
                (None, Some(first)) => {
                    run = Some(Run {
                        start: first.start,
                        end: first.end,
                        digests: vec![digest],
                    });
                }
                (Some(run), Some(next)) if next.start == run.end => {
                    run.end = next.end;
                    run.digests.push(digest);
                }
                (Some(_), _) => break,
            }
        }
        Ok(run)
    }
}

struct Run {
    start: u64,
    end: u64,
    digests: Vec<Digest>,
}

/// Appends the finished entry of one object: header, compressed bytes, padding.
fn finish(
    digest: &Digest,
    compressor: &mut Compressor,
    plain: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), SpoolError> {
    let start = out.len();
    out.resize(start + BLOCK, 0);
    compressor.frame(plain, out)?;
    let packed = (out.len() - start - BLOCK) as u64;
    out.resize(out.len() + Entry::padding(packed), 0);
    if let Some(head) = out.get_mut(start..start + BLOCK) {
        head.copy_from_slice(&header(digest, packed)?);
    }
    Ok(())
}

fn header(digest: &Digest, size: u64) -> Result<[u8; BLOCK], WriteError> {
    let entry = Entry {
        name: entry::object_name(digest),
        size,
    };
    let header = entry.header();
    header.ok_or(WriteError::LongName { name: entry.name })
}
