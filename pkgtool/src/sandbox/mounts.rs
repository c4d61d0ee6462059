//! The mounts of a node, in the mount namespace of its init: gone with it.

use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::mount::{MsFlags, mount};

use super::Plan;
use super::layout::Layout;

/// Sets up everything: what the machine mounts later still comes in, nothing goes out.
pub fn set_up(layout: &Layout, plan: &Plan) -> Result<()> {
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none)
        .context("could not make the mounts private")?;
    let proc = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), proc, none)
        .context("could not mount /proc of the node")?;
    let run = layout.run();
    mount(
        Some("tmpfs"),
        &run,
        Some("tmpfs"),
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
        Some("mode=0755"),
    )
    .with_context(|| format!("could not mount a tmpfs on {}", run.display()))?;
    etc(layout, plan)
}

/// The machine's `/etc` with changes of its own. In a user namespace the files of users outside
/// it cannot be copied up, so there it is a copy from the beginning.
fn etc(layout: &Layout, plan: &Plan) -> Result<()> {
    let copied = layout.own("etc-is-a-copy");
    if copied.exists() {
        return Ok(());
    }
    if !plan.user_namespace && overlay(layout).is_ok() {
        return Ok(());
    }
    copy("/etc".as_ref(), &layout.etc())?;
    fs_err::write(copied, "")?;
    Ok(())
}

fn overlay(layout: &Layout) -> nix::Result<()> {
    let mut options = b"lowerdir=/etc,upperdir=".to_vec();
    options.extend(escaped(&layout.etc_upper()));
    options.extend(b",workdir=");
    options.extend(escaped(&layout.etc_work()));
    let options = std::ffi::OsString::from_vec(options);
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(
        Some("overlay"),
        &layout.etc(),
        Some("overlay"),
        flags,
        Some(options.as_os_str()),
    )
}

/// A path as the overlay's options want it.
fn escaped(path: &Path) -> Vec<u8> {
    let mut out = Vec::new();
    for byte in path.as_os_str().as_bytes() {
        if b"\\,:".contains(byte) {
            out.push(b'\\');
        }
        out.push(*byte);
    }
    out
}

/// Copies what can be read; what cannot (password hashes, keys) is not the node's to have.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let mut command = Command::new("cp");
    command.args([
        "-R",
        "-P",
        "--preserve=mode,timestamps",
        "--no-target-directory",
        "--",
    ]);
    let output = command
        .arg(from)
        .arg(to)
        .output()
        .context("could not run cp")?;
    if !to.join("passwd").exists() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().last().unwrap_or_default();
        bail!(
            "could not copy {} to {}: {last}",
            from.display(),
            to.display()
        );
    }
    Ok(())
}
