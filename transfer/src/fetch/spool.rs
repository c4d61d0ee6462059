//! Where a node keeps what it fetches.

use std::path::{Path, PathBuf};

use model::Digest;

use crate::error::{Doing, Error};

/// The spool's directory.
#[derive(Debug, Clone)]
pub(super) struct Spool {
    root: PathBuf,
}

impl Spool {
    pub(super) fn open(root: &Path) -> Result<Self, Error> {
        fs_err::create_dir_all(root.join("parts"))
            .doing(|| format!("open the spool {}", root.display()))?;
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

    /// An object that is being unpacked.
    pub(super) fn unfinished(&self, object: &Digest) -> PathBuf {
        self.root.join("parts").join(format!("{object}.new"))
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
