//! How an object is compressed: fixed, so that the same bytes always give the same bytes.

use std::io;

use zstd::bulk;
use zstd::zstd_safe::{CParameter, compress_bound};

/// Plain bytes in one zstd frame. An object is one or more frames end to end, so that a large
/// one can be compressed by several threads, in bounded memory, and still come out the same.
pub const FRAME: usize = 1 << 20;

/// As fast as a disk writes; what a higher level saves is paid for at every build.
const LEVEL: i32 = 1;

/// Compresses objects; one for each thread, used again and again.
pub struct Compressor(bulk::Compressor<'static>);

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Compressor")
    }
}

impl Compressor {
    /// A compressor with the format's fixed parameters.
    pub fn new() -> io::Result<Self> {
        let mut inner = bulk::Compressor::new(LEVEL)?;
        // The digest checks the bytes; the size lets a reader refuse before it decompresses.
        inner.set_parameter(CParameter::ChecksumFlag(false))?;
        inner.set_parameter(CParameter::ContentSizeFlag(true))?;
        Ok(Self(inner))
    }

    /// Appends one frame with `plain`, at most [`FRAME`] bytes, to `out`.
    pub fn frame(&mut self, plain: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        let start = out.len();
        out.resize(start + compress_bound(plain.len()), 0);
        let room = out.get_mut(start..).unwrap_or_default();
        let written = self.0.compress_to_buffer(plain, room)?;
        out.truncate(start + written);
        Ok(())
    }

    /// Appends all of `plain`, frame by frame, to `out`.
    pub fn object(&mut self, plain: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        if plain.is_empty() {
            return self.frame(plain, out);
        }
        plain
            .chunks(FRAME)
            .try_for_each(|chunk| self.frame(chunk, out))
    }
}
