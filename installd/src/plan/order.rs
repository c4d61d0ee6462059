//! The order in which processes are stopped, started and told.

use model::change::{Unmet, Verdict};
use resolve::steps::{Member, graph};

use super::ProcessPlan;

/// The groups of steps, or the circle in which processes come after each other.
pub(super) fn order(processes: &[ProcessPlan]) -> Result<Vec<Vec<String>>, Unmet> {
    let steps = |one: &ProcessPlan| !matches!(one.verdict, Verdict::Ask | Verdict::None);
    // Without a step there is no order; a circle is found when one of its processes enters.
    if !processes.iter().any(steps) {
        return Ok(Vec::new());
    }
    let members: Vec<Member> = processes.iter().filter_map(member).collect();
    match graph(&members) {
        Ok(graph) => Ok(graph.groups()),
        Err(cycle) => Err(Unmet {
            by: cycle
                .processes
                .first()
                .map_or_else(String::new, |one| format!("process {one}")),
            needs: cycle.to_string(),
            hint: "take one `after` out of the packages' manifests".to_owned(),
        }),
    }
}

fn member(process: &ProcessPlan) -> Option<Member> {
    let (_, spec) = process.new.as_ref().or(process.old.as_ref())?;
    let is = |verdicts: &[Verdict]| verdicts.contains(&process.verdict);
    Some(Member {
        name: process.name.clone(),
        after: spec.after.clone(),
        stop: is(&[Verdict::Stop, Verdict::Restart]),
        start: is(&[Verdict::Start, Verdict::Restart]),
        tell: is(&[Verdict::Notify]),
    })
}
