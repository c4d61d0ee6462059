//! Copies of processes' state directories, by state version: what an older program gets back.
//!
//! `STATE_DIR/snapshots/PROCESS/VERSION-CHANGE`; sysmgrd fills them (`model::transition::StateAct`)
//! under a name ending in `.draft` until they are complete. Of several copies of one version the
//! newest change's counts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use model::{ChangeId, ProcessName};

use super::{Doing, Error};

/// The directory of all copies.
#[derive(Debug, Clone)]
pub struct Snapshots {
    directory: PathBuf,
}

/// One complete copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The change that made it.
    pub change: ChangeId,
    /// Where it is.
    pub path: PathBuf,
}

/// The newest copy of each state version of each process.
pub type Kept = BTreeMap<(ProcessName, u32), Snapshot>;

impl Snapshots {
    /// Those below `directory`, which need not exist.
    pub fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Where the copy of `version` goes that `change` makes.
    pub fn path(&self, process: &ProcessName, version: u32, change: ChangeId) -> PathBuf {
        let name = format!("{version}-{change}");
        self.directory.join(process.as_str()).join(name)
    }

    /// The newest complete copies.
    pub fn kept(&self) -> Result<Kept, Error> {
        let mut kept = Kept::new();
        for (process, name, path) in self.entries()? {
            let Some((version, change)) = parse(&name) else {
                continue;
            };
            let found = Snapshot { change, path };
            let newest = kept.entry((process, version)).or_insert(found.clone());
            if newest.change < found.change {
                *newest = found;
            }
        }
        Ok(kept)
    }

    /// Removes every copy but the newest of the state versions that are still `wanted`, and what
    /// was not completed. Must not run beside a change.
    pub fn collect(&self, wanted: &BTreeSet<(ProcessName, u32)>) -> Result<(), Error> {
        let kept = self.kept()?;
        let stays: BTreeSet<&Path> = (kept.iter())
            .filter(|(key, _)| wanted.contains(*key))
            .map(|(_, snapshot)| snapshot.path.as_path())
            .collect();
        for (_, _, path) in self.entries()? {
            if !stays.contains(path.as_path()) {
                fs_err::remove_dir_all(&path).doing(|| format!("remove {}", path.display()))?;
            }
        }
        Ok(())
    }

    fn entries(&self) -> Result<Vec<(ProcessName, String, PathBuf)>, Error> {
        let mut found = Vec::new();
        for (process, directory) in children(&self.directory)? {
            let Ok(process) = process.parse::<ProcessName>() else {
                continue;
            };
            for (name, path) in children(&directory)? {
                found.push((process.clone(), name, path));
            }
        }
        Ok(found)
    }
}

/// Names and paths of what a directory holds; nothing where there is none.
fn children(directory: &Path) -> Result<Vec<(String, PathBuf)>, Error> {
    let what = || format!("read {}", directory.display());
    let entries = match fs_err::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.doing(what)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.doing(what)?;
        found.push((
            entry.file_name().to_string_lossy().into_owned(),
            entry.path(),
        ));
    }
    Ok(found)
}

/// `VERSION-CHANGE`.
fn parse(name: &str) -> Option<(u32, ChangeId)> {
    let (version, change) = name.split_once('-')?;
    Some((version.parse().ok()?, ChangeId(change.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_complete_copy_of_a_version_counts_and_the_others_are_collected() {
        let dir = tempfile::tempdir().unwrap();
        let snapshots = Snapshots::new(dir.path().join("snapshots"));
        assert!(snapshots.kept().unwrap().is_empty());
        let process: ProcessName = "db".parse().unwrap();
        for (version, change) in [(1, 9), (1, 10), (2, 11)] {
            fs_err::create_dir_all(snapshots.path(&process, version, ChangeId(change))).unwrap();
        }
        let draft = dir.path().join("snapshots/db/3-12.draft");
        fs_err::create_dir(&draft).unwrap();
        let kept = snapshots.kept().unwrap();
        let versions: Vec<_> = kept.keys().map(|(_, version)| *version).collect();
        assert_eq!(versions, [1, 2]);
        assert_eq!(kept[&(process.clone(), 1)].change, ChangeId(10));

        snapshots
            .collect(&BTreeSet::from([(process.clone(), 1)]))
            .unwrap();
        let left = snapshots.entries().unwrap();
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].2, snapshots.path(&process, 1, ChangeId(10)));
    }
}
