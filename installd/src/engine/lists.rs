//! A plan as sysmgrd is told it: the four lists and those who are told \[0163\]. Functions of a plan
//! and of what runs; nothing is decided that the plan has not decided.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use model::change::{ProcessStatus, Verdict};
use model::mappings::Mappings;
use model::process::ProcessSpec;
use model::transition::{
    Announcement, Asked, ChangedFile, StateAct, StillMapped, Told, Transition, Tree, Wanted,
};
use model::{ChangeId, PackageName, PackagePath, ProcessName};

use super::observe::is_alive;
use crate::config::Config;
use crate::plan::{How, PathChange, Plan, ProcessPlan, StateStep};

/// How a process runs, and whose it is.
type Side = (PackageName, Arc<ProcessSpec>);

fn wanted((package, spec): &Side) -> Wanted {
    Wanted {
        spec: (**spec).clone(),
        package: package.clone(),
    }
}

/// Who must be asked, with what would happen to each and why.
pub(super) fn asked(plan: &Plan) -> Vec<Asked> {
    let because: BTreeMap<&ProcessName, &Vec<Vec<String>>> = plan
        .report
        .processes
        .iter()
        .map(|one| (&one.name, &one.because))
        .collect();
    plan.processes
        .iter()
        .filter(|process| process.old.is_some() && process.verdict != Verdict::None)
        .map(|process| Asked {
            process: process.name.clone(),
            verdict: process.verdict,
            because: because
                .get(&process.name)
                .map(|&chains| chains.clone())
                .unwrap_or_default(),
        })
        .collect()
}

/// What the change is, as it is told to processes. `inode` finds device and inode of what stands
/// at a path before and after.
pub(super) fn announcement(
    change: ChangeId,
    plan: &Plan,
    inodes: impl Fn(&PathChange) -> (Option<(u64, u64)>, Option<(u64, u64)>),
) -> Announcement {
    let names = |packages: &[resolve::Package]| {
        packages
            .iter()
            .map(|package| package.id.name_version())
            .collect()
    };
    let files = plan
        .changes
        .iter()
        .filter(|one| one.how != How::Rebuilt && !one.path.is_config())
        .map(|one| {
            let (old, new) = inodes(one);
            ChangedFile {
                path: one.path.clone(),
                old,
                new,
                library: one.library,
            }
        })
        .collect();
    Announcement {
        change,
        entering: names(&plan.entering),
        leaving: names(&plan.leaving),
        files,
    }
}

/// Processes that hold the change up, level by level, dependents first.
pub(super) fn levels(plan: &Plan, holding: &BTreeSet<ProcessName>) -> Vec<Vec<ProcessName>> {
    let members: Vec<resolve::steps::Member> = plan
        .processes
        .iter()
        .filter_map(|process| {
            let (_, spec) = process.old.as_ref()?;
            Some(resolve::steps::Member {
                name: process.name.clone(),
                after: spec.after.clone(),
                stop: holding.contains(&process.name),
                start: false,
                tell: false,
            })
        })
        .collect();
    let Ok(graph) = resolve::steps::graph(&members) else {
        // A circle among old declarations: all at once is better than not at all.
        return vec![holding.iter().cloned().collect()];
    };
    let name = |step: &String| step.strip_prefix("stop ")?.parse().ok();
    graph
        .groups()
        .iter()
        .map(|group| group.iter().filter_map(name).collect())
        .collect()
}

/// What is known of the running processes when a transition is put together.
#[derive(Debug, Clone, Default)]
pub(super) struct Standing {
    /// Processes that run.
    pub(super) alive: BTreeSet<ProcessName>,
    /// Processes that have registered for changes.
    pub(super) registered: BTreeSet<ProcessName>,
    /// Processes that said of themselves that they are reached.
    pub(super) also_reached: BTreeSet<ProcessName>,
    /// Processes that are to be stopped and started instead of told: they did not get ready.
    pub(super) not_ready: BTreeSet<ProcessName>,
}

impl Standing {
    /// As sysmgrd says.
    pub(super) fn of(statuses: &[ProcessStatus]) -> Self {
        let names = |keep: &dyn Fn(&ProcessStatus) -> bool| {
            statuses
                .iter()
                .filter(|one| keep(one))
                .map(|one| one.name.clone())
                .collect()
        };
        Self {
            alive: names(&is_alive),
            registered: names(&|one| one.registered),
            also_reached: BTreeSet::new(),
            not_ready: BTreeSet::new(),
        }
    }

    fn told(&self, process: &ProcessPlan, reached: bool) -> Option<Told> {
        let side = process.new.as_ref()?;
        let known = self.alive.contains(&process.name) && side.1.is_told();
        known.then(|| Told {
            wanted: wanted(side),
            reached: reached || self.also_reached.contains(&process.name),
            timeout_ms: Config::millis(side.1.start_timeout),
        })
    }
}

/// The next state.
pub(super) fn forward(
    change: ChangeId,
    tree: Tree,
    plan: &Plan,
    standing: &Standing,
) -> Transition {
    let mut next = empty(change, tree);
    for process in &plan.processes {
        match (process.verdict, &process.new) {
            (Verdict::Start, Some(side)) => next.new.push(wanted(side)),
            (Verdict::Stop, _) => next.obsolete.push(process.name.clone()),
            (Verdict::Restart, Some(side)) if process.direct => next.changed.push(wanted(side)),
            (Verdict::Restart, Some(side)) => next.dependent.push(wanted(side)),
            (Verdict::Notify, Some(side)) => match standing.told(process, process.reached) {
                Some(told) if !standing.not_ready.contains(&process.name) => next.told.push(told),
                // One that is down, or would not get ready, is simply started anew.
                Some(_) | None => next.dependent.push(wanted(side)),
            },
            (Verdict::Ask | Verdict::None, Some(_)) => {
                let registered = standing.registered.contains(&process.name);
                let also = standing.also_reached.contains(&process.name);
                if standing.not_ready.contains(&process.name) {
                    // Nothing changes under one that did not say that it is ready.
                    next.dependent.extend(process.new.as_ref().map(wanted));
                } else if registered || also {
                    next.told.extend(standing.told(process, false));
                }
            }
            (
                Verdict::Start | Verdict::Restart | Verdict::Notify | Verdict::Ask | Verdict::None,
                None,
            ) => {}
        }
    }
    next
}

/// The next state, where nothing runs yet.
pub(super) fn at_boot(change: ChangeId, tree: Tree, plan: &Plan) -> Transition {
    let new = plan.processes.iter().filter_map(|one| one.new.as_ref());
    Transition {
        new: new.map(wanted).collect(),
        ..empty(change, tree)
    }
}

/// The way back: what `forward` did, undone, for the processes that it has touched.
pub(super) fn backward(
    forward: &Transition,
    tree: Tree,
    old: &BTreeMap<ProcessName, Wanted>,
    statuses: &[ProcessStatus],
) -> Transition {
    let status: BTreeMap<&ProcessName, &ProcessStatus> =
        statuses.iter().map(|one| (&one.name, one)).collect();
    let untouched = |name: &ProcessName| {
        status
            .get(name)
            .is_some_and(|one| is_alive(one) && one.generation != forward.tree.generation)
    };
    let mut back = empty(forward.change, tree);
    let started = forward.new.iter().map(|one| &one.spec.name);
    back.obsolete
        .extend(started.filter(|name| !old.contains_key(name)).cloned());
    let again = forward
        .changed
        .iter()
        .chain(&forward.dependent)
        .chain(&forward.new);
    for wanted in again.filter_map(|one| old.get(&one.spec.name)) {
        if !untouched(&wanted.spec.name) {
            back.changed.push(wanted.clone());
        }
    }
    for name in &forward.obsolete {
        if !status.get(name).is_some_and(|one| is_alive(one)) {
            back.new.extend(old.get(name).cloned());
        }
    }
    for told in &forward.told {
        let Some(wanted) = old.get(&told.wanted.spec.name) else {
            continue;
        };
        if untouched(&wanted.spec.name) && !told.reached {
            continue;
        }
        let (reached, timeout_ms) = (told.reached, told.timeout_ms);
        back.told.push(Told {
            wanted: wanted.clone(),
            reached,
            timeout_ms,
        });
    }
    back
}

/// What of a transition is still to be done, by what sysmgrd says now.
pub(super) fn remaining(whole: &Transition, statuses: &[ProcessStatus]) -> Transition {
    let settled = |name: &ProcessName| {
        statuses.iter().any(|one| {
            one.name == *name
                && one.generation == whole.tree.generation
                && matches!(one.state.as_str(), "ready" | "done")
        })
    };
    let gone = |name: &ProcessName| {
        !statuses
            .iter()
            .any(|one| one.name == *name && is_alive(one))
    };
    let left = |list: &[Wanted]| -> Vec<Wanted> {
        list.iter()
            .filter(|one| !settled(&one.spec.name))
            .cloned()
            .collect()
    };
    Transition {
        change: whole.change,
        tree: whole.tree.clone(),
        new: left(&whole.new),
        obsolete: whole
            .obsolete
            .iter()
            .filter(|name| !gone(name))
            .cloned()
            .collect(),
        changed: left(&whole.changed),
        dependent: left(&whole.dependent),
        told: whole
            .told
            .iter()
            .filter(|one| !settled(&one.wanted.spec.name))
            .cloned()
            .collect(),
        state: whole.state.clone(),
        settling_ms: whole.settling_ms,
        stale: whole.stale.clone(),
    }
}

/// Whether there is nothing to do.
pub(super) fn is_empty(transition: &Transition) -> bool {
    transition.new.is_empty()
        && transition.obsolete.is_empty()
        && transition.changed.is_empty()
        && transition.dependent.is_empty()
        && transition.told.is_empty()
}

pub(super) fn empty(change: ChangeId, tree: Tree) -> Transition {
    Transition {
        change,
        tree,
        new: Vec::new(),
        obsolete: Vec::new(),
        changed: Vec::new(),
        dependent: Vec::new(),
        told: Vec::new(),
        state: BTreeMap::new(),
        settling_ms: 0,
        stale: Vec::new(),
    }
}

/// Exactly the processes of a set: what is missing is started, what is too much is stopped.
pub(super) fn whole_set(
    tree: Tree,
    wanted: &BTreeMap<ProcessName, Wanted>,
    statuses: &[ProcessStatus],
) -> Transition {
    let known: BTreeSet<&ProcessName> = statuses
        .iter()
        .filter(|one| one.state != "stopped")
        .map(|one| &one.name)
        .collect();
    let missing = wanted.iter().filter(|(name, _)| !known.contains(name));
    let surplus = known.iter().filter(|name| !wanted.contains_key(**name));
    Transition {
        new: missing.map(|(_, one)| one.clone()).collect(),
        obsolete: surplus.map(|name| (*name).clone()).collect(),
        ..empty(ChangeId(0), tree)
    }
}

/// The processes that a set exports; the first package in order that exports a name wins it.
pub(super) fn exported(order: &[resolve::Package]) -> BTreeMap<ProcessName, Wanted> {
    let mut all = BTreeMap::new();
    for package in order {
        for spec in &package.manifest.processes {
            all.entry(spec.name.clone()).or_insert_with(|| Wanted {
                spec: spec.clone(),
                package: package.id.name.clone(),
            });
        }
    }
    all
}

/// Old files that no reached process may have mapped any more. One that only moved to another path
/// is not old.
pub(super) fn stale(announcement: &Announcement) -> BTreeMap<(u64, u64), PackagePath> {
    let files = || announcement.files.iter();
    let stay: BTreeSet<(u64, u64)> = files().filter_map(|file| file.new).collect();
    let gone = files().filter_map(|file| Some((file.old?, file.path.clone())));
    gone.filter(|(file, _)| !stay.contains(file)).collect()
}

/// Who has stale files mapped.
pub(super) fn still_mapped(
    mapped: &Mappings,
    stale: &BTreeMap<(u64, u64), PackagePath>,
) -> Vec<StillMapped> {
    let files = mapped.files.iter();
    let files = files.filter(|file| stale.contains_key(&(file.dev, file.inode)));
    let still = files.flat_map(|file| {
        mapped.holders(file).map(|one| StillMapped {
            process: one.process.clone(),
            pid: one.pid,
            file: (file.dev, file.inode),
        })
    });
    still.collect()
}

/// Where copies of a process's state are: the one that a step makes, and the one that it puts back.
#[derive(Debug, Default)]
pub(super) struct Copies {
    pub(super) made: Option<PathBuf>,
    pub(super) put_back: Option<PathBuf>,
}

/// What is to be done to the state of processes, as sysmgrd is told it.
pub(super) fn state(
    plan: &Plan,
    before: &Tree,
    after: &Tree,
    copies: impl Fn(&StateStep) -> Copies,
) -> BTreeMap<ProcessName, StateAct> {
    let act = |step: &StateStep| {
        let Copies { made, put_back } = copies(step);
        let (command, tree) = match (&step.migrate_back, &step.migrate) {
            (Some(command), _) => (command.clone(), before),
            (None, Some(command)) => (command.clone(), after),
            (None, None) => (Vec::new(), after),
        };
        StateAct {
            from: step.from,
            to: step.to,
            snapshot: made,
            restore: put_back,
            take_back: None,
            command,
            tree: tree.clone(),
            timeout_ms: start_timeout(plan, &step.process),
        }
    };
    let all = plan.state.iter();
    all.map(|step| (step.process.clone(), act(step))).collect()
}

fn start_timeout(plan: &Plan, process: &ProcessName) -> u64 {
    let found = plan.processes.iter().find(|one| one.name == *process);
    let side = found.and_then(|one| one.new.as_ref());
    side.map_or(90_000, |(_, spec)| Config::millis(spec.start_timeout))
}

/// What `forward` did to the state of the processes that `back` starts again, undone: the copy is
/// put back, or else the program that undoes it is run in the view that knows it.
pub(super) fn state_back(
    forward: &Transition,
    back: &Transition,
) -> BTreeMap<ProcessName, StateAct> {
    let started = back.changed.iter().chain(&back.dependent).chain(&back.new);
    let undone = started.filter_map(|one| {
        let act = forward.state.get(&one.spec.name)?;
        let up = act.from < act.to;
        let newer = if up {
            spec_of(forward, &one.spec.name)
        } else {
            None
        };
        let command = match (&act.snapshot, newer) {
            (None, Some(newer)) => newer.migrate_back.clone(),
            (None, None) => one.spec.migrate.clone(),
            (Some(_), _) => Vec::new(),
        };
        let undo = StateAct {
            from: act.to,
            to: act.from,
            snapshot: None,
            restore: None,
            take_back: act.snapshot.clone(),
            tree: if up {
                forward.tree.clone()
            } else {
                back.tree.clone()
            },
            command,
            timeout_ms: act.timeout_ms,
        };
        let something = undo.take_back.is_some() || !undo.command.is_empty();
        something.then(|| (one.spec.name.clone(), undo))
    });
    undone.collect()
}

fn spec_of<'t>(transition: &'t Transition, name: &ProcessName) -> Option<&'t ProcessSpec> {
    let all = transition.changed.iter().chain(&transition.dependent);
    let mut all = all.chain(&transition.new).map(|one| &one.spec);
    all.find(|spec| spec.name == *name)
}
