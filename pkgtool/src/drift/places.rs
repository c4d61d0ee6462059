//! The file that is at a path now, in the root that a process has.
//!
//! Paths in a map are told as the reader sees them where it can: for a process of this mount
//! namespace, also one that has changed its root, they are this program's own. For one of another
//! namespace they are that namespace's, and begin with the process's root where it has changed it.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{self, AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::contents::{Id, why};

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// Nothing.
    Nothing,
    /// A file.
    File(Id),
    /// Something that no program is made of.
    NoFile,
    /// It cannot be told, and why.
    Hidden(String),
}

/// All places that were looked at, by root.
#[derive(Debug, Default)]
pub(super) struct Roots {
    numbers: HashMap<(PathBuf, Option<Id>), usize>,
    seen: Vec<HashMap<PathBuf, Place>>,
}

/// A process's root.
#[derive(Debug)]
pub(super) struct View {
    number: usize,
    root: Root,
}

#[derive(Debug)]
enum Root {
    /// Paths are this program's own.
    Ours,
    /// Another namespace's, with what its paths begin with.
    Other(OwnedFd, PathBuf),
    /// It cannot be opened.
    Closed(String),
}

const PLACE: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// A link of `/proc`.
pub(super) fn link(process: impl AsFd, name: &str) -> io::Result<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    let text = fs::readlinkat(process, name, Vec::new())?;
    Ok(PathBuf::from(std::ffi::OsString::from_vec(
        text.into_bytes(),
    )))
}

impl Roots {
    /// The root of the process whose directory in `/proc` this is; `ours` is this program's own
    /// mount namespace.
    pub(super) fn view(&mut self, process: &OwnedFd, ours: &Path) -> View {
        let namespace = link(process, "ns/mnt").unwrap_or_default();
        if namespace == ours {
            let number = self.number((namespace, None));
            return View {
                number,
                root: Root::Ours,
            };
        }
        let opened = || -> io::Result<(Id, Root)> {
            let root = fs::openat(process, "root", PLACE | OFlags::DIRECTORY, Mode::empty())?;
            let id = Id::from(&fs::fstat(&root)?);
            Ok((id, Root::Other(root, link(process, "root")?)))
        };
        match opened() {
            Ok((id, root)) => View {
                number: self.number((namespace, Some(id))),
                root,
            },
            Err(error) => View {
                number: self.number((PathBuf::new(), None)),
                root: Root::Closed(why(&error)),
            },
        }
    }

    fn number(&mut self, key: (PathBuf, Option<Id>)) -> usize {
        let next = self.seen.len();
        let number = *self.numbers.entry(key).or_insert(next);
        if number == next {
            self.seen.push(HashMap::new());
        }
        number
    }

    /// What is at a path, as a map of a process with this view tells it.
    pub(super) fn look(&mut self, view: &View, path: &Path) -> Place {
        let Some(seen) = self.seen.get_mut(view.number) else {
            return Place::Hidden("its root is not known".to_owned());
        };
        if let Some(place) = seen.get(path) {
            return place.clone();
        }
        let place = view.look(path);
        seen.insert(path.to_owned(), place.clone());
        place
    }
}

impl View {
    /// The path as the process itself has it.
    pub(super) fn inside<'a>(&self, path: &'a Path) -> &'a Path {
        let Root::Other(_, root) = &self.root else {
            return path;
        };
        let length = root.as_os_str().len();
        match path.strip_prefix(root) {
            // With its first slash.
            Ok(_) if length > 1 => {
                let bytes = path.as_os_str().as_encoded_bytes().get(length..);
                bytes.map_or(path, |bytes| Path::new(as_os_str(bytes)))
            }
            Ok(_) | Err(_) => path,
        }
    }

    fn place(&self, path: &Path) -> io::Result<OwnedFd> {
        match &self.root {
            Root::Ours => Ok(fs::openat(CWD, path, PLACE, Mode::empty())?),
            Root::Other(root, _) => {
                let path = self.inside(path);
                let relative = path.strip_prefix("/").unwrap_or(path);
                let within = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
                Ok(fs::openat2(root, relative, PLACE, Mode::empty(), within)?)
            }
            Root::Closed(why) => Err(io::Error::other(why.clone())),
        }
    }

    fn look(&self, path: &Path) -> Place {
        let stat = match &self.root {
            // One call less for the most of them.
            Root::Ours => fs::statat(CWD, path, AtFlags::empty()).map_err(io::Error::from),
            Root::Other(..) | Root::Closed(_) => {
                self.place(path).and_then(|place| Ok(fs::fstat(place)?))
            }
        };
        match stat {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => {
                Place::File(Id::from(&stat))
            }
            Ok(_) => Place::NoFile,
            Err(error) => match error.raw_os_error().map(Errno::from_raw_os_error) {
                Some(Errno::NOENT | Errno::NOTDIR) => Place::Nothing,
                Some(_) | None => Place::Hidden(why(&error)),
            },
        }
    }

    /// Opens what is at a path, once it is known to be a regular file: opening a device could do
    /// something.
    pub(super) fn open(&self, path: &Path) -> io::Result<File> {
        let place = self.place(path)?;
        let stat = fs::fstat(&place)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(io::Error::other("it is no regular file"));
        }
        let again = format!("/proc/self/fd/{}", place.as_raw_fd());
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
        Ok(File::from(fs::open(again, flags, Mode::empty())?))
    }
}

fn as_os_str(bytes: &[u8]) -> &std::ffi::OsStr {
    use std::os::unix::ffi::OsStrExt;
    std::ffi::OsStr::from_bytes(bytes)
}
