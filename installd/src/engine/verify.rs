//! Whether the disk and the running processes are as the active generation says.
//!
//! ```text
//! expected: the set's index ─┐
//! found: a walk of the tree ─┴─► judge ─► differing     (a file is the object of the store, or is not)
//! /etc ──────────────────────────────────► config        (the administrator's own changes: no error)
//! sysmgrd's maps ────────────────────────► mapped        (by device and inode)
//! ```
//! It only looks, in a task beside the engine: the node answers meanwhile.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::change::{DifferingFile, ForeignMapping, Progress, Thoroughness, VerifyReport};
use model::manifest::{FileEntry, Node};
use model::mappings::Mappings;
use model::transition::Tree;
use model::{Digest, Generation, PackagePath};

use super::context::Context;
use super::request::{Error, Message, Reply};
use super::{Engine, answer};
use crate::plan::ActiveIndex;
use crate::sys::generation::Entry;
use crate::sys::inspect::{self, Inode, Kind};
use crate::sys::objects::Spec;
use crate::sys::setup::accounts::Accounts;
use crate::sys::{self, Doing};

/// How often is told how far it is.
const TELL: Duration = Duration::from_millis(100);
/// An inode with so many names may have a second copy: file systems limit them.
const MANY_NAMES: u64 = 30_000;
/// A file is written at most so many seconds after its package was noted, where clocks are rough.
const SLACK: i64 = 2;

impl Engine {
    /// Looks at what runs, beside the engine.
    pub(super) fn verify(&mut self, thoroughness: Thoroughness, reply: Reply<VerifyReport>) {
        let added = match self.db.packages() {
            Ok(rows) => rows
                .into_iter()
                .map(|row| (row.id.name_version(), row.added)),
            Err(error) => return answer(reply, Err(error.into())),
        };
        let mut sysmgr = self.context.sysmgr().again(Duration::ZERO);
        let look = Look {
            context: self.context.clone(),
            index: Arc::clone(&self.active.index),
            tree: self.context.tree(self.running),
            in_memory: self.active.row.trial,
            added: added.map(|(id, time)| (id, time.0 / 1000)).collect(),
            thorough: thoroughness == Thoroughness::Content,
        };
        let (mailbox, running) = (self.context.mailbox.clone(), self.running);
        tokio::spawn(async move {
            // Without sysmgrd nothing is known to run.
            let mapped = sysmgr.mapped().await.unwrap_or_default();
            let looked = tokio::task::spawn_blocking(move || look.look(&mapped)).await;
            let report = looked.unwrap_or(Err(Error::Ending));
            if let Some(mailbox) = mailbox.upgrade() {
                let verified = Message::Verified {
                    generation: running,
                    report,
                    reply,
                };
                drop(mailbox.send(verified).await);
            }
        });
    }

    /// What was looked at may have been replaced meanwhile: then it says nothing about the node.
    pub(super) fn verified(
        &self,
        generation: Generation,
        report: Result<VerifyReport, Error>,
        reply: Reply<VerifyReport>,
    ) {
        if generation == self.running {
            return answer(reply, report);
        }
        let changed = "another generation came while the node was looked at: ask again".to_owned();
        answer(reply, Err(Error::Busy(changed)));
    }
}

/// What is looked at, and with what.
struct Look {
    context: Context,
    index: Arc<ActiveIndex>,
    tree: Tree,
    /// A trial's files are copies in memory, not the store's objects.
    in_memory: bool,
    /// When each package was added, in seconds since 1970.
    added: HashMap<String, i64>,
    thorough: bool,
}

/// One file of the tree whose bytes are to be read.
struct ToRead<'a> {
    path: &'a PackagePath,
    package: String,
    digest: Digest,
}

/// What has been found so far.
#[derive(Default)]
struct Found<'a> {
    report: VerifyReport,
    /// By inode one path of it, and everything that should have its bytes.
    to_read: BTreeMap<(u64, u64), (PathBuf, Vec<ToRead<'a>>)>,
}

impl Found<'_> {
    fn differs(&mut self, path: &PackagePath, package: &str, how: impl Into<String>) {
        self.report.differing.push(DifferingFile {
            path: path.clone(),
            package: package.to_owned(),
            how: how.into(),
        });
    }
}

impl Look {
    fn look(&self, mapped: &Mappings) -> Result<VerifyReport, Error> {
        let accounts = Accounts::read(&self.context.machine)?;
        let what = || format!("look at {}", self.tree.root.display());
        let mut standing = if self.tree.generation == Generation(0) {
            BTreeMap::new()
        } else {
            inspect::walk(&self.tree.root).doing(what)?
        };
        let mut found = Found::default();
        found.report.generation = self.tree.generation;
        let mut told = Instant::now();
        let files = self.index.files();
        let all = files.len() as u64;
        let mut directories = BTreeSet::from([PathBuf::from("usr")]);
        for (package, entry, kept) in &files {
            found.report.files += 1;
            if told.elapsed() > TELL {
                told = Instant::now();
                self.tell("files", (found.report.files, all));
            }
            let package = package.id.name_version();
            if entry.path.is_config() {
                self.config(&mut found, entry, &package, &accounts)?;
                continue;
            }
            let relative = Path::new(entry.path.relative());
            directories.extend(relative.ancestors().skip(1).map(Path::to_owned));
            let inode = standing.remove(relative);
            self.entry(&mut found, (entry, *kept), &package, (inode, &accounts));
        }
        standing.retain(|path, _| !directories.contains(path));
        foreign(&mut found, &standing);
        self.read(&mut found);
        found.report.mapped = self.mapped(mapped);
        let report = &mut found.report;
        report.differing.sort_by(|one, two| one.path.cmp(&two.path));
        report.config.sort_by(|one, two| one.path.cmp(&two.path));
        Ok(found.report)
    }

    fn tell(&self, what: &str, count: (u64, u64)) {
        let progress = Progress {
            phase: "verify".to_owned(),
            what: what.to_owned(),
            count: Some(count),
        };
        // Nobody listening is no failure.
        drop(self.context.told.send(progress));
    }

    fn entry<'a>(
        &self,
        found: &mut Found<'a>,
        (entry, kept): (&'a FileEntry, Option<Digest>),
        package: &str,
        (inode, accounts): (Option<Inode>, &Accounts),
    ) {
        let Some(inode) = inode else {
            return found.differs(&entry.path, package, "missing");
        };
        let how = match &entry.node {
            Node::Directory => directory(entry, inode, accounts),
            Node::Link { target } => self.link(entry, target, inode),
            Node::File(file) => {
                let spec = Entry {
                    entry: entry.clone(),
                    object: kept,
                };
                // A file that was kept has the bytes, and the length, of an older build.
                let size = kept.is_none().then_some(file.size);
                match spec.spec() {
                    Some(spec) => {
                        self.file(found, (entry, size), (&spec, package), (inode, accounts))
                    }
                    None => None,
                }
            }
        };
        if let Some(how) = how {
            found.differs(&entry.path, package, how);
        }
    }

    fn link(&self, entry: &FileEntry, target: &str, inode: Inode) -> Option<String> {
        if inode.kind != Kind::Link {
            return Some(format!("{}, should be a link", word(inode.kind)));
        }
        let path = self.tree.root.join(entry.path.relative());
        let now = fs_err::read_link(path).unwrap_or_default();
        (now.as_os_str() != target).then(|| {
            let now = inspect::shown(&now.into_os_string());
            format!("leads to {now}, should lead to {target}")
        })
    }

    fn file<'a>(
        &self,
        found: &mut Found<'a>,
        (entry, size): (&'a FileEntry, Option<u64>),
        (spec, package): (&Spec, &str),
        (inode, accounts): (Inode, &Accounts),
    ) -> Option<String> {
        if inode.kind != Kind::File {
            return Some(format!("{}, should be a file", word(inode.kind)));
        }
        let path = self.tree.root.join(entry.path.relative());
        let mut read = self.thorough;
        if !self.in_memory {
            match self.context.objects.inode(spec.key()) {
                None => {
                    return Some("its object is not in the store: add its package again".into());
                }
                Some(object) if object == inode.place => {}
                // The next names beyond a file system's limit go to a copy: its bytes tell.
                Some(_) if self.has_copies(spec) => read = true,
                Some(_) => return Some("another file stands in its place".into()),
            }
        }
        if let Some(size) = size.filter(|size| *size != inode.size) {
            return Some(format!("{} bytes, should be {size}", inode.size));
        }
        if let Some(how) = access(inode, spec.mode, (&spec.owner, &spec.group), accounts) {
            return Some(how);
        }
        if inspect::capabilities(&path) != spec.capabilities {
            return Some("other capabilities than its package says".to_owned());
        }
        if read {
            let wanted = ToRead {
                path: &entry.path,
                package: package.to_owned(),
                digest: spec.digest,
            };
            let known = found.to_read.entry(inode.place);
            known.or_insert_with(|| (path, Vec::new())).1.push(wanted);
            return None;
        }
        // One that another package brought is older than this package, never newer.
        let added = self.added.get(package).copied().unwrap_or(i64::MAX);
        let late = inode.changed > added.saturating_add(SLACK);
        (late && inspect::was_rewritten(&path)).then(|| "written to after it was stored".to_owned())
    }

    fn has_copies(&self, spec: &Spec) -> bool {
        let object = self.context.objects.path(spec.key());
        inspect::inode(&object)
            .ok()
            .flatten()
            .is_some_and(|inode| inode.links >= MANY_NAMES)
    }

    /// Reads what is to be read, each inode once.
    fn read(&self, found: &mut Found<'_>) {
        let to_read: Vec<_> = std::mem::take(&mut found.to_read).into_values().collect();
        let paths: Vec<PathBuf> = to_read.iter().map(|(path, _)| path.clone()).collect();
        let sizes = paths
            .iter()
            .filter_map(|path| fs_err::symlink_metadata(path).ok());
        let all: u64 = sizes.map(|meta| meta.len()).sum();
        let told = std::sync::Mutex::new(Instant::now());
        let tell = |bytes| {
            if let Ok(mut told) = told.try_lock()
                && told.elapsed() > TELL
            {
                *told = Instant::now();
                self.tell("bytes", (bytes, all));
            }
        };
        let read = inspect::digests(&paths, &tell);
        for ((_, wanted), read) in to_read.iter().zip(read) {
            found.report.bytes += read.as_ref().map_or(0, |(_, length)| *length);
            for one in wanted {
                match &read {
                    Ok((digest, _)) if *digest == one.digest => {}
                    Ok(_) => found.differs(one.path, &one.package, "content"),
                    Err(error) => {
                        found.differs(one.path, &one.package, format!("cannot be read: {error}"));
                    }
                }
            }
        }
    }

    fn config(
        &self,
        found: &mut Found<'_>,
        entry: &FileEntry,
        package: &str,
        accounts: &Accounts,
    ) -> Result<(), sys::Error> {
        let how = self.config_differs(found, entry, accounts)?;
        found.report.config.extend(how.map(|how| DifferingFile {
            path: entry.path.clone(),
            package: package.to_owned(),
            how,
        }));
        Ok(())
    }

    fn config_differs(
        &self,
        found: &mut Found<'_>,
        entry: &FileEntry,
        accounts: &Accounts,
    ) -> Result<Option<String>, sys::Error> {
        use crate::sys::rooted::Kind;

        let what = || format!("read {}", entry.path);
        let (root, path) = (&self.context.machine, entry.path.relative());
        let Some((kind, access)) = root.look(path).doing(what)? else {
            return Ok(Some("missing".to_owned()));
        };
        Ok(match (&entry.node, kind) {
            (Node::Directory, Kind::Directory) => None,
            (Node::Link { target }, Kind::Link) => {
                let now = root.read_link(path).doing(what)?;
                (now != *target).then(|| {
                    let now = now.escape_debug();
                    format!("leads to {now}, shipped leading to {target}")
                })
            }
            (Node::File(file), Kind::File) => {
                let now = root.read(path).doing(what)?;
                let same_size = now.metadata().doing(what)?.len() == file.size;
                // Only what has the same length must be read to be known.
                let read = if same_size {
                    Some(Digest::of_reader(now).doing(what)?)
                } else {
                    None
                };
                if self.thorough {
                    found.report.bytes += read.map_or(0, |(_, length)| length);
                }
                if read.is_none_or(|(digest, _)| digest != file.digest) {
                    return Ok(Some("content".to_owned()));
                }
                let spec = Spec::of(entry, file);
                let owner = (access.uid, access.gid);
                differs(
                    (access.mode, owner),
                    spec.mode,
                    (&spec.owner, &spec.group),
                    accounts,
                )
            }
            (Node::File(_) | Node::Directory | Node::Link { .. }, _) => {
                Some("of another kind than was shipped".to_owned())
            }
        })
    }

    fn mapped(&self, mapped: &Mappings) -> Vec<ForeignMapping> {
        let mut trees: BTreeMap<Generation, PathBuf> = BTreeMap::new();
        let mut found = Vec::new();
        for file in &mapped.files {
            let place = (file.dev, file.inode);
            let mut known: BTreeMap<Generation, Option<&'static str>> = BTreeMap::new();
            for one in mapped.holders(file) {
                let tree = trees
                    .entry(one.generation)
                    .or_insert_with(|| self.context.tree(one.generation).root);
                let how = known.entry(one.generation);
                let how = how.or_insert_with(|| foreign_mapping(tree, &file.path, place));
                found.extend(how.map(|how| ForeignMapping {
                    process: one.process.clone(),
                    pid: one.pid,
                    generation: one.generation,
                    path: file.path.escape_debug().to_string(),
                    how: how.to_owned(),
                }));
            }
        }
        let key = |one: &ForeignMapping| (one.process.clone(), one.pid, one.path.clone());
        found.sort_by_cached_key(key);
        found
    }
}

/// What is wrong with a mapping; `None` for one that is right, or of a place that is not a
/// generation's: `/var`, `/dev`, memory.
fn foreign_mapping(tree: &Path, path: &str, place: (u64, u64)) -> Option<&'static str> {
    let (path, deleted) = match path.strip_suffix(" (deleted)") {
        Some(path) => (path, true),
        None => (path, false),
    };
    let path: PackagePath = path.parse().ok()?;
    if path.is_config() {
        return None;
    }
    match inspect::inode(&tree.join(path.relative())).ok()? {
        Some(inode) if inode.place == place => None,
        Some(_) => Some("another file than that of its generation"),
        None if deleted => Some("a file that was deleted and is not of its generation"),
        None => Some("no file of its generation"),
    }
}

fn directory(entry: &FileEntry, inode: Inode, accounts: &Accounts) -> Option<String> {
    if inode.kind != Kind::Directory {
        return Some(format!("{}, should be a directory", word(inode.kind)));
    }
    let mode = match entry.mode & 0o7777 {
        0 => 0o755,
        mode => mode,
    };
    let root = || "root".to_owned();
    let owner = entry.owner.clone().unwrap_or_else(root);
    let group = entry.group.clone().unwrap_or_else(root);
    access(inode, mode, (&owner, &group), accounts)
}

fn access(
    inode: Inode,
    mode: u32,
    owner: (&String, &String),
    accounts: &Accounts,
) -> Option<String> {
    differs((inode.mode, inode.owner), mode, owner, accounts)
}

/// How mode and owner differ from what they should be.
fn differs(
    (mode, owner): (u32, (u32, u32)),
    wanted: u32,
    (user, group): (&String, &String),
    accounts: &Accounts,
) -> Option<String> {
    if mode != wanted {
        return Some(format!("mode {mode:04o}, should be {wanted:04o}"));
    }
    let should = (accounts.uid(user)?, accounts.gid(group)?);
    (owner != should).then(|| {
        let (uid, gid) = owner;
        format!("owned by {uid}:{gid}, should be {user}:{group}")
    })
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::File => "a file",
        Kind::Link => "a link",
        Kind::Directory => "a directory",
        Kind::Other => "a device, socket or pipe",
    }
}

/// What stands in the tree and no package brings: the topmost of it only.
fn foreign(found: &mut Found<'_>, standing: &BTreeMap<PathBuf, Inode>) {
    let below = |path: &Path| {
        path.parent()
            .is_some_and(|above| standing.contains_key(above))
    };
    for (path, inode) in standing.iter().filter(|(path, _)| !below(path)) {
        let how = format!("{} that no package brings", word(inode.kind));
        let as_path = |path: &Path| format!("/{}", path.to_str()?).parse::<PackagePath>().ok();
        if let Some(text) = as_path(path) {
            found.differs(&text, "", how);
            continue;
        }
        // Its name cannot be told as a path: the directory can, in which it stands.
        let name = inspect::shown(&path.clone().into_os_string());
        let above = path.ancestors().skip(1).find_map(as_path);
        if let Some(above) = above.or_else(|| "/usr".parse().ok()) {
            found.differs(&above, "", format!("{how}: {name}"));
        }
    }
}
