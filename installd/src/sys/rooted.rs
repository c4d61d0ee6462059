//! Files below a directory, never outside it: every look-up goes through `openat2`, so a symbolic
//! link that a package or an administrator put in the way cannot lead a write elsewhere.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{self as sys, AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Access mode and owner of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// Permission bits, set-id bits included.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// What stands at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A device, socket or pipe.
    Other,
}

/// A directory that everything stays in.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
    path: PathBuf,
    resolve: ResolveFlags,
}

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Root {
    /// `path` as a root of its own: absolute links inside it lead to it, as after `chroot`.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::with(path, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
    }

    /// `path`, where links that lead out of it are refused.
    pub fn beneath(path: &Path) -> io::Result<Self> {
        Self::with(path, ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS)
    }

    fn with(path: &Path, resolve: ResolveFlags) -> io::Result<Self> {
        let fd = sys::open(path, DIRECTORY, Mode::empty()).map_err(|e| named(e, path))?;
        Ok(Self {
            fd,
            path: path.to_owned(),
            resolve,
        })
    }

    /// Where `relative` is, for messages.
    pub fn shown(&self, relative: &str) -> PathBuf {
        self.path.join(relative.trim_start_matches('/'))
    }

    /// The directory that holds `relative`, and its last part. Missing directories are made where
    /// `make` says with which mode.
    fn parent(&self, relative: &str, make: Option<u32>) -> io::Result<(OwnedFd, OsString)> {
        let relative = Path::new(relative.trim_matches('/'));
        let name = relative
            .file_name()
            .ok_or_else(|| named(Errno::INVAL, &self.path))?;
        let directory = relative.parent().unwrap_or(Path::new(""));
        let open = || {
            let path = if directory.as_os_str().is_empty() {
                Path::new(".")
            } else {
                directory
            };
            sys::openat2(&self.fd, path, DIRECTORY, Mode::empty(), self.resolve)
        };
        let fd = match (open(), make) {
            (Ok(fd), _) => fd,
            (Err(Errno::NOENT), Some(mode)) => {
                let text = directory
                    .to_str()
                    .ok_or_else(|| named(Errno::ILSEQ, directory))?;
                self.make_directory(text, mode)?;
                open().map_err(|e| named(e, &self.path.join(directory)))?
            }
            (Err(error), _) => return Err(named(error, &self.path.join(directory))),
        };
        Ok((fd, name.to_owned()))
    }

    /// What stands at `relative`, the last part not followed. `None`: nothing.
    pub fn look(&self, relative: &str) -> io::Result<Option<(Kind, Access)>> {
        let (parent, name) = match self.parent(relative, None) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let stat = match sys::statat(&parent, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(named(error, &self.shown(relative))),
        };
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "all other kinds are one to us"
        )]
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Link,
            _ => Kind::Other,
        };
        let access = Access {
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
        };
        Ok(Some((kind, access)))
    }

    /// The regular file at `relative`, open for reading; a link or device there is refused.
    pub fn read(&self, relative: &str) -> io::Result<fs_err::File> {
        let (parent, name) = self.parent(relative, None)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = sys::openat(&parent, &name, flags, Mode::empty())
            .map_err(|e| named(e, &self.shown(relative)))?;
        let file = fs_err::File::from_parts(std::fs::File::from(fd), self.shown(relative));
        if !file.metadata()?.is_file() {
            return Err(named(Errno::INVAL, &self.shown(relative)));
        }
        Ok(file)
    }

    /// The text of the link at `relative`.
    pub fn read_link(&self, relative: &str) -> io::Result<String> {
        let (parent, name) = self.parent(relative, None)?;
        let text = sys::readlinkat(&parent, &name, Vec::new())
            .map_err(|e| named(e, &self.shown(relative)))?;
        text.into_string()
            .map_err(|_| named(Errno::ILSEQ, &self.shown(relative)))
    }

    /// Puts a file with the bytes of `from` at `relative` in one step, over whatever file or link
    /// is there; synced, so that a crash leaves the old or the new one.
    pub fn put(&self, relative: &str, mut from: impl Read, access: Access) -> io::Result<()> {
        let (parent, name) = self.parent(relative, Some(0o755))?;
        let temporary = temporary_name(&name);
        let shown = || self.shown(relative);
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = match sys::openat(&parent, &temporary, flags, Mode::RUSR | Mode::WUSR) {
            Err(Errno::EXIST) => {
                sys::unlinkat(&parent, &temporary, AtFlags::empty())
                    .map_err(|e| named(e, &shown()))?;
                sys::openat(&parent, &temporary, flags, Mode::RUSR | Mode::WUSR)
            }
            other => other,
        }
        .map_err(|e| named(e, &shown()))?;
        let mut file = fs_err::File::from_parts(std::fs::File::from(fd), shown());
        let written = io::copy(&mut from, &mut file)
            .and_then(|_| file.flush())
            .and_then(|()| set_access(&file, access))
            .and_then(|()| file.sync_all())
            .and_then(|()| {
                sys::renameat(&parent, &temporary, &parent, &name).map_err(|e| named(e, &shown()))
            });
        if written.is_err() {
            let _nothing_there = sys::unlinkat(&parent, &temporary, AtFlags::empty());
        }
        written
    }

    /// Makes a symbolic link at `relative`, over whatever file or link is there.
    pub fn put_link(&self, relative: &str, target: &str) -> io::Result<()> {
        let (parent, name) = self.parent(relative, Some(0o755))?;
        let temporary = temporary_name(&name);
        let _nothing_there = sys::unlinkat(&parent, &temporary, AtFlags::empty());
        sys::symlinkat(target, &parent, &temporary)
            .and_then(|()| sys::renameat(&parent, &temporary, &parent, &name))
            .map_err(|e| named(e, &self.shown(relative)))
    }

    /// Makes a directory and its missing parents. Answers whether the last was missing.
    pub fn make_directory(&self, relative: &str, mode: u32) -> io::Result<bool> {
        let (parent, name) = self.parent(relative, Some(0o755))?;
        match sys::mkdirat(&parent, &name, Mode::from_raw_mode(0o700)) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Ok(false),
            Err(error) => return Err(named(error, &self.shown(relative))),
        }
        sys::chmodat(&parent, &name, Mode::from_raw_mode(mode), AtFlags::empty())
            .map_err(|e| named(e, &self.shown(relative)))?;
        Ok(true)
    }

    /// Sets mode and owner of what was just made at `relative`.
    pub fn set_owner(&self, relative: &str, access: Access) -> io::Result<()> {
        let (parent, name) = self.parent(relative, None)?;
        let uid = rustix::process::Uid::from_raw(access.uid);
        let gid = rustix::process::Gid::from_raw(access.gid);
        sys::chownat(
            &parent,
            &name,
            Some(uid),
            Some(gid),
            AtFlags::SYMLINK_NOFOLLOW,
        )
        .and_then(|()| {
            let mode = Mode::from_raw_mode(access.mode);
            sys::chmodat(&parent, &name, mode, AtFlags::empty())
        })
        .map_err(|e| named(e, &self.shown(relative)))
    }

    /// Removes the file or link at `relative`; nothing there is well.
    pub fn remove(&self, relative: &str) -> io::Result<()> {
        let (parent, name) = match self.parent(relative, None) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        match sys::unlinkat(&parent, &name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(named(error, &self.shown(relative))),
        }
    }
}

/// Owner first: a change of owner clears set-id bits.
fn set_access(file: &fs_err::File, access: Access) -> io::Result<()> {
    let meta = file.metadata()?;
    let (uid, gid) = {
        use std::os::unix::fs::MetadataExt;
        (meta.uid(), meta.gid())
    };
    if (uid, gid) != (access.uid, access.gid) {
        let uid = rustix::process::Uid::from_raw(access.uid);
        let gid = rustix::process::Gid::from_raw(access.gid);
        sys::fchown(file, Some(uid), Some(gid)).map_err(|e| named(e, file.path()))?;
    }
    sys::fchmod(file, Mode::from_raw_mode(access.mode)).map_err(|e| named(e, file.path()))
}

/// One name for each file, so that what a killed daemon left is written over the next time.
fn temporary_name(name: &OsString) -> OsString {
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(".changeover-tmp");
    temporary
}

fn named(error: Errno, path: &Path) -> io::Error {
    let error = io::Error::from(error);
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Access = Access {
        mode: 0o640,
        uid: 0,
        gid: 0,
    };

    #[test]
    fn a_link_out_of_the_root_leads_no_write_outside() {
        let dir = tempfile::tempdir().unwrap();
        let (inside, outside) = (dir.path().join("in"), dir.path().join("out"));
        fs_err::create_dir(&inside).unwrap();
        fs_err::create_dir(&outside).unwrap();
        std::os::unix::fs::symlink(&outside, inside.join("absolute")).unwrap();
        std::os::unix::fs::symlink("../out", inside.join("relative")).unwrap();
        for root in [
            Root::open(&inside).unwrap(),
            Root::beneath(&inside).unwrap(),
        ] {
            for path in ["absolute/x", "relative/x", "../out/x", "/../out/x"] {
                drop(root.put(path, &b"x"[..], PLAIN));
                drop(root.put_link(path, "y"));
                drop(root.make_directory(path, 0o755));
            }
        }
        assert_eq!(fs_err::read_dir(&outside).unwrap().count(), 0);
    }

    #[test]
    fn a_file_is_replaced_in_one_step_with_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        root.put("a/b/c", &b"one"[..], PLAIN).unwrap();
        root.put("a/b/c", &b"two"[..], PLAIN).unwrap();
        let mut text = String::new();
        root.read("a/b/c")
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "two");
        assert_eq!(root.look("/a/b/c").unwrap().unwrap().0, Kind::File);
        assert_eq!(root.look("/a/b/c").unwrap().unwrap().1.mode, 0o640);
        root.remove("a/b/c").unwrap();
        root.remove("a/b/c").unwrap();
        assert_eq!(root.look("a/b/c").unwrap(), None);
        assert_eq!(root.look("no/such").unwrap(), None);
        assert_eq!(fs_err::read_dir(dir.path().join("a/b")).unwrap().count(), 0);
    }
}
