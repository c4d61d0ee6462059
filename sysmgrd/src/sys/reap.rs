//! Processes by their descriptors: their end, and the end of everybody in a group.

use std::collections::BTreeSet;
use std::io;
use std::num::NonZero;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use rustix::fd::{AsFd, OwnedFd};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::cgroup::Group;
use super::launch::{LaunchError, Order, launch};
use super::places::Places;
use super::spawn::Spawned;
use super::watched;
use crate::process::Exit;

/// This daemon's children that somebody waits for. The others, orphans that came to it as the
/// subreaper, are reaped by [`reap_orphans`].
#[derive(Debug, Clone)]
pub struct Children {
    awaited: Arc<Mutex<BTreeSet<u32>>>,
    /// Held by those who start one, and alone by who reaps the others: a child may end before its
    /// number is noted.
    starting: Arc<RwLock<()>>,
    /// One for each processor: more starts at once would only wait for each other.
    slots: Arc<Semaphore>,
}

impl Default for Children {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(2, NonZero::get);
        Self {
            awaited: Arc::default(),
            starting: Arc::default(),
            slots: Arc::new(Semaphore::new(processors.max(2))),
        }
    }
}

impl Children {
    /// Waits until it is this start's turn, which lasts as long as what is answered.
    pub async fn slot(&self) -> Option<OwnedSemaphorePermit> {
        // It is never closed.
        Arc::clone(&self.slots).acquire_owned().await.ok()
    }

    /// Starts a program whose end `exit_of` will be awaited.
    pub fn launch(&self, order: &Order, places: &Places) -> Result<Spawned, LaunchError> {
        let _held = self.starting.read().unwrap_or_else(PoisonError::into_inner);
        let spawned = launch(order, places)?;
        self.adopt(spawned.pid);
        Ok(spawned)
    }

    /// Takes over an orphan.
    pub fn adopt(&self, pid: u32) {
        self.awaited
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(pid);
    }

    /// Waits for the end of a process that was launched or adopted.
    pub async fn exit_of(&self, pid: u32, pidfd: impl Into<Arc<OwnedFd>>) -> Exit {
        let exit = wait(pidfd.into()).await;
        self.awaited
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&pid);
        exit
    }

    fn reap_others(&self) {
        let _alone = self
            .starting
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let awaited = self.awaited.lock().unwrap_or_else(PoisonError::into_inner);
        for pid in zombies() {
            let id = i32::try_from(pid)
                .ok()
                .and_then(Pid::from_raw)
                .map(WaitId::Pid);
            if let Some(id) = id.filter(|_| !awaited.contains(&pid)) {
                let _ = waitid(id, WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
            }
        }
    }
}

async fn wait(pidfd: Arc<OwnedFd>) -> Exit {
    let Ok(fd) = watched::readable(pidfd) else {
        return Exit::Unknown;
    };
    if fd.readable().await.is_err() {
        return Exit::Unknown;
    }
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    match waitid(WaitId::PidFd(fd.get_ref().as_fd()), options) {
        Ok(Some(status)) => match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Exit::Code(code),
            (None, Some(signal)) => Exit::Signal(signal),
            (None, None) => Exit::Unknown,
        },
        // Not a child: it was adopted from a daemon that ended.
        Ok(None) | Err(_) => Exit::Unknown,
    }
}

/// The identity of a living process.
pub fn open(pid: u32) -> io::Result<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

/// Whether the process of this descriptor has not ended.
pub fn is_alive(pidfd: &OwnedFd) -> bool {
    let mut fds = [rustix::event::PollFd::new(
        pidfd,
        rustix::event::PollFlags::IN,
    )];
    let now = rustix::event::Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    matches!(rustix::event::poll(&mut fds, Some(&now)), Ok(0))
}

/// When a process was started, in clock ticks since boot: with its pid, an identity that survives
/// this daemon.
pub fn start_time(pid: u32) -> Option<u64> {
    let text = fs_err::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(") ")?;
    rest.split(' ').nth(19)?.parse().ok()
}

/// Waits until the group has no member, woken by the end of one after the other.
pub async fn emptied(group: &Group, main: Option<u32>) {
    while let Some(pid) = group.members(main).first().copied() {
        let Ok(pidfd) = open(pid) else {
            // Gone between the two looks, or a zombie's leftover: look again, soon.
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        };
        match watched::readable(pidfd) {
            Ok(fd) => drop(fd.readable().await),
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
        // A dead leader may be listed until its parent has taken notice.
        tokio::task::yield_now().await;
    }
}

/// Reaps orphans for as long as the daemon runs, at most four times a second.
pub async fn reap_orphans(children: Children) {
    let Ok(mut ended) = signal(SignalKind::child()) else {
        return;
    };
    while ended.recv().await.is_some() {
        tokio::time::sleep(Duration::from_millis(250)).await;
        children.reap_others();
    }
}

fn zombies() -> Vec<u32> {
    let own = std::process::id();
    let Ok(tasks) = fs_err::read_dir(format!("/proc/{own}/task")) else {
        return Vec::new();
    };
    let lists = tasks
        .flatten()
        .filter_map(|task| fs_err::read_to_string(task.path().join("children")).ok());
    let pids: Vec<u32> = lists
        .flat_map(|list| {
            list.split_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .collect::<Vec<_>>()
        })
        .collect();
    pids.into_iter().filter(|pid| is_zombie(*pid)).collect()
}

fn is_zombie(pid: u32) -> bool {
    let stat = fs_err::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| rest.starts_with('Z'))
}
