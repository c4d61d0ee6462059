//! State that an older or a newer binary cannot read: what must be done for it, there and back.

use std::collections::BTreeSet;

use model::ProcessName;
use model::change::{PlanReport, Request, Unmet};
use model::process::{CommandLine, ProcessSpec};

use super::World;
use super::decided::Decided;

/// What is to be done with the state of a process whose `state-version` differs between the sets,
/// after its old program has stopped and before its new one starts.
///
/// In this order: `snapshot`, then `migrate_back` (in the view of the old generation) or `restore`,
/// then `migrate` (in the new one). The way back of the change itself puts the snapshot back where
/// there is one, and else runs `undo` in the view of the newer of the two programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateStep {
    /// The process.
    pub process: ProcessName,
    /// The version of its state until now; 0 where its package says none.
    pub from: u32,
    /// The version that its next program has.
    pub to: u32,
    /// Its state directories are copied first; the copy is of version `from`.
    pub snapshot: bool,
    /// Brings the state up; a command of the new declaration.
    pub migrate: Option<CommandLine>,
    /// Brings the state down; a command of the old declaration, which is the newer one.
    pub migrate_back: Option<CommandLine>,
    /// The kept copy of version `to` is put in the state's place.
    pub restore: bool,
    /// Takes this step back where there is no snapshot: the newer declaration's `migrate-back`
    /// after a step up, its `migrate` after a step down.
    pub undo: Option<CommandLine>,
}

/// The steps of all processes; those that cannot be taken back are told, and refused where the
/// request does not say `one-way`.
pub(super) fn steps(
    world: &World,
    decided: &Decided,
    request: &Request,
    report: &mut PlanReport,
) -> Vec<StateStep> {
    let both = decided.both();
    let steps = both.filter_map(|(old, new)| step(&old.spec, &new.spec, &world.snapshots));
    let steps: Vec<StateStep> = steps.collect();
    for one in steps.iter().filter(|one| one.is_one_way()) {
        report.one_way.push(one.process.clone());
        if !request.one_way {
            report.unmet.push(one.unmet());
        }
    }
    if let (true, Some(first)) = (request.one_way, report.one_way.first()) {
        report.warnings.push(format!(
            "the state of {first} cannot be taken back: if the change fails, it is not rolled back \
             by itself"
        ));
    }
    steps
}

/// The step between two declarations of one process; `None`: its state is of one version.
pub(super) fn step(
    old: &ProcessSpec,
    new: &ProcessSpec,
    snapshots: &BTreeSet<(ProcessName, u32)>,
) -> Option<StateStep> {
    let version = |spec: &ProcessSpec| spec.state_version.unwrap_or(0);
    let (from, to) = (version(old), version(new));
    if from == to {
        return None;
    }
    let none = StateStep {
        process: new.name.clone(),
        from,
        to,
        snapshot: old.snapshot || new.snapshot,
        migrate: None,
        migrate_back: None,
        restore: false,
        undo: None,
    };
    Some(if from < to {
        StateStep {
            migrate: given(&new.migrate),
            undo: given(&new.migrate_back),
            ..none
        }
    } else {
        let migrate_back = given(&old.migrate_back);
        let restore = migrate_back.is_none() && snapshots.contains(&(new.name.clone(), to));
        StateStep {
            // What a copy replaces is copied itself, else the step could not be taken back.
            snapshot: none.snapshot || restore,
            migrate_back,
            restore,
            undo: given(&old.migrate),
            ..none
        }
    })
}

fn given(command: &CommandLine) -> Option<CommandLine> {
    (!command.is_empty()).then(|| command.clone())
}

impl StateStep {
    /// Whether, once it is taken, the older program cannot have a state that it can read: on the
    /// way back from a step up, and after a step down at once.
    pub(super) fn is_one_way(&self) -> bool {
        if self.from < self.to {
            !self.snapshot && self.undo.is_none()
        } else {
            !self.restore && self.migrate_back.is_none()
        }
    }

    /// Why it needs `one-way`, for a request without it.
    pub(super) fn unmet(&self) -> Unmet {
        let Self {
            process, from, to, ..
        } = self;
        let (needs, newer) = if from < to {
            let needs = format!(
                "a way back for its state: version {to} takes over, which version {from} cannot \
                 read, and neither `snapshot` nor `migrate-back` is declared"
            );
            (needs, "the newer")
        } else {
            let needs = format!(
                "its state brought back from version {from} to {to}: no `migrate-back` is declared \
                 and no copy of version {to} is kept"
            );
            (needs, "the active")
        };
        Unmet {
            by: format!("process {process}"),
            needs,
            hint: format!(
                "declare one in {newer} package, or go on with --one-way: it cannot be taken back"
            ),
        }
    }
}
