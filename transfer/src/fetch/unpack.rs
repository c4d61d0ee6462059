//! From verified compressed bytes to an object in the spool.

use std::io::{self, BufReader, Read, Write};

use fs_err::File;
use fs_err::os::unix::fs::FileExt;
use model::Digest;

use super::plan::Choice;
use super::spool::Spool;
use crate::patch::Buffers;
use crate::{encode, patch};

/// Unpacks one part; afterwards the spool has its object.
///
/// # Errors
/// `InvalidData` where the bytes do not give the object; all others are the node's own trouble.
pub(super) fn unpack(
    packed: &File,
    choice: &Choice,
    (spool, buffers): (&Spool, &mut Buffers),
) -> io::Result<()> {
    let part = &choice.part;
    let temporary = spool.unfinished(&part.object);
    let mut out = Hashed {
        inner: File::create(&temporary)?,
        hasher: blake3::Hasher::new(),
        left: part.size,
    };
    let section = Section {
        file: packed,
        at: part.at,
        end: part.at + part.length,
    };
    match &choice.base {
        None => {
            io::copy(&mut encode::unpack(section, part.size)?, &mut out).map_err(invalid)?;
        }
        Some(path) => {
            let base = File::open(path)?;
            let size = base.metadata()?.len();
            let mut section = BufReader::new(section);
            let sized = (part.size, buffers);
            patch::apply((&base, size), &mut section, sized, &mut out).map_err(invalid)?;
        }
    }
    if out.left != 0 || Digest::from(out.hasher.finalize()) != part.object {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the bytes do not give the object",
        ));
    }
    out.inner.flush()?;
    fs_err::rename(temporary, spool.path(&part.object))
}

/// What zstd says of bad bytes comes in several kinds.
fn invalid(error: io::Error) -> io::Error {
    if matches!(
        error.kind(),
        io::ErrorKind::Other | io::ErrorKind::UnexpectedEof
    ) {
        return io::Error::new(io::ErrorKind::InvalidData, error);
    }
    error
}

struct Section<'a> {
    file: &'a File,
    at: u64,
    end: u64,
}

impl Read for Section<'_> {
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

/// Hashes what it writes, and writes no more than it is to.
struct Hashed {
    inner: File,
    hasher: blake3::Hasher,
    left: u64,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.left {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "it expands to more than the object",
            ));
        }
        let count = self.inner.write(bytes)?;
        self.hasher.update(bytes.get(..count).unwrap_or_default());
        self.left -= count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
