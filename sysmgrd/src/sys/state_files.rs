//! What is remembered of running processes, so that a restarted daemon finds them again: one small
//! file each in `RUN_DIR/sysmgrd-state`, replaced in one step.

use std::io;
use std::path::{Path, PathBuf};

use model::fault;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The directory of live state.
#[derive(Debug, Clone)]
pub struct StateFiles {
    directory: PathBuf,
}

impl StateFiles {
    /// Below `run_dir`.
    pub fn open(run_dir: &Path) -> io::Result<Self> {
        let directory = run_dir.join("sysmgrd-state");
        fs_err::create_dir_all(&directory)?;
        Ok(Self { directory })
    }

    /// Replaces what is remembered as `name`.
    pub fn save<T: Serialize>(&self, name: &str, value: &T) {
        if let Err(error) = self.try_save(name, value) {
            tracing::error!(name, %error, "a restarted daemon would not know this process");
        }
    }

    fn try_save<T: Serialize>(&self, name: &str, value: &T) -> io::Result<()> {
        // The dot keeps half-written files apart: no process's name begins with it.
        let temporary = self.directory.join(format!(".{name}"));
        fault::before("write live state")?;
        fs_err::write(&temporary, serde_json::to_vec(value)?)?;
        fault::before("replace live state")?;
        fs_err::rename(&temporary, self.path(name))?;
        fault::after("replace live state");
        Ok(())
    }

    /// Forgets `name`.
    pub fn forget(&self, name: &str) {
        fault::point("forget live state");
        drop(fs_err::remove_file(self.path(name)));
        fault::after("forget live state");
    }

    /// What is remembered as `name`.
    pub fn load<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        read(&self.path(name))
    }

    /// All that is remembered of processes.
    pub fn load_all<T: DeserializeOwned>(&self) -> Vec<T> {
        let Ok(entries) = fs_err::read_dir(&self.directory) else {
            return Vec::new();
        };
        let paths = entries.flatten().map(|entry| entry.path());
        paths
            .filter(|path| path.extension().is_some_and(|e| e == "process"))
            .filter_map(|p| read(&p))
            .collect()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let bytes = fs_err::read(path).ok()?;
    match serde_json::from_slice(&bytes) {
        Ok(value) => Some(value),
        Err(error) => {
            tracing::error!(path = %path.display(), %error, "live state cannot be read");
            None
        }
    }
}
