//! `clone3` with a stack for the child and a function for it to run.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::ptr;

use super::child::child;
use super::{Shared, Spawned};

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

/// Makes the child and waits until it runs its program or has ended.
pub(super) fn clone_child(
    shared: &mut Shared<'_>,
    into_group: Option<RawFd>,
) -> io::Result<Spawned> {
    // Not cleared: the child touches a page or two of it.
    let mut stack: Vec<u128> = Vec::with_capacity(STACK / size_of::<u128>());
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
    let pid =
        with_signals_blocked(|| unsafe { clone3(&raw mut args, (&raw mut *shared).cast(), child) });
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
unsafe fn clone3(
    args: *mut CloneArgs,
    argument: *mut libc::c_void,
    function: unsafe extern "C" fn(*mut libc::c_void) -> !,
) -> i64 {
    let result: i64;
    // SAFETY: the parent's path touches nothing but the registers named; the child's path leaves
    // this function's frame alone, since it has another stack.
    #[cfg(target_arch = "x86_64")]
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
    // SAFETY: as for x86_64.
    #[cfg(target_arch = "aarch64")]
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
