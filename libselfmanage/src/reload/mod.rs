//! Which of a process's libraries a change reaches, and swapping them while the process runs.
//!
//! ```text
//! decide (pure): nothing reached │ reload these plugins │ restart me, for this reason
//! prepare:  hold the old files open (after *ready and waiting* their paths name the new ones)
//! changed:  quiesce → close, dependents first → proof that the old files are unmapped
//!           → new libraries by absolute path, bottom up → plugins → proof that the new are mapped
//! ```
//!
//! `dlclose` answers 0 whether or not it unloaded anything, and `dlopen` gives back what is loaded
//! under a name without looking at the file; so nothing here trusts either, and what counts is the
//! device and inode in `/proc/self/maps`.
//!
//! What is still mapped after closing is *pinned*: the old plugins are opened again from their old
//! files and the process asks to be restarted, so that it never runs on a mix.

mod changeover;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::link::{Graph, Identity};
use crate::plugins::PluginId;
use crate::session::Reason;
use crate::{Announcement, PackagePath};

pub use changeover::{Outcome, Prepared, Quiet, prepare};

/// How a reached library came into the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    /// The program is linked with it, directly or through others: only a restart changes it.
    Static,
    /// Through a plugin that can be closed.
    Opened(PluginId),
    /// Opened by other code than [`crate::Plugins`]: only that code can close it.
    Elsewhere,
}

/// A library of this process that a change reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// The changed file.
    pub library: PackagePath,
    /// From the changed library to the program or plugin that brings it.
    pub chain: Vec<String>,
    /// How it came in.
    pub by: By,
}

impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} changed", self.library)?;
        self.chain
            .iter()
            .skip(1)
            .try_for_each(|link| write!(f, " ← {link}"))
    }
}

/// What a process has to do about a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Nothing of it is loaded.
    Untouched,
    /// Close and open these.
    Reload(Steps),
    /// It cannot take the change without a restart.
    Restart(Obstacle),
}

/// A reload, step by step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Steps {
    /// Plugins in the order of closing: dependents first.
    pub close: Vec<PluginId>,
    /// Changed libraries that were loaded, in the order of opening: what others need comes first.
    pub libraries: Vec<PackagePath>,
}

/// Why only a restart changes a library of this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// The program is linked with it, or other code than [`crate::Plugins`] opened it.
    NotOurs(Reached),
    /// An object on the way says that it is never to be unloaded.
    NeverUnloaded {
        /// What is reached.
        reached: Reached,
        /// The object with `-z nodelete`.
        object: String,
    },
    /// These were closed and are still mapped: someone holds them, or they are made to stay.
    Pinned(Vec<PackagePath>),
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOurs(reached) if reached.by == By::Static => {
                write!(
                    f,
                    "the program itself is linked with a changed library: {reached}"
                )
            }
            Self::NotOurs(reached) => {
                write!(
                    f,
                    "a changed library was opened by code that cannot close it: {reached}"
                )
            }
            Self::NeverUnloaded { reached, object } => {
                write!(f, "{object} is never unloaded (nodelete): {reached}")
            }
            Self::Pinned(libraries) => {
                let names: Vec<&str> = libraries.iter().map(PackagePath::as_str).collect();
                write!(f, "pinned in memory after closing: {}", names.join(", "))
            }
        }
    }
}

impl From<&Obstacle> for Reason {
    fn from(obstacle: &Obstacle) -> Self {
        Self::clipped(&obstacle.to_string())
    }
}

/// The changed and removed libraries of a change by the file that a process has mapped before it.
pub fn old_libraries(announcement: &Announcement) -> BTreeMap<Identity, PackagePath> {
    let libraries = announcement.files.iter().filter(|file| file.library);
    libraries
        .filter_map(|file| Some((file.old?, file.path.clone())))
        .collect()
}

/// Which loaded objects are changed, and how each came in. `plugins`: each open plugin with its
/// object. A library that comes in by several ways is named once for each way that matters: the
/// program, each plugin, or, where it is neither, other code.
pub fn reached(
    graph: &Graph,
    changed: &BTreeMap<Identity, PackagePath>,
    plugins: &[(PluginId, usize)],
) -> Vec<Reached> {
    let mut all = Vec::new();
    for (at, object) in graph.objects().iter().enumerate() {
        let Some(library) = object.identity.and_then(|identity| changed.get(&identity)) else {
            continue;
        };
        let one = |chain: &[usize], by| Reached {
            library: library.clone(),
            chain: labels(graph, chain),
            by,
        };
        let before = all.len();
        if let Some(chain) = graph.chain(at, |root| root == 0) {
            all.push(one(&chain, By::Static));
        }
        for (plugin, root) in plugins {
            if let Some(chain) = graph.chain(at, |other| other == *root) {
                all.push(one(&chain, By::Opened(*plugin)));
            }
        }
        if let Some(chain) = elsewhere(graph, at, plugins, all.len() > before) {
            all.push(one(&chain, By::Elsewhere));
        }
    }
    all
}

/// The chain to an object that nothing needs and that is neither the program nor a plugin: some
/// other code opened it. `known`: the library has an owner already, so that a circle of needs
/// without a top is no reason to look further.
fn elsewhere(
    graph: &Graph,
    at: usize,
    plugins: &[(PluginId, usize)],
    known: bool,
) -> Option<Vec<usize>> {
    let ours = |object| object == 0 || plugins.iter().any(|(_, root)| *root == object);
    let top = graph.chain(at, |object| {
        !ours(object) && graph.users(object).next().is_none()
    });
    top.or_else(|| (!known).then(|| vec![at]))
}

fn labels(graph: &Graph, chain: &[usize]) -> Vec<String> {
    let objects = chain.iter().filter_map(|at| graph.objects().get(*at));
    objects.map(crate::link::Object::label).collect()
}

/// What to do about `changed`: a function of what is loaded and of who opened it.
pub fn decide(
    graph: &Graph,
    changed: &BTreeMap<Identity, PackagePath>,
    plugins: &[(PluginId, usize)],
) -> Decision {
    let reached = reached(graph, changed, plugins);
    if reached.is_empty() {
        return Decision::Untouched;
    }
    if let Some(foreign) = reached.iter().find(|one| !matches!(one.by, By::Opened(_))) {
        return Decision::Restart(Obstacle::NotOurs(foreign.clone()));
    }
    let affected = affected(graph, changed);
    let stuck = |at: &usize| graph.objects().get(*at).filter(|object| object.nodelete);
    if let Some(object) = affected.iter().find_map(stuck) {
        let object = object.label();
        let through = reached.iter().find(|one| one.chain.contains(&object));
        if let Some(reached) = through.or(reached.first()) {
            return Decision::Restart(Obstacle::NeverUnloaded {
                reached: reached.clone(),
                object,
            });
        }
    }
    Decision::Reload(Steps {
        close: closing_order(graph, plugins, &affected),
        libraries: opening_order(graph, changed, &affected),
    })
}

/// The objects that are changed or need a changed one.
fn affected(graph: &Graph, changed: &BTreeMap<Identity, PackagePath>) -> BTreeSet<usize> {
    let is_changed = |at: &usize| {
        let object = graph.objects().get(*at);
        object
            .and_then(|object| object.identity)
            .is_some_and(|file| changed.contains_key(&file))
    };
    (0..graph.objects().len())
        .filter(|at| graph.closure(*at).iter().any(is_changed))
        .collect()
}

/// Affected plugins, each before those that it needs.
fn closing_order(
    graph: &Graph,
    plugins: &[(PluginId, usize)],
    affected: &BTreeSet<usize>,
) -> Vec<PluginId> {
    let mut order: Vec<PluginId> = Vec::new();
    for (_, root) in plugins.iter().filter(|(_, root)| affected.contains(root)) {
        for at in graph.closure(*root) {
            let here = plugins
                .iter()
                .filter(|(_, root)| *root == at)
                .map(|(plugin, _)| *plugin);
            for plugin in here {
                if affected.contains(&at) && !order.contains(&plugin) {
                    order.push(plugin);
                }
            }
        }
    }
    order.reverse();
    order
}

/// Changed libraries among the affected objects, each after those that it needs.
fn opening_order(
    graph: &Graph,
    changed: &BTreeMap<Identity, PackagePath>,
    affected: &BTreeSet<usize>,
) -> Vec<PackagePath> {
    let mut order: Vec<PackagePath> = Vec::new();
    for root in affected {
        for at in graph.closure(*root) {
            let object = graph.objects().get(at);
            let path = object.and_then(|object| changed.get(&object.identity?));
            if let Some(path) = path.filter(|path| !order.contains(path)) {
                order.push(path.clone());
            }
        }
    }
    order
}

#[cfg(test)]
mod tests;
