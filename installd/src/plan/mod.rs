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

pub mod admission;
mod asked;
mod bringers;
pub mod collect;
mod decided;
mod diff;
mod discrepancies;
mod evidence;
mod exports;
mod graph;
mod impact;
mod index;
mod labels;
mod limits;
mod listed;
mod mapped;
mod new_graph;
mod objections;
mod order;
mod program;
mod reach;
mod rows;
mod running;
mod set;
mod state;
mod swap;
#[cfg(test)]
mod tests;
mod upgrades;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::change::{FileChanges, PlanReport, Request, SetChange, Unmet, Verdict, Veto};
use model::manifest::{FileEntry, Node};
use model::process::ProcessSpec;
use model::{Digest, Generation, Later, PackageId, PackageName, PackagePath, ProcessName};
use resolve::Package;

use asked::Asked;
use decided::Decided;
use diff::{Difference, NewTree};
use evidence::Evidence;
use exports::NewExports;
use graph::Builder;
use new_graph::NewGraph;
use reach::Reached;
use set::NewSet;

pub use index::{Active, ActiveIndex};
pub use running::{Running, RunningSet, by_path};
pub use state::StateStep;
pub use world::{KeptGeneration, World};

/// Everything that the engine needs to carry a change out without choosing anything.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// What people and programs are shown; `report.unmet` not empty: it must not be carried out.
    pub report: PlanReport,
    /// The new set as it is to be kept: the list behind the order (`resolve::order`).
    pub list: Later<Vec<Package>>,
    /// The new set in the order that holds: the first that has a path wins it.
    pub order: Later<Vec<Package>>,
    /// Packages that enter, in order.
    pub entering: Vec<Package>,
    /// Packages that leave.
    pub leaving: Vec<Package>,
    /// What enters though it was not named: dependencies from the store.
    pub brought: BTreeSet<PackageName>,
    /// Packages of the new set that nobody asked for by name, to be kept with the generation and
    /// given to the next [`World`].
    pub automatic: Later<BTreeSet<PackageName>>,
    /// Whether the new set is the active one: nothing is to be done.
    pub is_empty: bool,
    /// Every path that differs between the trees, sorted by path; also those that were only rebuilt.
    pub changes: Vec<PathChange>,
    /// Paths of the new tree whose object is not the one that their package's manifest names,
    /// because an equal one ran already. Kept with the generation and given to the next [`Active`].
    pub kept: Later<BTreeMap<PackagePath, Digest>>,
    /// Every process of either set, sorted by name.
    pub processes: Later<Vec<ProcessPlan>>,
    /// What is to be done with the state of processes whose `state-version` differs.
    pub state: Vec<StateStep>,
    /// Objections that stand in the packages, of processes that are not asked: they count as
    /// answers, and are overridden as those are.
    pub objections: Vec<Veto>,
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
    let index = &*world.index;
    let set = set::new_set(world, request);
    let tree = NewTree::new(index, &set);
    let (graph, exports) = new_graph(world, &tree, &set);
    let running = world.running.of(&world.index);
    let reached = Reached::new(&tree, &graph, running.knows_some());
    let gone = impact::gone_libraries(&tree);
    let evidence = Evidence::new(graph, reached, running, gone);
    let mut report = PlanReport {
        set: names(world, &set),
        ..PlanReport::default()
    };
    describe_files(&tree, &mut report);
    discover_lacks(
        &Found {
            tree: &tree,
            graph: &evidence.graph,
            set: &set,
            exports: &exports,
        },
        &mut report,
    );
    let decided = impact::decide(&tree, evidence, &exports, Asked::new(&tree, &set));
    report.bytes = limits::bytes(&tree, request);
    let unmet = limits::unmet(world, &tree, request, report.bytes);
    report.unmet.extend(unmet);
    complete(
        world,
        request,
        Parts {
            set: &set,
            tree,
            decided: Arc::new(decided),
        },
        report,
    )
}

/// What a plan is put together from.
struct Parts<'a> {
    set: &'a NewSet,
    tree: NewTree<'a>,
    decided: Arc<Decided>,
}

fn complete(world: &World, request: &Request, parts: Parts<'_>, mut report: PlanReport) -> Plan {
    let Parts { set, tree, decided } = parts;
    let index = &*world.index;
    let state = state::steps(world, &decided, request, &mut report);
    let objections = objections::of(&decided, &mut report);
    if index.asks.has_upgrades
        || set
            .entering()
            .any(|(_, one)| one.manifest.upgrades.is_some())
    {
        report.superseded = upgrades::superseded(&set.order.to_vec());
    }
    let changes = tree.differences.iter().map(|one| change(&tree, one));
    let changes: Vec<PathChange> = changes.collect();
    let is_empty = changes.is_empty() && set.list.is(&index.list);
    if !is_empty && !request.trial {
        report.rollback_points_lost = lost(world, &decided);
    }
    let processes = written(&decided, &mut report);
    let (list, order) = (set.list.clone(), set.order.clone());
    Plan {
        report,
        entering: set.entering().map(|(_, one)| one.clone()).collect(),
        is_empty,
        kept: kept(world, &tree),
        changes,
        processes,
        automatic: set.automatic.clone(),
        state,
        objections,
        list: Later::new(move || list.to_vec()),
        order: Later::new(move || order.to_vec()),
        leaving: set.leaving.clone(),
        brought: set.brought.clone(),
    }
}

/// Texts and lists of all processes are written when they are read; only what may hinder the change
/// is found now.
fn written(decided: &Arc<Decided>, report: &mut PlanReport) -> Later<Vec<ProcessPlan>> {
    let own = || Arc::clone(decided);
    let (for_plans, for_impacts) = (own(), own());
    let processes = Later::new(move || for_plans.plans());
    report.processes = Later::new(move || for_impacts.impacts());
    if decided.keeps_its_order() {
        let processes = processes.clone();
        report.order = Later::new(move || order::order(&processes).unwrap_or_default());
    } else {
        match order::order(&processes) {
            Ok(order) => report.order = order.into(),
            Err(circle) => report.unmet.push(circle),
        }
    }
    processes
}

fn names(world: &World, set: &NewSet) -> SetChange {
    let (index, order, stays) = (
        Arc::clone(&world.index),
        set.order.clone(),
        set.stays.clone(),
    );
    let after = move || {
        let known = |at| index.asks.names.get(stays.old(at)? as usize).cloned();
        let all = (0..).zip(order.iter());
        all.map(|(at, one)| known(at).unwrap_or_else(|| one.id.name_version()))
            .collect()
    };
    SetChange {
        before: world.index.asks.names.clone(),
        after: Later::new(after),
    }
}

fn new_graph<'a>(world: &World, tree: &'a NewTree<'a>, set: &NewSet) -> (NewGraph, NewExports) {
    let index = tree.index;
    let mut builder = Builder::new(tree, &index.active().rules, Some(&index.graph));
    let again = new_graph::resolve_again(tree, &mut builder);
    let exports = NewExports::new(tree, set, &mut builder);
    let added = builder.finish_continued();
    let index = Arc::clone(&world.index);
    (
        NewGraph {
            index,
            again,
            added,
        },
        exports,
    )
}

fn describe_files(tree: &NewTree<'_>, report: &mut PlanReport) {
    for one in &tree.differences {
        let path = || one.path.clone();
        let library = diff::concerns_library(tree, one);
        put(&mut report.files, one.how, path());
        if library {
            put(&mut report.libraries, one.how, path());
        }
    }
}

/// Generations that go because of the change, but for those in which a process stays.
fn lost(world: &World, decided: &Decided) -> Vec<Generation> {
    let mut lost = collect::pushed_out(world);
    for one in world.running.iter() {
        if lost.contains(&one.generation)
            && matches!(decided.verdict(&one.name), Verdict::Ask | Verdict::None)
        {
            lost.retain(|generation| *generation != one.generation);
        }
    }
    lost
}

fn put(changes: &mut FileChanges, how: How, path: PackagePath) {
    let list = match how {
        How::Added => &mut changes.added,
        How::Changed => &mut changes.changed,
        How::Removed => &mut changes.removed,
        How::Rebuilt => &mut changes.rebuilt,
    };
    list.push(path);
}

/// What the checks of a new set look at.
struct Found<'a> {
    tree: &'a NewTree<'a>,
    graph: &'a NewGraph,
    set: &'a NewSet,
    exports: &'a NewExports,
}

fn discover_lacks(found: &Found<'_>, report: &mut PlanReport) {
    let Found {
        tree,
        graph,
        set,
        exports,
    } = found;
    let (libraries, warnings) = discrepancies::libraries(tree, graph);
    // A library that a package asks for in vain is told once, not for each of its files again.
    let told = |one: &Unmet| set.unmet.iter().any(|known| known.needs == one.needs);
    report.unmet.clone_from(&set.unmet);
    report
        .unmet
        .extend(libraries.into_iter().filter(|one| !told(one)));
    report.unmet.extend(discrepancies::architectures(tree, set));
    report.unmet.extend(discrepancies::conflicts(tree));
    report.unmet.extend(exports.unmet.iter().cloned());
    report.warnings.clone_from(&set.warnings);
    report.warnings.extend(warnings);
    report
        .warnings
        .extend(discrepancies::on_faith(tree, graph, set, exports));
}

fn change(tree: &NewTree<'_>, one: &Difference<'_>) -> PathChange {
    let selected = |(package, entry): (&Package, &FileEntry), object| Selected {
        package: package.id.clone(),
        entry: entry.clone(),
        object,
    };
    PathChange {
        path: one.path.clone(),
        how: one.how,
        old: one.old.map(|old| selected(old, tree.index.object(old.1))),
        new: one
            .new
            .map(|new| selected(new, one.keeps.or_else(|| own_object(new.1)))),
        library: diff::concerns_library(tree, one),
    }
}

fn own_object(entry: &FileEntry) -> Option<Digest> {
    match &entry.node {
        Node::File(file) => Some(file.digest),
        Node::Link { .. } | Node::Directory => None,
    }
}

fn kept(world: &World, tree: &NewTree<'_>) -> Later<BTreeMap<PackagePath, Digest>> {
    let index = Arc::clone(&world.index);
    let differences = tree.differences.iter();
    let differ = differences.map(|one| (one.path.clone(), one.keeps));
    let differ: Vec<(PackagePath, Option<Digest>)> = differ.collect();
    Later::new(move || {
        let mut kept = index.active().kept.clone();
        for (path, keeps) in differ {
            match keeps {
                Some(object) => kept.insert(path, object),
                None => kept.remove(&path),
            };
        }
        kept
    })
}

impl Plan {
    /// The whole new tree, sorted by path: what a generation is made of.
    pub fn tree(&self, world: &World) -> Vec<Selected> {
        let composed = resolve::select::compose(&self.order, &world.index.active().node);
        let entries = composed.entries();
        let select = |(package, entry): (&Package, &FileEntry)| Selected {
            package: package.id.clone(),
            object: self
                .kept
                .get(&entry.path)
                .copied()
                .or_else(|| own_object(entry)),
            entry: entry.clone(),
        };
        entries.into_iter().map(select).collect()
    }

    /// What the index of the new generation is built from.
    pub fn active(&self, world: &World) -> Active {
        let Active { node, rules, .. } = world.index.active();
        let (list, kept) = (self.list.to_vec(), (*self.kept).clone());
        Active {
            list,
            kept,
            node: node.clone(),
            rules: rules.clone(),
        }
    }
}
