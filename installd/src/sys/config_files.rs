//! Configuration: files of packages below `/etc`, by the rules that administrators know from dpkg.
//!
//! | the file is                       | what happens                                  |
//! |-----------------------------------|-----------------------------------------------|
//! | absent                            | it is created                                 |
//! | as the old set shipped it         | it is replaced                                |
//! | as the new set ships it           | nothing                                       |
//! | modified, the set ships the same  | nothing                                       |
//! | modified, the set ships another   | it stays; the new one is put beside as `.new` |
//! | no longer shipped, unmodified     | it is removed                                 |
//! | no longer shipped, modified       | it stays                                      |
//!
//! What stood there before is kept as an object, so that a rollback restores whatever nobody has
//! changed since.

use std::io::{self, Read};

use model::manifest::{FileEntry, Node};
use model::{Digest, PackagePath, fault};
use serde::{Deserialize, Serialize};

use super::objects::{Key, Objects, Spec};
use super::rooted::{Access, Kind, Root};
use super::setup::accounts::Accounts;
use super::{Doing, Error};

/// What stands at a path below `/etc`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum State {
    /// Nothing.
    Absent,
    /// A file.
    File {
        /// Its bytes.
        digest: Digest,
        /// Its access mode.
        mode: u32,
        /// Its owner.
        uid: u32,
        /// Its group.
        gid: u32,
    },
    /// A symbolic link.
    Link {
        /// Its text.
        target: String,
    },
    /// A directory.
    Directory,
    /// A device, socket or pipe: never touched.
    Other,
}

impl State {
    /// Whether both have the same contents; mode and owner are the administrator's.
    fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File { digest: one, .. }, Self::File { digest: two, .. }) => one == two,
            (Self::Link { target: one }, Self::Link { target: two }) => one == two,
            (Self::Absent, Self::Absent) | (Self::Directory, Self::Directory) => true,
            (
                Self::Absent
                | Self::File { .. }
                | Self::Link { .. }
                | Self::Directory
                | Self::Other,
                _,
            ) => false,
        }
    }
}

/// What is done to one path, and what stood there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Change {
    /// Relative to the machine's root: `etc/nginx/nginx.conf`.
    pub path: String,
    /// What stood there.
    pub before: State,
    /// What stands there after it.
    pub after: State,
    /// The object with the bytes of `after`, where it is a file.
    pub object: Option<String>,
}

impl Change {
    /// The object that holds what stood there.
    pub fn kept(&self) -> Option<Key> {
        match &self.before {
            State::File {
                digest,
                mode,
                uid,
                gid,
            } => Some(backup(*digest, *mode, *uid, *gid).key()),
            State::Absent | State::Link { .. } | State::Directory | State::Other => None,
        }
    }
}

/// The object of a file of the machine, by the numbers of its owner.
fn backup(digest: Digest, mode: u32, uid: u32, gid: u32) -> Spec {
    let (owner, group) = (uid.to_string(), gid.to_string());
    Spec {
        digest,
        mode,
        owner,
        group,
        capabilities: None,
    }
}

/// What the rules say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The path is left alone.
    Leave,
    /// It gets what the new set ships.
    Put,
    /// What the new set ships goes beside it, as `.new`.
    Beside,
    /// It is removed.
    Remove,
}

/// The rules: what the old set ships there, what the new one does, and what stands there now.
pub fn decide(old: Option<&State>, new: Option<&State>, now: &State) -> Verdict {
    let unmodified = old.is_some_and(|old| old.same(now));
    match new {
        None | Some(State::Absent) if unmodified && *now != State::Directory => Verdict::Remove,
        None | Some(State::Absent | State::Other) => Verdict::Leave,
        Some(_) if *now == State::Absent => Verdict::Put,
        Some(State::Directory) => Verdict::Leave,
        Some(new) if new.same(now) => Verdict::Leave,
        Some(_) if unmodified => Verdict::Put,
        Some(new) if old.is_some_and(|old| old.same(new)) => Verdict::Leave,
        Some(_) => Verdict::Beside,
    }
}

/// A path below `/etc` that differs between two sets.
#[derive(Debug, Clone)]
pub struct Differs {
    /// The path.
    pub path: PackagePath,
    /// What the old set ships.
    pub old: Option<FileEntry>,
    /// What the new set ships.
    pub new: Option<FileEntry>,
}

/// The machine's `/etc` with the store that keeps what stood there.
#[derive(Debug)]
pub struct ConfigFiles<'a> {
    /// `MACHINE_ROOT/etc`; links that lead out of it are refused.
    pub root: &'a Root,
    /// The store.
    pub objects: &'a Objects,
    /// The accounts that own the files.
    pub accounts: &'a Accounts,
}

impl ConfigFiles<'_> {
    /// What is to be done for these differences, with the bytes that stand there now kept as
    /// objects; and what is worth reporting. Nothing below `/etc` has changed when it returns.
    pub fn plan(&self, differs: &[Differs]) -> Result<(Vec<Change>, Vec<String>), Error> {
        let (mut changes, mut notes) = (Vec::new(), Vec::new());
        for one in differs {
            let old = one
                .old
                .as_ref()
                .map(|entry| self.shipped(entry))
                .transpose()?;
            let new = one
                .new
                .as_ref()
                .map(|entry| self.shipped(entry))
                .transpose()?;
            let path = inside(&one.path);
            let now = self.now(path)?;
            let (path, now) = match decide(old.as_ref(), new.as_ref(), &now) {
                Verdict::Leave => {
                    let left = new.is_none() && now != State::Absent && now != State::Directory;
                    notes.extend(left.then(|| format!("{} stays: it was modified", one.path)));
                    continue;
                }
                Verdict::Put | Verdict::Remove => (path.to_owned(), now),
                Verdict::Beside => {
                    notes.push(format!(
                        "{0} was modified and stays; the new one is {0}.new",
                        one.path
                    ));
                    let beside = format!("{path}.new");
                    let now = self.now(&beside)?;
                    (beside, now)
                }
            };
            self.keep(&path, &now)?;
            let object = one
                .new
                .as_ref()
                .and_then(object_of)
                .map(|spec| spec.key().text());
            changes.push(Change {
                path,
                before: now,
                after: new.unwrap_or(State::Absent),
                object,
            });
        }
        Ok((changes, notes))
    }

    /// Makes the changes; each can be made twice.
    pub fn apply(&self, changes: &[Change]) -> Result<(), Error> {
        for change in changes {
            let object = change.object.as_deref().and_then(Key::parse);
            self.set(&change.path, &change.after, object)?;
        }
        Ok(())
    }

    /// Takes changes back, the newest first, where nobody has changed the file since. Answers what
    /// had to be left.
    pub fn undo(&self, changes: &[Change]) -> Result<Vec<String>, Error> {
        let mut left = Vec::new();
        for change in changes.iter().rev() {
            let now = self.now(&change.path)?;
            if now.same(&change.before) {
                continue;
            }
            if !now.same(&change.after) {
                left.push(format!(
                    "/etc/{} was modified meanwhile and stays",
                    change.path
                ));
                continue;
            }
            self.set(&change.path, &change.before, change.kept())?;
        }
        Ok(left)
    }

    /// Makes changes again of which some were taken back, where nobody has changed the file since.
    pub fn redo(&self, changes: &[Change]) -> Result<(), Error> {
        for change in changes {
            let now = self.now(&change.path)?;
            if now.same(&change.before) && !now.same(&change.after) {
                let object = change.object.as_deref().and_then(Key::parse);
                self.set(&change.path, &change.after, object)?;
            }
        }
        Ok(())
    }

    fn set(&self, path: &str, state: &State, object: Option<Key>) -> Result<(), Error> {
        let what = || format!("write /etc/{path}");
        fault::before("write a configuration file").doing(what)?;
        let set = self.put(path, state, object);
        fault::after("write a configuration file");
        set
    }

    fn put(&self, path: &str, state: &State, object: Option<Key>) -> Result<(), Error> {
        let what = || format!("write /etc/{path}");
        match state {
            State::Absent => match self.now(path)? {
                State::Directory => Ok(()),
                State::Absent | State::File { .. } | State::Link { .. } | State::Other => {
                    self.root.remove(path).doing(what)
                }
            },
            State::Link { target } => self.root.put_link(path, target).doing(what),
            State::Directory => self.root.make_directory(path, 0o755).map(drop).doing(what),
            State::File {
                digest,
                mode,
                uid,
                gid,
            } => {
                let key = object.ok_or_else(|| {
                    Error::Damaged(format!("no object is known for /etc/{path} ({digest})"))
                })?;
                let from = fs_err::File::open(self.objects.path(key)).doing(what)?;
                let access = Access {
                    mode: *mode,
                    uid: *uid,
                    gid: *gid,
                };
                self.root.put(path, from, access).doing(what)
            }
            State::Other => Ok(()),
        }
    }

    /// What stands at a path.
    fn now(&self, path: &str) -> Result<State, Error> {
        let what = || format!("read /etc/{path}");
        let Some((kind, access)) = self.root.look(path).doing(what)? else {
            return Ok(State::Absent);
        };
        Ok(match kind {
            Kind::Directory => State::Directory,
            Kind::Other => State::Other,
            Kind::Link => State::Link {
                target: self.root.read_link(path).doing(what)?,
            },
            Kind::File => {
                let file = self.root.read(path).doing(what)?;
                let (digest, _) = Digest::of_reader(file).doing(what)?;
                State::File {
                    digest,
                    mode: access.mode,
                    uid: access.uid,
                    gid: access.gid,
                }
            }
        })
    }

    /// What a package ships, as it would stand on this machine.
    fn shipped(&self, entry: &FileEntry) -> Result<State, Error> {
        Ok(match &entry.node {
            Node::Link { target } => State::Link {
                target: target.clone(),
            },
            Node::Directory => State::Directory,
            Node::File(file) => {
                let spec = Spec::of(entry, file);
                let missing = |name: &str| {
                    let path = &entry.path;
                    Error::Refused(format!(
                        "{path}: there is no account {name:?}; add it to [setup]"
                    ))
                };
                let uid = self
                    .accounts
                    .uid(&spec.owner)
                    .ok_or_else(|| missing(&spec.owner))?;
                let gid = self
                    .accounts
                    .gid(&spec.group)
                    .ok_or_else(|| missing(&spec.group))?;
                State::File {
                    digest: file.digest,
                    mode: spec.mode,
                    uid,
                    gid,
                }
            }
        })
    }

    /// Keeps the bytes that stand at a path as an object.
    fn keep(&self, path: &str, now: &State) -> Result<(), Error> {
        let State::File {
            digest,
            mode,
            uid,
            gid,
        } = now
        else {
            return Ok(());
        };
        let spec = backup(*digest, *mode, *uid, *gid);
        if self.objects.has(spec.key()) {
            return Ok(());
        }
        let what = || format!("keep /etc/{path}");
        let temporary = self.objects.temporary().join("config");
        let mut bytes = Vec::new();
        self.root
            .read(path)
            .and_then(|mut file| file.read_to_end(&mut bytes))
            .doing(what)?;
        if Digest::of(&bytes) != *digest {
            let error = io::Error::other("it changed while it was read; try again");
            return Err(error).doing(what);
        }
        fault::before("keep a configuration file").doing(what)?;
        fs_err::write(&temporary, &bytes).doing(what)?;
        self.objects
            .place(&temporary, &spec, self.accounts)
            .map(drop)
    }
}

/// The object of what a package ships.
fn object_of(entry: &FileEntry) -> Option<Spec> {
    match &entry.node {
        Node::File(file) => Some(Spec::of(entry, file)),
        Node::Link { .. } | Node::Directory => None,
    }
}

/// The path below `/etc`.
fn inside(path: &PackagePath) -> &str {
    path.as_str().strip_prefix("/etc/").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: &[u8]) -> State {
        State::File {
            digest: Digest::of(bytes),
            mode: 0o644,
            uid: 0,
            gid: 0,
        }
    }

    #[test]
    fn the_rules_are_those_of_dpkg() {
        use Verdict::{Beside, Leave, Put, Remove};
        let (one, two, mine) = (file(b"1"), file(b"2"), file(b"mine"));
        let link = State::Link {
            target: "x".to_owned(),
        };
        let directory = State::Directory;
        let cases = [
            (None, Some(&one), &State::Absent, Put),
            (Some(&one), Some(&two), &State::Absent, Put),
            (Some(&one), Some(&two), &one, Put),
            (Some(&one), Some(&two), &two, Leave),
            (Some(&one), Some(&two), &mine, Beside),
            (Some(&one), Some(&one), &mine, Leave),
            (None, Some(&one), &mine, Beside),
            (None, Some(&one), &one, Leave),
            (Some(&one), None, &one, Remove),
            (Some(&one), None, &mine, Leave),
            (Some(&one), None, &State::Absent, Leave),
            (Some(&one), Some(&link), &one, Put),
            (Some(&link), Some(&one), &mine, Beside),
            (None, Some(&directory), &State::Absent, Put),
            (None, Some(&directory), &directory, Leave),
            (Some(&directory), None, &directory, Leave),
            (None, Some(&one), &State::Other, Beside),
            (None, Some(&one), &directory, Beside),
        ];
        for (old, new, now, verdict) in cases {
            assert_eq!(decide(old, new, now), verdict, "{old:?} {new:?} {now:?}");
        }
    }

    struct Machine {
        dir: tempfile::TempDir,
        root: Root,
        objects: Objects,
        accounts: Accounts,
    }

    fn machine() -> Machine {
        let dir = tempfile::tempdir().unwrap();
        fs_err::create_dir(dir.path().join("etc")).unwrap();
        let root = Root::beneath(&dir.path().join("etc")).unwrap();
        let objects = Objects::open(&dir.path().join("store")).unwrap();
        Machine {
            dir,
            root,
            objects,
            accounts: Accounts::default(),
        }
    }

    impl Machine {
        fn config(&self) -> ConfigFiles<'_> {
            ConfigFiles {
                root: &self.root,
                objects: &self.objects,
                accounts: &self.accounts,
            }
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.dir.path().join("etc").join(path);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, text).unwrap();
        }

        fn read(&self, path: &str) -> Option<String> {
            fs_err::read_to_string(self.dir.path().join("etc").join(path)).ok()
        }

        fn ships(&self, path: &str, text: &str) -> FileEntry {
            let digest = Digest::of(text.as_bytes());
            let file: model::manifest::RegularFile = serde_json::from_value(serde_json::json!({
                "digest": digest, "size": text.len(), "signature": digest.to_string(),
                "type": "config"
            }))
            .unwrap();
            let entry = FileEntry {
                path: path.parse().unwrap(),
                mode: 0o640,
                owner: None,
                group: None,
                node: Node::File(Box::new(file)),
            };
            let temporary = self.objects.temporary().join("t");
            fs_err::write(&temporary, text).unwrap();
            let spec = object_of(&entry).unwrap();
            self.objects
                .place(&temporary, &spec, &self.accounts)
                .unwrap();
            entry
        }
    }

    fn differs(old: Option<&FileEntry>, new: Option<&FileEntry>) -> Differs {
        let path = old.or(new).unwrap().path.clone();
        Differs {
            path,
            old: old.cloned(),
            new: new.cloned(),
        }
    }

    #[test]
    fn files_are_created_replaced_kept_and_restored() {
        let machine = machine();
        let config = machine.config();
        let (a1, a2) = (
            machine.ships("/etc/x/a", "a1"),
            machine.ships("/etc/x/a", "a2"),
        );
        let (b1, b2) = (machine.ships("/etc/b", "b1"), machine.ships("/etc/b", "b2"));
        let c1 = machine.ships("/etc/c", "c1");
        machine.write("x/a", "a1");
        machine.write("b", "mine");
        let all = [
            differs(Some(&a1), Some(&a2)),
            differs(Some(&b1), Some(&b2)),
            differs(None, Some(&c1)),
        ];
        let (changes, notes) = config.plan(&all).unwrap();
        assert_eq!(
            machine.read("x/a").unwrap(),
            "a1",
            "planning changes nothing"
        );
        assert_eq!(
            notes,
            ["/etc/b was modified and stays; the new one is /etc/b.new"]
        );
        config.apply(&changes).unwrap();
        config.apply(&changes).unwrap();
        let state =
            || ["x/a", "b", "b.new", "c"].map(|path| machine.read(path).unwrap_or_default());
        assert_eq!(state(), ["a2", "mine", "b2", "c1"]);
        machine.write("c", "changed since");
        let left = config.undo(&changes).unwrap();
        assert_eq!(left, ["/etc/c was modified meanwhile and stays"]);
        assert_eq!(state(), ["a1", "mine", "", "changed since"]);
        config.undo(&changes).unwrap();
    }

    #[test]
    fn a_link_out_of_etc_is_refused() {
        let machine = machine();
        let outside = machine.dir.path().join("outside");
        fs_err::create_dir(&outside).unwrap();
        std::os::unix::fs::symlink(&outside, machine.dir.path().join("etc/way")).unwrap();
        let entry = machine.ships("/etc/way/x", "x");
        machine
            .config()
            .plan(&[differs(None, Some(&entry))])
            .unwrap_err();
        assert_eq!(fs_err::read_dir(outside).unwrap().count(), 0);
    }
}
