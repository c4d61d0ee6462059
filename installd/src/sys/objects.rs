//! The object store: one inode for each content with its mode, owner, group and capabilities.
//!
//! ```text
//! store/objects/ab/cdef…   BLAKE3 over all five; generations are hard links to these
//! store/tmp/               files that are being written; swept at start
//! ```
//! Beside it may be a second one of the same layout in memory, for software that is not kept.
//!
//! Invariant: a file below `objects` is complete. It is written under `tmp` and renamed.

use std::collections::HashSet;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use model::manifest::{FileEntry, RegularFile};
use model::{Digest, PackageId, fault};
use rustix::fs::{self as sys, Mode, RenameFlags, XattrFlags};
use rustix::io::Errno;

use super::memory::Memory;
use super::setup::accounts::Accounts;
use super::{Doing, Error};

const CAPABILITIES: &str = "security.capability";

/// What an object is: everything that its inode carries.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Spec {
    /// BLAKE3 of the bytes.
    pub digest: Digest,
    /// Access mode with set-id bits.
    pub mode: u32,
    /// Owner by name.
    pub owner: String,
    /// Group by name.
    pub group: String,
    /// The bytes of `security.capability`, in hexadecimal.
    pub capabilities: Option<String>,
}

/// The name of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Digest);

impl Spec {
    /// The object that stands at this entry.
    pub fn of(entry: &FileEntry, file: &RegularFile) -> Self {
        let name = |name: &Option<String>| name.clone().unwrap_or_else(|| "root".to_owned());
        Self {
            digest: file.digest,
            mode: entry.mode & 0o7777,
            owner: name(&entry.owner),
            group: name(&entry.group),
            capabilities: file.capabilities.clone(),
        }
    }

    /// Its name in the store.
    pub fn key(&self) -> Key {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"changeover object 1\0");
        hasher.update(self.digest.as_bytes());
        hasher.update(&self.mode.to_le_bytes());
        let capabilities = self.capabilities.as_deref().unwrap_or("");
        for text in [&*self.owner, &*self.group, capabilities] {
            hasher.update(text.as_bytes());
            hasher.update(b"\0");
        }
        Key(hasher.finalize().into())
    }
}

impl Key {
    /// The key as the database and file names have it.
    pub fn text(&self) -> String {
        self.0.to_string()
    }

    /// A key as it was written.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse().ok().map(Self)
    }
}

/// The directory `store`.
#[derive(Debug, Clone)]
pub struct Objects {
    root: PathBuf,
    /// What is not found on the disk is looked for here.
    memory: Option<Memory>,
    /// What is written goes there, too.
    into_memory: bool,
}

impl Objects {
    /// The store at `root`, made where it is missing; what a killed `add` left is swept.
    pub fn open(root: &Path) -> Result<Self, Error> {
        let what = || format!("open the store {}", root.display());
        let tmp = root.join("tmp");
        if tmp.exists() {
            fs_err::remove_dir_all(&tmp).doing(what)?;
        }
        for part in ["objects", "packages", "tmp"] {
            fs_err::create_dir_all(root.join(part)).doing(what)?;
        }
        sys::chmod(root, Mode::RWXU).doing(what)?;
        Ok(Self::at(root))
    }

    /// The store at `root`, which is open already.
    pub fn at(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            memory: None,
            into_memory: false,
        }
    }

    /// With what is in memory only.
    #[must_use]
    pub fn with_memory(self, memory: Memory) -> Self {
        let memory = Some(memory);
        Self { memory, ..self }
    }

    /// What is added goes into memory, and the disk stays as it is.
    #[must_use]
    pub fn loading(&self) -> Self {
        Self {
            into_memory: true,
            ..self.clone()
        }
    }

    /// What is added goes onto the disk, and only what is there counts.
    #[must_use]
    pub fn on_disk(&self) -> Self {
        Self {
            memory: None,
            into_memory: false,
            ..self.clone()
        }
    }

    /// Where things are written.
    fn home(&self) -> PathBuf {
        let memory = self.memory.as_ref().filter(|_| self.into_memory);
        memory.map_or_else(|| self.root.clone(), Memory::store)
    }

    /// The disk first, and what is in memory.
    fn roots(&self) -> impl Iterator<Item = PathBuf> {
        let memory = self.memory.as_ref().and_then(Memory::store_in_use);
        std::iter::once(self.root.clone()).chain(memory)
    }

    /// Where objects are being written.
    pub fn temporary(&self) -> PathBuf {
        self.home().join("tmp")
    }

    /// Where manifests are written.
    pub fn packages(&self) -> PathBuf {
        self.home().join("packages")
    }

    /// Where manifests may be.
    pub fn all_packages(&self) -> impl Iterator<Item = PathBuf> {
        self.roots().map(|root| root.join("packages"))
    }

    /// Where the manifest of a package is, or would be.
    pub fn package(&self, id: &PackageId) -> PathBuf {
        let name = id.to_string();
        let mut all = self.all_packages().map(|one| one.join(&name));
        let found = all.find(|one| one.is_dir());
        found.unwrap_or_else(|| self.packages().join(name))
    }

    /// Where the object is, or would be.
    pub fn path(&self, key: Key) -> PathBuf {
        let Some(memory) = self.memory.as_ref().and_then(Memory::store_in_use) else {
            return below(&self.root, key);
        };
        let all = [below(&self.root, key), below(&memory, key)];
        let found = all.into_iter().find(|one| sys::lstat(one).is_ok());
        found.unwrap_or_else(|| below(&self.home(), key))
    }

    /// Whether the store has it.
    pub fn has(&self, key: Key) -> bool {
        sys::lstat(self.path(key)).is_ok()
    }

    /// Device and inode of an object, as maps show them.
    pub fn inode(&self, key: Key) -> Option<(u64, u64)> {
        let stat = sys::lstat(self.path(key)).ok()?;
        Some((stat.st_dev, stat.st_ino))
    }

    /// Makes the written file `temporary`, whose bytes are `spec.digest`'s, an object.
    /// Answers whether it was missing.
    pub fn place(&self, temporary: &Path, spec: &Spec, accounts: &Accounts) -> Result<bool, Error> {
        let path = below(&self.home(), spec.key());
        let what = || format!("put {} into the store", spec.digest);
        fault::before("place an object").doing(what)?;
        dress(temporary, spec, accounts).doing(what)?;
        match rename_new(temporary, &path) {
            Ok(()) => {
                fault::after("place an object");
                Ok(true)
            }
            Err(Errno::NOENT) => {
                let parent = path.parent().unwrap_or(&self.root);
                fs_err::create_dir_all(parent).doing(what)?;
                rename_new(temporary, &path).map(|()| true).doing(what)
            }
            Err(Errno::EXIST) => {
                fs_err::remove_file(temporary).doing(what)?;
                Ok(false)
            }
            Err(error) => Err(error).doing(what),
        }
    }

    /// Gives the object its owner, where that became known only after it was written.
    pub fn own(&self, spec: &Spec, accounts: &Accounts) -> Result<(), Error> {
        if spec.owner == "root" && spec.group == "root" {
            return Ok(());
        }
        let path = self.path(spec.key());
        let what = || format!("give {} to {}:{}", path.display(), spec.owner, spec.group);
        let missing = |kind: &str, name: &str| {
            Error::Refused(format!(
                "there is no {kind} {name:?}: add it to [setup] of the package whose file it owns"
            ))
        };
        let uid = accounts
            .uid(&spec.owner)
            .ok_or_else(|| missing("user", &spec.owner))?;
        let gid = accounts
            .gid(&spec.group)
            .ok_or_else(|| missing("group", &spec.group))?;
        let meta = fs_err::symlink_metadata(&path).doing(what)?;
        if (meta.uid(), meta.gid(), meta.mode() & 0o7777) == (uid, gid, spec.mode) {
            return Ok(());
        }
        dress(&path, spec, accounts).doing(what)
    }

    /// Gives a further copy of an object's bytes what its inode must carry.
    pub fn dress_copy(&self, copy: &Path, spec: &Spec, accounts: &Accounts) -> Result<(), Error> {
        dress(copy, spec, accounts).doing(|| format!("give {} its mode and owner", copy.display()))
    }

    /// Removes an object; nothing there is well. Answers the bytes that it had.
    pub fn remove(&self, key: Key) -> Result<u64, Error> {
        remove(&self.path(key))
    }

    /// Every object on the disk.
    pub fn all(&self) -> Result<Vec<Key>, Error> {
        Self::all_below(&self.root)
    }

    fn all_below(root: &Path) -> Result<Vec<Key>, Error> {
        let what = || "read the store".to_owned();
        let mut keys = Vec::new();
        for fan in fs_err::read_dir(root.join("objects")).doing(what)? {
            let fan = fan.doing(what)?;
            let head = fan.file_name();
            for object in fs_err::read_dir(fan.path()).doing(what)? {
                let tail = object.doing(what)?.file_name();
                let text = format!("{}{}", head.to_string_lossy(), tail.to_string_lossy());
                keys.extend(Key::parse(&text));
            }
        }
        Ok(keys)
    }

    /// How many objects are on the disk, and how many bytes they have.
    pub fn size(&self) -> Result<(u64, u64), Error> {
        let (mut count, mut bytes) = (0, 0);
        for key in self.all()? {
            if let Ok(stat) = sys::lstat(self.path(key)) {
                count += 1;
                bytes += u64::try_from(stat.st_size).unwrap_or(0);
            }
        }
        Ok((count, bytes))
    }

    /// Removes every object that is not in `wanted`. Answers how many and how many bytes.
    pub fn collect(&self, wanted: &HashSet<Key>) -> Result<(u64, u64), Error> {
        let (mut count, mut bytes) = (0, 0);
        for root in self.roots() {
            for key in Self::all_below(&root)? {
                if !wanted.contains(&key) {
                    bytes += remove(&below(&root, key))?;
                    count += 1;
                }
            }
        }
        Ok((count, bytes))
    }

    /// Removes every object in memory that is not in `wanted`.
    pub fn collect_memory(&self, wanted: &HashSet<Key>) -> Result<(), Error> {
        for root in self.roots().skip(1) {
            for key in Self::all_below(&root)? {
                if !wanted.contains(&key) {
                    remove(&below(&root, key))?;
                }
            }
        }
        Ok(())
    }

    /// Puts everything that was written on the disk, at once.
    pub fn sync(&self) -> Result<(), Error> {
        if self.into_memory {
            return Ok(());
        }
        let what = || "write the store to the disk".to_owned();
        fault::before("write the store to the disk").doing(what)?;
        sync_filesystem(&self.root).doing(what)?;
        fault::after("write the store to the disk");
        Ok(())
    }
}

/// Where an object is in the store at `root`.
fn below(root: &Path, key: Key) -> PathBuf {
    let text = key.text();
    let (head, tail) = text.split_at(2);
    root.join("objects").join(head).join(tail)
}

/// Removes an object's file; nothing there is well.
fn remove(path: &Path) -> Result<u64, Error> {
    let what = || format!("remove the object {}", path.display());
    let size = match sys::lstat(path) {
        Ok(stat) => u64::try_from(stat.st_size).unwrap_or(0),
        Err(Errno::NOENT) => return Ok(0),
        Err(error) => return Err(error).doing(what),
    };
    fault::before("remove an object").doing(what)?;
    fs_err::remove_file(path).doing(what)?;
    fault::after("remove an object");
    Ok(size)
}

/// `syncfs` of the file system that holds `path`.
pub fn sync_filesystem(path: &Path) -> io::Result<()> {
    let directory = fs_err::File::open(path)?;
    sys::syncfs(&directory)?;
    Ok(())
}

fn rename_new(from: &Path, to: &Path) -> rustix::io::Result<()> {
    match sys::renameat_with(sys::CWD, from, sys::CWD, to, RenameFlags::NOREPLACE) {
        // Some file systems know no flags; only one `add` runs at a time, so looking first will do.
        Err(Errno::INVAL) if sys::lstat(to).is_ok() => Err(Errno::EXIST),
        Err(Errno::INVAL) => sys::rename(from, to),
        other => other,
    }
}

/// Owner, then mode, then capabilities: each step clears what comes after it. An owner that does
/// not exist yet is left to [`Objects::own`], and set-id bits with it.
fn dress(path: &Path, spec: &Spec, accounts: &Accounts) -> io::Result<()> {
    let owner = accounts.uid(&spec.owner).zip(accounts.gid(&spec.group));
    let mut mode = spec.mode;
    match owner {
        Some((uid, gid)) => {
            let meta = fs_err::symlink_metadata(path)?;
            if (meta.uid(), meta.gid()) != (uid, gid) {
                let uid = rustix::process::Uid::from_raw(uid);
                let gid = rustix::process::Gid::from_raw(gid);
                sys::chown(path, Some(uid), Some(gid))?;
            }
        }
        None => mode &= 0o777,
    }
    sys::chmod(path, Mode::from_raw_mode(mode))?;
    if let Some(text) = &spec.capabilities {
        let bytes = hexadecimal(text).ok_or(Errno::INVAL)?;
        sys::setxattr(path, CAPABILITIES, &bytes, XattrFlags::empty())?;
    }
    Ok(())
}

fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(text.get(i..i + 2)?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(bytes: &[u8], mode: u32) -> Spec {
        Spec {
            digest: Digest::of(bytes),
            mode,
            owner: "root".to_owned(),
            group: "root".to_owned(),
            capabilities: None,
        }
    }

    #[test]
    fn the_same_content_with_another_mode_owner_or_capability_is_another_object() {
        let plain = spec(b"x", 0o644);
        let variants = [
            spec(b"y", 0o644),
            spec(b"x", 0o755),
            Spec {
                owner: "a".to_owned(),
                ..plain.clone()
            },
            Spec {
                group: "a".to_owned(),
                ..plain.clone()
            },
            Spec {
                capabilities: Some("00".to_owned()),
                ..plain.clone()
            },
        ];
        let keys: HashSet<_> = variants
            .iter()
            .map(Spec::key)
            .chain([plain.key()])
            .collect();
        assert_eq!(keys.len(), 6);
    }

    #[test]
    fn an_object_is_placed_once_and_collected_when_nobody_wants_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = Objects::open(dir.path()).unwrap();
        let accounts = Accounts::default();
        let spec = spec(b"bytes", 0o4755);
        for first in [true, false] {
            let temporary = store.temporary().join("t");
            fs_err::write(&temporary, b"bytes").unwrap();
            assert_eq!(store.place(&temporary, &spec, &accounts).unwrap(), first);
            assert!(!temporary.exists());
        }
        let mode = fs_err::metadata(store.path(spec.key())).unwrap().mode();
        assert_eq!(mode & 0o7777, 0o4755);
        assert_eq!(store.collect(&HashSet::from([spec.key()])).unwrap(), (0, 0));
        assert_eq!(store.collect(&HashSet::new()).unwrap(), (1, 5));
        assert!(!store.has(spec.key()));
    }

    #[test]
    fn a_set_id_bit_waits_for_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let store = Objects::open(dir.path()).unwrap();
        let spec = Spec {
            owner: "nobody-yet".to_owned(),
            ..spec(b"x", 0o4755)
        };
        let temporary = store.temporary().join("t");
        fs_err::write(&temporary, b"x").unwrap();
        store
            .place(&temporary, &spec, &Accounts::default())
            .unwrap();
        let mode = || fs_err::metadata(store.path(spec.key())).unwrap().mode() & 0o7777;
        assert_eq!(mode(), 0o755);
        store.own(&spec, &Accounts::default()).unwrap_err();
        let accounts = Accounts::parse("nobody-yet:x:1234:1234::/:/bin/false\n", "root:x:0:\n");
        store.own(&spec, &accounts).unwrap();
        assert_eq!(mode(), 0o4755);
        assert_eq!(
            fs_err::metadata(store.path(spec.key())).unwrap().uid(),
            1234
        );
    }
}
