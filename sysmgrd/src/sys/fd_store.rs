//! Descriptors that outlive this daemon: whoever supervises it keeps them, by systemd's protocol
//! (`FDSTORE=1` on `NOTIFY_SOCKET`), and gives them to the next daemon.
//!
//! systemd hands them back from number 3 on (`LISTEN_FDS`, `LISTEN_FDNAMES`). A supervisor that cannot
//! choose a child's numbers says them: `SYSMGRD_KEPT=NAME=NUMBER:NAME=NUMBER`.
//!
//! What is kept here must only ever be of use to a daemon that finds the process again: the rest is
//! let go of after it has looked.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType,
};
use rustix::process::{PidfdFlags, PidfdGetfdFlags};

/// Where the numbers begin that systemd gives.
const FIRST: RawFd = 3;

/// What the supervisor keeps.
#[derive(Debug, Clone, Default)]
pub struct FdStore {
    /// Where it is asked to; absent where there is none that keeps anything.
    supervisor: Option<Arc<(OwnedFd, SocketAddrUnix)>>,
    inherited: Arc<Mutex<BTreeMap<String, OwnedFd>>>,
}

impl FdStore {
    /// That of this daemon's supervisor, which says with `FDSTORE` in the environment that it has
    /// one, with what it kept.
    pub fn inherit() -> Self {
        let text = |name| std::env::var(name).unwrap_or_default();
        let numbers = if text("LISTEN_PID") == std::process::id().to_string() {
            numbered(&text("LISTEN_FDS"), &text("LISTEN_FDNAMES"))
        } else {
            said(&text("SYSMGRD_KEPT"))
        };
        let mut inherited = BTreeMap::new();
        for (name, number) in numbers {
            match own(number) {
                Ok(fd) => drop(inherited.insert(name, fd)),
                Err(error) => tracing::warn!(name, %error, "a kept descriptor is lost"),
            }
        }
        let has_one = text("FDSTORE").parse().is_ok_and(|most: u64| most > 0);
        let supervisor = has_one.then(|| supervisor(&text("NOTIFY_SOCKET")));
        let supervisor = supervisor.and_then(|opened| {
            opened
                .inspect_err(|error| tracing::warn!(%error, "nothing is kept over a restart"))
                .ok()
        });
        Self {
            supervisor: supervisor.map(Arc::new),
            inherited: Arc::new(Mutex::new(inherited)),
        }
    }

    /// Has `fd` kept as `name`, in place of what is kept so.
    pub fn keep(&self, name: &str, fd: BorrowedFd<'_>) {
        self.release(name);
        self.say(&format!("FDSTORE=1\nFDNAME={name}"), Some(fd));
    }

    /// Lets go of what is kept as `name`.
    pub fn release(&self, name: &str) {
        self.say(&format!("FDSTOREREMOVE=1\nFDNAME={name}"), None);
    }

    /// What an earlier daemon had kept as `name`. It stays kept.
    pub fn take(&self, name: &str) -> Option<OwnedFd> {
        let inherited = self.inherited.lock();
        inherited
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name)
    }

    /// Lets go of what nobody took.
    pub fn release_rest(&self) {
        let mut inherited = self
            .inherited
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let rest = std::mem::take(&mut *inherited);
        drop(inherited);
        for name in rest.keys() {
            self.release(name);
        }
    }

    fn say(&self, what: &str, fd: Option<BorrowedFd<'_>>) {
        let Some(supervisor) = &self.supervisor else {
            return;
        };
        if let Err(error) = send(supervisor, what, fd) {
            tracing::warn!(what, %error, "the supervisor was not told");
        }
    }
}

fn supervisor(address: &str) -> io::Result<(OwnedFd, SocketAddrUnix)> {
    let address = match address.strip_prefix('@') {
        Some(name) => SocketAddrUnix::new_abstract_name(name.as_bytes())?,
        None => SocketAddrUnix::new(address)?,
    };
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
    Ok((socket, address))
}

fn send(
    (socket, address): &(OwnedFd, SocketAddrUnix),
    what: &str,
    fd: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let rights: Vec<BorrowedFd<'_>> = fd.into_iter().collect();
    if !rights.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(&rights));
    }
    let words = [IoSlice::new(what.as_bytes())];
    // A supervisor reads what it is told: until it has, this waits for a moment at most.
    rustix::net::sendmsg_addr(socket, address, &words, &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// `LISTEN_FDS` and `LISTEN_FDNAMES`.
fn numbered(count: &str, names: &str) -> Vec<(String, RawFd)> {
    let count = count.parse().unwrap_or(0);
    let names = names.split(':').map(str::to_owned);
    names.take(count).zip(FIRST..).collect()
}

/// `SYSMGRD_KEPT`.
fn said(list: &str) -> Vec<(String, RawFd)> {
    let one = |item: &str| {
        let (name, number) = item.rsplit_once('=')?;
        Some((name.to_owned(), number.parse().ok()?))
    };
    list.split(':').filter_map(one).collect()
}

/// Takes an inherited descriptor over, under a number that no child inherits.
fn own(number: RawFd) -> io::Result<OwnedFd> {
    let this = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty())?;
    let copy = rustix::process::pidfd_getfd(&this, number, PidfdGetfdFlags::empty())?;
    nix::unistd::close(number)?;
    Ok(copy)
}

/// The name under which the notification socket of `process` is kept.
pub fn notify_name(process: &str) -> String {
    // A name there has no colon, one of a process no plus.
    format!("notify.{}", process.replace(':', "+"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_name_descriptors_are_understood() {
        assert_eq!(
            numbered("2", "notify.a:notify.b:more"),
            [("notify.a".to_owned(), 3), ("notify.b".to_owned(), 4)]
        );
        assert_eq!(numbered("", ""), []);
        assert_eq!(
            said("notify.a=17:notify.b@x=4:rubbish:x=y"),
            [("notify.a".to_owned(), 17), ("notify.b@x".to_owned(), 4)]
        );
    }
}
