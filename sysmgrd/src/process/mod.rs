//! A supervised process as a thing that can be reasoned about: its state machine, and when an
//! ended one is started again. No clock, no file, no wait.

pub mod ballot;
pub mod machine;
pub mod restart;

use std::fmt;

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself.
    Code(i32),
    /// By a signal.
    Signal(i32),
    /// Nobody knows: it belonged to a daemon that ended before it.
    Unknown,
}

impl Exit {
    /// Ended with success: exit code 0.
    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }

    /// Ended as a service ends that was told to, by systemd's rule: code 0, or one of the signals that
    /// ask for it.
    pub fn is_clean(self) -> bool {
        let asking = [libc::SIGHUP, libc::SIGINT, libc::SIGTERM, libc::SIGPIPE];
        match self {
            Self::Code(code) => code == 0,
            Self::Signal(signal) => asking.contains(&signal),
            Self::Unknown => false,
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "ended with exit code {code}"),
            Self::Signal(number) => match nix::sys::signal::Signal::try_from(*number) {
                Ok(signal) => write!(f, "was ended by {}", signal.as_str()),
                Err(_) => write!(f, "was ended by signal {number}"),
            },
            Self::Unknown => f.write_str("ended while nobody watched"),
        }
    }
}
