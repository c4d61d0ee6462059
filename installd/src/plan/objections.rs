//! Objections that stand in the packages: a restart that its owner calls disruptive.

use model::change::{PlanReport, Verdict, Veto};
use model::process::{Disruption, Kind};

use super::{ProcessPlan, World};

/// Why such a process objects.
const REASON: &str = "a restart is declared disruptive (disruption = \"veto\")";

/// The objections of those that run and would be stopped; also told as warnings.
pub(super) fn of(world: &World, processes: &[ProcessPlan], report: &mut PlanReport) -> Vec<Veto> {
    let objects = |one: &&ProcessPlan| {
        matches!(one.verdict, Verdict::Stop | Verdict::Restart)
            && one.old.as_ref().is_some_and(|(_, spec)| {
                spec.disruption == Disruption::Veto && spec.kind == Kind::Simple
            })
            && runs(world, one)
    };
    let objections: Vec<Veto> = (processes.iter().filter(objects))
        .map(|one| Veto {
            process: one.name.clone(),
            reason: REASON.to_owned(),
        })
        .collect();
    let texts = objections.iter().map(|one| {
        format!(
            "{} objects: {REASON}; --force or --force-process overrides it",
            one.process
        )
    });
    report.warnings.extend(texts);
    objections
}

/// Where nobody could look, all are taken to run.
fn runs(world: &World, process: &ProcessPlan) -> bool {
    world.running.is_empty() || world.running.iter().any(|one| one.name == process.name)
}
