//! Generation trees: hard links into the store, and the links and directories between them.
//!
//! A tree is derived data. It is built beside its place and renamed there when it is whole, so a
//! directory `generations/N` is complete or was made by something else than installd.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use model::manifest::{FileEntry, Node};
use model::{Digest, Generation, PackagePath, fault};
use rustix::fs::{self as sys, AtFlags, Mode};
use rustix::io::Errno;

use super::objects::{Key, Objects, Spec, sync_filesystem};
use super::setup::accounts::Accounts;
use super::{Doing, Error};

/// What stands at one path of a tree.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The file as its package describes it.
    pub entry: FileEntry,
    /// The bytes of a regular file.
    pub object: Option<Digest>,
}

impl Entry {
    /// The object that is linked here, for a regular file.
    pub fn spec(&self) -> Option<Spec> {
        match &self.entry.node {
            Node::File(file) => {
                let spec = Spec::of(&self.entry, file);
                Some(Spec {
                    digest: self.object.unwrap_or(spec.digest),
                    ..spec
                })
            }
            Node::Link { .. } | Node::Directory => None,
        }
    }
}

/// The directory `generations`.
#[derive(Debug, Clone)]
pub struct Generations {
    root: PathBuf,
}

impl Generations {
    /// The directory at `root`, made where it is missing; unfinished trees are removed.
    pub fn open(root: &Path) -> Result<Self, Error> {
        let what = || format!("open {}", root.display());
        fs_err::create_dir_all(root).doing(what)?;
        for entry in fs_err::read_dir(root).doing(what)? {
            let entry = entry.doing(what)?;
            if entry.file_name().to_string_lossy().starts_with('.') {
                fs_err::remove_dir_all(entry.path()).doing(what)?;
            }
        }
        Ok(Self {
            root: root.to_owned(),
        })
    }

    /// The tree of a generation: the directory that holds `usr` and `opt`.
    pub fn tree(&self, generation: Generation) -> PathBuf {
        self.root.join(generation.to_string()).join("root")
    }

    /// Builds the tree of these entries, which are sorted by path and unique. Entries below `/etc`
    /// are passed over: they are the machine's.
    ///
    /// Everything is on the disk when this returns.
    pub fn build(
        &self,
        generation: Generation,
        entries: &[Entry],
        objects: &Objects,
        accounts: &Accounts,
    ) -> Result<(), Error> {
        let what = || format!("build generation {generation}");
        let building = self.root.join(format!(".{generation}"));
        if building.exists() {
            fs_err::remove_dir_all(&building).doing(what)?;
        }
        fault::before("build a generation").doing(what)?;
        let root = building.join("root");
        let builder = Builder {
            root: root.clone(),
            objects,
            accounts,
        };
        let built = fs_err::create_dir_all(&root)
            .doing(what)
            .and_then(|()| builder.fill(entries))
            .and_then(|()| self.place(generation, &building));
        if built.is_err() {
            drop(fs_err::remove_dir_all(&building));
        }
        built
    }

    fn place(&self, generation: Generation, building: &Path) -> Result<(), Error> {
        let what = || format!("build generation {generation}");
        self.remove(generation)?;
        fault::before("place a generation").doing(what)?;
        fs_err::rename(building, self.root.join(generation.to_string())).doing(what)?;
        fault::after("place a generation");
        sync_filesystem(&self.root).doing(what)?;
        fault::after("write a generation to the disk");
        Ok(())
    }

    /// Removes a tree; nothing there is well. Out of the way in one step first, so that a kill
    /// leaves no half of it under its name.
    pub fn remove(&self, generation: Generation) -> Result<(), Error> {
        let what = || format!("remove generation {generation}");
        let (here, away) = (
            self.root.join(generation.to_string()),
            self.root.join(format!(".gone-{generation}")),
        );
        fault::before("move a generation away").doing(what)?;
        match fs_err::rename(&here, &away) {
            Ok(()) => {
                fault::after("move a generation away");
                fs_err::remove_dir_all(&away).doing(what)?;
                fault::after("remove a generation");
                Ok(())
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error).doing(what),
        }
    }

    /// The trees that are there.
    pub fn all(&self) -> Result<Vec<Generation>, Error> {
        let what = || "look for generations".to_owned();
        let mut found = Vec::new();
        for entry in fs_err::read_dir(&self.root).doing(what)? {
            let name = entry.doing(what)?.file_name();
            found.extend(name.to_string_lossy().parse().ok().map(Generation));
        }
        Ok(found)
    }

    /// Device and inode of the file at `path` in a generation, as maps show them.
    pub fn inode(&self, generation: Generation, path: &PackagePath) -> Option<(u64, u64)> {
        inode(&self.tree(generation), path)
    }
}

/// Device and inode of the file at `path` in the tree at `root`.
pub fn inode(root: &Path, path: &PackagePath) -> Option<(u64, u64)> {
    let stat = sys::lstat(root.join(path.relative())).ok()?;
    Some((stat.st_dev, stat.st_ino))
}

/// Fills the directory `root` with these entries, sorted by path and unique, as a tree.
pub(super) fn fill(
    root: &Path,
    entries: &[Entry],
    objects: &Objects,
    accounts: &Accounts,
) -> Result<(), Error> {
    let builder = Builder {
        root: root.to_owned(),
        objects,
        accounts,
    };
    builder.fill(entries)
}

struct Builder<'a> {
    root: PathBuf,
    objects: &'a Objects,
    accounts: &'a Accounts,
}

impl Builder<'_> {
    /// Directories, then files, then links: no link stands in the way of a file, so nothing is
    /// ever written through one.
    fn fill(&self, entries: &[Entry]) -> Result<(), Error> {
        let here: Vec<&Entry> = entries
            .iter()
            .filter(|one| !one.entry.path.is_config())
            .collect();
        let directories = self.directories(&here)?;
        let mut copied = BTreeMap::new();
        for one in &here {
            if let Some(spec) = one.spec() {
                self.file(&one.entry.path, &spec, &mut copied)?;
            }
        }
        for one in &here {
            if let Node::Link { target } = &one.entry.node {
                let path = self.root.join(one.entry.path.relative());
                sys::symlink(target, &path).map_err(|error| self.refused(one, error))?;
            }
        }
        // Their modes last: one without write permission would refuse its files to a plain user.
        for (path, entry) in directories {
            self.dress(&path, entry)?;
        }
        Ok(())
    }

    fn directories<'e>(
        &self,
        entries: &[&'e Entry],
    ) -> Result<BTreeMap<PackagePath, Option<&'e FileEntry>>, Error> {
        let mut wanted: BTreeMap<PackagePath, Option<&FileEntry>> = BTreeMap::new();
        // A view needs /usr to mount on even where the set has no file.
        wanted.extend("/usr".parse().ok().map(|usr| (usr, None)));
        for one in entries {
            if one.entry.node == Node::Directory {
                wanted.insert(one.entry.path.clone(), Some(&one.entry));
            }
            let mut parent = one.entry.path.parent();
            while let Some(path) = parent {
                parent = path.parent();
                if wanted.contains_key(&path) {
                    break;
                }
                wanted.insert(path, None);
            }
        }
        // Sorted: a directory comes before what is in it.
        for path in wanted.keys() {
            let at = self.root.join(path.relative());
            sys::mkdir(&at, Mode::from_raw_mode(0o755))
                .doing(|| format!("make the directory {}", at.display()))?;
        }
        Ok(wanted)
    }

    fn file(
        &self,
        path: &PackagePath,
        spec: &Spec,
        copied: &mut BTreeMap<Key, PathBuf>,
    ) -> Result<(), Error> {
        let key = spec.key();
        let to = self.root.join(path.relative());
        fault::before("link a file").doing(|| format!("link {path} into the generation"))?;
        self.objects.own(spec, self.accounts)?;
        let from = copied
            .get(&key)
            .cloned()
            .unwrap_or_else(|| self.objects.path(key));
        match sys::linkat(sys::CWD, &from, sys::CWD, &to, AtFlags::empty()) {
            Ok(()) => Ok(()),
            // ext4 takes 65,000 links to an inode; the next ones go to a second copy of it. A trial
            // stands on another file system, and has each object once.
            Err(Errno::MLINK | Errno::XDEV) => {
                let what = || format!("make a second copy of {path}'s object");
                fs_err::copy(&from, &to).doing(what)?;
                self.objects.dress_copy(&to, spec, self.accounts)?;
                copied.insert(key, to);
                Ok(())
            }
            Err(Errno::EXIST) => Err(Error::Refused(format!(
                "{path} is a directory to one package and a file to another: take one of the \
                 packages out of the set"
            ))),
            Err(Errno::NOENT) => Err(Error::Damaged(format!(
                "the object of {path} is not in the store: add its package again"
            ))),
            Err(error) => Err(error).doing(|| format!("link {path} into the generation")),
        }
    }

    fn refused(&self, one: &Entry, error: Errno) -> Error {
        if error == Errno::EXIST {
            return Error::Refused(format!(
                "{} is a link to one package and a directory or file to another: take one of the \
                 packages out of the set",
                one.entry.path
            ));
        }
        let path = self.root.join(one.entry.path.relative());
        Error::Os {
            doing: format!("make the link {}", path.display()),
            source: error.into(),
        }
    }

    fn dress(&self, path: &PackagePath, entry: Option<&FileEntry>) -> Result<(), Error> {
        let Some(entry) = entry else { return Ok(()) };
        let at = self.root.join(path.relative());
        let what = || format!("give {path} its mode and owner");
        let (owner, group) = (entry.owner.as_deref(), entry.group.as_deref());
        if owner.is_some() || group.is_some() {
            let missing = |name: &str| {
                Error::Refused(format!(
                    "{path}: there is no account {name:?}; add it to [setup]"
                ))
            };
            let (owner, group) = (owner.unwrap_or("root"), group.unwrap_or("root"));
            let uid = self.accounts.uid(owner).ok_or_else(|| missing(owner))?;
            let gid = self.accounts.gid(group).ok_or_else(|| missing(group))?;
            let uid = rustix::process::Uid::from_raw(uid);
            let gid = rustix::process::Gid::from_raw(gid);
            sys::chown(&at, Some(uid), Some(gid)).doing(what)?;
        }
        let mode = if entry.mode == 0 {
            0o755
        } else {
            entry.mode & 0o7777
        };
        sys::chmod(&at, Mode::from_raw_mode(mode)).doing(what)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use model::Signature;
    use model::manifest::{FileType, RegularFile};

    use super::*;

    struct Place {
        _dir: tempfile::TempDir,
        objects: Objects,
        generations: Generations,
    }

    fn place() -> Place {
        let dir = tempfile::tempdir().unwrap();
        let objects = Objects::open(&dir.path().join("store")).unwrap();
        let generations = Generations::open(&dir.path().join("generations")).unwrap();
        Place {
            _dir: dir,
            objects,
            generations,
        }
    }

    fn entry(path: &str, mode: u32, node: Node) -> Entry {
        let entry = FileEntry {
            path: path.parse().unwrap(),
            mode,
            owner: None,
            group: None,
            node,
        };
        Entry {
            entry,
            object: None,
        }
    }

    fn file(place: &Place, path: &str, mode: u32, bytes: &[u8]) -> Entry {
        let digest = Digest::of(bytes);
        let node = Node::File(Box::new(RegularFile {
            digest,
            size: bytes.len() as u64,
            signature: Signature::of_exact(digest),
            file_type: FileType::Data,
            function: None,
            architecture: None,
            capabilities: None,
            provides_apis: vec![],
            consumes_apis: vec![],
            elf: None,
            uses: None,
            interpreter: None,
        }));
        let entry = entry(path, mode, node);
        let temporary = place.objects.temporary().join("t");
        fs_err::write(&temporary, bytes).unwrap();
        place
            .objects
            .place(&temporary, &entry.spec().unwrap(), &Accounts::default())
            .unwrap();
        entry
    }

    fn link(path: &str, target: &str) -> Entry {
        entry(
            path,
            0,
            Node::Link {
                target: target.to_owned(),
            },
        )
    }

    #[test]
    fn a_tree_is_hard_links_to_objects_with_links_and_directories_between() {
        let place = place();
        let entries = [
            file(&place, "/etc/x.conf", 0o644, b"config"),
            file(&place, "/opt/a/tool", 0o755, b"tool"),
            file(&place, "/usr/bin/tool", 0o755, b"tool"),
            link("/usr/lib/l.so", "l.so.1"),
            entry("/usr/share/empty", 0o1777, Node::Directory),
        ];
        place
            .generations
            .build(
                Generation(1),
                &entries,
                &place.objects,
                &Accounts::default(),
            )
            .unwrap();
        let tree = place.generations.tree(Generation(1));
        let object = place.objects.path(entries[1].spec().unwrap().key());
        let inode = |path: &Path| fs_err::metadata(path).unwrap().ino();
        assert_eq!(inode(&tree.join("usr/bin/tool")), inode(&object));
        assert_eq!(inode(&tree.join("opt/a/tool")), inode(&object));
        assert_eq!(
            fs_err::read_link(tree.join("usr/lib/l.so")).unwrap(),
            Path::new("l.so.1")
        );
        assert_eq!(
            fs_err::metadata(tree.join("usr/share/empty"))
                .unwrap()
                .mode()
                & 0o7777,
            0o1777
        );
        assert!(!tree.join("etc").exists());
        assert_eq!(place.generations.all().unwrap(), [Generation(1)]);
        place.generations.remove(Generation(1)).unwrap();
        place.generations.remove(Generation(1)).unwrap();
        assert!(place.generations.all().unwrap().is_empty());
    }

    #[test]
    fn no_link_of_one_package_leads_a_file_of_another_out_of_the_tree() {
        let place = place();
        let outside = tempfile::tempdir().unwrap();
        let target = outside.path().to_str().unwrap();
        let entries = [
            link("/usr/evil", target),
            file(&place, "/usr/evil/x", 0o644, b"x"),
        ];
        let error = place
            .generations
            .build(
                Generation(1),
                &entries,
                &place.objects,
                &Accounts::default(),
            )
            .unwrap_err();
        assert!(
            error
                .to_string()
                .contains("/usr/evil is a link to one package"),
            "{error}"
        );
        assert_eq!(fs_err::read_dir(outside.path()).unwrap().count(), 0);
        assert!(place.generations.all().unwrap().is_empty());
        assert_eq!(fs_err::read_dir(place.generations.root).unwrap().count(), 0);
    }

    #[test]
    fn a_missing_object_is_named_and_nothing_is_left() {
        let place = place();
        let entry = file(&place, "/usr/x", 0o644, b"x");
        place.objects.remove(entry.spec().unwrap().key()).unwrap();
        let built = place.generations.build(
            Generation(3),
            &[entry],
            &place.objects,
            &Accounts::default(),
        );
        assert!(built.unwrap_err().to_string().contains("/usr/x"));
        assert!(place.generations.all().unwrap().is_empty());
    }
}
