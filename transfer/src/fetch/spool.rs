//! Where a node keeps what it fetches.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use model::Digest;

use crate::error::{Doing, Error};

/// How the names of objects that are being unpacked end; swept when the spool is opened.
const UNFINISHED: &str = ".new";

/// The spool's directory.
#[derive(Debug, Clone)]
pub(super) struct Spool {
    root: PathBuf,
}

impl Spool {
    pub(super) fn open(root: &Path) -> Result<Self, Error> {
        let what = || format!("open the spool {}", root.display());
        let parts = root.join("parts");
        fs_err::create_dir_all(&parts).doing(what)?;
        for entry in fs_err::read_dir(&parts).doing(what)? {
            let entry = entry.doing(what)?;
            if entry
                .file_name()
                .as_encoded_bytes()
                .ends_with(UNFINISHED.as_bytes())
            {
                fs_err::remove_file(entry.path()).doing(what)?;
            }
        }
        Ok(Self {
            root: root.to_owned(),
        })
    }

    /// A file below it has this name only when its bytes have.
    pub(super) fn path(&self, object: &Digest) -> PathBuf {
        self.root.join(object.to_string())
    }

    pub(super) fn has(&self, object: &Digest) -> bool {
        self.path(object).exists()
    }

    pub(super) fn find(&self, object: &Digest) -> Option<PathBuf> {
        Some(self.path(object)).filter(|path| path.exists())
    }

    /// Where an object is unpacked: each time under another name, since a fetch that was given up
    /// may still be at it on its own thread.
    pub(super) fn unfinished(&self, object: &Digest) -> PathBuf {
        static TIMES: AtomicU64 = AtomicU64::new(0);
        let time = TIMES.fetch_add(1, Ordering::Relaxed);
        let name = format!("{object}.{}-{time}{UNFINISHED}", std::process::id());
        self.root.join("parts").join(name)
    }

    /// Bytes of a blob.
    pub(super) fn part(&self, blob: &Digest) -> PathBuf {
        self.root.join("parts").join(blob.to_string())
    }

    /// The journal of those bytes.
    pub(super) fn journal(&self, blob: &Digest) -> PathBuf {
        self.root.join("parts").join(format!("{blob}.got"))
    }

    /// The blob's bytes are not needed any more.
    pub(super) fn drop_part(&self, blob: &Digest) -> Result<(), Error> {
        for path in [self.journal(blob), self.part(blob)] {
            match fs_err::remove_file(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).doing(|| "clear the spool".to_owned());
                }
                _ => {}
            }
        }
        Ok(())
    }
}
