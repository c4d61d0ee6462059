//! What a supervisor keeps for a daemon, as systemd does.

use std::collections::BTreeMap;
use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::FdFlags;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

/// Descriptors are inherited by whoever is started while they may be.
static STARTING: Mutex<()> = Mutex::new(());

#[derive(Debug)]
pub struct Store {
    socket: UnixDatagram,
    kept: Mutex<BTreeMap<String, OwnedFd>>,
    ready: AtomicBool,
    over: AtomicBool,
}

impl Store {
    /// Takes what the daemon sends to `path` until it is dropped, beside what was kept before.
    pub fn open(path: &Path, before: BTreeMap<String, OwnedFd>) -> Arc<Self> {
        drop(fs_err::remove_file(path));
        let store = Arc::new(Self {
            socket: UnixDatagram::bind(path).unwrap(),
            kept: Mutex::new(before),
            ready: AtomicBool::new(false),
            over: AtomicBool::new(false),
        });
        let reader = Arc::clone(&store);
        std::thread::spawn(move || {
            while !reader.over.load(Ordering::Relaxed) {
                let moment = Timespec {
                    tv_sec: 0,
                    tv_nsec: 50_000_000,
                };
                let mut events = [PollFd::new(&reader.socket, PollFlags::IN)];
                let _ = poll(&mut events, Some(&moment));
                reader.drain();
            }
        });
        store
    }

    /// Starts the daemon with what is kept.
    pub fn spawn(&self, command: &mut Command) -> Child {
        let kept = self.kept.lock().unwrap();
        let _alone = STARTING.lock().unwrap();
        let list: Vec<String> = kept
            .iter()
            .map(|(name, fd)| format!("{name}={}", fd.as_raw_fd()))
            .collect();
        command
            .env("FDSTORE", "1000")
            .env("SYSMGRD_KEPT", list.join(":"));
        let flags = |flags| {
            for fd in kept.values() {
                rustix::io::fcntl_setfd(fd, flags).unwrap();
            }
        };
        flags(FdFlags::empty());
        let child = command.spawn();
        flags(FdFlags::CLOEXEC);
        child.unwrap()
    }

    pub fn await_ready(&self) {
        let begin = Instant::now();
        while !self.ready.load(Ordering::Relaxed) {
            assert!(
                begin.elapsed() < Duration::from_secs(20),
                "the daemon says READY=1"
            );
            std::thread::park_timeout(Duration::from_millis(1));
            self.drain();
        }
    }

    /// The daemon is gone: all that it had kept.
    pub fn close(&self) -> BTreeMap<String, OwnedFd> {
        self.over.store(true, Ordering::Relaxed);
        self.drain();
        std::mem::take(&mut *self.kept.lock().unwrap())
    }

    fn drain(&self) {
        let mut kept = self.kept.lock().unwrap();
        let mut bytes = [0_u8; 4096];
        loop {
            let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut words = [IoSliceMut::new(&mut bytes)];
            let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
            let Ok(received) = recvmsg(&self.socket, &mut words, &mut control, flags) else {
                return;
            };
            let rights = control.drain().find_map(|message| match message {
                RecvAncillaryMessage::ScmRights(mut rights) => rights.next(),
                RecvAncillaryMessage::ScmCredentials(_) | _ => None,
            });
            let text = String::from_utf8(bytes[..received.bytes].to_vec()).unwrap();
            if text == "READY=1" {
                self.ready.store(true, Ordering::Relaxed);
            }
            let name = text.split_once("FDNAME=").map(|(_, name)| name.to_owned());
            match (text.split_once('\n'), name, rights) {
                (Some(("FDSTORE=1", _)), Some(name), Some(fd)) => drop(kept.insert(name, fd)),
                (Some(("FDSTOREREMOVE=1", _)), Some(name), None) => drop(kept.remove(&name)),
                _ => {}
            }
        }
    }
}
