//! Signals and the ends of children, one after the other, without handlers.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// A child may have ended.
    Child,
    /// We are to end.
    End(Signal),
    /// Ctrl-C or Ctrl-\, which the terminal sends to the user's command as well: it decides.
    Terminal(Signal),
}

/// Signals that are taken here instead of ending the process.
#[derive(Debug)]
pub struct Signals {
    fd: SignalFd,
    taken: SigSet,
}

impl Signals {
    /// Takes what a terminal, a script and ending children send.
    pub fn take() -> Result<Self> {
        let taken = [
            Signal::SIGCHLD,
            Signal::SIGINT,
            Signal::SIGQUIT,
            Signal::SIGTERM,
            Signal::SIGHUP,
        ];
        let taken: SigSet = taken.into_iter().collect();
        taken.thread_block().context("could not block signals")?;
        let fd = SignalFd::with_flags(&taken, SfdFlags::SFD_CLOEXEC).context("signalfd")?;
        Ok(Self { fd, taken })
    }

    /// Starts a child in which nothing is blocked: children inherit the mask. A child that ends
    /// at once may do so unheard; look for its end before waiting for the next signal.
    pub fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        self.taken.thread_unblock()?;
        let child = command.spawn();
        self.taken.thread_block()?;
        child
    }

    /// Waits for the next one.
    pub fn next(&self) -> Result<Heard> {
        loop {
            match self.fd.read_signal() {
                Ok(Some(info)) => {
                    let number = i32::try_from(info.ssi_signo).unwrap_or_default();
                    let signal = Signal::try_from(number).context("signalfd")?;
                    return Ok(if signal == Signal::SIGCHLD {
                        Heard::Child
                    } else if matches!(signal, Signal::SIGTERM | Signal::SIGHUP) {
                        Heard::End(signal)
                    } else {
                        Heard::Terminal(signal)
                    });
                }
                Ok(None) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error).context("signalfd"),
            }
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// An exit status as shells give it: 128 and the signal's number for a process that was killed.
pub fn shell_status(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code & 0xff).ok())
        .unwrap_or(1)
}
