//! Copies of a process's state directories: taken before a program of another state version gets
//! them, put back when the change is taken back.
//!
//! The process owns these directories and may put anything into them, so they are walked by
//! descriptor and no link is followed. Both ways can be taken twice: a copy counts when it has its
//! final name, and putting back begins by emptying.
//!
//! ```text
//! SNAPSHOT/0/…      the first of `state-directory`, with owner, mode, times and attributes
//! SNAPSHOT/1/…      the second
//! ```

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use model::ProcessSpec;
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, Timespec, Timestamps, fstat, mkdirat, openat,
    readlinkat, statat, symlinkat, unlinkat,
};
use rustix::io::Errno;

use super::places::Places;

/// Deeper than any state that a program keeps; a walk takes a descriptor for each level.
const DEPTH: usize = 128;

/// Why state was not copied or put back.
#[derive(Debug, thiserror::Error)]
#[error("could not {doing} {}", path.display())]
pub struct StateError {
    doing: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// Copies the state directories of `spec` to `to`, which is complete and on the disk when this
/// returns. A directory that does not exist yet is remembered as such. A copy that is there
/// already stays: it was taken before the state was touched.
pub fn snapshot(places: &Places, spec: &ProcessSpec, to: &Path) -> Result<(), StateError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source: io::Error| StateError {
            doing: "copy the state in",
            path,
            source,
        }
    };
    if fs_err::symlink_metadata(to).is_ok() {
        return Ok(());
    }
    let mut draft = to.as_os_str().to_owned();
    draft.push(".draft");
    let draft = PathBuf::from(draft);
    match fs_err::remove_dir_all(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(&draft)(error)),
        _ => Ok(()),
    }?;
    fs_err::create_dir_all(&draft).map_err(failed(&draft))?;
    for (number, directory) in spec.state_directory.iter().enumerate() {
        let path = state_path(places, &directory.name);
        let Some(from) = open_below(&path).map_err(failed(&path))? else {
            continue;
        };
        let copy = draft.join(number.to_string());
        fs_err::create_dir(&copy).map_err(failed(&copy))?;
        let into = open_directory(CWD, &copy).map_err(failed(&copy))?;
        copy_directory(&from, &into, DEPTH).map_err(failed(&path))?;
    }
    let all = open_directory(CWD, &draft).map_err(failed(&draft))?;
    rustix::fs::syncfs(&all).map_err(|error| failed(&draft)(error.into()))?;
    fs_err::rename(&draft, to).map_err(failed(to))?;
    let parent = to.parent().unwrap_or(to);
    let parent = open_directory(CWD, parent).map_err(failed(parent))?;
    rustix::fs::fsync(&parent).map_err(|error| failed(to)(error.into()))
}

/// Puts the state directories of `spec` back to what [`snapshot`] found.
pub fn restore(places: &Places, spec: &ProcessSpec, from: &Path) -> Result<(), StateError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source: io::Error| StateError {
            doing: "put the state back in",
            path,
            source,
        }
    };
    fs_err::symlink_metadata(from).map_err(failed(from))?;
    for (number, directory) in spec.state_directory.iter().enumerate() {
        let path = state_path(places, &directory.name);
        let copy = from.join(number.to_string());
        let Some(into) = open_below(&path).map_err(failed(&path))? else {
            continue;
        };
        empty(&into, DEPTH).map_err(failed(&path))?;
        if let Some(copy) = open_below(&copy).map_err(failed(&copy))? {
            copy_directory(&copy, &into, DEPTH).map_err(failed(&path))?;
        }
        rustix::fs::syncfs(&into).map_err(|error| failed(&path)(error.into()))?;
    }
    Ok(())
}

fn state_path(places: &Places, name: &str) -> PathBuf {
    places.outside(&Path::new("/var/lib").join(name))
}

/// The directory at `path`; `None` where nothing is there.
fn open_below(path: &Path) -> io::Result<Option<OwnedFd>> {
    match open_directory(CWD, path) {
        Ok(opened) => Ok(Some(opened)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn open_directory(at: impl AsFd, path: impl rustix::path::Arg) -> io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(at, path, flags, Mode::empty())?)
}

/// Each name in a directory, without `.` and `..`.
fn names(directory: &impl AsFd) -> io::Result<Vec<std::ffi::CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        if entry.file_name() != c"." && entry.file_name() != c".." {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

fn copy_directory(from: &OwnedFd, into: &OwnedFd, depth: usize) -> io::Result<()> {
    if depth == 0 {
        return Err(io::Error::other("it is nested too deeply"));
    }
    for name in names(from)? {
        let stat = statat(from, &name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                mkdirat(into, &name, Mode::RWXU)?;
                let below = (open_directory(from, &*name)?, open_directory(into, &*name)?);
                copy_directory(&below.0, &below.1, depth - 1)?;
            }
            FileType::RegularFile => copy_file(from, into, &name)?,
            FileType::Symlink => copy_link(from, into, &name, &stat)?,
            // Sockets and pipes are made anew by whoever listens; devices are no state.
            FileType::Socket
            | FileType::Fifo
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown => tracing::debug!(?name, "not copied: it holds no state"),
        }
    }
    attributes(from, into)
}

fn copy_file(from: &OwnedFd, into: &OwnedFd, name: &CStr) -> io::Result<()> {
    let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let source = openat(from, name, flags | OFlags::RDONLY, Mode::empty())?;
    if FileType::from_raw_mode(fstat(&source)?.st_mode) != FileType::RegularFile {
        return Err(io::Error::other("a file became something else meanwhile"));
    }
    let create = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY;
    let target = openat(into, name, flags | create, Mode::RUSR | Mode::WUSR)?;
    match rustix::fs::ioctl_ficlone(&target, &source) {
        Ok(()) => {}
        // No file system that shares blocks, or not the same one.
        Err(Errno::OPNOTSUPP | Errno::XDEV | Errno::INVAL | Errno::NOTTY | Errno::NOSYS) => {
            let (mut source, mut target) = (
                std::fs::File::from(source.try_clone()?),
                std::fs::File::from(target.try_clone()?),
            );
            io::copy(&mut source, &mut target)?;
        }
        Err(error) => return Err(error.into()),
    }
    attributes(&source, &target)
}

fn copy_link(from: &OwnedFd, into: &OwnedFd, name: &CStr, stat: &Stat) -> io::Result<()> {
    let target = readlinkat(from, name, Vec::new())?;
    symlinkat(&*target, into, name)?;
    let (uid, gid) = owner(stat);
    Ok(rustix::fs::chownat(
        into,
        name,
        Some(uid),
        Some(gid),
        AtFlags::SYMLINK_NOFOLLOW,
    )?)
}

fn owner(stat: &Stat) -> (rustix::fs::Uid, rustix::fs::Gid) {
    (
        rustix::fs::Uid::from_raw(stat.st_uid),
        rustix::fs::Gid::from_raw(stat.st_gid),
    )
}

/// Owner, extended attributes (access lists and capabilities among them), mode and times, in the
/// order in which one does not undo another.
fn attributes(from: &OwnedFd, into: &OwnedFd) -> io::Result<()> {
    let stat = fstat(from)?;
    let (uid, gid) = owner(&stat);
    rustix::fs::fchown(into, Some(uid), Some(gid))?;
    extended_attributes(from, into)?;
    rustix::fs::fchmod(into, Mode::from_raw_mode(stat.st_mode))?;
    let times = Timestamps {
        last_access: Timespec {
            tv_sec: stat.st_atime,
            tv_nsec: nanoseconds(stat.st_atime_nsec),
        },
        last_modification: Timespec {
            tv_sec: stat.st_mtime,
            tv_nsec: nanoseconds(stat.st_mtime_nsec),
        },
    };
    Ok(rustix::fs::futimens(into, &times)?)
}

fn nanoseconds(value: impl TryInto<i64>) -> i64 {
    value.try_into().unwrap_or(0)
}

fn extended_attributes(from: &OwnedFd, into: &OwnedFd) -> io::Result<()> {
    let mut list = vec![0_u8; 65_536];
    let length = match rustix::fs::flistxattr(from, &mut list[..]) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let mut value = vec![0_u8; 65_536];
    for name in list.get(..length).unwrap_or_default().split(|b| *b == 0) {
        if name.is_empty() {
            continue;
        }
        let length = rustix::fs::fgetxattr(from, name, &mut value[..])?;
        let value = value.get(..length).unwrap_or_default();
        match rustix::fs::fsetxattr(into, name, value, rustix::fs::XattrFlags::empty()) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn empty(directory: &OwnedFd, depth: usize) -> io::Result<()> {
    if depth == 0 {
        return Err(io::Error::other("it is nested too deeply"));
    }
    for name in names(directory)? {
        let stat = statat(directory, &name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            empty(&open_directory(directory, &*name)?, depth - 1)?;
            unlinkat(directory, &name, AtFlags::REMOVEDIR)?;
        } else {
            unlinkat(directory, &name, AtFlags::empty())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use model::process::OwnDirectory;

    use super::*;
    use crate::config::Config;

    fn places(root: &Path) -> Places {
        Places::new(&Config {
            machine_root: root.into(),
            ..Config::default()
        })
    }

    fn spec() -> ProcessSpec {
        let mut spec = ProcessSpec::new("db".parse().unwrap(), vec!["/usr/bin/db".into()]);
        for name in ["db", "db-extra"] {
            spec.state_directory.push(OwnDirectory {
                name: name.into(),
                mode: None,
            });
        }
        spec
    }

    #[test]
    fn what_a_program_did_to_its_state_is_undone_with_owners_modes_and_links() {
        let root = tempfile::tempdir().unwrap();
        let state = root.path().join("var/lib/db");
        fs_err::create_dir_all(state.join("tables")).unwrap();
        fs_err::write(state.join("tables/one"), "old rows").unwrap();
        fs_err::set_permissions(
            state.join("tables/one"),
            std::fs::Permissions::from_mode(0o640),
        )
        .unwrap();
        std::os::unix::fs::chown(state.join("tables/one"), Some(4711), Some(4712)).unwrap();
        symlink("/etc/passwd", state.join("link")).unwrap();
        let kept = root.path().join("snapshots/7-db");
        snapshot(&places(root.path()), &spec(), &kept).unwrap();
        let before = fs_err::metadata(state.join("tables/one")).unwrap();

        fs_err::write(state.join("tables/one"), "new rows").unwrap();
        fs_err::write(state.join("tables/two"), "more").unwrap();
        fs_err::remove_file(state.join("link")).unwrap();
        fs_err::create_dir_all(root.path().join("var/lib/db-extra/made-later")).unwrap();
        // A second look at the same change must not take the new state for the old one.
        snapshot(&places(root.path()), &spec(), &kept).unwrap();
        for _ in 0..2 {
            restore(&places(root.path()), &spec(), &kept).unwrap();
            assert_eq!(
                fs_err::read_to_string(state.join("tables/one")).unwrap(),
                "old rows"
            );
            assert!(!state.join("tables/two").exists());
            let after = fs_err::metadata(state.join("tables/one")).unwrap();
            assert_eq!(
                (after.uid(), after.gid(), after.mode(), after.mtime_nsec()),
                (4711, 4712, before.mode(), before.mtime_nsec())
            );
            assert_eq!(
                fs_err::read_link(state.join("link")).unwrap(),
                Path::new("/etc/passwd")
            );
            let extra = root.path().join("var/lib/db-extra");
            assert_eq!(fs_err::read_dir(extra).unwrap().count(), 0);
        }
    }

    #[test]
    fn a_link_in_place_of_the_state_is_refused_and_nothing_behind_it_is_emptied() {
        let root = tempfile::tempdir().unwrap();
        fs_err::create_dir_all(root.path().join("var/lib")).unwrap();
        fs_err::create_dir(root.path().join("precious")).unwrap();
        fs_err::write(root.path().join("precious/file"), "x").unwrap();
        symlink(root.path().join("precious"), root.path().join("var/lib/db")).unwrap();
        let kept = root.path().join("kept");
        snapshot(&places(root.path()), &spec(), &kept).unwrap_err();
        assert!(!kept.exists());
        fs_err::create_dir(&kept).unwrap();
        restore(&places(root.path()), &spec(), &kept).unwrap_err();
        assert!(root.path().join("precious/file").exists());
    }

    #[test]
    fn a_copy_that_was_not_finished_does_not_count() {
        let root = tempfile::tempdir().unwrap();
        let state = root.path().join("var/lib/db");
        fs_err::create_dir_all(&state).unwrap();
        fs_err::write(state.join("rows"), "old").unwrap();
        fs_err::create_dir_all(root.path().join("kept.draft/0")).unwrap();
        fs_err::write(root.path().join("kept.draft/0/rows"), "ol").unwrap();
        let kept = root.path().join("kept");
        snapshot(&places(root.path()), &spec(), &kept).unwrap();
        assert_eq!(fs_err::read_to_string(kept.join("0/rows")).unwrap(), "old");
    }
}
