//! The proof after a changeover: nobody whom it started or told has a replaced file mapped.
//!
//! sysmgrd looks, from inside, before it answers a transition that names the replaced files: it has the
//! control groups, looks at several processes at once, and answers what it found instead of all that
//! is mapped. Looked at again from here is only what that answer does not cover: where sysmgrd went
//! away in the middle, the last answer is about what was left to do then.

use std::collections::BTreeSet;

use model::ProcessName;
use model::change::Verdict;
use model::report::Chain;
use model::transition::{Announcement, StillMapped, TransitionReport};

use super::change::Changeover;
use super::lists;

/// What sysmgrd has looked at, and what it found.
#[derive(Debug)]
pub(super) struct Looked {
    at: BTreeSet<ProcessName>,
    still: Vec<StillMapped>,
}

impl Looked {
    /// What an answer says; nothing where nobody looked.
    pub(super) fn of(report: &TransitionReport) -> Option<Self> {
        let still = report.still_mapped.clone()?;
        let names = report.processes.iter().map(|one| one.name.clone());
        Some(Self {
            at: names.collect(),
            still,
        })
    }

    fn covers(&self, reached: &BTreeSet<&ProcessName>) -> bool {
        reached.iter().all(|name| self.at.contains(*name))
    }
}

impl Changeover {
    /// Processes that still map what was replaced, though they were to let go of it.
    pub(super) async fn verify(
        &mut self,
        announcement: &Announcement,
        looked: Option<Looked>,
    ) -> Vec<String> {
        let stale = lists::stale(announcement);
        let reached: BTreeSet<&ProcessName> = (self.plan.processes.iter())
            .filter(|one| {
                matches!(
                    one.verdict,
                    Verdict::Start | Verdict::Restart | Verdict::Notify
                )
            })
            .map(|one| &one.name)
            .collect();
        if reached.is_empty() || stale.is_empty() {
            return Vec::new();
        }
        let still = match looked.filter(|looked| looked.covers(&reached)) {
            Some(looked) => looked.still,
            None => match self.sysmgr.mapped().await {
                Ok(mapped) => lists::still_mapped(&mapped, &stale),
                Err(error) => {
                    return vec![format!("what is mapped was not seen: {}", Chain(&error))];
                }
            },
        };
        let of_reached = still.iter().filter(|one| reached.contains(&one.process));
        let found = of_reached.filter_map(|one| {
            let (process, pid, path) = (&one.process, one.pid, stale.get(&one.file)?);
            Some(format!("{process} (pid {pid}) still maps the old {path}"))
        });
        let found: BTreeSet<String> = found.collect();
        found.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use model::change::ProcessOutcome;

    use super::*;

    #[test]
    fn an_answer_counts_for_those_that_it_is_about() {
        let name = |text: &str| text.parse::<ProcessName>().unwrap();
        let outcome = |text: &str| ProcessOutcome {
            name: name(text),
            verdict: Verdict::Restart,
            down_ms: 0,
            ready_ms: 0,
            detail: None,
            moments: Vec::new(),
        };
        let mut report = TransitionReport {
            processes: vec![outcome("a"), outcome("b")],
            ..TransitionReport::default()
        };
        assert!(Looked::of(&report).is_none(), "nobody looked");
        report.still_mapped = Some(Vec::new());
        let looked = Looked::of(&report).unwrap();
        let covers = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|text| name(text)).collect();
            looked.covers(&names.iter().collect())
        };
        assert!(covers(&["a", "b"]) && covers(&["a"]) && !covers(&["a", "c"]));
    }
}
