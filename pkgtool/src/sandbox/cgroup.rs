//! A control group directory for a node's processes, where the caller may make one.

use std::path::{Path, PathBuf};

/// Begins the name of each directory that we make; its maker's pid follows.
const PREFIX: &str = "changeover-sandbox-";

/// A directory that is removed, with all below it, when this value goes.
#[derive(Debug)]
pub struct Cgroup {
    dir: PathBuf,
}

impl Cgroup {
    /// Makes a fresh group below the caller's own; `None` where that is not allowed. Left-over
    /// groups of makers that were killed are removed on the way.
    pub fn create() -> Option<Self> {
        candidates().into_iter().find_map(|parent| {
            sweep(&parent);
            let dir = parent.join(format!("{PREFIX}{}", std::process::id()));
            match fs_err::create_dir(&dir) {
                Ok(()) => Some(Self { dir }),
                // Ours, of an earlier life of this pid.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                    Some(Self { dir })
                }
                Err(_) => None,
            }
        })
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        remove(&self.dir);
    }
}

/// Directories that may hold ours, the best first: cgroup v2, wherever it is mounted, then v1.
fn candidates() -> Vec<PathBuf> {
    let own = fs_err::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let below = |mount: &str, path: &str| Path::new(mount).join(path.trim_start_matches('/'));
    let mut found = Vec::new();
    for line in own.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        match controllers {
            "" => {
                let unified = Path::new("/sys/fs/cgroup/unified");
                let mount = if unified.is_dir() {
                    unified
                } else {
                    Path::new("/sys/fs/cgroup")
                };
                if mount.join("cgroup.controllers").exists() {
                    found.insert(0, below(&mount.to_string_lossy(), path));
                }
            }
            "pids" | "freezer" => {
                found.push(below(&format!("/sys/fs/cgroup/{controllers}"), path));
            }
            _ => {}
        }
    }
    found.retain(|dir| dir.is_dir());
    found
}

/// Removes groups in `parent` whose maker is no more. One that still has processes stays: the
/// kernel refuses to remove it.
fn sweep(parent: &Path) {
    let Ok(entries) = fs_err::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let maker = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        let Some(pid) = maker.and_then(|pid| pid.parse::<u32>().ok()) else {
            continue;
        };
        if !Path::new(&format!("/proc/{pid}")).exists() {
            remove(&entry.path());
        }
    }
}

/// Removes a group and those below it, the deepest first.
fn remove(dir: &Path) {
    if let Ok(entries) = fs_err::read_dir(dir) {
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                remove(&entry.path());
            }
        }
    }
    // The kernel may still be burying the last process; nothing is lost by leaving an empty group.
    for _ in 0..50 {
        match fs_err::remove_dir(dir) {
            Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => {
                let pause = nix::poll::PollTimeout::from(20_u8);
                let _ = nix::poll::poll(&mut [], pause);
            }
            Ok(()) | Err(_) => return,
        }
    }
}
