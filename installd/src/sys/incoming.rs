//! The directory `incoming`: a package that is dropped there is added.
//!
//! A file counts as dropped when its writer closes it or it is renamed there; names that begin
//! with a dot, or end in `.part`, are still being made.

use std::path::{Path, PathBuf};

use notify::event::{AccessKind, AccessMode, ModifyKind, RenameMode};
use notify::{Event, EventKind, RecursiveMode, Watcher};
use tokio::sync::mpsc;

use super::{Doing, Error};

/// A directory that is watched.
#[derive(Debug)]
pub struct Incoming {
    directory: PathBuf,
    found: mpsc::Receiver<PathBuf>,
    _watcher: notify::RecommendedWatcher,
}

impl Incoming {
    /// Watches `directory`, made where it is missing; files that are there already come first.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        let what = || format!("watch {}", directory.display());
        fs_err::create_dir_all(directory.join("refused")).doing(what)?;
        let (tell, found) = mpsc::channel(1024);
        let seen = tell.clone();
        let handler = move |event: notify::Result<Event>| {
            for path in event
                .into_iter()
                .filter(|event| is_drop(event.kind))
                .flat_map(|e| e.paths)
            {
                // A full queue loses nothing: the rest is found at the next start.
                drop(seen.try_send(path));
            }
        };
        let mut watcher = notify::recommended_watcher(handler)
            .map_err(std::io::Error::other)
            .doing(what)?;
        watcher
            .watch(directory, RecursiveMode::NonRecursive)
            .map_err(std::io::Error::other)
            .doing(what)?;
        for entry in fs_err::read_dir(directory).doing(what)? {
            drop(tell.try_send(entry.doing(what)?.path()));
        }
        Ok(Self {
            directory: directory.to_owned(),
            found,
            _watcher: watcher,
        })
    }

    /// The next file that was dropped, with its path.
    pub async fn next(&mut self) -> Option<(PathBuf, std::fs::File)> {
        loop {
            let path = self.found.recv().await?;
            if path.parent() != Some(&*self.directory) || is_unfinished(&path) {
                continue;
            }
            // Gone already, or a directory or link: not for us.
            let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
            let mut options = fs_err::OpenOptions::new();
            std::os::unix::fs::OpenOptionsExt::custom_flags(options.options_mut(), flags);
            let Ok(file) = options.read(true).open(&path) else {
                continue;
            };
            if file.metadata().is_ok_and(|meta| meta.is_file()) {
                return Some((path, file.into_file()));
            }
        }
    }

    /// What became of a file: it was added and goes, or it is put aside with the reason beside it.
    pub fn settle(&self, path: &Path, refused: Option<&str>) -> Result<(), Error> {
        let Some(reason) = refused else {
            return fs_err::remove_file(path).doing(|| format!("remove {}", path.display()));
        };
        let what = || format!("put {} aside", path.display());
        let aside = self
            .directory
            .join("refused")
            .join(path.file_name().unwrap_or_default());
        let mut beside = aside.clone().into_os_string();
        beside.push(".reason");
        fs_err::rename(path, &aside).doing(what)?;
        fs_err::write(PathBuf::from(beside), format!("{reason}\n")).doing(what)
    }
}

fn is_drop(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Modify(ModifyKind::Name(RenameMode::To))
    )
}

fn is_unfinished(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with('.') || name.ends_with(".part")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn files_are_found_when_they_are_whole() {
        let dir = tempfile::tempdir().unwrap();
        fs_err::write(dir.path().join("early.pkg"), b"1").unwrap();
        let mut incoming = Incoming::open(dir.path()).unwrap();
        assert!(incoming.next().await.unwrap().0.ends_with("early.pkg"));
        fs_err::write(dir.path().join(".hidden.pkg"), b"1").unwrap();
        fs_err::rename(dir.path().join(".hidden.pkg"), dir.path().join("late.pkg")).unwrap();
        let (path, _) = incoming.next().await.unwrap();
        assert!(path.ends_with("late.pkg"));
        incoming.settle(&path, Some("no good")).unwrap();
        let reason = dir.path().join("refused/late.pkg.reason");
        assert_eq!(fs_err::read_to_string(reason).unwrap(), "no good\n");
        incoming
            .settle(&dir.path().join("early.pkg"), None)
            .unwrap();
        assert!(!dir.path().join("early.pkg").exists());
    }
}
