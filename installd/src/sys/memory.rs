//! Software that is never on the disk: a tmpfs for packages, their objects, and the trees made of
//! them. Gone with the boot.
//!
//! ```text
//! RUN_DIR/memory/          one tmpfs, so that trees are hard links to objects here too
//!   store/                 objects and manifests, laid out as on the disk
//!   trials/N/              trees over the committed one
//!   spool/                 objects on their way
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{self as sys, Mode};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::{Doing, Error};

/// `TMPFS_MAGIC`
const TMPFS: i64 = 0x0102_1994;

/// The place, whether it is there or not.
#[derive(Debug, Clone)]
pub struct Memory {
    root: PathBuf,
    /// Nobody looks for anything here before it was needed once.
    used: Arc<AtomicBool>,
}

impl Memory {
    /// Below this run directory.
    pub fn new(run_dir: &Path) -> Self {
        let root = run_dir.join("memory");
        let used = root.join("store").is_dir();
        Self {
            root,
            used: Arc::new(AtomicBool::new(used)),
        }
    }

    /// Where packages are, once there was one.
    pub(super) fn store_in_use(&self) -> Option<PathBuf> {
        let used = self.used.load(Ordering::Relaxed);
        used.then(|| self.store())
    }

    /// Where packages are.
    pub(super) fn store(&self) -> PathBuf {
        self.root.join("store")
    }

    /// Makes it, no larger than so many bytes; where it is there nothing is done.
    pub fn mount(&self, size: u64) -> Result<(), Error> {
        let what = || format!("make {}", self.root.display());
        fs_err::create_dir_all(&self.root).doing(what)?;
        if !self.is_mounted() {
            let options = format!("mode=0700,size={size}");
            let options = std::ffi::CString::new(options).map_err(|_| {
                Error::Refused("the size of the memory for packages cannot be told".to_owned())
            })?;
            let flags = MountFlags::NODEV;
            mount("tmpfs", &self.root, "tmpfs", flags, options.as_c_str())
                .doing(|| format!("mount a tmpfs at {}", self.root.display()))?;
        }
        for part in ["store/objects", "store/packages", "store/tmp", "trials"] {
            fs_err::create_dir_all(self.root.join(part)).doing(what)?;
        }
        // Views are made of trees below it, for users of all kinds.
        sys::chmod(&self.root, Mode::from_raw_mode(0o755)).doing(what)?;
        sys::chmod(self.store(), Mode::RWXU).doing(what)?;
        sys::chmod(self.root.join("trials"), Mode::RWXU).doing(what)?;
        self.used.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// A file system's own inode is not its mount point's.
    fn is_mounted(&self) -> bool {
        let here = sys::statfs(&self.root);
        let above = self.root.parent().map(sys::lstat);
        let (Ok(here), Some(Ok(above)), Ok(own)) = (here, above, sys::lstat(&self.root)) else {
            return false;
        };
        here.f_type == TMPFS && above.st_dev != own.st_dev
    }

    /// Nothing is left of it: it was of another boot.
    pub fn clear(&self) -> Result<(), Error> {
        if !self.root.exists() {
            return Ok(());
        }
        while unmount(&self.root, UnmountFlags::DETACH).is_ok() {}
        self.used.store(false, Ordering::Relaxed);
        fs_err::remove_dir_all(&self.root)
            .doing(|| format!("remove {} of another boot", self.root.display()))
    }
}
