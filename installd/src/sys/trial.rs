//! Trials: trees in memory, gone with it.
//!
//! ```text
//! RUN_DIR/trials/N/          a tmpfs of its own, no larger than `trial-max`
//!   layer/                   the files that differ from the committed set; whiteouts for those that went
//!   base                     the number of the generation beneath it
//!   root/                    overlay: layer over generations/BASE/root; views are made of it
//! ```
//! One of software that is in memory anyway stands in that tmpfs instead, at `RUN_DIR/memory/trials/N`,
//! and its files are links. Nothing here touches persistent storage. `xino=on` makes the overlay's `stat` and
//! `/proc/PID/maps` name a file by the same device and inode.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use model::{Generation, PackagePath};
use rustix::fs::{self as sys, FileType, Mode};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::generation::fill;
use super::layer::Layer;
use super::objects::Objects;
use super::setup::accounts::Accounts;
use super::{Doing, Error};

/// The directory `RUN_DIR/trials`.
#[derive(Debug, Clone)]
pub struct Trials {
    root: PathBuf,
    /// Those of software that is in memory only.
    loaded: PathBuf,
}

/// What a trial's tree is made of.
#[derive(Debug)]
pub struct Parts<'a> {
    /// What differs from the tree below it.
    pub layer: &'a Layer,
    /// The committed generation with its tree; absent where nothing is committed.
    pub base: Option<(Generation, PathBuf)>,
    /// Bytes that it may take.
    pub limit: u64,
    /// Its software is in memory only, and it stands there too.
    pub loaded: bool,
}

impl Trials {
    /// The trials below this run directory.
    pub fn new(run_dir: &Path) -> Self {
        Self {
            root: run_dir.join("trials"),
            loaded: run_dir.join("memory/trials"),
        }
    }

    fn place(&self, trial: Generation) -> PathBuf {
        let loaded = self.loaded.join(trial.to_string());
        if loaded.is_dir() {
            return loaded;
        }
        self.root.join(trial.to_string())
    }

    /// Whether it is one of software that is in memory only.
    pub fn is_loaded(&self, trial: Generation) -> bool {
        self.loaded.join(trial.to_string()).is_dir()
    }

    /// The tree of a trial, where it stands.
    pub fn tree(&self, trial: Generation) -> Option<PathBuf> {
        let root = self.place(trial).join("root");
        let stat = sys::statfs(&root).ok()?;
        // `OVERLAYFS_SUPER_MAGIC`
        (stat.f_type == 0x794c_7630).then_some(root)
    }

    /// The generation whose files a standing trial shows where it has none of its own.
    pub fn base(&self, trial: Generation) -> Option<Generation> {
        let text = fs_err::read_to_string(self.place(trial).join("base")).ok()?;
        text.trim().parse().ok().map(Generation)
    }

    /// Every trial of which something is there, the oldest first.
    pub fn all(&self) -> Vec<Generation> {
        let entries = [&self.root, &self.loaded].map(|one| fs_err::read_dir(one).into_iter());
        let entries = entries.into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut all: Vec<_> = names
            .filter_map(|name| name.parse().ok().map(Generation))
            .collect();
        all.sort_unstable();
        all
    }

    /// Builds the tree of a trial. Where this fails, nothing of it is left.
    pub fn build(
        &self,
        trial: Generation,
        parts: &Parts<'_>,
        objects: &Objects,
        accounts: &Accounts,
    ) -> Result<(), Error> {
        let (needed, limit) = (parts.layer.bytes(), parts.limit);
        if needed > limit {
            return Err(Error::Refused(format!(
                "the trial takes {needed} bytes of memory and trial-max allows {limit}: raise it in \
                 installd.toml, or activate without --trial"
            )));
        }
        self.remove(trial)?;
        let built = self.mount_and_fill(trial, parts, objects, accounts);
        if built.is_err() {
            drop(self.remove(trial));
        }
        built
    }

    fn mount_and_fill(
        &self,
        trial: Generation,
        parts: &Parts<'_>,
        objects: &Objects,
        accounts: &Accounts,
    ) -> Result<(), Error> {
        let what = || format!("build the trial {trial}");
        let place = if parts.loaded {
            self.loaded.join(trial.to_string())
        } else {
            self.root.join(trial.to_string())
        };
        fs_err::create_dir_all(&place).doing(what)?;
        if !parts.loaded {
            self.mount_own(trial, &place, parts.limit)?;
        }
        let (layer, root) = (place.join("layer"), place.join("root"));
        fs_err::create_dir(&layer).doing(what)?;
        fs_err::create_dir(&root).doing(what)?;
        fill(&layer, &parts.layer.put, objects, accounts)?;
        for path in &parts.layer.gone {
            whiteout(&layer, path)?;
        }
        let below = if let Some((base, tree)) = &parts.base {
            fs_err::write(place.join("base"), base.to_string()).doing(what)?;
            tree.clone()
        } else {
            let empty = place.join("empty");
            fs_err::create_dir(&empty).doing(what)?;
            empty
        };
        overlay(&root, &layer, &below).doing(|| {
            format!(
                "mount the overlay of the trial {trial} over {}",
                below.display()
            )
        })
    }

    fn mount_own(&self, trial: Generation, place: &Path, limit: u64) -> Result<(), Error> {
        sys::chmod(&self.root, Mode::RWXU).doing(|| format!("build the trial {trial}"))?;
        // Half as much again: directories, and what each inode costs.
        let size = limit.saturating_add(limit / 2);
        let options = c_string(format!("mode=0755,size={size}").into_bytes())?;
        let flags = MountFlags::NODEV;
        mount("tmpfs", place, "tmpfs", flags, options.as_c_str())
            .doing(|| format!("mount a tmpfs for the trial {trial}"))
    }

    /// Removes a trial; nothing there is well. Processes that live in it keep what they have.
    pub fn remove(&self, trial: Generation) -> Result<(), Error> {
        let what = || format!("remove the trial {trial}");
        let place = self.place(trial);
        for path in [place.join("root"), place.clone()] {
            // More than one may lie there after a kill in the middle of a build.
            while unmount(&path, UnmountFlags::DETACH).is_ok() {}
        }
        match fs_err::remove_dir_all(&place) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).doing(what),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

fn whiteout(layer: &Path, path: &PackagePath) -> Result<(), Error> {
    let at = layer.join(path.relative());
    match sys::mknodat(sys::CWD, &at, FileType::CharacterDevice, Mode::empty(), 0) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error).doing(|| format!("take {path} out of the trial")),
    }
}

fn overlay(root: &Path, layer: &Path, below: &Path) -> std::io::Result<()> {
    let mut options = b"lowerdir=".to_vec();
    options.extend(escaped(layer));
    options.push(b':');
    options.extend(escaped(below));
    options.extend(b",xino=on");
    let options = c_string(options).map_err(std::io::Error::other)?;
    Ok(mount(
        "overlay",
        root,
        "overlay",
        MountFlags::RDONLY | MountFlags::NODEV,
        options.as_c_str(),
    )?)
}

fn c_string(bytes: Vec<u8>) -> Result<std::ffi::CString, Error> {
    std::ffi::CString::new(bytes)
        .map_err(|error| Error::Refused(format!("a path cannot be mounted: {error}")))
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
