//! Changes of the past, as the database has them: a list by filter, and all of one.

use model::change::{
    ChangeRecord, ChangeReport, HistoryEntry, HistoryFilter, PlanReport, SetChange, StepRecord,
    Verdict,
};
use model::transition::Votes;
use model::{ChangeId, Generation, PackageName, ProcessName};
use rusqlite::Row;

use super::Error;
use super::clock::Time;
use super::db::{Db, failed, int, uint};
use super::journal::document;

const DOING: &str = "read the history";

const COLUMNS: &str = "id, requester, began, ended, request, before, after, origin, report, votes";

impl Db {
    /// Changes that `filter` means, newest first.
    pub fn history(&self, filter: &HistoryFilter) -> Result<Vec<HistoryEntry>, Error> {
        // The name as it stands in the documents: most changes that do not mean the process are
        // passed over without being decoded. The plan counts where there is no end yet.
        let sql = format!(
            "SELECT {COLUMNS}, CASE WHEN report IS NULL THEN plan END FROM changes \
             WHERE (?1 IS NULL OR json_extract(report, '$.outcome') = ?1) \
             AND (?2 IS NULL OR instr(COALESCE(report, plan) || COALESCE(votes, ''), ?2) > 0) \
             ORDER BY id DESC"
        );
        let outcome = filter.outcome.map(|outcome| outcome.to_string());
        let name = filter.process.as_ref().map(|name| format!("\"{name}\""));
        let mut statement = self.connection.prepare(&sql).map_err(failed(DOING))?;
        let mut rows = statement
            .query(rusqlite::params![outcome, name])
            .map_err(failed(DOING))?;
        let limit = match filter.limit {
            0 => usize::MAX,
            limit => usize::try_from(limit).unwrap_or(usize::MAX),
        };
        let mut entries = Vec::new();
        while entries.len() < limit
            && let Some(row) = rows.next().map_err(failed(DOING))?
        {
            let entry = entry(row)?;
            let in_package = |name| brings_or_takes(&entry.set, name);
            if !filter.package.as_ref().is_none_or(in_package) {
                continue;
            }
            if let Some(process) = &filter.process {
                let plan: Option<PlanReport> = optional(row, 10)?;
                let votes: Votes = optional(row, 9)?.unwrap_or_default();
                if !reaches(entry.report.as_ref(), plan.as_ref(), &votes, process) {
                    continue;
                }
            }
            entries.push(entry);
        }
        Ok(entries)
    }

    /// All that is known of a change; none: there was no such change.
    pub fn record(&self, change: ChangeId) -> Result<Option<ChangeRecord>, Error> {
        let sql = format!("SELECT {COLUMNS}, plan FROM changes WHERE id = ?1");
        let mut statement = self.connection.prepare(&sql).map_err(failed(DOING))?;
        let mut rows = statement.query([int(change.0)]).map_err(failed(DOING))?;
        let Some(row) = rows.next().map_err(failed(DOING))? else {
            return Ok(None);
        };
        Ok(Some(ChangeRecord {
            entry: entry(row)?,
            plan: document(&row.get::<_, String>(10).map_err(failed(DOING))?)?,
            votes: optional(row, 9)?,
            steps: self.step_records(change)?,
        }))
    }

    fn step_records(&self, change: ChangeId) -> Result<Vec<StepRecord>, Error> {
        let sql = "SELECT json_extract(step, '$.step'), intended, done FROM journal \
                   WHERE change = ?1 ORDER BY seq";
        let mut statement = self.connection.prepare(sql).map_err(failed(DOING))?;
        let rows = statement.query_map([int(change.0)], |row| {
            Ok(StepRecord {
                step: row.get(0)?,
                intended: Time(row.get(1)?).rfc3339(),
                done: row.get::<_, Option<i64>>(2)?.map(|at| Time(at).rfc3339()),
            })
        });
        let steps = rows.and_then(Iterator::collect);
        steps.map_err(failed(DOING))
    }
}

/// Whether a package came, went or took another version.
fn brings_or_takes(set: &SetChange, package: &PackageName) -> bool {
    let of = |list: &[String]| -> Vec<String> {
        let versions = list.iter().filter_map(|one| one.split_once('='));
        versions
            .filter(|(name, _)| *name == package.as_str())
            .map(|(_, version)| version.to_owned())
            .collect()
    };
    of(&set.before) != of(&set.after)
}

/// Whether a change did something to a process, or asked it; while it goes on: is to.
fn reaches(
    report: Option<&ChangeReport>,
    plan: Option<&PlanReport>,
    votes: &Votes,
    process: &ProcessName,
) -> bool {
    let asked = votes
        .vetoes
        .iter()
        .map(|veto| &veto.process)
        .chain(&votes.accepted)
        .chain(&votes.also_reached)
        .chain(votes.moments.iter().map(|(name, _)| name))
        .any(|name| name == process);
    let touched = report.is_some_and(|report| {
        let outcomes = report.processes.iter();
        outcomes
            .filter(|one| one.verdict != Verdict::None || !one.moments.is_empty())
            .map(|one| &one.name)
            .chain(report.vetoes.iter().map(|veto| &veto.process))
            .any(|name| name == process)
    });
    let planned = plan.is_some_and(|plan| {
        let impacts = plan.processes.iter();
        impacts
            .filter(|one| one.verdict != Verdict::None)
            .any(|one| one.name == *process)
    });
    asked || touched || planned
}

fn optional<T: serde::de::DeserializeOwned>(
    row: &Row<'_>,
    column: usize,
) -> Result<Option<T>, Error> {
    let text: Option<String> = row.get(column).map_err(failed(DOING))?;
    text.as_deref().map(document).transpose()
}

fn entry(row: &Row<'_>) -> Result<HistoryEntry, Error> {
    let failed = failed(DOING);
    let text = |at: usize| row.get::<_, String>(at).map_err(&failed);
    let number = |at: usize| row.get::<_, i64>(at).map_err(&failed);
    let ended: Option<i64> = row.get(3).map_err(&failed)?;
    Ok(HistoryEntry {
        change: ChangeId(uint(number(0)?)),
        by: text(1)?,
        began: Time(number(2)?).rfc3339(),
        ended: ended.map(|millis| Time(millis).rfc3339()),
        request: document(&text(4)?)?,
        set: SetChange {
            before: document(&text(5)?)?,
            after: document(&text(6)?)?,
        },
        from: Generation(uint(number(7)?)),
        report: optional(row, 8)?,
    })
}

#[cfg(test)]
mod tests {
    use model::change::{Outcome, ProcessOutcome, Request, Veto};

    use super::super::journal::{Beginning, Step};
    use super::*;

    fn outcome(name: &str, verdict: Verdict) -> ProcessOutcome {
        ProcessOutcome {
            name: name.parse().unwrap(),
            verdict,
            down_ms: 1,
            ready_ms: 1,
            detail: None,
            moments: Vec::new(),
        }
    }

    /// A change from this set to that one; its number.
    fn begin(db: &mut Db, before: &[&str], after: &[&str]) -> ChangeId {
        let own = |list: &[&str]| list.iter().map(|one| (*one).to_owned()).collect();
        let plan = PlanReport {
            set: SetChange {
                before: own(before),
                after: own(after),
            },
            ..PlanReport::default()
        };
        let beginning = Beginning {
            requester: "root",
            boot: "b",
            origin: Generation(1),
            target: Generation(2),
            request: &Request::default(),
            plan: &plan,
        };
        db.begin_change(&beginning).unwrap()
    }

    /// Four changes: done, vetoed, rolled back, and one that has not ended.
    fn past() -> (tempfile::TempDir, Db) {
        let dir = tempfile::tempdir().unwrap();
        let mut db = Db::open(&dir.path().join("state.db")).unwrap();
        let id = begin(&mut db, &[], &["a=1", "b=1"]);
        let mut report = ChangeReport::new(id, Outcome::Done, Generation(2));
        report.processes = vec![
            outcome("web", Verdict::Start),
            outcome("webmail", Verdict::None),
        ];
        db.end_change(&report).unwrap();
        let id = begin(&mut db, &["a=1", "b=1"], &["a=2", "b=1"]);
        let veto = Veto {
            process: "webmail".parse().unwrap(),
            reason: "no".into(),
        };
        let votes = Votes {
            vetoes: vec![veto],
            ..Votes::default()
        };
        db.note_votes(id, &votes).unwrap();
        db.end_change(&ChangeReport::new(id, Outcome::Vetoed, Generation(2)))
            .unwrap();
        let id = begin(&mut db, &["a=1", "b=1"], &["a=1", "b=1", "aa=1"]);
        let stage = db.intend(id, &Step::Stage).unwrap();
        db.step_done(id, stage).unwrap();
        db.intend(
            id,
            &Step::Config {
                changes: Vec::new(),
            },
        )
        .unwrap();
        let report = ChangeReport::new(id, Outcome::RolledBack, Generation(2));
        db.end_change(&report).unwrap();
        begin(&mut db, &["b=1", "a=1"], &["a=1"]);
        (dir, db)
    }

    #[test]
    fn the_history_is_picked_by_process_package_and_outcome() {
        let (_dir, db) = past();
        let picked = |filter: HistoryFilter| -> Vec<u64> {
            let entries = db.history(&filter).unwrap();
            entries.iter().map(|entry| entry.change.0).collect()
        };
        let all = HistoryFilter::default;
        let process = |name: &str| HistoryFilter {
            process: Some(name.parse().unwrap()),
            ..all()
        };
        let package = |name: &str| HistoryFilter {
            package: Some(name.parse().unwrap()),
            ..all()
        };
        let outcome = |outcome| HistoryFilter {
            outcome: Some(outcome),
            ..all()
        };
        assert_eq!(picked(all()), [4, 3, 2, 1]);
        assert_eq!(picked(HistoryFilter { limit: 2, ..all() }), [4, 3]);
        assert_eq!(picked(process("web")), [1]);
        assert_eq!(
            picked(process("webmail")),
            [2],
            "what nothing was done to is not told"
        );
        assert_eq!(picked(process("we")), [0; 0]);
        assert_eq!(picked(package("a")), [2, 1]);
        assert_eq!(picked(package("b")), [4, 1]);
        assert_eq!(picked(package("aa")), [3]);
        assert_eq!(picked(outcome(Outcome::RolledBack)), [3]);
        let mut both = package("a");
        both.outcome = Some(Outcome::Done);
        assert_eq!(picked(both), [1]);
        let mut newest = package("a");
        newest.limit = 1;
        assert_eq!(picked(newest), [2], "the limit counts what is meant");
    }

    #[test]
    fn the_record_of_a_change_has_its_plan_votes_and_steps() {
        let (_dir, db) = past();
        let vetoed = db.record(ChangeId(2)).unwrap().unwrap();
        assert_eq!(*vetoed.plan.set.after, ["a=2", "b=1"]);
        assert_eq!(vetoed.votes.unwrap().vetoes[0].reason, "no");
        let back = db.record(ChangeId(3)).unwrap().unwrap();
        let steps: Vec<_> = back
            .steps
            .iter()
            .map(|one| (one.step.as_str(), one.done.is_some()))
            .collect();
        assert_eq!(steps, [("stage", true), ("config", false)]);
        assert!(back.votes.is_none());
        assert!(db.record(ChangeId(9)).unwrap().is_none());
    }
}
