//! The child between `clone3` and its program: raw system calls only.

use std::os::fd::AsRawFd;
use std::ptr;
use std::sync::OnceLock;

use super::{Program, Shared, Step};

pub(super) const LISTEN_PID: &[u8; 24] = b"LISTEN_PID=\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// The signals that this daemon ignores: the kernel resets the handlers of a child, but leaves
/// these. None is ever added while it runs.
pub(super) fn ignored() -> &'static [libc::c_int] {
    static IGNORED: OnceLock<Vec<libc::c_int>> = OnceLock::new();
    IGNORED.get_or_init(|| {
        let is_ignored = |signal: &libc::c_int| {
            // SAFETY: plain memory, filled by the call, which changes nothing.
            unsafe {
                let mut action: libc::sigaction = std::mem::zeroed();
                libc::sigaction(*signal, ptr::null(), &raw mut action) == 0
                    && action.sa_sigaction == libc::SIG_IGN
            }
        };
        (1..=libc::SIGRTMAX()).filter(is_ignored).collect()
    })
}

/// The child: follows the program's description and executes it, or leaves its failure and ends.
///
/// # Safety
/// `argument` is the parent's [`Shared`], and the parent stands still.
pub(super) unsafe extern "C" fn child(argument: *mut libc::c_void) -> ! {
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
        if let Some((soft, hard)) = program.open_files
            && !limit_open_files(soft, hard)
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
        reset_signals(shared.ignored);
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
fn limit_open_files(soft: u64, hard: u64) -> bool {
    let mut limit = libc::rlimit {
        rlim_cur: soft,
        rlim_max: hard,
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
        limit.rlim_cur = soft.min(limit.rlim_max);
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

/// Every signal at its default and none blocked, but SIGPIPE ignored, as services expect it. What
/// had a handler the kernel has reset (`CLONE_CLEAR_SIGHAND`).
///
/// # Safety
/// Only in the child.
unsafe fn reset_signals(ignored: &[libc::c_int]) {
    // SAFETY: plain memory, filled before use.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = libc::SIG_DFL;
        for signal in ignored {
            libc::sigaction(*signal, &raw const action, ptr::null_mut());
        }
        action.sa_sigaction = libc::SIG_IGN;
        libc::sigaction(libc::SIGPIPE, &raw const action, ptr::null_mut());
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
    fn a_pid_is_written_without_help() {
        for pid in [1, 10, 4_194_304, i32::MAX] {
            let mut buffer = *LISTEN_PID;
            write_pid(&mut buffer, pid);
            let text = std::ffi::CStr::from_bytes_until_nul(&buffer).unwrap();
            assert_eq!(text.to_str().unwrap(), format!("LISTEN_PID={pid}"));
        }
    }
}
