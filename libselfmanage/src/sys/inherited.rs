//! Taking over a descriptor that was inherited by number.

#![expect(
    unsafe_code,
    reason = "a number from the environment becomes an owned descriptor"
)]

use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::{F_SETFD, FdFlag, fcntl};
use nix::sys::socket::{GetSockOpt, SockType, sockopt};

/// Whether this process has taken its session's socket: a descriptor has one owner.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Why an inherited descriptor could not be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It was taken before.
    Taken,
    /// There is no stream socket behind this number.
    NotASocket,
}

/// The stream socket that this process inherited as number `fd`, at most once in its life. Programs
/// that it starts do not inherit it.
pub(crate) fn stream(fd: RawFd) -> Result<UnixStream, Refusal> {
    if fd < 3 || TAKEN.swap(true, Ordering::AcqRel) {
        return Err(if fd < 3 {
            Refusal::NotASocket
        } else {
            Refusal::Taken
        });
    }
    // SAFETY: the starter of this process gave it this number by contract, no other code of the
    // process owns it, and `TAKEN` keeps this from being done twice. A number that names nothing
    // fails in the first call below and is then given up without being closed.
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    if sockopt::SockType.get(&owned) != Ok(SockType::Stream)
        || fcntl(&owned, F_SETFD(FdFlag::FD_CLOEXEC)).is_err()
    {
        std::mem::forget(owned);
        return Err(Refusal::NotASocket);
    }
    Ok(UnixStream::from(owned))
}
