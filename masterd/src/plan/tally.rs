//! Votes, summed: "17 nodes: 12 × call in progress".

use std::collections::{BTreeMap, BTreeSet};

use model::ids::ProcessName;
use model::wire::{NodePhase, Objection, Tally, TallyReason};

use super::rollout::Part;

/// Reasons that are listed.
const MOST_REASONS: usize = 32;

/// By how many nodes, and by which processes.
type Reasons = BTreeMap<String, (u32, BTreeSet<ProcessName>)>;

/// All votes of these parts.
pub fn of<'a>(parts: impl Iterator<Item = &'a Part>) -> Tally {
    let mut tally = Tally::default();
    let mut reasons = Reasons::new();
    for part in parts {
        tally.asked += u32::from(part.round > 0);
        count(&mut tally, &mut reasons, &part.phase);
    }
    tally.reasons = sorted(reasons);
    tally
}

fn count(tally: &mut Tally, reasons: &mut Reasons, phase: &NodePhase) {
    match phase {
        NodePhase::Open | NodePhase::Asked => tally.open += 1,
        NodePhase::Vetoed { objections } => {
            tally.veto += 1;
            add_all(reasons, objections);
        }
        NodePhase::Later { objections, .. } => {
            tally.later += 1;
            add_all(reasons, objections);
        }
        NodePhase::Absent => tally.absent += 1,
        NodePhase::Impossible { reason } => {
            tally.failed += 1;
            reasons.entry(reason.clone()).or_default().0 += 1;
        }
        NodePhase::LeftOut { reason } => reasons.entry(reason.clone()).or_default().0 += 1,
        NodePhase::Accepted
        | NodePhase::Changing
        | NodePhase::Waiting
        | NodePhase::Switched
        | NodePhase::Trial
        | NodePhase::Done
        | NodePhase::Failed { .. }
        | NodePhase::GoingBack
        | NodePhase::WentBack { .. } => tally.accept += 1,
    }
}

/// A reason counts once for a node, however many of its processes give it.
fn add_all(reasons: &mut Reasons, objections: &[Objection]) {
    let mut seen = BTreeSet::new();
    for one in objections {
        let (nodes, processes) = reasons.entry(one.reason.clone()).or_default();
        *nodes += u32::from(seen.insert(&one.reason));
        processes.insert(one.process.clone());
    }
}

fn sorted(reasons: Reasons) -> Vec<TallyReason> {
    let mut all: Vec<TallyReason> = reasons
        .into_iter()
        .map(|(reason, (nodes, processes))| TallyReason {
            reason,
            nodes,
            processes: processes.into_iter().collect(),
        })
        .collect();
    // The sort keeps the order by text among equals.
    all.sort_by_key(|one| std::cmp::Reverse(one.nodes));
    all.truncate(MOST_REASONS);
    all
}

/// `17 nodes: 12 × call in progress (voip), 5 × backup runs (db)`; empty where nobody objects.
pub fn in_one_line(tally: &Tally) -> String {
    let objecting = tally.veto + tally.later + tally.failed;
    if objecting == 0 {
        return String::new();
    }
    let one = |one: &TallyReason| {
        let by: Vec<&str> = one
            .processes
            .iter()
            .take(3)
            .map(ProcessName::as_str)
            .collect();
        let by = if by.is_empty() {
            String::new()
        } else {
            format!(" ({})", by.join(", "))
        };
        format!("{} × {}{by}", one.nodes, one.reason)
    };
    let reasons: Vec<String> = tally.reasons.iter().take(5).map(one).collect();
    let noun = if objecting == 1 { "node" } else { "nodes" };
    format!("{objecting} {noun}: {}", reasons.join(", "))
}

#[cfg(test)]
mod tests;
