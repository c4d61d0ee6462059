//! Descriptors that the runtime waits for.
#![expect(
    unsafe_code,
    reason = "the runtime leaves the descriptor's lifetime to its caller"
)]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A descriptor that stays open and the same for as long as this lives.
pub trait Kept: AsRawFd {}
impl Kept for OwnedFd {}
impl Kept for Arc<OwnedFd> {}

/// `fd`, to be waited for until it can be read; must be called on the runtime.
pub fn readable<F: Kept>(fd: F) -> io::Result<AsyncFd<F>> {
    // SAFETY: what is kept always answers the same open descriptor, and closes it not before the
    // registration, which owns it, drops it.
    let registered = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
    registered.map_err(Into::into)
}
