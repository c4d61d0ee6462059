//! Descriptors that the runtime waits for.
#![expect(
    unsafe_code,
    reason = "the runtime leaves the descriptor's lifetime to its caller"
)]

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// `fd`, to be waited for until it can be read; must be called on the runtime.
pub fn readable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` always answers the same open descriptor and closes it only when the
    // registration, which owns it, drops it.
    let registered = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
    registered.map_err(Into::into)
}
