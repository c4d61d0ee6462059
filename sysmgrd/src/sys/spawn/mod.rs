//! Starts one program: `clone3` with `CLONE_VM` and `CLONE_VFORK`, then raw system calls only.
//!
//! The child borrows this daemon's memory until it executes its program, so a daemon of any size
//! spawns in constant time, and a child's failure is read from that memory. In exchange the child
//! may neither allocate nor take a lock, nor call anything that knows of threads: everything it
//! needs is made before, and it only follows [`Program`].
#![expect(
    unsafe_code,
    reason = "a child between clone and exec can only use raw system calls"
)]

mod child;
mod clone;

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::Arc;

use self::child::LISTEN_PID;
use super::cgroup::{Join, procs_of};

/// A program and everything its process is before it runs.
#[derive(Debug)]
pub struct Program {
    /// Path in the view.
    pub path: CString,
    /// Its words.
    pub arguments: Vec<CString>,
    /// `NAME=VALUE`, without `LISTEN_PID`.
    pub environment: Vec<CString>,
    /// Whether `LISTEN_PID` is set to the process's own number.
    pub listen_pid: bool,
    /// The mount namespace it runs in; this daemon's own where absent.
    pub view: Option<Arc<OwnedFd>>,
    /// Whether it gets a copy of that namespace for itself.
    pub own_view: bool,
    /// How it comes into its control group.
    pub group: Join,
    /// User, group and further groups; this daemon's own where absent.
    pub user: Option<User>,
    /// Working directory in the view.
    pub directory: CString,
    /// Mode bits that new files do not get.
    pub umask: u32,
    /// Limit of open files, soft and hard; this daemon's own where absent.
    pub open_files: Option<(u64, u64)>,
    /// Descriptors by the number that they have in the process, 0 to 2 included.
    pub descriptors: Vec<(RawFd, Arc<OwnedFd>)>,
}

/// Whom a process becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// All groups.
    pub groups: Vec<u32>,
}

/// A started process.
#[derive(Debug)]
pub struct Spawned {
    /// Its number in this daemon's pid namespace.
    pub pid: u32,
    /// Its identity.
    pub pidfd: OwnedFd,
}

/// The step at which a child gave up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum Step {
    /// No child was made.
    Clone = 1,
    /// Joining the control group.
    Group,
    /// Entering the view.
    View,
    /// Copying the view.
    OwnView,
    /// A session of its own.
    Session,
    /// Limits.
    Limits,
    /// Its descriptors.
    Descriptors,
    /// Groups.
    Groups,
    /// User and group id.
    User,
    /// Working directory.
    Directory,
    /// The program itself.
    Program,
}

/// Why a program was not started.
#[derive(Debug)]
pub struct SpawnError {
    /// Where.
    pub step: Step,
    /// Why.
    pub source: io::Error,
}

/// What the child reads and where it leaves its failure. Lives in the parent's frame, which stands
/// still until the child has executed its program or ended.
struct Shared<'a> {
    program: &'a Program,
    argv: Vec<*const libc::c_char>,
    envp: Vec<*const libc::c_char>,
    listen_pid: [u8; 24],
    descriptors: Vec<(RawFd, RawFd)>,
    closed: Vec<(u32, u32)>,
    ignored: &'a [libc::c_int],
    write_group: Option<RawFd>,
    failure: Option<(Step, i32)>,
}

/// Starts `program`; returns when it runs or could not be run.
pub fn spawn(program: &Program) -> Result<Spawned, SpawnError> {
    let high = lift(program).map_err(|source| SpawnError {
        step: Step::Descriptors,
        source,
    })?;
    let (into, write) = match &program.group {
        Join::Into(directory) => (Some(directory), None),
        Join::Write(procs) => (None, Some(procs.as_raw_fd())),
        Join::Nothing => (None, None),
    };
    let spawned = attempt(program, &high, into.map(AsRawFd::as_raw_fd), write);
    match spawned {
        // Before Linux 5.7, or a tree that may not be joined that way: the child writes itself in.
        Err(error)
            if error.step == Step::Clone && error.source.raw_os_error() != Some(libc::EAGAIN) =>
        {
            let Some(directory) = into else {
                return Err(error);
            };
            let procs = procs_of(directory).map_err(|source| SpawnError {
                step: Step::Group,
                source,
            })?;
            attempt(program, &high, None, Some(procs.as_raw_fd()))
        }
        other => other,
    }
}

/// Copies of the descriptors above all numbers that the process wants, so that none is overwritten
/// before it is in place.
fn lift(program: &Program) -> io::Result<Vec<(RawFd, OwnedFd)>> {
    let top = program
        .descriptors
        .iter()
        .map(|(number, _)| *number)
        .max()
        .unwrap_or(2)
        + 1;
    let copy = |(number, fd): &(RawFd, Arc<OwnedFd>)| {
        rustix::io::fcntl_dupfd_cloexec(fd, top).map(|copy| (*number, copy))
    };
    Ok(program
        .descriptors
        .iter()
        .map(copy)
        .collect::<Result<_, _>>()?)
}

fn attempt(
    program: &Program,
    high: &[(RawFd, OwnedFd)],
    into_group: Option<RawFd>,
    write_group: Option<RawFd>,
) -> Result<Spawned, SpawnError> {
    let pointers = |list: &[CString]| list.iter().map(|text| text.as_ptr()).collect::<Vec<_>>();
    let mut shared = Shared {
        program,
        argv: pointers(&program.arguments),
        envp: pointers(&program.environment),
        listen_pid: *LISTEN_PID,
        descriptors: high
            .iter()
            .map(|(number, fd)| (*number, fd.as_raw_fd()))
            .collect(),
        closed: gaps(high.iter().map(|(number, _)| *number)),
        ignored: child::ignored(),
        write_group,
        failure: None,
    };
    shared.argv.push(ptr::null());
    if program.listen_pid {
        shared.envp.push(shared.listen_pid.as_ptr().cast());
    }
    shared.envp.push(ptr::null());
    let result = clone::clone_child(&mut shared, into_group);
    let spawned = result.map_err(|source| SpawnError {
        step: Step::Clone,
        source,
    })?;
    let Some((step, errno)) = shared.failure else {
        return Ok(spawned);
    };
    let id = rustix::process::WaitId::PidFd(rustix::fd::AsFd::as_fd(&spawned.pidfd));
    let _ = rustix::process::waitid(id, rustix::process::WaitIdOptions::EXITED);
    Err(SpawnError {
        step,
        source: io::Error::from_raw_os_error(errno),
    })
}

/// The ranges of numbers that nobody wants.
fn gaps(wanted: impl Iterator<Item = RawFd>) -> Vec<(u32, u32)> {
    let mut wanted: Vec<u32> = wanted
        .filter_map(|number| u32::try_from(number).ok())
        .collect();
    wanted.sort_unstable();
    let mut gaps = Vec::new();
    let mut next = 0;
    for number in wanted {
        if number > next {
            gaps.push((next, number - 1));
        }
        next = number + 1;
    }
    gaps.push((next, u32::MAX));
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_that_nobody_wants_are_found() {
        let cases = [
            (vec![0, 1, 2], vec![(3, u32::MAX)]),
            (vec![2, 0, 1, 7], vec![(3, 6), (8, u32::MAX)]),
            (vec![1], vec![(0, 0), (2, u32::MAX)]),
        ];
        for (wanted, expected) in cases {
            assert_eq!(gaps(wanted.iter().copied()), expected);
        }
    }
}
