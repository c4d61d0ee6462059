//! Copies of the master's state, and back.
//!
//! ```text
//! backup FILE      a tar: state.db, and trust/ (the CA's key among it: keep it as safe as the master)
//! GET /v1/backup   the same without trust/: an operator's token alone never gives the CA away
//! ```
//!
//! A restored master has an epoch above every one that it may have had before: nodes refuse what an
//! older epoch signs, and what they report is what the master goes on from.

use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fs_err::File;

use crate::store::sqlite::Sqlite;
use crate::store::{self, Outcome, Store, Txn};
use crate::trust::{self, Files, write_private};

/// The store's file in the state directory, and in a backup.
pub const STORE: &str = "state.db";
const EPOCH: &str = "meta/epoch";
/// A file of `trust/` is never longer.
const MOST_FILE: u64 = 1 << 20;

/// Why there is no copy, or no way back from one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("could not copy the state")]
    Io(#[from] std::io::Error),
    /// The store could not.
    #[error("could not copy the store")]
    Store(#[from] store::Error),
    /// The authority's files could not.
    #[error("could not keep the epoch")]
    Trust(#[from] trust::Error),
    /// The file is no backup.
    #[error("{path} is not a backup of masterd: it holds {what}")]
    Foreign {
        /// The file.
        path: String,
        /// What should not be in it.
        what: String,
    },
    /// There is no CA here, and none in the backup.
    #[error("the backup has no keys, and {path} has none either: use one that masterd backup made")]
    Keyless {
        /// The state directory.
        path: String,
    },
    /// Somebody else writes.
    #[error("the store changed while it was restored")]
    Busy,
}

/// A tar of the store alone, in a file without a name.
pub fn store_alone(store: &Path) -> Result<std::fs::File, Error> {
    let directory = store.parent().unwrap_or(Path::new("/"));
    let mut file = unnamed(directory)?;
    let mut tar = tar::Builder::new(&file);
    add_store(&mut tar, store)?;
    tar.finish()?;
    drop(tar);
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}

/// Writes store and keys to `to`, mode 0600, while the master works.
pub fn backup(state_dir: &Path, to: &Path) -> Result<(), Error> {
    let beside = to.with_extension("partial");
    let file = {
        use fs_err::os::unix::fs::OpenOptionsExt;
        let mut options = fs_err::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        options.open(&beside)?
    };
    let mut tar = tar::Builder::new(&file);
    add_store(&mut tar, &state_dir.join(STORE))?;
    let trust = Files::new(state_dir);
    for entry in fs_err::read_dir(trust.directory())? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default();
        let is_beside = path.extension().is_some_and(|kind| kind == "new");
        if path.is_file() && !is_beside {
            add(&mut tar, &path, &Path::new("trust").join(name))?;
        }
    }
    tar.finish()?;
    drop(tar);
    file.sync_all()?;
    fs_err::rename(&beside, to)?;
    Ok(())
}

/// Puts a backup in the place of the state, whose master must not run (the caller holds its lock),
/// and answers with the new epoch. What was there is kept beside, as `state.db.before`.
pub async fn restore(state_dir: &Path, from: &Path) -> Result<u64, Error> {
    let files = Files::new(state_dir);
    let store = state_dir.join(STORE);
    let mut epoch = files.epoch();
    if store.exists() {
        epoch = epoch.max(epoch_of(&store).await?);
    }
    let incoming = unpack(state_dir, from)?;
    epoch = epoch.max(epoch_of(&incoming.store).await?) + 1;
    set_epoch(&incoming.store, epoch).await?;
    if incoming.trust.is_empty() && !files.exist() {
        return Err(Error::Keyless {
            path: state_dir.display().to_string(),
        });
    }
    if !incoming.trust.is_empty() {
        make_private(files.directory())?;
        for (name, bytes) in &incoming.trust {
            write_private(&files.directory().join(name), bytes)?;
        }
    }
    // Before the store: should this be all that happens, only a number was left out.
    files.set_epoch(epoch)?;
    if store.exists() {
        fs_err::rename(&store, state_dir.join("state.db.before"))?;
    }
    for old in ["state.db-wal", "state.db-shm"] {
        let old = state_dir.join(old);
        if old.exists() {
            fs_err::remove_file(old)?;
        }
    }
    fs_err::rename(&incoming.store, &store)?;
    File::open(state_dir)?.sync_all()?;
    Ok(epoch)
}

struct Incoming {
    store: PathBuf,
    trust: Vec<(String, Vec<u8>)>,
}

/// Reads the tar: nothing but what a backup holds is taken out of it.
fn unpack(state_dir: &Path, from: &Path) -> Result<Incoming, Error> {
    let foreign = |what: &str| Error::Foreign {
        path: from.display().to_string(),
        what: what.chars().take(80).collect(),
    };
    let store = state_dir.join("state.db.incoming");
    let (mut trust, mut has_store) = (Vec::new(), false);
    let mut archive = tar::Archive::new(File::open(from)?);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let name = path.to_string_lossy().into_owned();
        let known = name.strip_prefix("trust/").map(str::to_owned);
        let is_plain = |name: &str| {
            !name.starts_with('.') && !name.contains('/') && name.len() < 40 && !name.is_empty()
        };
        match known {
            _ if !entry.header().entry_type().is_file() => return Err(foreign(&name)),
            None if name == STORE => {
                let mut file = File::create(&store)?;
                std::io::copy(&mut entry, &mut file)?;
                file.sync_all()?;
                has_store = true;
            }
            Some(known) if is_plain(&known) && entry.size() <= MOST_FILE => {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes)?;
                // How high this machine has been is not the backup's to say.
                if known != "epoch" {
                    trust.push((known, bytes));
                }
            }
            _ => return Err(foreign(&name)),
        }
    }
    if !has_store {
        return Err(foreign("no state.db"));
    }
    Ok(Incoming { store, trust })
}

async fn epoch_of(store: &Path) -> Result<u64, Error> {
    let store = Store::new(Arc::new(Sqlite::open(store)?));
    let found = store.record::<u64>(EPOCH).await?;
    Ok(found.map_or(0, |(epoch, _)| epoch))
}

async fn set_epoch(store: &Path, epoch: u64) -> Result<(), Error> {
    let store = Store::new(Arc::new(Sqlite::open(store)?));
    match store.commit(Txn::new().put(EPOCH, &epoch)?).await? {
        Outcome::Committed(_) => Ok(()),
        Outcome::Conflict => Err(Error::Busy),
    }
}

/// Makes a directory that only its owner enters.
pub fn make_private(directory: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
}

fn add_store(tar: &mut tar::Builder<impl std::io::Write>, store: &Path) -> Result<(), Error> {
    let copy = store.with_extension("copy");
    if copy.exists() {
        fs_err::remove_file(&copy)?;
    }
    let copied = Sqlite::copy(store, &copy).map_err(Error::from);
    let added = copied.and_then(|()| add(tar, &copy, Path::new(STORE)));
    if copy.exists() {
        fs_err::remove_file(&copy)?;
    }
    added
}

fn add(tar: &mut tar::Builder<impl std::io::Write>, path: &Path, name: &Path) -> Result<(), Error> {
    let file = File::open(path)?;
    let mut header = tar::Header::new_gnu();
    header.set_size(file.metadata()?.len());
    header.set_mode(0o600);
    tar.append_data(&mut header, name, file)?;
    Ok(())
}

fn unnamed(directory: &Path) -> std::io::Result<std::fs::File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    let fd = rustix::fs::open(directory, flags, Mode::RUSR | Mode::WUSR)?;
    Ok(fd.into())
}
