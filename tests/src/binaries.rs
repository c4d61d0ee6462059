//! Where the programs under test are.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The directory that holds pkgtool and the daemons: cargo's, beside the running test.
pub fn dir() -> Result<PathBuf> {
    let test = std::env::current_exe().context("the test's own path")?;
    let dir = test
        .parent()
        .and_then(Path::parent)
        .context("target/PROFILE/deps/TEST")?;
    for name in ["pkgtool", "sysmgrd", "installd"] {
        if !dir.join(name).exists() {
            bail!(
                "{} is not there: cargo build --bins",
                dir.join(name).display()
            );
        }
    }
    Ok(dir.to_owned())
}

/// pkgtool.
pub fn pkgtool() -> Result<PathBuf> {
    Ok(dir()?.join("pkgtool"))
}
