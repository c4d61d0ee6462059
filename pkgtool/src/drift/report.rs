//! Findings, grouped by what restarts them.

use std::collections::BTreeMap;

use super::{Blind, DriftedFile, Finding, Group, How, Process, Report, Sights};
use crate::drift::units::{self, Owner};

/// All of it, the worst first.
pub fn report(sights: Sights) -> Report {
    let mut by_owner: BTreeMap<Owner, Vec<Finding>> = BTreeMap::new();
    for finding in sights.findings {
        by_owner
            .entry(finding.owner.clone())
            .or_default()
            .push(finding);
    }
    let mut groups: Vec<Group> = by_owner
        .into_iter()
        .filter_map(|(owner, findings)| group(owner, findings))
        .collect();
    groups.sort_by(|one, two| (one.how, &one.owner).cmp(&(two.how, &two.owner)));
    let mut blind: BTreeMap<String, Vec<Process>> = BTreeMap::new();
    for (program, process) in sights.blind {
        blind.entry(program).or_default().push(process);
    }
    Report {
        how: groups.iter().map(|group| group.how).min(),
        looked_at: sights.looked_at,
        unread: sights.unread,
        old_bytes: sights.old_bytes,
        groups,
        blind: blind
            .into_iter()
            .map(|(program, processes)| Blind { program, processes })
            .collect(),
    }
}

fn group(owner: Owner, findings: Vec<Finding>) -> Option<Group> {
    let how = findings.iter().map(|finding| finding.how).min()?;
    let mut files: BTreeMap<(How, String, String), Vec<Process>> = BTreeMap::new();
    for finding in findings {
        files
            .entry((finding.how, finding.path, finding.reason))
            .or_default()
            .push(finding.process);
    }
    let files = files.into_iter().map(|((how, path, reason), mut all)| {
        all.sort();
        all.dedup();
        DriftedFile {
            path,
            how,
            reason,
            processes: all,
        }
    });
    Some(Group {
        restart: (how.is_drift() || how == How::Unknown).then(|| units::restart(&owner)),
        how,
        files: files.collect(),
        owner,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(pid: u32, unit: &str, path: &str, how: How) -> Finding {
        Finding {
            process: Process {
                pid,
                name: "it".to_owned(),
            },
            owner: Owner::Unit {
                name: unit.to_owned(),
            },
            path: path.to_owned(),
            how,
            reason: String::new(),
        }
    }

    #[test]
    fn the_worst_comes_first_and_only_drift_needs_a_restart() {
        let report = report(Sights {
            looked_at: 9,
            findings: vec![
                finding(3, "a.service", "/lib/x", How::Same),
                finding(2, "z.service", "/lib/y", How::Rebuilt),
                finding(1, "z.service", "/lib/x", How::Changed),
                finding(2, "z.service", "/lib/x", How::Changed),
                finding(2, "z.service", "/lib/x", How::Changed),
                finding(7, "d.service", "/lib/x", How::Deleted),
            ],
            ..Sights::default()
        });
        assert_eq!(report.how, Some(How::Changed));
        let told: Vec<_> = report
            .groups
            .iter()
            .map(|group| (group.owner.title(), group.how, group.restart.is_some()))
            .collect();
        assert_eq!(
            told,
            [
                ("z.service".to_owned(), How::Changed, true),
                ("d.service".to_owned(), How::Deleted, true),
                ("a.service".to_owned(), How::Same, false),
            ]
        );
        let files = &report.groups[0].files;
        assert_eq!(
            (files[0].path.as_str(), files[0].how),
            ("/lib/x", How::Changed)
        );
        let pids: Vec<u32> = files[0].processes.iter().map(|one| one.pid).collect();
        assert_eq!(pids, [1, 2]);
        assert_eq!(files[1].how, How::Rebuilt);
    }

    #[test]
    fn nothing_replaced_is_nothing_to_say() {
        let report = report(Sights::default());
        assert_eq!((report.how, report.groups.len()), (None, 0));
    }
}
