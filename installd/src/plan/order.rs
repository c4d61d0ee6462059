//! The order in which processes are stopped, started and told.

use model::change::{Unmet, Verdict};
use model::process::ProcessSpec;
use resolve::steps::{Member, graph};

use super::ProcessPlan;

/// The groups of steps, or the circle in which processes come after each other.
pub(super) fn order(processes: &[ProcessPlan]) -> Result<Vec<Vec<String>>, Unmet> {
    // Without a step there is no order; a circle is found when one of its processes enters.
    let members: Vec<Member> = involved(processes).into_iter().filter_map(member).collect();
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

/// Those that take a step and those that they come after, directly or not: only these make an
/// order, or a circle that hinders it.
fn involved(processes: &[ProcessPlan]) -> Vec<&ProcessPlan> {
    let mut taken: Vec<bool> = processes.iter().map(takes_step).collect();
    let mut open: Vec<usize> = (0..taken.len()).filter(|&at| taken[at]).collect();
    while let Some(at) = open.pop() {
        let after = spec(&processes[at]).map_or(&[][..], |spec| &spec.after);
        for name in after {
            if let Ok(before) = processes.binary_search_by(|one| one.name.cmp(name))
                && !std::mem::replace(&mut taken[before], true)
            {
                open.push(before);
            }
        }
    }
    let all = processes.iter().zip(taken);
    all.filter(|(_, taken)| *taken)
        .map(|(one, _)| one)
        .collect()
}

fn takes_step(one: &ProcessPlan) -> bool {
    !matches!(one.verdict, Verdict::Ask | Verdict::None)
}

fn spec(process: &ProcessPlan) -> Option<&ProcessSpec> {
    let (_, spec) = process.new.as_ref().or(process.old.as_ref())?;
    Some(spec)
}

fn member(process: &ProcessPlan) -> Option<Member> {
    let spec = spec(process)?;
    let is = |verdicts: &[Verdict]| verdicts.contains(&process.verdict);
    Some(Member {
        name: process.name.clone(),
        after: spec.after.clone(),
        stop: is(&[Verdict::Stop, Verdict::Restart]),
        start: is(&[Verdict::Start, Verdict::Restart]),
        tell: is(&[Verdict::Notify]),
    })
}
