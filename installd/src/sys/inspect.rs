//! What really stands in a tree, and what bytes files really have.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use model::Digest;
use rustix::fs::{self as sys, AtFlags, StatxFlags};
use rustix::io::Errno;

/// Threads that read at most: more would keep a small machine from its work.
const READERS: usize = 4;
/// A written file's time of change is this much later than its birth at most, in seconds.
const WRITING: i64 = 60;

/// What an inode is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A symbolic link.
    Link,
    /// A directory.
    Directory,
    /// A device, socket or pipe.
    Other,
}

/// An inode as it stands on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inode {
    /// What it is.
    pub kind: Kind,
    /// Its device and number, as maps show them.
    pub place: (u64, u64),
    /// Access mode with set-id bits.
    pub mode: u32,
    /// Owner and group.
    pub owner: (u32, u32),
    /// Bytes.
    pub size: u64,
    /// Names that it has.
    pub links: u64,
    /// When its bytes were last changed, in seconds since 1970.
    pub changed: i64,
}

/// The inode at `path`; a link is not followed. Nothing there is `None`.
pub fn inode(path: &Path) -> io::Result<Option<Inode>> {
    let stat = match sys::lstat(path) {
        Ok(stat) => stat,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let kind = match sys::FileType::from_raw_mode(stat.st_mode) {
        sys::FileType::RegularFile => Kind::File,
        sys::FileType::Symlink => Kind::Link,
        sys::FileType::Directory => Kind::Directory,
        sys::FileType::Fifo
        | sys::FileType::Socket
        | sys::FileType::CharacterDevice
        | sys::FileType::BlockDevice
        | sys::FileType::Unknown => Kind::Other,
    };
    Ok(Some(Inode {
        kind,
        place: (stat.st_dev, stat.st_ino),
        mode: stat.st_mode & 0o7777,
        owner: (stat.st_uid, stat.st_gid),
        size: u64::try_from(stat.st_size).unwrap_or(0),
        links: stat.st_nlink,
        changed: stat.st_mtime,
    }))
}

/// Whether the file's bytes were changed after it had been written. Where the file system tells no
/// time of birth, nobody knows, and the answer is no.
pub fn was_rewritten(path: &Path) -> bool {
    let wanted = StatxFlags::BTIME | StatxFlags::MTIME;
    let Ok(times) = sys::statx(sys::CWD, path, AtFlags::SYMLINK_NOFOLLOW, wanted) else {
        return false;
    };
    let told = StatxFlags::from_bits_retain(times.stx_mask).contains(wanted);
    told && times.stx_mtime.tv_sec > times.stx_btime.tv_sec + WRITING
}

/// The bytes of `security.capability`, in hexadecimal.
pub fn capabilities(path: &Path) -> Option<String> {
    let mut bytes = [0_u8; 64];
    let count = sys::lgetxattr(path, "security.capability", &mut bytes).ok()?;
    let hexadecimal = |byte: &u8| format!("{byte:02x}");
    Some(bytes.get(..count)?.iter().map(hexadecimal).collect())
}

/// Everything below `root`, by path relative to it; links are not followed.
pub fn walk(root: &Path) -> io::Result<BTreeMap<PathBuf, Inode>> {
    let mut found = BTreeMap::new();
    let mut open = vec![PathBuf::new()];
    while let Some(directory) = open.pop() {
        for entry in fs_err::read_dir(root.join(&directory))? {
            let path = directory.join(entry?.file_name());
            let Some(inode) = inode(&root.join(&path))? else {
                continue;
            };
            if inode.kind == Kind::Directory {
                open.push(path.clone());
            }
            found.insert(path, inode);
        }
    }
    Ok(found)
}

/// A foreign name as it can be shown: in one line, whatever is in it.
pub fn shown(name: &OsString) -> String {
    String::from_utf8_lossy(name.as_bytes())
        .escape_debug()
        .to_string()
}

/// Digests and lengths of files, by their places among `paths`, read by a few threads; `told` hears
/// how many bytes were read so far.
pub fn digests(paths: &[PathBuf], told: &(dyn Fn(u64) + Sync)) -> Vec<io::Result<(Digest, u64)>> {
    let (next, bytes) = (AtomicUsize::new(0), AtomicU64::new(0));
    let results = Mutex::new(BTreeMap::new());
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(path) = paths.get(index) else { return };
            let read = digest(path);
            let more = read.as_ref().map_or(0, |(_, length)| *length);
            told(bytes.fetch_add(more, Ordering::Relaxed) + more);
            let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
            results.insert(index, read);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads.min(READERS).min(paths.len()) {
            scope.spawn(work);
        }
    });
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.into_values().collect()
}

fn digest(path: &Path) -> io::Result<(Digest, u64)> {
    let mut options = fs_err::OpenOptions::new();
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
    std::os::unix::fs::OpenOptionsExt::custom_flags(options.options_mut(), flags);
    let file = options.read(true).open(path)?;
    Digest::of_reader(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_sees_everything_and_follows_no_link() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs_err::write(outside.path().join("x"), b"x").unwrap();
        fs_err::create_dir_all(dir.path().join("usr/lib")).unwrap();
        fs_err::write(dir.path().join("usr/lib/a"), b"abc").unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.path().join("usr/out")).unwrap();
        let found = walk(dir.path()).unwrap();
        let names: Vec<_> = found.keys().map(|path| path.to_str().unwrap()).collect();
        assert_eq!(names, ["usr", "usr/lib", "usr/lib/a", "usr/out"]);
        assert_eq!(found[Path::new("usr/out")].kind, Kind::Link);
        assert_eq!(found[Path::new("usr/lib/a")].size, 3);
    }

    #[test]
    fn digests_come_in_the_order_of_their_files_and_a_missing_one_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let paths: Vec<PathBuf> = (0..50).map(|n| dir.path().join(n.to_string())).collect();
        for (number, path) in paths.iter().enumerate().skip(1) {
            fs_err::write(path, number.to_string()).unwrap();
        }
        let read = digests(&paths, &|_| {});
        assert!(read[0].is_err());
        for (number, one) in read.iter().enumerate().skip(1) {
            assert_eq!(
                one.as_ref().unwrap().0,
                Digest::of(number.to_string().as_bytes())
            );
        }
    }

    #[test]
    fn a_file_that_was_written_to_later_is_known_by_its_times() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        fs_err::write(&path, b"x").unwrap();
        assert!(!was_rewritten(&path));
        let later = std::time::SystemTime::now() + std::time::Duration::from_hours(1);
        let file = fs_err::OpenOptions::new().write(true).open(&path).unwrap();
        file.file().set_modified(later).unwrap();
        // A file system without times of birth cannot tell.
        let times = sys::statx(sys::CWD, &path, AtFlags::empty(), StatxFlags::BTIME).unwrap();
        let told = StatxFlags::from_bits_retain(times.stx_mask).contains(StatxFlags::BTIME);
        assert_eq!(was_rewritten(&path), told);
    }
}
