//! One object of an envelope as it is read.

use std::io::{self, Read, Write};

use zstd::stream::read::Decoder;
use zstd::zstd_safe::DCtx;

use super::error::ReadError;
use super::input::Input;
use crate::digest::Digest;

/// The plain bytes of one object, decompressed as they are read.
///
/// The read that would hand out the last byte fails instead if the bytes do not give the object's
/// digest, so nobody can hold all of a damaged object without having been told. Its errors carry a
/// [`ReadError`]: see [`ReadError::from_io`]. An object may be dropped unread: the envelope's
/// reader then passes over it without decompressing.
pub struct Object<'a, R: Read> {
    digest: Digest,
    size: u64,
    /// Plain bytes still to come.
    left: u64,
    hasher: blake3::Hasher,
    decoder: Decoder<'a, &'a mut Input<R>>,
    checked: bool,
}

impl<R: Read> std::fmt::Debug for Object<'_, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Object")
            .field("digest", &self.digest)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

impl<'a, R: Read> Object<'a, R> {
    pub(super) fn new(
        digest: Digest,
        size: u64,
        input: &'a mut Input<R>,
        context: &'a mut DCtx<'static>,
    ) -> Self {
        let decoder = Decoder::with_context(input, context);
        Self {
            digest,
            size,
            left: size,
            hasher: blake3::Hasher::new(),
            decoder,
            checked: false,
        }
    }

    /// Its name: BLAKE3 of the plain bytes.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Its length in plain bytes, as the manifests say; reading gives exactly so many or fails.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Writes all of it to `out`.
    ///
    /// # Errors
    /// [`ReadError::Io`] also for `out`'s own errors.
    pub fn copy_to(mut self, out: &mut impl Write) -> Result<(), ReadError> {
        let copied = io::copy(&mut self, out).map_err(ReadError::from_io)?;
        debug_assert_eq!(copied, self.size, "read() ends early only with an error");
        Ok(())
    }

    /// All of it, in memory: only for those who have looked at [`Object::size`].
    pub fn into_bytes(mut self) -> Result<Vec<u8>, ReadError> {
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes).map_err(ReadError::from_io)?;
        Ok(bytes)
    }

    fn decode(&mut self, into: &mut [u8]) -> Result<usize, ReadError> {
        let digest = self.digest;
        self.decoder.read(into).map_err(|source| {
            if source.kind() == io::ErrorKind::UnexpectedEof && self.decoder.get_ref().left() > 0 {
                ReadError::Truncated {
                    what: format!("object {digest}"),
                }
            } else {
                ReadError::Compression { digest, source }
            }
        })
    }

    /// All bytes are there: nothing may follow, and they must give the name.
    fn check(&mut self) -> Result<(), ReadError> {
        if self.decode(&mut [0])? != 0 {
            return Err(ReadError::WrongSize {
                digest: self.digest,
                expected: self.size,
            });
        }
        let found = Digest::from(self.hasher.finalize());
        if found != self.digest {
            return Err(ReadError::WrongDigest {
                digest: self.digest,
                found,
            });
        }
        self.checked = true;
        Ok(())
    }

    fn step(&mut self, into: &mut [u8]) -> Result<usize, ReadError> {
        if self.left == 0 && !self.checked {
            self.check()?;
        }
        let most = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(into.len());
        let room = into.get_mut(..most).unwrap_or_default();
        if room.is_empty() {
            return Ok(0);
        }
        let count = self.decode(room)?;
        if count == 0 {
            return Err(ReadError::WrongSize {
                digest: self.digest,
                expected: self.size,
            });
        }
        self.hasher.update(room.get(..count).unwrap_or_default());
        self.left -= count as u64;
        if self.left == 0 {
            self.check()?;
        }
        Ok(count)
    }
}

impl<R: Read> Read for Object<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.step(into).map_err(ReadError::into_io)
    }
}
