//! The node at one instant, from the store, the database and sysmgrd.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use model::change::ProcessStatus;
use model::{Generation, PackageId};
use resolve::deps::Shelf;
use resolve::{Characteristics, Package};

use super::Context;
use super::request::Error;
use crate::plan::{Active, ActiveIndex, Running, World};
use crate::sys::db::{Db, GenerationRow};
use crate::sys::sysmgr::{Mapped, Sysmgr};
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
    let node = characteristics(context);
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

fn characteristics(context: &Context) -> Characteristics {
    let node = context.config.node.clone();
    Characteristics {
        arch: node.arch,
        node_type: node.node_type,
        classes: node.class,
        features: node.features,
        location: node.location,
    }
}

/// The supervised processes, as plans need them. Without sysmgrd nothing is known to run: a plan
/// can still be made, a change cannot.
pub(super) async fn running(sysmgr: &mut Sysmgr) -> Vec<Running> {
    let Ok(statuses) = sysmgr.processes().await else {
        return Vec::new();
    };
    let mut mapped: HashMap<_, Vec<String>> = HashMap::new();
    for Mapped { process, files, .. } in sysmgr.mapped().await.unwrap_or_default() {
        mapped
            .entry(process)
            .or_default()
            .extend(files.into_iter().map(|file| file.path));
    }
    statuses
        .iter()
        .filter(|status| is_alive(status))
        .map(|status| Running {
            name: status.name.clone(),
            generation: status.generation,
            registered: status.registered,
            mapped: mapped.remove(&status.name).unwrap_or_default(),
        })
        .collect()
}

/// Whether anything of the process runs, or will without being asked.
pub(super) fn is_alive(status: &ProcessStatus) -> bool {
    !matches!(status.state.as_str(), "stopped" | "failed")
}

/// Everything that a plan is made from.
pub(super) fn world(
    active: &ActiveSet,
    shelf: &Arc<Shelf>,
    previous: BTreeMap<model::PackageName, Vec<PackageId>>,
    running: Vec<Running>,
) -> World {
    World {
        index: Arc::clone(&active.index),
        store: Arc::clone(shelf),
        previous,
        automatic: active.row.automatic.clone(),
        running,
        active: active.row.number,
        committed: active.row.number,
        generations: BTreeMap::new(),
        keep: 1,
        pinned: BTreeSet::new(),
        snapshots: BTreeSet::new(),
        free: None,
        trial_max: u64::MAX,
    }
}
