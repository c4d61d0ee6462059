//! An object as the difference to another one, slice by slice.
//!
//! ```text
//! for each 16 MiB of the new object:
//!   u64 start, u32 length    the window of the older object that the slice was compressed against
//!   u32 length, bytes        a zstd frame that has the window as its prefix
//! ```
//!
//! All numbers are little-endian. A node holds one slice and one window at a time.

use std::io::{self, Read, Write};

use fs_err::File;
use fs_err::os::unix::fs::FileExt;
use zstd::zstd_safe::{self, CCtx, CParameter, DCtx, DParameter, compress_bound};

use crate::{SLICE, most_packed};

/// Bytes of the older object that a slice is compressed against, at most.
pub(crate) const WINDOW: usize = 24 << 20;

const HEAD: usize = 16;

/// Writes the difference from `old` to `new` to `out`, unless it takes `most` bytes or more.
/// Answers its length.
pub(crate) fn make(
    (old, old_size): (&File, u64),
    (new, new_size): (&File, u64),
    level: i32,
    most: u64,
    out: &mut impl Write,
) -> io::Result<Option<u64>> {
    let mut written = 0;
    let mut at = 0;
    let mut slice = Vec::new();
    let mut window = Vec::new();
    while at < new_size {
        read_at(new, at, (new_size - at).min(SLICE as u64), &mut slice)?;
        let (start, length) = matching(at, slice.len() as u64, new_size, old_size);
        read_at(old, start, length, &mut window)?;
        let frame = compress(&slice, &window, level)?;
        written += (HEAD + frame.len()) as u64;
        if written >= most {
            return Ok(None);
        }
        out.write_all(&start.to_le_bytes())?;
        out.write_all(&short(window.len())?.to_le_bytes())?;
        out.write_all(&short(frame.len())?.to_le_bytes())?;
        out.write_all(&frame)?;
        at += slice.len() as u64;
    }
    Ok(Some(written))
}

/// What applying patches holds in memory; kept from one to the next, so that it is held once.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    window: Vec<u8>,
    frame: Vec<u8>,
    slice: Vec<u8>,
}

/// Writes the new object, of `size` bytes, to `out`.
pub(crate) fn apply(
    (old, old_size): (&File, u64),
    patch: &mut impl Read,
    (size, buffers): (u64, &mut Buffers),
    out: &mut impl Write,
) -> io::Result<()> {
    let mut left = size;
    while left > 0 {
        let expected = usize::try_from(left.min(SLICE as u64)).map_err(io::Error::other)?;
        let (start, length) = head(patch, old_size, expected, &mut buffers.frame)?;
        read_at(old, start, length, &mut buffers.window)?;
        let slice = &mut buffers.slice;
        slice.clear();
        slice.reserve_exact(expected);
        decompress(&buffers.frame, &buffers.window, slice)?;
        if slice.len() != expected {
            return Err(bad("a slice of a patch has another length"));
        }
        out.write_all(slice)?;
        left -= expected as u64;
    }
    Ok(())
}

/// One slice's window and frame, each checked before it costs memory.
fn head(
    patch: &mut impl Read,
    old_size: u64,
    expected: usize,
    frame: &mut Vec<u8>,
) -> io::Result<(u64, u64)> {
    let mut start = [0; 8];
    let mut window = [0; 4];
    let mut packed = [0; 4];
    patch.read_exact(&mut start)?;
    patch.read_exact(&mut window)?;
    patch.read_exact(&mut packed)?;
    let start = u64::from_le_bytes(start);
    let length = u64::from(u32::from_le_bytes(window));
    let packed = u64::from(u32::from_le_bytes(packed));
    let end = start.checked_add(length);
    if length > WINDOW as u64 || end.is_none_or(|end| end > old_size) {
        return Err(bad("a patch wants a window that the older object has not"));
    }
    if packed > most_packed(expected as u64) {
        return Err(bad("a slice of a patch is larger than what it gives"));
    }
    frame.clear();
    frame.reserve_exact(usize::try_from(packed).map_err(io::Error::other)?);
    patch.take(packed).read_to_end(frame)?;
    if frame.len() as u64 != packed {
        return Err(bad("a patch ends early"));
    }
    Ok((start, length))
}

/// The part of the older object that stands where the slice stands, with a margin on both sides.
fn matching(at: u64, length: u64, new_size: u64, old_size: u64) -> (u64, u64) {
    let window = old_size.min(WINDOW as u64);
    let middle = u128::from(at + length / 2) * u128::from(old_size) / u128::from(new_size.max(1));
    let middle = u64::try_from(middle).unwrap_or(u64::MAX);
    let start = middle.saturating_sub(window / 2).min(old_size - window);
    (start, window)
}

fn compress(slice: &[u8], window: &[u8], level: i32) -> io::Result<Vec<u8>> {
    let span = (slice.len() + window.len()).max(1024);
    let log = usize::BITS - (span - 1).leading_zeros();
    let mut context = CCtx::create();
    let mut set = |parameter| context.set_parameter(parameter).map_err(code).map(drop);
    set(CParameter::CompressionLevel(level))?;
    set(CParameter::WindowLog(log))?;
    set(CParameter::ChecksumFlag(false))?;
    if log > 22 {
        set(CParameter::EnableLongDistanceMatching(true))?;
    }
    context.ref_prefix(window).map_err(code)?;
    let mut frame = Vec::with_capacity(compress_bound(slice.len()));
    context.compress2(&mut frame, slice).map_err(code)?;
    Ok(frame)
}

fn decompress(frame: &[u8], window: &[u8], slice: &mut Vec<u8>) -> io::Result<()> {
    let mut context = DCtx::create();
    context
        .set_parameter(DParameter::WindowLogMax(27))
        .map_err(code)?;
    context.ref_prefix(window).map_err(code)?;
    context.decompress(slice, frame).map_err(code).map(drop)
}

fn read_at(file: &File, at: u64, length: u64, into: &mut Vec<u8>) -> io::Result<()> {
    let length = usize::try_from(length).map_err(io::Error::other)?;
    into.clear();
    into.reserve_exact(length);
    into.resize(length, 0);
    file.read_exact_at(into, at)
}

fn short(length: usize) -> io::Result<u32> {
    u32::try_from(length).map_err(io::Error::other)
}

fn bad(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn code(code: zstd_safe::ErrorCode) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, zstd_safe::get_error_name(code))
}
