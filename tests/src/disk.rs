//! A disk whose power can be cut: an ext4 file system on a device that keeps what was written apart
//! from what was flushed.
//!
//! ```text
//! ext4 ── loop device ── a file that this process serves by FUSE ──► Medium { stable, pending }
//! ```
//!
//! The kernel's device-mapper has targets for this (flakey, log-writes), which not every kernel has;
//! FUSE and loop devices nearly every one does. Everything is mounted in a mount namespace of the
//! calling thread, and gone with it.

use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use crate::house::Dice;

mod fuse;

/// A write that is torn is torn here.
const BLOCK: usize = 4096;

/// What lies on the disk.
#[derive(Debug, Default)]
struct Medium {
    /// All that was written, as it is read.
    now: Vec<u8>,
    /// All that was flushed.
    stable: Vec<u8>,
    /// What was written since then, in order.
    pending: Vec<(usize, Vec<u8>)>,
    /// Writes and flushes fail from the event of this number on.
    break_before: Option<usize>,
    /// Writes and flushes so far.
    events: usize,
    /// The power is cut before the event of this number.
    cut_before: Option<usize>,
    cut: Option<Cut>,
}

/// What the power cut left: all that was flushed, and what may be there too.
#[derive(Debug)]
struct Cut {
    stable: Vec<u8>,
    pending: Vec<(usize, Vec<u8>)>,
}

impl Medium {
    fn write(&mut self, at: usize, bytes: &[u8]) -> bool {
        let end = at.checked_add(bytes.len());
        if !self.count() {
            return false;
        }
        let Some(place) = end.and_then(|end| self.now.get_mut(at..end)) else {
            return false;
        };
        place.copy_from_slice(bytes);
        self.pending.push((at, bytes.to_owned()));
        true
    }

    fn flush(&mut self) -> bool {
        if !self.count() {
            return false;
        }
        for (at, bytes) in self.pending.drain(..) {
            put(&mut self.stable, at, &bytes);
        }
        true
    }
}

impl Medium {
    /// Counts an event; whether it succeeds.
    fn count(&mut self) -> bool {
        if self.cut_before == Some(self.events) {
            self.cut = Some(self.as_it_is());
        }
        let broken = self.break_before.is_some_and(|from| self.events >= from);
        self.events += usize::from(!broken);
        !broken
    }

    fn as_it_is(&self) -> Cut {
        Cut {
            stable: self.stable.clone(),
            pending: self.pending.clone(),
        }
    }
}

fn put(image: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = image.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

/// A mounted disk.
#[derive(Debug)]
pub struct Disk {
    medium: Arc<Mutex<Medium>>,
    /// The file that is the device, below a directory of our own.
    device: PathBuf,
    /// Where the file system is mounted.
    mounted: PathBuf,
}

/// Gives the calling thread mounts of its own; what it starts from now on sees them too.
pub fn own_mounts() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNS).context("a mount namespace")?;
    let none: Option<&str> = None;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(none, "/", none, private, none).context("private mounts")
}

/// A fresh ext4 of this size.
pub fn formatted(megabytes: u32) -> Result<Vec<u8>> {
    let file = tempfile::NamedTempFile::new()?;
    let size = format!("{megabytes}M");
    let options = "lazy_itable_init=0,lazy_journal_init=0";
    run(Command::new("mke2fs")
        .args(["-q", "-F", "-t", "ext4", "-E", options])
        .arg(file.path())
        .arg(size))?;
    Ok(fs_err::read(file.path())?)
}

impl Disk {
    /// Mounts an image at `dir`/disk. The thread must have [`own_mounts`].
    pub fn mount(dir: &Path, image: Vec<u8>) -> Result<Self> {
        let (device, mounted) = (dir.join("device"), dir.join("disk"));
        fs_err::write(&device, "")?;
        fs_err::create_dir_all(&mounted)?;
        let medium = Medium {
            stable: image.clone(),
            now: image,
            ..Medium::default()
        };
        let disk = Self {
            medium: Arc::new(Mutex::new(medium)),
            device,
            mounted,
        };
        disk.serve()?;
        let mut command = Command::new("mount");
        command.args(["-t", "ext4", "-o", "loop,errors=remount-ro"]);
        run(command.arg(&disk.device).arg(&disk.mounted))?;
        Ok(disk)
    }

    /// Starts to serve the file.
    fn serve(&self) -> Result<()> {
        let kernel = File::options().read(true).write(true).open("/dev/fuse")?;
        let options = format!(
            "fd={},rootmode=100600,user_id=0,group_id=0",
            kernel.as_raw_fd()
        );
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        let (source, kind) = (Some("disk"), Some("fuse"));
        mount(source, &self.device, kind, flags, Some(options.as_str()))
            .context("a FUSE file system")?;
        let medium = Arc::clone(&self.medium);
        std::thread::Builder::new()
            .name("disk".to_owned())
            .spawn(move || fuse::serve(&kernel, &medium))?;
        Ok(())
    }

    /// Where its files are.
    pub fn path(&self) -> &Path {
        &self.mounted
    }

    fn medium(&self) -> MutexGuard<'_, Medium> {
        self.medium.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often it was written to or flushed.
    pub fn events(&self) -> usize {
        self.medium().events
    }

    /// Has the power cut after so many further writes and flushes.
    pub fn cut_after(&self, events: usize) {
        let mut medium = self.medium();
        medium.cut = None;
        medium.cut_before = Some(medium.events + events);
    }

    /// What is found after the power cut, and whether that was as ordered by [`Self::cut_after`],
    /// else it is cut now: all that was flushed, and of what was only written any part.
    pub fn cut(&self, dice: &mut Dice) -> (Vec<u8>, bool) {
        let mut medium = self.medium();
        medium.cut_before = None;
        let taken = medium.cut.take();
        let ordered = taken.is_some();
        let Cut {
            stable: mut image,
            pending,
        } = taken.unwrap_or_else(|| medium.as_it_is());
        // From none to all of it, so that both ends are seen.
        let kept = dice.below(5);
        for (at, bytes) in &pending {
            for (number, block) in bytes.chunks(BLOCK).enumerate() {
                if dice.below(4) < kept {
                    put(&mut image, at + number * BLOCK, block);
                }
            }
        }
        (image, ordered)
    }

    /// After so many further writes and flushes every one fails.
    pub fn break_down_after(&self, events: usize) {
        let mut medium = self.medium();
        medium.break_before = Some(medium.events + events);
    }

    /// The file system again as it is on the medium, which is whole again. Nothing may use it.
    pub fn repair(self) -> Result<Vec<u8>> {
        let _ = umount2(&self.mounted, MntFlags::empty());
        Ok(self.medium().stable.clone())
    }

    /// Unmounts it; what is on it.
    pub fn unmount(self) -> Result<Vec<u8>> {
        umount2(&self.mounted, MntFlags::empty()).context("umount")?;
        Ok(self.medium().now.clone())
    }

    /// Unmounts it and has every structure of the file system checked.
    pub fn check(self) -> Result<()> {
        umount2(&self.mounted, MntFlags::empty()).context("umount")?;
        // The loop device lets go of its file a moment after the file system did.
        let image = tempfile::NamedTempFile::new()?;
        image.as_file().write_all_at(&self.medium().now, 0)?;
        run(Command::new("e2fsck").args(["-f", "-n"]).arg(image.path()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        for path in [&self.mounted, &self.device] {
            // It may be gone already.
            let _ = umount2(path, MntFlags::MNT_DETACH);
        }
    }
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let out = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{command:?}: {out}{said}");
    Ok(())
}

/// Fills the file system at `dir` to the last block; what takes the room away again.
pub fn fill(dir: &Path) -> Result<Ballast> {
    let path = dir.join("ballast");
    let mut file = fs_err::File::create(&path)?;
    let block = vec![0x55; 64 << 10];
    for size in [block.len(), BLOCK, 1] {
        let part = block.get(..size).unwrap_or_default();
        loop {
            match std::io::Write::write_all(&mut file, part) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => bail!("{error}"),
            }
        }
    }
    file.sync_all()
        .or_else(|error| match error.raw_os_error() {
            Some(28) => Ok(()),
            _ => Err(error),
        })?;
    Ok(Ballast(path))
}

/// A file that takes all the room there is; gone with this value.
#[derive(Debug)]
pub struct Ballast(PathBuf);

impl Drop for Ballast {
    fn drop(&mut self) {
        drop(fs_err::remove_file(&self.0));
    }
}
