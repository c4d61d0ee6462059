//! One control group per process, below a directory that belongs to this daemon alone.
//!
//! Three layouts: version 2 (also the `unified` tree beside version 1 hierarchies), one version 1
//! hierarchy (`name=systemd` where there is one), and none, where nothing is writable: then a
//! process's members are found among this daemon's descendants.
//!
//! **Invariant:** no process is ever put into this daemon's own group: systemd 252 cannot restart
//! a unit that has children of its own.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use model::ProcessName;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::process::{Pid, Signal};

use super::descendants;

/// How groups are kept on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// Version 2: `cgroup.kill`, and children are created inside.
    Two,
    /// A version 1 hierarchy: members are killed one by one until none is left.
    One,
}

/// The tree of groups that belongs to this daemon.
#[derive(Debug, Clone)]
pub struct Cgroups {
    base: Option<(Version, PathBuf)>,
}

/// The group of one process.
#[derive(Debug, Clone)]
pub enum Group {
    /// A directory in a control group file system.
    Directory {
        /// Its kind.
        version: Version,
        /// Where it is.
        path: PathBuf,
        /// The directory, held from its first use on: looking a path up costs more than the look.
        held: Held,
    },
    /// No directory: the members carry this invocation id in their environment.
    Marked {
        /// `INVOCATION_ID` of the process's members.
        invocation: String,
    },
}

/// A directory that is opened once for all clones of a [`Group`].
#[derive(Debug, Clone, Default)]
pub struct Held(Arc<Mutex<Option<Arc<OwnedFd>>>>);

/// How a child comes into its group.
#[derive(Debug, Clone)]
pub enum Join {
    /// Created inside (`CLONE_INTO_CGROUP`) this directory.
    Into(Arc<OwnedFd>),
    /// It writes itself into this `cgroup.procs`.
    Write(Arc<OwnedFd>),
    /// It is found by its environment.
    Nothing,
}

impl Cgroups {
    /// The tree at `configured`, or the best one that can be written: version 2 first. `own_name`
    /// keeps two daemons on one machine apart.
    pub fn find(configured: Option<&Path>, own_name: &str) -> Self {
        let mounts = mounts();
        let candidates: Vec<(Version, PathBuf)> = match configured {
            Some(path) => version_at(&mounts, path)
                .map(|v| (v, path.into()))
                .into_iter()
                .collect(),
            None => mounts
                .iter()
                .map(|(v, mount)| (*v, mount.join(own_name)))
                .collect(),
        };
        let base = candidates.into_iter().find(|(_, path)| usable(path));
        if let Some((version, path)) = &base {
            tracing::info!(?version, path = %path.display(), "control groups");
        } else {
            tracing::warn!("no control group tree can be written; following descendants");
        }
        Self { base }
    }

    /// The group of `process`; of one that ran before with the same name too.
    pub fn group(&self, process: &ProcessName, invocation: &str) -> Group {
        match &self.base {
            Some((version, base)) => Group::Directory {
                version: *version,
                // A suffix, so that no process's name can be a control file's.
                path: base.join(format!("{process}.process")),
                held: Held::default(),
            },
            None => Group::Marked {
                invocation: invocation.to_owned(),
            },
        }
    }

    /// Removes the tree, where it is empty.
    pub fn remove(&self) {
        if let Some((_, base)) = &self.base {
            drop(fs_err::remove_dir(base));
        }
    }
}

impl Group {
    /// The same group, for a run with another mark.
    #[must_use]
    pub fn again(self, invocation: &str) -> Self {
        match self {
            Self::Directory { .. } => self,
            Self::Marked { .. } => Self::Marked {
                invocation: invocation.to_owned(),
            },
        }
    }

    /// Makes it and says how a child joins it.
    pub fn join(&self) -> io::Result<Join> {
        let Self::Directory {
            version,
            path,
            held,
        } = self
        else {
            return Ok(Join::Nothing);
        };
        let directory = held.made(path)?;
        match version {
            Version::One => Ok(Join::Write(Arc::new(procs_of(&directory)?))),
            Version::Two => Ok(Join::Into(directory)),
        }
    }

    /// The pids of all members, in groups below it too. `main` and its descendants are members in
    /// any case where there is no directory.
    pub fn members(&self, main: Option<u32>) -> Vec<u32> {
        match self {
            Self::Directory { path, held, .. } => {
                let mut pids = BTreeSet::new();
                if let Ok(directory) = held.open(path) {
                    collect(directory.as_fd(), &mut pids);
                }
                pids.into_iter().filter(|pid| *pid != 0).collect()
            }
            Self::Marked { invocation } => descendants::of(main, invocation),
        }
    }

    /// Whether it has no member.
    pub fn is_empty(&self, main: Option<u32>) -> bool {
        if let Self::Directory {
            version: Version::Two,
            path,
            held,
        } = self
            && let Ok(directory) = held.open(path)
            && let Ok(events) = read(directory.as_fd(), "cgroup.events")
        {
            // It counts the groups below too.
            return events.lines().any(|line| line == "populated 0");
        }
        self.members(main).is_empty()
    }

    /// Whether `pid` is a member.
    pub fn has(&self, pid: u32, main: Option<u32>) -> bool {
        main == Some(pid) || self.members(main).contains(&pid)
    }

    /// Sends `signal` to every member.
    pub fn signal(&self, signal: Signal, main: Option<u32>) {
        for pid in self.members(main) {
            send(pid, signal);
        }
    }

    /// Kills every member, once; repeated by the caller until none is left.
    pub fn kill(&self, main: Option<u32>) {
        if let Self::Directory {
            version: Version::Two,
            path,
            held,
        } = self
            && let Ok(directory) = held.open(path)
            && let Ok(kill) = open(directory.as_fd(), "cgroup.kill", OFlags::WRONLY)
            && rustix::io::write(&kill, b"1").is_ok()
        {
            return;
        }
        self.signal(Signal::KILL, main);
    }

    /// Removes its directory and those below it, where they have no members; whether none is left.
    pub fn remove(&self) -> bool {
        let Self::Directory { path, held, .. } = self else {
            return true;
        };
        if path.exists() {
            remove_tree(path);
        }
        let gone = !path.exists();
        if gone {
            held.forget();
        }
        gone
    }
}

impl Held {
    fn open(&self, path: &Path) -> io::Result<Arc<OwnedFd>> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(directory) = &*held {
            return Ok(Arc::clone(directory));
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = Arc::new(rustix::fs::open(path, flags, Mode::empty())?);
        *held = Some(Arc::clone(&directory));
        Ok(directory)
    }

    /// The same, made where it is not there, or not any more.
    fn made(&self, path: &Path) -> io::Result<Arc<OwnedFd>> {
        if let Ok(directory) = self.open(path)
            && rustix::fs::accessat(
                &directory,
                "cgroup.procs",
                rustix::fs::Access::WRITE_OK,
                AtFlags::empty(),
            )
            .is_ok()
        {
            return Ok(directory);
        }
        self.forget();
        make(path)?;
        self.open(path)
    }

    fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// A group's `cgroup.procs`, to be written into.
pub fn procs_of(directory: &OwnedFd) -> io::Result<OwnedFd> {
    open(directory.as_fd(), "cgroup.procs", OFlags::WRONLY)
}

/// Sends `signal` to `pid` through a descriptor that cannot come to mean another process.
pub fn send(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let Some(pid) = pid else { return };
    if let Ok(fd) = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) {
        // One that has ended in between needs no signal.
        let _ = rustix::process::pidfd_send_signal(&fd, signal);
    }
}

fn make(path: &Path) -> io::Result<()> {
    match fs_err::create_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn usable(path: &Path) -> bool {
    make(path).is_ok()
        && fs_err::OpenOptions::new()
            .write(true)
            .open(path.join("cgroup.procs"))
            .is_ok()
}

fn open(directory: BorrowedFd<'_>, name: &str, flags: OFlags) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(
        directory,
        name,
        flags | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

/// A control file, with as few system calls as it takes.
fn read(directory: BorrowedFd<'_>, name: &str) -> io::Result<String> {
    let file = open(directory, name, OFlags::RDONLY)?;
    let mut text = Vec::with_capacity(1024);
    loop {
        text.reserve(512);
        if rustix::io::read(&file, rustix::buffer::spare_capacity(&mut text))? == 0 {
            break;
        }
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn collect(directory: BorrowedFd<'_>, pids: &mut BTreeSet<u32>) {
    if let Ok(text) = read(directory, "cgroup.procs") {
        pids.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
    }
    // One link for each group below, and two of its own: mostly there is nothing to list.
    if rustix::fs::fstat(directory).is_ok_and(|stat| stat.st_nlink <= 2) {
        return;
    }
    let Ok(entries) = Dir::read_from(directory) else {
        return;
    };
    let below = entries
        .flatten()
        .filter(|entry| entry.file_type() == FileType::Directory);
    for entry in below.filter(|entry| !entry.file_name().to_bytes().starts_with(b".")) {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        if let Ok(child) = rustix::fs::openat(directory, entry.file_name(), flags, Mode::empty()) {
            collect(child.as_fd(), pids);
        }
    }
}

fn remove_tree(path: &Path) {
    for child in directories(path) {
        remove_tree(&child);
    }
    if let Err(error) = fs_err::remove_dir(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::debug!(%error, "a control group stays");
    }
}

fn directories(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs_err::read_dir(path) else {
        return Vec::new();
    };
    let entries = entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|t| t.is_dir()));
    entries.map(|entry| entry.path()).collect()
}

/// Every control group mount, the best first.
fn mounts() -> Vec<(Version, PathBuf)> {
    let text = fs_err::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut found: Vec<(u8, Version, PathBuf)> = text.lines().filter_map(rank).collect();
    found.sort_by_key(|(rank, _, _)| *rank);
    found
        .into_iter()
        .map(|(_, version, path)| (version, path))
        .collect()
}

fn rank(line: &str) -> Option<(u8, Version, PathBuf)> {
    let (left, right) = line.split_once(" - ")?;
    let path = PathBuf::from(left.split(' ').nth(4)?);
    let mut right = right.split(' ');
    let (kind, options) = (right.next()?, right.nth(1).unwrap_or_default());
    match kind {
        "cgroup2" => Some((0, Version::Two, path)),
        "cgroup" if options.contains("name=systemd") => Some((1, Version::One, path)),
        "cgroup" if options.split(',').any(|option| option == "pids") => {
            Some((2, Version::One, path))
        }
        // cpuset and its like refuse members of a new group until they are set up.
        "cgroup" if options.split(',').any(|option| option == "freezer") => {
            Some((3, Version::One, path))
        }
        _ => None,
    }
}

fn version_at(mounts: &[(Version, PathBuf)], path: &Path) -> Option<Version> {
    let found = mounts.iter().filter(|(_, mount)| path.starts_with(mount));
    found
        .max_by_key(|(_, mount)| mount.as_os_str().len())
        .map(|(version, _)| *version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layout_is_known_by_its_mounts() {
        let line = |rest: &str| format!("31 23 0:28 / /sys/fs/cgroup{rest}");
        let ranks = |rest: &str| rank(&line(rest)).map(|(rank, version, _)| (rank, version));
        assert_eq!(ranks(" rw - cgroup2 cgroup2 rw"), Some((0, Version::Two)));
        assert_eq!(
            ranks("/unified rw shared:4 - cgroup2 cgroup2 rw"),
            Some((0, Version::Two))
        );
        assert_eq!(
            ranks("/systemd rw - cgroup cgroup rw,xattr,name=systemd"),
            Some((1, Version::One))
        );
        assert_eq!(
            ranks("/pids rw - cgroup cgroup rw,pids"),
            Some((2, Version::One))
        );
        assert_eq!(ranks("/cpuset rw - cgroup cgroup rw,cpuset"), None);
        assert_eq!(ranks(" rw - tmpfs tmpfs rw"), None);
    }
}
