//! Views: mount namespaces in which `/usr` (and `/opt`) is a generation's tree and everything else
//! is the machine's.
//!
//! Mount namespaces belong to threads; each piece of work is done by a thread of its own that
//! ends with it, so no other thread of this daemon ever stands in a view.
//!
//! A tree is made read-only once, where a generation's view is made. A view that is moved gets a
//! copy of that mount, which is read-only from its first instant.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::Generation;
use model::transition::Tree;
use nix::sched::{CloneFlags, setns, unshare};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount_change,
    mount_remount, move_mount, open_tree, unmount,
};

use super::places::Places;

/// The directories of a view that are a generation's.
const TOPS: [&str; 2] = ["usr", "opt"];

/// Why a view could not be made or moved.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// The tree lacks what a view consists of.
    #[error("generation {generation} has no {path}: it was not completely made; activate again")]
    NoTree {
        /// The generation.
        generation: Generation,
        /// The directory that is missing.
        path: PathBuf,
    },
    /// The kernel refused a step.
    #[error("could not {doing} for the view of generation {generation}")]
    Os {
        /// The step.
        doing: String,
        /// The generation.
        generation: Generation,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// The view of a generation; it exists as long as somebody holds this.
#[derive(Debug, Clone)]
pub struct View {
    /// What it shows.
    pub tree: Tree,
    /// Its mount namespace.
    pub namespace: Arc<OwnedFd>,
    /// The directories that come from the tree: `usr`, and `opt` where the tree has it.
    tops: Vec<&'static str>,
}

/// How a moved process's own view is covered so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Moves {
    /// Its trees are those that it was started on.
    None,
    /// A newer tree lies on top of them.
    Some,
}

impl View {
    /// Makes the view of `tree`.
    pub fn make(tree: &Tree, places: &Places) -> Result<Self, ViewError> {
        let usr = tree.root.join("usr");
        if !usr.is_dir() {
            return Err(ViewError::NoTree {
                generation: tree.generation,
                path: usr,
            });
        }
        let tops = tops(tree);
        let namespace = in_thread(tree.generation, || build(tree, &tops, places))?;
        Ok(Self {
            tree: tree.clone(),
            namespace: Arc::new(namespace),
            tops,
        })
    }

    /// Moves the process whose mount namespace is `namespace` from `old` into this view.
    pub fn receive(&self, namespace: &OwnedFd, old: &Tree, moves: Moves) -> Result<(), ViewError> {
        let generation = self.tree.generation;
        let before = tops(old);
        in_thread(generation, || {
            let step = |doing: &str| failed(doing.to_owned(), generation);
            unshare(CloneFlags::CLONE_FS)
                .map_err(io::Error::from)
                .map_err(step("leave the daemon's root"))?;
            enter(self.namespace.as_fd()).map_err(step("enter the new view"))?;
            let mut trees = Vec::new();
            for top in &self.tops {
                let path = format!("/{top}");
                trees.push((
                    path.clone(),
                    clone_tree(Path::new(&path), false).map_err(step("copy the tree"))?,
                ));
            }
            enter(namespace.as_fd()).map_err(step("enter the process's view"))?;
            for (path, tree) in &trees {
                let covered = moves == Moves::Some && before.iter().any(|top| path.ends_with(top));
                put(tree, path, covered).map_err(step("mount the new tree"))?;
            }
            let gone = before.iter().filter(|top| !self.tops.contains(*top));
            for top in gone {
                unmount(format!("/{top}"), UnmountFlags::DETACH)
                    .map_err(io::Error::from)
                    .map_err(step("take the old tree away"))?;
            }
            Ok(())
        })
    }
}

/// The directories of a view that `tree` has.
fn tops(tree: &Tree) -> Vec<&'static str> {
    TOPS.into_iter()
        .filter(|top| tree.root.join(top).is_dir())
        .collect()
}

fn failed(doing: String, generation: Generation) -> impl FnOnce(io::Error) -> ViewError {
    move |source| ViewError::Os {
        doing,
        generation,
        source,
    }
}

/// Runs `work` on a thread that ends with it.
fn in_thread<T: Send>(
    generation: Generation,
    work: impl FnOnce() -> Result<T, ViewError> + Send,
) -> Result<T, ViewError> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("view".to_owned())
            .spawn_scoped(scope, work);
        let thread = thread.map_err(failed("start a thread".to_owned(), generation))?;
        let ended = thread
            .join()
            .map_err(|_| io::Error::other("its thread panicked"));
        ended.map_err(failed("finish".to_owned(), generation))?
    })
}

/// Leaves this thread's mount namespace for a new one, shapes it, and answers a hold on it.
fn build(tree: &Tree, tops: &[&str], places: &Places) -> Result<OwnedFd, ViewError> {
    let step = |doing: &str| failed(doing.to_owned(), tree.generation);
    unshare(CloneFlags::CLONE_NEWNS)
        .map_err(io::Error::from)
        .map_err(step("make a mount namespace"))?;
    receive_only().map_err(step("make the machine's mounts one-way"))?;
    // All sources first: a bind may cover another's.
    let mut sources = Vec::new();
    for top in tops {
        let source = tree.root.join(top);
        let copy = clone_tree(&source, false);
        let copy = copy.map_err(step(&format!("copy {}", source.display())))?;
        sources.push((PathBuf::from(format!("/{top}")), copy, true));
    }
    for bind in &places.binds {
        let copy = clone_tree(&bind.from, true);
        let copy = copy.map_err(step(&format!("copy {}", bind.from.display())))?;
        sources.push((bind.to.clone(), copy, false));
    }
    for (target, source, read_only) in sources {
        attach(&source, &target).map_err(step(&format!("mount {}", target.display())))?;
        if read_only {
            protect(&target).map_err(step(&format!("protect {}", target.display())))?;
        }
    }
    receive_only().map_err(step("make the mounts one-way"))?;
    let own = rustix::fs::open("/proc/thread-self/ns/mnt", OFlags::CLOEXEC, Mode::empty());
    own.map_err(io::Error::from)
        .map_err(step("hold the mount namespace"))
}

/// Mounts made on the machine later reach the view; none goes the other way.
fn receive_only() -> io::Result<()> {
    Ok(mount_change(
        "/",
        MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC,
    )?)
}

fn clone_tree(path: &Path, recursive: bool) -> io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    Ok(open_tree(CWD, path, flags)?)
}

fn attach(source: &OwnedFd, target: &Path) -> io::Result<()> {
    Ok(move_mount(
        source,
        "",
        CWD,
        target,
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )?)
}

/// Read-only, with the flags kept that a user namespace may not take away.
fn protect(target: &Path) -> io::Result<()> {
    let kept = rustix::fs::statvfs(target)?.f_flag;
    let pairs = [
        (rustix::fs::StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (rustix::fs::StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (rustix::fs::StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (rustix::fs::StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (
            rustix::fs::StatVfsMountFlags::NODIRATIME,
            MountFlags::NODIRATIME,
        ),
        (
            rustix::fs::StatVfsMountFlags::RELATIME,
            MountFlags::RELATIME,
        ),
    ];
    let flags = pairs.into_iter().filter(|(has, _)| kept.contains(*has));
    let flags = flags.fold(MountFlags::BIND | MountFlags::RDONLY, |all, (_, one)| {
        all | one
    });
    Ok(mount_remount(target, flags, "")?)
}

/// Puts `tree` where `path` shows it. Under the process's first tree nothing is ever taken away;
/// a tree that a move put on top of it is replaced where the kernel can do that in one step.
fn put(tree: &OwnedFd, path: &str, covered: bool) -> io::Result<()> {
    if covered {
        let beneath = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_BENEATH;
        if move_mount(tree, "", CWD, path, beneath).is_ok() {
            return Ok(unmount(path, UnmountFlags::DETACH)?);
        }
    }
    attach(tree, Path::new(path))
}

fn enter(namespace: rustix::fd::BorrowedFd<'_>) -> io::Result<()> {
    Ok(setns(namespace, CloneFlags::CLONE_NEWNS)?)
}
