//! What a change would do, computed before it is done: a snapshot in, a plan out.
//!
//! Every decision about a change is made here; the engine carries a [`Plan`] out and chooses
//! nothing. Nothing here waits, reads a clock or a file, or writes a log.
//!
//! ```text
//! request ─► set: the new ordered list ─► diff: which paths differ, by signature
//!                                             │
//!            index: the active tree, who      ▼
//!            loads what, and the reverse ─► overlay: the new tree and its edges where they differ
//!                                             │
//!                                             ▼
//!            verdicts with reason chains ◄─ impact          order, unmet, bytes
//! ```
//! The index of the active set is kept between requests, so that a plan costs what differs and
//! what that reaches, not what is installed.

pub mod collect;
mod index;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::change::{PlanReport, Request, Verdict};
use model::manifest::FileEntry;
use model::process::ProcessSpec;
use model::{Digest, Generation, PackageId, PackageName, PackagePath, ProcessName};
use resolve::Package;
use resolve::deps::Shelf;

pub use index::{Active, ActiveIndex};

/// The node at one instant.
#[derive(Debug, Clone)]
pub struct World {
    /// The active set, its tree and who loads what; built once per generation.
    pub index: Arc<ActiveIndex>,
    /// Every package in the store, the active ones included.
    pub store: Arc<Shelf>,
    /// Versions that were replaced, by name, the newest replacement last. A deactivated version
    /// goes back to the last of them that is in the store.
    pub previous: BTreeMap<PackageName, Vec<PackageId>>,
    /// Packages that nobody asked for by name: they came as dependencies ([`Plan::brought`]) and
    /// leave with the last that requires them.
    pub automatic: BTreeSet<PackageName>,
    /// The supervised processes that run.
    pub running: Vec<Running>,
}

/// A supervised process that runs.
#[derive(Debug, Clone)]
pub struct Running {
    /// The process.
    pub name: ProcessName,
    /// The generation that it runs in.
    pub generation: Generation,
    /// Whether it has registered for changes.
    pub registered: bool,
    /// Absolute paths, as in its view, of the files that its processes have mapped.
    pub mapped: Vec<String>,
}

/// Everything that the engine needs to carry a change out without choosing anything.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// What people and programs are shown; `report.unmet` not empty: it must not be carried out.
    pub report: PlanReport,
    /// The new set as it is to be kept: the list behind the order (`resolve::order`).
    pub list: Vec<Package>,
    /// The new set in the order that holds: the first that has a path wins it.
    pub order: Vec<Package>,
    /// Packages that enter, in order.
    pub entering: Vec<Package>,
    /// Packages that leave.
    pub leaving: Vec<Package>,
    /// What enters though it was not named: dependencies from the store.
    pub brought: BTreeSet<PackageName>,
    /// Whether the new set is the active one: nothing is to be done.
    pub is_empty: bool,
    /// Every path that differs between the trees, sorted by path; also those that were only rebuilt.
    pub changes: Vec<PathChange>,
    /// Paths of the new tree whose object is not the one that their package's manifest names,
    /// because an equal one ran already. Kept with the generation and given to the next [`Active`].
    pub kept: BTreeMap<PackagePath, Digest>,
    /// Every process of either set, sorted by name.
    pub processes: Vec<ProcessPlan>,
}

/// A path that differs between the active tree and the new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathChange {
    /// The path.
    pub path: PackagePath,
    /// How it differs.
    pub how: How,
    /// What stands there now.
    pub old: Option<Selected>,
    /// What will stand there.
    pub new: Option<Selected>,
    /// Whether what stands there, before or after, is a shared library.
    pub library: bool,
}

/// How a path differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Only in the new tree.
    Added,
    /// In both, with another substance, mode, owner or target.
    Changed,
    /// Only in the active tree.
    Removed,
    /// In both, with other bytes of the same substance: the active object stays.
    Rebuilt,
}

/// What stands at a path of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selected {
    /// The package that won the path.
    pub package: PackageId,
    /// The file as that package describes it.
    pub entry: FileEntry,
    /// The bytes to link: those of `entry`, or of an equal object that runs already. `None` for
    /// links and directories.
    pub object: Option<Digest>,
}

/// One process in a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessPlan {
    /// The process.
    pub name: ProcessName,
    /// What happens to it.
    pub verdict: Verdict,
    /// Its own program or declaration differs, so it is in the list *changed* rather than *dependent*.
    pub direct: bool,
    /// Whether a changed file reaches it; only then does a told process hold the change up.
    pub reached: bool,
    /// How it ran until now, and whose it was; absent where it is new.
    pub old: Option<(PackageName, Arc<ProcessSpec>)>,
    /// How it will run, and whose it is; absent where it is obsolete.
    pub new: Option<(PackageName, Arc<ProcessSpec>)>,
}

/// Plans a change.
///
/// A request that cannot be met is planned as far as it goes, with `report.unmet` saying why.
pub fn plan(world: &World, request: &Request) -> Plan {
    let _unused = (world, request);
    Plan::default()
}

impl Plan {
    /// The whole new tree, sorted by path: what a generation is made of.
    pub fn tree(&self, world: &World) -> Vec<Selected> {
        let _unused = world;
        Vec::new()
    }
}
