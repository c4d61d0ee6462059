//! What the node's init hears of a daemon, and what it keeps for `sysmgrd` over its restarts.
//!
//! It is systemd's protocol: `READY=1`; `FDSTORE=1` with `FDNAME=NAME` and a descriptor;
//! `FDSTOREREMOVE=1` with `FDNAME=NAME`. What is kept goes to the next `sysmgrd` under the number that it
//! has here, named in `SYSMGRD_KEPT=NAME=NUMBER:NAME=NUMBER`.

use std::collections::BTreeMap;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::FdFlags;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

/// The most descriptors that are kept: init's own limit is often 1,024. Of more processes what is
/// said while no daemon runs is lost.
const MOST: usize = 768;
/// The longest message that is read; systemd's limit.
const LONGEST: usize = 4096;

/// What is kept, by name.
#[derive(Debug, Default)]
pub struct Store {
    kept: Mutex<BTreeMap<String, OwnedFd>>,
}

impl Store {
    fn kept(&self) -> MutexGuard<'_, BTreeMap<String, OwnedFd>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self, text: &str, fd: Option<OwnedFd>) {
        let line = |wanted: &str| text.lines().any(|line| line == wanted);
        let Some(name) = text.lines().find_map(|line| line.strip_prefix("FDNAME=")) else {
            return;
        };
        let mut kept = self.kept();
        if line("FDSTOREREMOVE=1") {
            kept.remove(name);
        } else if line("FDSTORE=1")
            && let Some(fd) = fd
            && kept.len() < MOST
            && !name.contains(['=', ':'])
        {
            kept.insert(name.to_owned(), fd);
        }
    }

    /// Starts a daemon with what is kept. Nothing else may be started meanwhile: it would inherit it too.
    pub fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        let kept = self.kept();
        let list = kept
            .iter()
            .map(|(name, fd)| format!("{name}={}", fd.as_raw_fd()));
        let list: Vec<String> = list.collect();
        command
            .env("FDSTORE", MOST.to_string())
            .env("SYSMGRD_KEPT", list.join(":"));
        let inherited = |flags| {
            let mut each = kept.values();
            each.try_for_each(|fd| rustix::io::fcntl_setfd(fd, flags))
        };
        let child = inherited(FdFlags::empty())
            .map_err(io::Error::from)
            .and_then(|()| command.spawn());
        inherited(FdFlags::CLOEXEC)?;
        child
    }
}

/// Hears what a daemon tells, from before its start to after its end.
#[derive(Debug)]
pub struct Ear {
    socket: Arc<UnixDatagram>,
    ready: Arc<Ready>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Ready {
    said: AtomicBool,
    /// Readable once it was said.
    told: OwnedFd,
}

impl Ear {
    /// Listens at `socket`; what is to be kept goes into `store`, where there is one.
    pub fn open(socket: UnixDatagram, store: Option<Arc<Store>>) -> io::Result<Self> {
        let ready = Arc::new(Ready {
            said: AtomicBool::new(false),
            told: eventfd(0, EventfdFlags::CLOEXEC)?,
        });
        let socket = Arc::new(socket);
        let (heard, to) = (Arc::clone(&socket), Arc::clone(&ready));
        let thread = std::thread::Builder::new()
            .name("ear".to_owned())
            .spawn(move || listen(&heard, &to, store.as_deref()))?;
        Ok(Self {
            socket,
            ready,
            thread: Some(thread),
        })
    }

    /// Whether the daemon has said that it is ready.
    pub fn is_ready(&self) -> bool {
        self.ready.said.load(Ordering::Acquire)
    }

    /// The daemon has ended: hears what it had still said.
    pub fn close(&mut self) {
        // What waits is read before the end is seen.
        let _closed = self.socket.shutdown(Shutdown::Both);
        let _ended = self.thread.take().map(JoinHandle::join);
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.close();
    }
}

/// Readable once the daemon is ready.
impl AsFd for Ear {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ready.told.as_fd()
    }
}

fn listen(socket: &UnixDatagram, ready: &Ready, store: Option<&Store>) {
    loop {
        match receive(socket) {
            Ok(Some((text, fd))) => {
                if text.lines().any(|line| line == "READY=1") {
                    ready.said.store(true, Ordering::Release);
                    let _told = rustix::io::write(&ready.told, &1_u64.to_ne_bytes());
                }
                if let Some(store) = store {
                    store.hear(&text, fd);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(None) | Err(_) => return,
        }
    }
}

/// The next message with the first descriptor of it; none: the socket is shut.
fn receive(socket: &UnixDatagram) -> io::Result<Option<(String, Option<OwnedFd>)>> {
    let mut bytes = [0_u8; LONGEST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut words = [IoSliceMut::new(&mut bytes)];
    let received = recvmsg(socket, &mut words, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let fd = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut rights) => rights.next(),
        RecvAncillaryMessage::ScmCredentials(_) | _ => None,
    });
    let text = bytes.get(..received.bytes).unwrap_or_default();
    let text = String::from_utf8_lossy(text).into_owned();
    Ok((received.bytes > 0).then_some((text, fd)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn null() -> OwnedFd {
        fs_err::File::open("/dev/null")
            .unwrap()
            .into_parts()
            .0
            .into()
    }

    #[test]
    fn a_daemon_finds_what_an_earlier_one_had_kept_and_not_let_go_of() {
        let store = Store::default();
        for name in ["notify.a", "notify.b", "a:b", "a=b"] {
            store.hear(&format!("FDSTORE=1\nFDNAME={name}"), Some(null()));
        }
        store.hear("FDSTOREREMOVE=1\nFDNAME=notify.b", None);
        store.hear("FDSTORE=1\nFDNAME=notify.c", None);
        let number = store.kept()["notify.a"].as_raw_fd();
        let script = r#"echo "$SYSMGRD_KEPT"; readlink "/proc/self/fd/${SYSMGRD_KEPT#*=}""#;
        let mut command = Command::new("sh");
        command
            .args(["-c", script])
            .stdout(std::process::Stdio::piped());
        let output = store.spawn(&mut command).unwrap().wait_with_output();
        let said = String::from_utf8(output.unwrap().stdout).unwrap();
        assert_eq!(said, format!("notify.a={number}\n/dev/null\n"));
        let flags = rustix::io::fcntl_getfd(&store.kept()["notify.a"]).unwrap();
        assert_eq!(flags, FdFlags::CLOEXEC);
    }

    #[test]
    fn what_a_daemon_said_before_its_end_is_heard_after_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ready");
        let mut ear = Ear::open(UnixDatagram::bind(&path).unwrap(), None).unwrap();
        assert!(!ear.is_ready());
        let daemon = UnixDatagram::unbound().unwrap();
        for said in ["STATUS=up", "READY=1", "STATUS=well"] {
            daemon.send_to(said.as_bytes(), &path).unwrap();
        }
        ear.close();
        assert!(ear.is_ready());
    }
}
