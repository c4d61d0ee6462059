//! Where a file's bytes come from: memory, or a descriptor of which only pieces are ever in memory.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use blake3::Hasher;

/// The bytes of one file, by offset.
pub(super) trait Source {
    /// How many there are.
    fn length(&self) -> u64;

    /// A piece. [`io::ErrorKind::UnexpectedEof`] where it does not lie wholly inside: that is seen
    /// before memory is taken for it.
    fn bytes(&self, at: u64, length: u64) -> io::Result<Cow<'_, [u8]>>;

    /// Puts a piece through `hasher`; it is not held in memory.
    fn feed(&self, at: u64, length: u64, hasher: &mut Hasher) -> io::Result<()>;
}

impl Source for [u8] {
    fn length(&self) -> u64 {
        self.len() as u64
    }

    fn bytes(&self, at: u64, length: u64) -> io::Result<Cow<'_, [u8]>> {
        piece(self, at, length)
            .map(Cow::Borrowed)
            .ok_or_else(outside)
    }

    fn feed(&self, at: u64, length: u64, hasher: &mut Hasher) -> io::Result<()> {
        hasher.update(piece(self, at, length).ok_or_else(outside)?);
        Ok(())
    }
}

fn piece(bytes: &[u8], at: u64, length: u64) -> Option<&[u8]> {
    let start = usize::try_from(at).ok()?;
    let end = start.checked_add(usize::try_from(length).ok()?)?;
    bytes.get(start..end)
}

fn outside() -> io::Error {
    io::ErrorKind::UnexpectedEof.into()
}

/// A file that is read by position, so that the descriptor's own position does not matter.
#[derive(Debug)]
pub(super) struct Stored<'a> {
    file: &'a File,
    length: u64,
}

impl<'a> Stored<'a> {
    /// The file as long as it is now.
    pub(super) fn new(file: &'a File) -> io::Result<Self> {
        Ok(Self {
            file,
            length: file.metadata()?.len(),
        })
    }
}

/// Large enough that the system call does not count, small enough to stay in the cache.
const BUFFER: usize = 256 * 1024;

impl Source for Stored<'_> {
    fn length(&self) -> u64 {
        self.length
    }

    fn bytes(&self, at: u64, length: u64) -> io::Result<Cow<'_, [u8]>> {
        if at.checked_add(length).is_none_or(|end| end > self.length) {
            return Err(outside());
        }
        let mut bytes = vec![0; usize::try_from(length).map_err(|_| outside())?];
        self.file.read_exact_at(&mut bytes, at)?;
        Ok(Cow::Owned(bytes))
    }

    fn feed(&self, mut at: u64, mut length: u64, hasher: &mut Hasher) -> io::Result<()> {
        let mut buffer = vec![0; BUFFER.min(usize::try_from(length).unwrap_or(BUFFER))];
        while length > 0 {
            let now = buffer.len().min(usize::try_from(length).unwrap_or(BUFFER));
            let Some(space) = buffer.get_mut(..now) else {
                break;
            };
            self.file.read_exact_at(space, at)?;
            hasher.update(space);
            at += now as u64;
            length -= now as u64;
        }
        Ok(())
    }
}
