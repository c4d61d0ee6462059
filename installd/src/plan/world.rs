//! What a plan is made from: the node at one instant.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{Digest, Generation, PackageId, PackageName, PackagePath, ProcessName};
use resolve::deps::Shelf;

use super::{ActiveIndex, RunningSet};

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
    /// Packages that nobody asked for by name: they came as dependencies ([`super::Plan::brought`])
    /// and leave with the last that requires them.
    pub automatic: Arc<BTreeSet<PackageName>>,
    /// The supervised processes that run.
    pub running: Arc<RunningSet>,
    /// The generation that runs.
    pub active: Generation,
    /// The generation that the next boot uses.
    pub committed: Generation,
    /// The generations that can be gone back to, the active one among them; a trial is none.
    pub generations: BTreeMap<Generation, KeptGeneration>,
    /// How many generations are kept, the active one included, besides `pinned`.
    pub keep: usize,
    /// Generations that retention leaves alone.
    pub pinned: BTreeSet<Generation>,
    /// State versions of processes of which a copy is kept that can be put back.
    pub snapshots: BTreeSet<(ProcessName, u32)>,
    /// Bytes free on the store's file system; `None`: nobody could look.
    pub free: Option<u64>,
    /// Bytes of memory that a trial may take.
    pub trial_max: u64,
}

/// A generation that can be gone back to, as it is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeptGeneration {
    /// Its list ([`super::Plan::list`]).
    pub list: Vec<PackageId>,
    /// Objects that differ from what its manifests name ([`super::Plan::kept`]).
    pub kept: BTreeMap<PackagePath, Digest>,
    /// Those of its packages that nobody asked for by name ([`super::Plan::automatic`]).
    pub automatic: BTreeSet<PackageName>,
}
