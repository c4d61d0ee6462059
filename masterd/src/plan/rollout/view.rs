//! An update as people see it.

use jiff::Timestamp;
use model::wire::{NodeName, NodeRollout, RolloutView};

use super::{Part, Rollout};
use crate::plan::tally;

impl Rollout {
    /// All of it.
    pub fn view(&self) -> RolloutView {
        let head = &self.head;
        RolloutView {
            id: head.id,
            phase: head.phase,
            paused: head.paused,
            update: head.update.clone(),
            by: head.by.clone(),
            began: rfc3339(head.began_ms),
            ended: head.ended_ms.map(rfc3339),
            tally: tally::of(self.parts.values()),
            wave: (head.wave, head.waves),
            decisions: head.decisions.clone(),
            discrepancies: head.discrepancies.clone(),
            notes: head.notes.clone(),
            detail: head.detail.clone(),
            nodes: self
                .parts
                .iter()
                .map(|(node, part)| shown(node, part))
                .collect(),
        }
    }

    /// One node's part of it.
    pub fn part_view(&self, node: &NodeName) -> Option<NodeRollout> {
        self.parts.get(node).map(|part| shown(node, part))
    }
}

fn shown(node: &NodeName, part: &Part) -> NodeRollout {
    NodeRollout {
        node: node.clone(),
        wave: part.wave,
        phase: part.phase.clone(),
        forced: part.forced,
        base: part.base,
        base_list: part.base_list,
        target: part.target,
        list: part.list,
        counter: part.counter,
        report: part.report.clone(),
        check: part.check.clone(),
        reboot: part.reboot.clone(),
        progress: part.progress.clone(),
    }
}

fn rfc3339(ms: u64) -> String {
    let ms = i64::try_from(ms).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(ms).map_or_else(|_| String::new(), |at| at.to_string())
}
