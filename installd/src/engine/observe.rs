//! The node at one instant, from the store, the database and sysmgrd.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::Generation;
use model::change::ProcessStatus;
use model::mappings::{MappedFile, Mappings};
use resolve::Package;
use resolve::deps::Shelf;

use super::Context;
use super::recover::replaced;
use super::request::Error;
use crate::plan::{Active, ActiveIndex, KeptGeneration, Running, RunningSet, World};
use crate::sys::db::{Db, GenerationRow};
use crate::sys::sysmgr::Sysmgr;
use crate::sys::{loader, packages};

/// Every package in the store with its manifest.
///
/// A package whose manifest is damaged is left out and named: it must not stop the node.
pub(super) fn shelf(context: &Context, db: &Db) -> Result<(Shelf, Vec<String>), Error> {
    let (mut found, mut damaged) = (Vec::new(), Vec::new());
    for row in db.packages()? {
        match packages::manifest(&context.objects, &row.id) {
            Ok(manifest) => found.push(Package::new(row.id, Arc::new(manifest))),
            Err(error) => damaged.push(model::report::Chain(&error).to_string()),
        }
    }
    Ok((Shelf::new(found), damaged))
}

/// The software set that runs.
#[derive(Debug, Clone)]
pub(super) struct ActiveSet {
    pub(super) row: GenerationRow,
    pub(super) index: Arc<ActiveIndex>,
    /// In the order that holds.
    pub(super) order: Vec<Package>,
    /// What is wrong with it.
    pub(super) notes: Vec<String>,
}

/// The set of a generation, ready to be planned against.
pub(super) fn active(
    context: &Context,
    db: &Db,
    shelf: &Shelf,
    generation: Generation,
) -> Result<ActiveSet, Error> {
    let row = db.generation(generation)?;
    let mut notes = Vec::new();
    let mut list = Vec::new();
    for id in &row.list {
        match shelf.get(id) {
            Some(package) => list.push(package.clone()),
            None => notes.push(format!(
                "{} is active but not in the store: add it again",
                id.name_version()
            )),
        }
    }
    let (rules, note) = loader::rules(&context.machine);
    notes.extend(note);
    let node = context.characteristics();
    let order = resolve::order::effective(&list, &node);
    let unmet = resolve::deps::check(&order, shelf, &node);
    notes.extend(
        unmet
            .iter()
            .map(|one| format!("{} needs {}", one.by, one.needs)),
    );
    let kept = row
        .kept
        .iter()
        .map(|(path, (digest, _))| (path.clone(), *digest))
        .collect();
    let index = Arc::new(ActiveIndex::build(Active {
        list,
        kept,
        node,
        rules,
    }));
    Ok(ActiveSet {
        row,
        index,
        order,
        notes,
    })
}

/// The supervised processes that run, and what they have mapped.
#[derive(Debug, Default)]
pub(super) struct Seen {
    all: Vec<Running>,
    mappings: Mappings,
}

/// The supervised processes, as plans need them. Without sysmgrd nothing is known to run: a plan
/// can still be made, a change cannot.
pub(super) async fn running(sysmgr: &mut Sysmgr) -> Seen {
    let Ok(statuses) = sysmgr.processes().await else {
        return Seen::default();
    };
    let alive = statuses.iter().filter(|status| is_alive(status));
    let all = alive.map(|status| Running {
        name: status.name.clone(),
        generation: status.generation,
        registered: status.registered,
    });
    Seen {
        all: all.collect(),
        mappings: sysmgr.mapped().await.unwrap_or_default(),
    }
}

impl Seen {
    /// As plans against this set need them.
    fn against(self, index: &Arc<ActiveIndex>) -> RunningSet {
        let places: BTreeMap<_, u32> = self.all.iter().map(|one| &one.name).zip(0..).collect();
        let mappers = self.mappings.processes.iter();
        let mappers = mappers.map(|one| places.get(&one.process).copied());
        let mappers: Vec<Option<u32>> = mappers.collect();
        let place = |at: u32| *mappers.get(at as usize)?;
        let files = self.mappings.files.into_iter();
        let files = files.map(|MappedFile { path, by, .. }| {
            let by = by.into_iter().filter_map(place).collect();
            (path, by)
        });
        let files: Vec<(String, Vec<u32>)> = files.collect();
        RunningSet::new(index, self.all, files)
    }
}

/// Whether anything of the process runs, or will without being asked.
pub(super) fn is_alive(status: &ProcessStatus) -> bool {
    !matches!(status.state.as_str(), "stopped" | "failed")
}

/// Everything that a plan is made from.
pub(super) fn world(
    context: &Context,
    db: &Db,
    (active, shelf): (&ActiveSet, &Arc<Shelf>),
    running: Seen,
) -> Result<World, Error> {
    let committed = db.committed()?;
    let mut previous = db.previous()?;
    if active.row.trial {
        let old = db.generation(committed)?.list;
        previous = replaced(&previous, &old, &active.row.list);
    }
    let mut generations = BTreeMap::new();
    for (number, _) in db.generations()? {
        let row = db.generation(number)?;
        if !row.trial {
            generations.insert(number, kept(row));
        }
    }
    let snapshots = context.snapshots().kept()?.into_keys().collect();
    let free = rustix::fs::statvfs(&context.config.state_dir).ok();
    Ok(World {
        index: Arc::clone(&active.index),
        store: Arc::clone(shelf),
        previous,
        automatic: Arc::new(active.row.automatic.clone()),
        running: Arc::new(running.against(&active.index)),
        active: active.row.number,
        committed,
        generations,
        keep: context.config.keep_generations,
        pinned: db.pinned()?,
        snapshots,
        free: free.map(|stat| stat.f_bavail.saturating_mul(stat.f_frsize)),
        trial_max: context.config.trial_max.bytes(),
    })
}

fn kept(row: GenerationRow) -> KeptGeneration {
    let objects = row.kept.into_iter();
    KeptGeneration {
        list: row.list,
        kept: objects.map(|(path, (digest, _))| (path, digest)).collect(),
        automatic: row.automatic,
    }
}
