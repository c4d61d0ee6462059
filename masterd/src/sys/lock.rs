//! One masterd for one state directory.

use std::path::Path;

use fs_err::File;
use rustix::fs::{FlockOperation, flock};

/// Held while this masterd works with the state directory.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Why the state directory cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be locked.
    #[error("could not lock the state directory")]
    Io(#[from] std::io::Error),
    /// Somebody has it.
    #[error("another masterd works with {path}: stop it first (systemctl stop masterd)")]
    Held {
        /// The directory.
        path: String,
    },
}

impl Lock {
    /// Takes it, or says that another has it.
    pub fn take(state_dir: &Path) -> Result<Self, Error> {
        let file = fs_err::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(state_dir.join("lock"))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _file: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::Held {
                path: state_dir.display().to_string(),
            }),
            Err(error) => Err(Error::Io(error.into())),
        }
    }
}
