//! As much of the FUSE protocol as one regular file needs: the file system's root is the file.

use std::fs::File;
use std::io::{Read, Write};
use std::sync::{Mutex, PoisonError};

use super::Medium;

const IN_HEADER: usize = 40;
const OUT_HEADER: usize = 16;
const LARGEST_WRITE: u32 = 1 << 20;

const EIO: i32 = 5;
const EOPNOTSUPP: i32 = 95;
const ENOSYS: i32 = 38;

/// Numbers of requests.
mod op {
    pub(super) const FORGET: u32 = 2;
    pub(super) const GETATTR: u32 = 3;
    pub(super) const SETATTR: u32 = 4;
    pub(super) const OPEN: u32 = 14;
    pub(super) const READ: u32 = 15;
    pub(super) const WRITE: u32 = 16;
    pub(super) const STATFS: u32 = 17;
    pub(super) const RELEASE: u32 = 18;
    pub(super) const FSYNC: u32 = 20;
    pub(super) const FLUSH: u32 = 25;
    pub(super) const INIT: u32 = 26;
    pub(super) const ACCESS: u32 = 34;
    pub(super) const INTERRUPT: u32 = 36;
    pub(super) const DESTROY: u32 = 38;
    pub(super) const BATCH_FORGET: u32 = 42;
    pub(super) const FALLOCATE: u32 = 43;
}

/// Answers the kernel until it has unmounted the file.
pub(super) fn serve(mut kernel: &File, medium: &Mutex<Medium>) {
    let mut buffer = vec![0; LARGEST_WRITE as usize + 8192];
    loop {
        let length = match kernel.read(&mut buffer) {
            Ok(length) => length,
            // A request that was taken back before it was read.
            Err(error) if matches!(error.raw_os_error(), Some(2 | 4 | 11)) => continue,
            Err(_) => return,
        };
        let Some(request) = buffer.get(..length).and_then(Request::parse) else {
            return;
        };
        if let Some(answer) = answer(&request, medium) {
            // The asker may be gone.
            drop(kernel.write(&reply(request.unique, answer)));
        }
    }
}

struct Request<'a> {
    opcode: u32,
    unique: u64,
    body: &'a [u8],
}

impl<'a> Request<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        Some(Self {
            opcode: u32_at(bytes, 4)?,
            unique: u64_at(bytes, 8)?,
            body: bytes.get(IN_HEADER..)?,
        })
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + 8)?;
    Some(u64::from_ne_bytes(bytes.try_into().ok()?))
}

fn reply(unique: u64, answer: Result<Vec<u8>, i32>) -> Vec<u8> {
    let (error, body) = match answer {
        Ok(body) => (0, body),
        Err(error) => (-error, Vec::new()),
    };
    let length = u32::try_from(OUT_HEADER + body.len()).unwrap_or(0);
    let mut bytes = Vec::with_capacity(OUT_HEADER + body.len());
    bytes.extend(length.to_ne_bytes());
    bytes.extend(error.to_ne_bytes());
    bytes.extend(unique.to_ne_bytes());
    bytes.extend(body);
    bytes
}

/// `None`: this request is not answered.
fn answer(request: &Request<'_>, medium: &Mutex<Medium>) -> Option<Result<Vec<u8>, i32>> {
    let mut medium = medium.lock().unwrap_or_else(PoisonError::into_inner);
    let nothing = Ok(Vec::new());
    Some(match request.opcode {
        op::FORGET | op::BATCH_FORGET | op::INTERRUPT => return None,
        op::INIT => Ok(init()),
        op::GETATTR | op::SETATTR => Ok(attributes(medium.now.len())),
        // What the kernel would cache it could lose behind our back.
        op::OPEN => Ok([0_u64.to_ne_bytes(), 1_u64.to_ne_bytes()].concat()),
        op::READ => read(request.body, &medium).ok_or(EIO),
        op::WRITE => write(request.body, &mut medium).ok_or(EIO),
        op::FSYNC => medium.flush().then(Vec::new).ok_or(EIO),
        op::STATFS => Ok(vec![0; 80]),
        op::RELEASE | op::FLUSH | op::ACCESS | op::DESTROY => nothing,
        op::FALLOCATE => Err(EOPNOTSUPP),
        _ => Err(ENOSYS),
    })
}

/// Version 7.31, with writes of up to [`LARGEST_WRITE`].
fn init() -> Vec<u8> {
    const BIG_WRITES: u32 = 1 << 5;
    const MAX_PAGES: u32 = 1 << 22;
    let mut out = Vec::new();
    for word in [7, 31, LARGEST_WRITE, BIG_WRITES | MAX_PAGES] {
        out.extend(word.to_ne_bytes());
    }
    out.extend([0; 4]);
    out.extend(LARGEST_WRITE.to_ne_bytes());
    out.extend(1_u32.to_ne_bytes());
    out.extend(256_u16.to_ne_bytes());
    out.resize(64, 0);
    out
}

fn attributes(size: usize) -> Vec<u8> {
    const MODE: u32 = 0o100_600;
    let size = size as u64;
    let mut out = vec![0; 16];
    for word in [1, size, size / 512, 0, 0, 0] {
        out.extend(word.to_ne_bytes());
    }
    for word in [0, 0, 0, MODE, 1, 0, 0, 0, 4096, 0_u32] {
        out.extend(word.to_ne_bytes());
    }
    out
}

fn place(body: &[u8]) -> Option<(usize, usize)> {
    let at = usize::try_from(u64_at(body, 8)?).ok()?;
    let size = usize::try_from(u32_at(body, 16)?).ok()?;
    Some((at, size))
}

fn read(body: &[u8], medium: &Medium) -> Option<Vec<u8>> {
    let (at, size) = place(body)?;
    let end = at.saturating_add(size).min(medium.now.len());
    Some(medium.now.get(at.min(end)..end)?.to_owned())
}

fn write(body: &[u8], medium: &mut Medium) -> Option<Vec<u8>> {
    let (at, size) = place(body)?;
    let bytes = body.get(40..)?.get(..size)?;
    let written = medium.write(at, bytes);
    written.then(|| [u32::try_from(size).unwrap_or(0).to_ne_bytes(), [0; 4]].concat())
}
