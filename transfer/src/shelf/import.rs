//! Objects coming in: compressed once, small ones together.

use std::collections::HashSet;
use std::io::{self, Read};

use model::Digest;

use super::packer::Packer;
use super::{Shelf, records};
use crate::encode;
use crate::error::{Doing, Error};

/// As good as a disk and two cores keep up with; what a node misses of a new list is compressed
/// better, once, when it is offered.
const LEVEL: i32 = 9;

/// Above this an object is compressed into a file, below it in memory.
const IN_MEMORY: u64 = 4 << 20;

/// What became of an object that was put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It was not there.
    New,
    /// It was there.
    Had,
}

/// A batch of objects; nothing of it is seen by anybody before [`Import::finish`].
#[derive(Debug)]
pub struct Import<'a> {
    shelf: &'a Shelf,
    packer: Packer<(Digest, u64)>,
    seen: HashSet<Digest>,
}

impl Shelf {
    /// Begins a batch of objects. Dropped unfinished, it leaves at most files that are swept.
    pub fn begin(&self) -> Import<'_> {
        Import {
            shelf: self,
            packer: Packer::new(&self.private, &self.public),
            seen: HashSet::new(),
        }
    }
}

impl Import<'_> {
    /// Takes an object's plain bytes. What the shelf has already is not read.
    ///
    /// # Errors
    /// [`Error::Lies`] where `plain` does not give exactly the object.
    pub fn put(&mut self, digest: &Digest, size: u64, plain: impl Read) -> Result<Put, Error> {
        if self.seen.contains(digest) || self.shelf.has(digest)? {
            return Ok(Put::Had);
        }
        let mut plain = Counted::new(plain);
        if size <= IN_MEMORY {
            let mut packed = Vec::new();
            let done = encode::pack(&mut plain, size, LEVEL, &mut packed);
            plain.check(digest, size, done)?;
            self.packer.add((*digest, size), &packed)?;
        } else {
            let file = self.packer.temporary()?;
            let done = encode::pack(&mut plain, size, LEVEL, file.as_file());
            plain.check(digest, size, done)?;
            self.packer.add_file((*digest, size), file)?;
        }
        self.seen.insert(*digest);
        Ok(Put::New)
    }

    /// Stores the batch; returns when it is on the disk.
    pub fn finish(self) -> Result<(), Error> {
        let written = self.packer.finish()?;
        self.shelf.write_records(|records| {
            for (blob, pieces) in &written {
                let id = records::add_blob(records, blob)?;
                for piece in pieces {
                    let (digest, size) = &piece.what;
                    let place = (id, piece.at, piece.length);
                    records::add_object(records, (digest, *size), place, &piece.sum)?;
                }
            }
            Ok(())
        })
    }
}

/// Hashes and counts what is read.
struct Counted<R> {
    inner: R,
    hasher: blake3::Hasher,
    count: u64,
    ended: bool,
}

impl<R> Counted<R> {
    fn new(inner: R) -> Self {
        Self {
            inner,
            hasher: blake3::Hasher::new(),
            count: 0,
            ended: false,
        }
    }

    /// A wrong length shows before the compressor's own complaint about it.
    fn check(self, digest: &Digest, size: u64, done: io::Result<()>) -> Result<(), Error> {
        let lies = |reason| Error::Lies {
            digest: *digest,
            reason,
        };
        if self.count > size || (self.count < size && self.ended) {
            return Err(lies(format!("{} bytes instead of {size}", self.count)));
        }
        done.doing(|| format!("compress object {digest}"))?;
        let found = Digest::from(self.hasher.finalize());
        if found != *digest {
            return Err(lies(format!("its bytes have the hash {found}")));
        }
        Ok(())
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(into)?;
        self.hasher.update(into.get(..count).unwrap_or_default());
        self.count += count as u64;
        self.ended |= count == 0 && !into.is_empty();
        Ok(count)
    }
}
