//! The bytes of an envelope, read strictly entry by entry.

use std::io::{self, BufRead, BufReader, Read};

use super::entry::{BLOCK, Entry};
use super::error::ReadError;

/// What stands at a place in the stream.
#[derive(Debug)]
pub(super) enum Block {
    Entry(Entry),
    /// A block of zeros: the end begins.
    End,
}

/// The stream, of which at most the current entry's rest can be read.
#[derive(Debug)]
pub(super) struct Input<R> {
    inner: BufReader<R>,
    /// Bytes of the current entry that were not read yet.
    left: u64,
    /// Bytes between its end and the next header.
    padding: usize,
    /// Its name.
    name: String,
}

impl<R: Read> Input<R> {
    pub(super) fn new(inner: R) -> Self {
        let inner = BufReader::with_capacity(128 << 10, inner);
        Self {
            inner,
            left: 0,
            padding: 0,
            name: "the head".to_owned(),
        }
    }

    /// Passes over the rest of the current entry, and reads what follows; `expected` says what
    /// should.
    pub(super) fn next(&mut self, expected: &str) -> Result<Block, ReadError> {
        self.finish_entry()?;
        let mut block = [0; BLOCK];
        self.exact(&mut block, expected)?;
        if block == [0; BLOCK] {
            return Ok(Block::End);
        }
        let bad = || ReadError::Header {
            expected: expected.to_owned(),
        };
        let entry = Entry::parse(&block).ok_or_else(bad)?;
        self.left = entry.size;
        self.padding = Entry::padding(entry.size);
        self.name.clone_from(&entry.name);
        Ok(Block::Entry(entry))
    }

    /// The current entry's bytes, which a limit has allowed. Memory grows only as bytes arrive.
    pub(super) fn rest(&mut self) -> Result<Vec<u8>, ReadError> {
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes).map_err(ReadError::Io)?;
        if self.left > 0 {
            return Err(ReadError::Truncated {
                what: self.name.clone(),
            });
        }
        Ok(bytes)
    }

    /// Bytes of the current entry that were not read yet.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    fn finish_entry(&mut self) -> Result<(), ReadError> {
        let left = self.left;
        let passed = io::copy(&mut (&mut *self).take(left), &mut io::sink());
        if passed.map_err(ReadError::Io)? != left {
            return Err(ReadError::Truncated {
                what: self.name.clone(),
            });
        }
        let mut padding = vec![0; std::mem::take(&mut self.padding)];
        let name = self.name.clone();
        self.exact(&mut padding, &name)?;
        if padding.iter().any(|byte| *byte != 0) {
            return Err(ReadError::Padding { name });
        }
        Ok(())
    }

    /// After the first block of zeros: one more, and nothing else.
    pub(super) fn end(&mut self) -> Result<(), ReadError> {
        let mut block = [0; BLOCK];
        self.exact(&mut block, "the end")?;
        if block != [0; BLOCK] || !self.inner.fill_buf().map_err(ReadError::Io)?.is_empty() {
            return Err(ReadError::Trailing);
        }
        Ok(())
    }

    fn exact(&mut self, bytes: &mut [u8], what: &str) -> Result<(), ReadError> {
        self.inner.read_exact(bytes).map_err(|error| {
            if error.kind() == io::ErrorKind::UnexpectedEof {
                ReadError::Truncated {
                    what: what.to_owned(),
                }
            } else {
                ReadError::Io(error)
            }
        })
    }
}

impl<R: Read> BufRead for Input<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 {
            return Ok(&[]);
        }
        let bytes = self.inner.fill_buf()?;
        let most = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        Ok(bytes.get(..most).unwrap_or_default())
    }

    fn consume(&mut self, amount: usize) {
        self.inner.consume(amount);
        self.left = self.left.saturating_sub(amount as u64);
    }
}

impl<R: Read> Read for Input<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let count = bytes.len().min(into.len());
        if let (Some(to), Some(from)) = (into.get_mut(..count), bytes.get(..count)) {
            to.copy_from_slice(from);
        }
        self.consume(count);
        Ok(count)
    }
}
