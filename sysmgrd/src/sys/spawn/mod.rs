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

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::Arc;

use super::cgroup::Join;

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
    /// Limit of open files.
    pub open_files: Option<u64>,
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
    write_group: Option<RawFd>,
    failure: Option<(Step, i32)>,
}

const LISTEN_PID: &[u8; 24] = b"LISTEN_PID=\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// Starts `program`; returns when it runs or could not be run.
pub fn spawn(program: &Program) -> Result<Spawned, SpawnError> {
    let at_clone = |source| SpawnError {
        step: Step::Clone,
        source,
    };
    let high = lift(program).map_err(|source| SpawnError {
        step: Step::Descriptors,
        source,
    })?;
    let directory = match &program.group {
        Join::Into(directory, _) => Some(directory.as_raw_fd()),
        Join::Write(_) | Join::Nothing => None,
    };
    let spawned = attempt(program, &high, directory);
    match spawned {
        // Before Linux 5.7, or a tree that may not be joined that way: the child writes itself in.
        Err(error)
            if directory.is_some()
                && error.step == Step::Clone
                && error.source.raw_os_error() != Some(libc::EAGAIN) =>
        {
            attempt(program, &high, None)
        }
        Err(error) if error.step == Step::Clone => Err(at_clone(error.source)),
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
) -> Result<Spawned, SpawnError> {
    let write_group = match &program.group {
        Join::Into(_, procs) if into_group.is_none() => Some(procs.as_raw_fd()),
        Join::Write(procs) => Some(procs.as_raw_fd()),
        Join::Into(..) | Join::Nothing => None,
    };
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
        write_group,
        failure: None,
    };
    shared.argv.push(ptr::null());
    if program.listen_pid {
        shared.envp.push(shared.listen_pid.as_ptr().cast());
    }
    shared.envp.push(ptr::null());
    let result = with_signals_blocked(|| clone_child(&mut shared, into_group));
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

/// No handler of this daemon may run in the child, which shares its memory.
fn with_signals_blocked<T>(work: impl FnOnce() -> T) -> T {
    // SAFETY: both sets are plain memory that the calls fill; neither call keeps a pointer.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const all, &raw mut before);
        let result = work();
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, ptr::null_mut());
        result
    }
}

/// The kernel's `struct clone_args`, version 2.
#[repr(C, align(8))]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
/// Bytes of the child's stack; it calls two functions deep and allocates nothing.
const STACK: usize = 64 * 1024;

fn clone_child(shared: &mut Shared<'_>, into_group: Option<RawFd>) -> io::Result<Spawned> {
    let mut stack = vec![0_u128; STACK / size_of::<u128>()];
    let mut pidfd: RawFd = -1;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD;
    let mut args = CloneArgs {
        flags: u64::try_from(flags).unwrap_or_default() | CLONE_CLEAR_SIGHAND,
        pidfd: (&raw mut pidfd) as u64,
        exit_signal: u64::try_from(libc::SIGCHLD).unwrap_or_default(),
        stack: stack.as_mut_ptr() as u64,
        stack_size: STACK as u64,
        ..CloneArgs::default()
    };
    if let Some(group) = into_group {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::try_from(group).unwrap_or_default();
    }
    // SAFETY: `args` is a valid clone_args; the stack outlives the child's use of it, because
    // CLONE_VFORK holds this thread until the child has left this memory; `child` never returns.
    let pid = unsafe { clone3(&raw mut args, (&raw mut *shared).cast(), child) };
    drop(stack);
    if pid < 0 {
        return Err(io::Error::from_raw_os_error(
            i32::try_from(-pid).unwrap_or(libc::EIO),
        ));
    }
    // SAFETY: on success the kernel has stored a new descriptor there that nobody else knows.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Spawned {
        pid: u32::try_from(pid).unwrap_or_default(),
        pidfd,
    })
}

/// `clone3`, with `function(argument)` run by the child on its own stack. Answers what the kernel
/// answers: a pid or a negative error number.
///
/// # Safety
/// As the system call; `function` must not return.
#[cfg(target_arch = "x86_64")]
unsafe fn clone3(
    args: *mut CloneArgs,
    argument: *mut libc::c_void,
    function: unsafe extern "C" fn(*mut libc::c_void) -> !,
) -> i64 {
    let result: i64;
    // SAFETY: the parent's path touches nothing but the registers named; the child's path leaves
    // this function's frame alone, since it has another stack.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 => result,
            in("rdi") args,
            in("rsi") size_of::<CloneArgs>(),
            in("r12") argument,
            in("r13") function,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    result
}

/// `clone3`, with `function(argument)` run by the child on its own stack. Answers what the kernel
/// answers: a pid or a negative error number.
///
/// # Safety
/// As the system call; `function` must not return.
#[cfg(target_arch = "aarch64")]
unsafe fn clone3(
    args: *mut CloneArgs,
    argument: *mut libc::c_void,
    function: unsafe extern "C" fn(*mut libc::c_void) -> !,
) -> i64 {
    let result: i64;
    // SAFETY: as for x86_64.
    unsafe {
        std::arch::asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x0, x20",
            "blr x21",
            "brk 1",
            "2:",
            inlateout("x0") args => result,
            in("x1") size_of::<CloneArgs>(),
            in("x8") libc::SYS_clone3,
            in("x20") argument,
            in("x21") function,
            lateout("x30") _,
        );
    }
    result
}

/// The child: follows the program's description and executes it, or leaves its failure and ends.
///
/// # Safety
/// `argument` is the parent's [`Shared`], and the parent stands still.
unsafe extern "C" fn child(argument: *mut libc::c_void) -> ! {
    // SAFETY: by this function's contract nobody else uses it while the child runs.
    let shared = unsafe { &mut *argument.cast::<Shared<'_>>() };
    // SAFETY: raw system calls on memory that `shared` holds.
    let step = unsafe { become_program(shared) };
    // SAFETY: `__errno_location` is this thread's; the parent that owns it stands still.
    let errno = unsafe { *libc::__errno_location() };
    shared.failure = Some((step, errno));
    // SAFETY: ends only the child, without running anything of the parent's.
    unsafe { libc::_exit(127) }
}

/// Returns the step that failed; on success it does not return.
///
/// # Safety
/// Only in the child. Everything here is a system call or touches memory of `shared`; `errno` is
/// what the last failed call left.
unsafe fn become_program(shared: &mut Shared<'_>) -> Step {
    let program = shared.program;
    // SAFETY: system calls with arguments that `shared` keeps alive; raw numbers for those whose
    // library functions would signal this daemon's other threads.
    unsafe {
        if let Some(fd) = shared.write_group
            && libc::write(fd, b"0".as_ptr().cast(), 1) < 0
        {
            return Step::Group;
        }
        if let Some(view) = &program.view
            && libc::setns(view.as_raw_fd(), libc::CLONE_NEWNS) != 0
        {
            return Step::View;
        }
        if program.own_view && libc::unshare(libc::CLONE_NEWNS) != 0 {
            return Step::OwnView;
        }
        if libc::setsid() < 0 {
            return Step::Session;
        }
        libc::umask(program.umask);
        if let Some(limit) = program.open_files
            && !limit_open_files(limit)
        {
            return Step::Limits;
        }
        if !place_descriptors(shared) {
            return Step::Descriptors;
        }
        if let Some(step) = drop_privileges(program) {
            return step;
        }
        if libc::chdir(program.directory.as_ptr()) != 0 {
            return Step::Directory;
        }
        write_pid(&mut shared.listen_pid, libc::getpid());
        reset_signals();
        libc::execve(
            program.path.as_ptr(),
            shared.argv.as_ptr(),
            shared.envp.as_ptr(),
        );
    }
    Step::Program
}

/// # Safety
/// Only in the child.
unsafe fn place_descriptors(shared: &Shared<'_>) -> bool {
    // SAFETY: system calls on numbers.
    unsafe {
        for (number, from) in &shared.descriptors {
            if libc::dup2(*from, *number) < 0 {
                return false;
            }
        }
        // Whatever else is open closes at exec; what is not, by a fault of some library, here. Not
        // closed at once: the view and the copies are among them.
        let mark = libc::c_long::from(libc::CLOSE_RANGE_CLOEXEC);
        for (first, last) in &shared.closed {
            libc::syscall(libc::SYS_close_range, *first, *last, mark);
        }
    }
    true
}

/// Sets the limit, or the closest one that this daemon may give: as systemd does where the hard limit
/// is lower and it lacks the right to raise it.
fn limit_open_files(wanted: u64) -> bool {
    let mut limit = libc::rlimit {
        rlim_cur: wanted,
        rlim_max: wanted,
    };
    // SAFETY: both calls read or fill the structure that they are given; they are system calls and
    // nothing else, as the child of a vfork must keep to.
    unsafe {
        if libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) == 0 {
            return true;
        }
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) != 0 {
            return false;
        }
        limit.rlim_cur = wanted.min(limit.rlim_max);
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) == 0
    }
}

/// # Safety
/// Only in the child.
unsafe fn drop_privileges(program: &Program) -> Option<Step> {
    let user = program.user.as_ref()?;
    // SAFETY: system calls; the list of groups lives in the program.
    unsafe {
        let groups = (user.groups.len(), user.groups.as_ptr());
        if libc::syscall(libc::SYS_setgroups, groups.0, groups.1) != 0 {
            return Some(Step::Groups);
        }
        if libc::syscall(libc::SYS_setresgid, user.gid, user.gid, user.gid) != 0
            || libc::syscall(libc::SYS_setresuid, user.uid, user.uid, user.uid) != 0
        {
            return Some(Step::User);
        }
    }
    None
}

/// Every signal at its default and none blocked, but SIGPIPE ignored, as services expect it.
///
/// # Safety
/// Only in the child.
unsafe fn reset_signals() {
    // SAFETY: plain memory, filled before use.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        for signal in 1..=libc::SIGRTMAX() {
            action.sa_sigaction = if signal == libc::SIGPIPE {
                libc::SIG_IGN
            } else {
                libc::SIG_DFL
            };
            libc::sigaction(signal, &raw const action, ptr::null_mut());
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
    }
}

/// Writes `pid` behind `LISTEN_PID=`, with nothing that could panic or allocate.
fn write_pid(buffer: &mut [u8; 24], pid: libc::pid_t) {
    let mut digits = [0_u8; 10];
    let mut rest = pid.unsigned_abs();
    let mut count = 0;
    for digit in &mut digits {
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or_default();
        rest /= 10;
        count += 1;
        if rest == 0 {
            break;
        }
    }
    let places = buffer.iter_mut().skip("LISTEN_PID=".len());
    for (place, digit) in places.zip(digits.iter().take(count).rev()) {
        *place = *digit;
    }
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

    #[test]
    fn a_pid_is_written_without_help() {
        for pid in [1, 10, 4_194_304, i32::MAX] {
            let mut buffer = *LISTEN_PID;
            write_pid(&mut buffer, pid);
            let text = std::ffi::CStr::from_bytes_until_nul(&buffer).unwrap();
            assert_eq!(text.to_str().unwrap(), format!("LISTEN_PID={pid}"));
        }
    }
}
