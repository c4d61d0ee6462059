//! Objections that stand in the packages: a restart that its owner calls disruptive.

use model::change::{PlanReport, Verdict, Veto};
use model::process::Kind;

use super::decided::Decided;

/// Why such a process objects.
const REASON: &str = "a restart is declared disruptive (disruption = \"veto\")";

/// The objections of those that run and would be stopped; also told as warnings.
pub(super) fn of(decided: &Decided, report: &mut PlanReport) -> Vec<Veto> {
    let processes = &decided.evidence.index().processes;
    let stopped = processes.disruptive.iter().filter(|number| {
        let verdict = decided.verdict_of(**number);
        matches!(verdict, Verdict::Stop | Verdict::Restart)
            && processes.kind(**number) == Kind::Simple
    });
    let running = &decided.evidence.running;
    // Where nobody could look, all are taken to run.
    let runs = |number: &&u32| running.is_empty() || running.place(**number).is_some();
    let stopped = stopped.filter(runs);
    let names = stopped.filter_map(|number| Some(&processes.at(*number)?.spec.name));
    let objections: Vec<Veto> = names
        .map(|name| Veto {
            process: name.clone(),
            reason: REASON.to_owned(),
        })
        .collect();
    let texts = objections.iter().map(|one| {
        let name = &one.process;
        format!("{name} objects: {REASON}; --force or --force-process overrides it")
    });
    report.warnings.extend(texts);
    objections
}
