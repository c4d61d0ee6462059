//! What a generation consists of, and where its tree is: on the disk, or, for a trial, in memory.

use model::manifest::Node;
use model::report::Chain;
use model::transition::Tree;
use model::{ChangeId, Generation, PackagePath};
use resolve::Characteristics;
use resolve::deps::Shelf;

use super::Context;
use super::lists::Copies;
use super::request::Error;
use crate::plan::StateStep;
use crate::sys::db::{Db, GenerationRow};
use crate::sys::generation::{self, Entry};
use crate::sys::layer::Layer;
use crate::sys::setup::accounts::Accounts;
use crate::sys::snapshots::{Kept, Snapshots};
use crate::sys::trial::{Parts, Trials};
use crate::sys::{self, Doing};

/// A tree with nothing in it still takes a few inodes.
const SPARE: u64 = 1 << 20;
/// Bytes that a directory of a tree takes, and an entry in it.
const COSTS: (u64, u64) = (4096, 64);

impl Context {
    pub(super) fn trials(&self) -> Trials {
        Trials::new(&self.config.run_dir)
    }

    /// The tree of a generation as views are made of it. A generation that ran as a trial keeps
    /// its tree in memory until nobody lives in it, committed or not: what its processes have
    /// mapped stays what its files are.
    pub(super) fn tree(&self, number: Generation) -> Tree {
        let in_memory = self.trials().tree(number);
        Tree {
            generation: number,
            root: in_memory.unwrap_or_else(|| self.generations.tree(number)),
        }
    }

    /// Device and inode of the file at `path` in a generation, as maps show them.
    pub(super) fn inode(tree: &Tree, path: &PackagePath) -> Option<(u64, u64)> {
        generation::inode(&tree.root, path)
    }

    pub(super) fn snapshots(&self) -> Snapshots {
        Snapshots::new(self.config.state_dir.join("snapshots"))
    }

    /// Where the copy is that this step makes, and the one that it puts back.
    pub(super) fn copies(&self, kept: &Kept, change: ChangeId, step: &StateStep) -> Copies {
        let put_back = step.restore.then(|| (step.process.clone(), step.to));
        Copies {
            made: (step.snapshot).then(|| self.snapshots().path(&step.process, step.from, change)),
            put_back: put_back
                .and_then(|version| kept.get(&version))
                .map(|copy| copy.path.clone()),
        }
    }

    pub(super) fn characteristics(&self) -> Characteristics {
        (*self.node).clone()
    }

    /// Everything that a generation shows, by its row; sorted by path.
    pub(super) fn entries(&self, row: &GenerationRow, shelf: &Shelf) -> Result<Vec<Entry>, Error> {
        let found = row.list.iter().map(|id| {
            shelf.get(id).cloned().ok_or_else(|| {
                let name = id.name_version();
                let number = row.number;
                sys::Error::Damaged(format!(
                    "{name} of generation {number} is not in the store: add it again"
                ))
            })
        });
        let list = found.collect::<Result<Vec<_>, _>>()?;
        let node = self.characteristics();
        let order = resolve::order::effective(&list, &node);
        let composed = resolve::select::compose(&order, &node);
        let entry = |(_, entry): (_, &model::manifest::FileEntry)| Entry {
            object: match (&entry.node, row.kept.get(&entry.path)) {
                (Node::File(_), Some((digest, _))) => Some(*digest),
                (Node::File(file), None) => Some(file.digest),
                (Node::Link { .. } | Node::Directory, _) => None,
            },
            entry: entry.clone(),
        };
        Ok(composed.entries().into_iter().map(entry).collect())
    }

    /// Builds a generation's tree on the disk.
    pub(super) fn build(&self, number: Generation, entries: &[Entry]) -> Result<(), sys::Error> {
        self.room(entries)?;
        let accounts = Accounts::read(&self.machine)?;
        self.generations
            .build(number, entries, &self.objects, &accounts)
    }

    /// Builds a trial's tree in memory, over that of the committed set.
    pub(super) fn build_trial(
        &self,
        number: Generation,
        entries: &[Entry],
        base: &(Generation, Vec<Entry>),
        loaded: bool,
    ) -> Result<(), sys::Error> {
        let (committed, beneath) = base;
        let layer = Layer::between(beneath, entries);
        let parts = Parts {
            layer: &layer,
            base: (*committed != Generation(0))
                .then(|| (*committed, self.generations.tree(*committed))),
            limit: self.config.trial_max.bytes(),
            loaded,
        };
        let accounts = Accounts::read(&self.machine)?;
        self.trials()
            .build(number, &parts, &self.objects, &accounts)
    }

    /// Refuses where the disk is too full for a tree of these entries: nothing is begun that
    /// cannot be ended.
    fn room(&self, entries: &[Entry]) -> Result<(), sys::Error> {
        let stat = rustix::fs::statvfs(&self.config.state_dir)
            .doing(|| format!("see what is free in {}", self.config.state_dir.display()))?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        let above = |one: &Entry| one.entry.path.parent();
        let directories: std::collections::BTreeSet<_> = entries.iter().filter_map(above).collect();
        let (directory, entry) = COSTS;
        let needed = directories.len() as u64 * directory + entries.len() as u64 * entry + SPARE;
        if free >= needed {
            return Ok(());
        }
        Err(sys::Error::Refused(format!(
            "{} has {free} bytes free and the new generation takes about {needed}: remove packages \
             (pkgtool remove), or keep fewer generations",
            self.config.state_dir.display()
        )))
    }
}

/// Trees that should stand and do not are built again from the store. Answers what could not be.
pub(super) fn rebuild(context: &Context, db: &Db, shelf: &Shelf) -> Result<Vec<String>, Error> {
    let mut lost = Vec::new();
    for (number, _) in db.generations()? {
        let row = db.generation(number)?;
        if context.tree(number).root.join("usr").is_dir() {
            continue;
        }
        let again = context.entries(&row, shelf).and_then(|entries| {
            if row.trial {
                let base = base(context, db, shelf)?;
                Ok(context.build_trial(number, &entries, &base, false)?)
            } else {
                Ok(context.build(number, &entries)?)
            }
        });
        match again {
            Ok(()) => {
                tracing::warn!("the tree of generation {number} was gone and was built again");
            }
            Err(error) => lost.push(format!(
                "the tree of generation {number} is gone and could not be built again: {}",
                Chain(&error)
            )),
        }
    }
    Ok(lost)
}

/// The committed set, over which a trial lies.
pub(super) fn base(
    context: &Context,
    db: &Db,
    shelf: &Shelf,
) -> Result<(Generation, Vec<Entry>), Error> {
    let committed = db.committed()?;
    let entries = context.entries(&db.generation(committed)?, shelf)?;
    Ok((committed, entries))
}
