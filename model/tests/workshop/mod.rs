//! A directory in which real compilers work, gone when the test ends.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// A scratch directory with sources in it.
#[derive(Debug)]
pub(crate) struct Workshop {
    directory: tempfile::TempDir,
}

impl Workshop {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    /// One with these files.
    pub(crate) fn with(files: &[(&str, &str)]) -> Self {
        let workshop = Self::new();
        for (name, text) in files {
            fs_err::write(workshop.path(name), text).unwrap();
        }
        workshop
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs a shell script in the directory; it must succeed.
    pub(crate) fn run(&self, script: &str) {
        if let Err(complaint) = shell(self.directory.path(), script) {
            panic!("{script}\n{complaint}");
        }
    }

    /// The bytes of a file in it.
    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        fs_err::read(self.path(name)).unwrap()
    }

    /// Runs a script and gives the bytes of the file that it makes.
    pub(crate) fn make(&self, name: &str, script: &str) -> Vec<u8> {
        self.run(script);
        self.bytes(name)
    }
}

/// Runs a script in a directory; its output, or what it complained of.
pub(crate) fn shell(directory: &Path, script: &str) -> Result<String, String> {
    let output = Command::new("sh")
        .args(["-ec", script])
        .current_dir(directory)
        .env("LC_ALL", "C")
        .output()
        .map_err(|error| error.to_string())?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}
