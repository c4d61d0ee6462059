//! Changes as the database has them: the intent of each step before its act, votes, the end.
//! What has ended is the history.

use model::change::{ChangeReport, PlanReport, Request};
use model::transition::{Transition, Votes};
use model::{ChangeId, Generation};
use rusqlite::{OptionalExtension, params};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Error;
use super::clock::Time;
use super::config_files::Change as ConfigChange;
use super::db::{Db, failed, int, uint};
use super::objects::Key;

/// One step of a change, recorded before it is taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "step")]
pub enum Step {
    /// The target's tree is built.
    Stage,
    /// Processes are told to get ready.
    Prepare,
    /// The pointer moves. From here on the change is finished or rolled back, never just dropped.
    Switch,
    /// Files below `/etc` change, with what stood there before.
    Config {
        /// Each path once.
        changes: Vec<ConfigChange>,
    },
    /// sysmgrd moves the processes.
    Transition {
        /// State of some is copied, migrated or put back, which outlives the machine's power.
        #[serde(default)]
        rewrites: bool,
    },
    /// The files, the pointer and then the processes go back.
    RollBack {
        /// Why.
        #[serde(default)]
        why: String,
    },
    /// The target becomes what the next boot runs.
    Persist,
}

/// What a change begins with.
#[derive(Debug, Clone)]
pub struct Beginning<'a> {
    /// Who asked for it.
    pub requester: &'a str,
    /// The boot that it happens in.
    pub boot: &'a str,
    /// The generation that runs.
    pub origin: Generation,
    /// The generation that it makes.
    pub target: Generation,
    /// What was asked for.
    pub request: &'a Request,
    /// What it would do.
    pub plan: &'a PlanReport,
}

/// A change that has no end yet.
#[derive(Debug, Clone)]
pub struct Unfinished {
    /// Its number.
    pub id: ChangeId,
    /// The boot in which it began.
    pub boot: String,
    /// The generation before it.
    pub origin: Generation,
    /// The generation that it makes.
    pub target: Generation,
    /// What was asked for.
    pub request: Request,
    /// What sysmgrd was, or was to be, told.
    pub transition: Option<Transition>,
    /// Its steps in order, each with whether it was done.
    pub steps: Vec<(Step, bool)>,
}

impl Unfinished {
    /// Whether the pointer may have moved.
    pub fn has_switched(&self) -> bool {
        self.steps.iter().any(|(step, _)| *step == Step::Switch)
    }

    /// Whether the new set stays though something of it did not come up: asked for, or because
    /// state may have been rewritten that the old programs cannot read.
    pub fn stays(&self) -> bool {
        self.request.keep_on_failure || self.request.one_way
    }

    /// The number of the step that is its way back, and why it was begun.
    pub fn way_back(&self) -> Option<(i64, &str)> {
        // Steps are numbered from 1 without a gap.
        for (number, (step, _)) in (1_i64..).zip(&self.steps) {
            if let Step::RollBack { why } = step {
                return Some((number, why));
            }
        }
        None
    }

    /// Whether it keeps the trial that runs, and moves nothing.
    pub fn is_commit(&self) -> bool {
        self.origin == self.target
    }

    /// Every change of a file below `/etc` that may have been made, oldest first.
    pub fn config_changes(&self) -> Vec<ConfigChange> {
        let changes = self.steps.iter().filter_map(|(step, _)| match step {
            Step::Config { changes } => Some(changes.clone()),
            Step::Stage
            | Step::Prepare
            | Step::Switch
            | Step::Transition { .. }
            | Step::RollBack { .. }
            | Step::Persist => None,
        });
        changes.flatten().collect()
    }
}

fn json<T: Serialize>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

pub(super) fn document<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|error| {
        Error::Damaged(format!(
            "the node's database holds a document that cannot be read: {error}"
        ))
    })
}

impl Db {
    /// Records that a change begins; its number.
    pub fn begin_change(&mut self, beginning: &Beginning<'_>) -> Result<ChangeId, Error> {
        let set = &beginning.plan.set;
        self.together("begin a change", |tx| {
            let sql = "INSERT INTO changes (requester, began, boot, origin, target, request, \
                       before, after, plan) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
            tx.execute(
                sql,
                params![
                    beginning.requester,
                    Time::now().0,
                    beginning.boot,
                    int(beginning.origin.0),
                    int(beginning.target.0),
                    json(beginning.request)?,
                    json(&set.before)?,
                    json(&set.after)?,
                    json(beginning.plan)?,
                ],
            )?;
            Ok(ChangeId(uint(tx.last_insert_rowid())))
        })
    }

    /// Records the intent of a step; its number in the change. It is on the disk when this returns
    /// where the step changes what outlives the machine's power.
    pub fn intend(&mut self, change: ChangeId, step: &Step) -> Result<i64, Error> {
        let record = |tx: &rusqlite::Transaction<'_>| {
            let sql = "INSERT INTO journal SELECT ?1, COALESCE(MAX(seq), 0) + 1, ?2, ?3, NULL \
                       FROM journal WHERE change = ?1 RETURNING seq";
            tx.query_row(
                sql,
                params![int(change.0), json(step)?, Time::now().0],
                |row| row.get(0),
            )
        };
        match step {
            Step::Config { .. } | Step::Transition { rewrites: true } => {
                self.durably("write the journal", record)
            }
            // After the power went, what is not committed is undone whatever these say.
            Step::Stage
            | Step::Prepare
            | Step::Switch
            | Step::Transition { rewrites: false }
            | Step::RollBack { .. }
            | Step::Persist => self.together("write the journal", record),
        }
    }

    /// Records that a step was taken.
    pub fn step_done(&mut self, change: ChangeId, seq: i64) -> Result<(), Error> {
        self.together("write the journal", |tx| {
            let sql = "UPDATE journal SET done = ?3 WHERE change = ?1 AND seq = ?2";
            tx.execute(sql, params![int(change.0), seq, Time::now().0])
                .map(drop)
        })
    }

    /// Records the votes on a change.
    pub fn note_votes(&mut self, change: ChangeId, votes: &Votes) -> Result<(), Error> {
        self.together("record votes", |tx| {
            let sql = "UPDATE changes SET votes = ?2 WHERE id = ?1";
            tx.execute(sql, params![int(change.0), json(votes)?])
                .map(drop)
        })
    }

    /// Records what sysmgrd is to be told, so that it can be told again.
    pub fn note_transition(&mut self, change: ChangeId, told: &Transition) -> Result<(), Error> {
        self.together("record a transition", |tx| {
            let sql = "UPDATE changes SET transition = ?2 WHERE id = ?1";
            tx.execute(sql, params![int(change.0), json(told)?])
                .map(drop)
        })
    }

    /// Remembers a transition whose state acts are to be undone before processes start; `None`:
    /// they are.
    pub fn note_undone(&mut self, told: Option<&Transition>) -> Result<(), Error> {
        self.durably("remember what is to be undone", |tx| {
            tx.execute("DELETE FROM undone", [])?;
            if let Some(told) = told {
                tx.execute("INSERT INTO undone VALUES (1, ?1)", [json(told)?])?;
            }
            Ok(())
        })
    }

    /// A transition whose state acts are to be undone before processes start.
    pub fn undone(&self) -> Result<Option<Transition>, Error> {
        let sql = "SELECT transition FROM undone";
        let found = self.connection.query_row(sql, [], |row| row.get(0));
        let found: Option<String> = found
            .optional()
            .map_err(failed("tell what is to be undone"))?;
        found.as_deref().map(document).transpose()
    }

    /// Records how a change ended.
    pub fn end_change(&mut self, report: &ChangeReport) -> Result<(), Error> {
        self.durably("end a change", |tx| {
            // The transition is as large as the set's processes and of no use any more, but where
            // a reboot may yet undo the change.
            let sql = "UPDATE changes SET ended = ?2, report = ?3, transition = CASE WHEN \
                       json_extract(request, '$.uncommitted') AND ?4 THEN transition END \
                       WHERE id = ?1";
            tx.execute(
                sql,
                params![
                    int(report.change.0),
                    Time::now().0,
                    json(report)?,
                    report.trial
                ],
            )
            .map(drop)
        })
    }

    /// What an uncommitted change had sysmgrd do to the state of processes, where it did.
    pub fn kept_transition(&self, change: ChangeId) -> Result<Option<Transition>, Error> {
        let sql = "SELECT transition FROM changes WHERE id = ?1 AND transition IS NOT NULL";
        let found = (self.connection).query_row(sql, [int(change.0)], |row| row.get(0));
        let found: Option<String> = found.optional().map_err(failed("read a transition"))?;
        let told: Option<Transition> = found.as_deref().map(document).transpose()?;
        Ok(told.filter(|told| !told.state.is_empty()))
    }

    /// Leaves nothing of a change that was only a question.
    pub fn drop_change(&mut self, change: ChangeId) -> Result<(), Error> {
        self.together("forget a question", |tx| {
            let sql = "DELETE FROM changes WHERE id = ?1 AND ended IS NULL";
            tx.execute(sql, [int(change.0)]).map(drop)
        })
    }

    /// Changes without an end, oldest first: there is at most one unless the machine was odd.
    pub fn unfinished(&self) -> Result<Vec<Unfinished>, Error> {
        let doing = "look for unfinished changes";
        let sql = "SELECT id, boot, origin, target, request, transition FROM changes \
                   WHERE ended IS NULL ORDER BY id";
        let mut statement = self.connection.prepare(sql).map_err(failed(doing))?;
        let rows = statement
            .query_map([], |row| {
                let id: i64 = row.get(0)?;
                let boot: String = row.get(1)?;
                let ends = (row.get::<_, i64>(2)?, row.get::<_, i64>(3)?);
                let documents = (row.get::<_, String>(4)?, row.get::<_, Option<String>>(5)?);
                Ok((id, boot, ends, documents))
            })
            .map_err(failed(doing))?;
        let mut found = Vec::new();
        for row in rows {
            let (id, boot, (origin, target), (request, transition)) = row.map_err(failed(doing))?;
            let id = ChangeId(uint(id));
            found.push(Unfinished {
                id,
                boot,
                origin: Generation(uint(origin)),
                target: Generation(uint(target)),
                request: document(&request)?,
                transition: transition.as_deref().map(document).transpose()?,
                steps: self.steps(id)?,
            });
        }
        Ok(found)
    }

    fn steps(&self, change: ChangeId) -> Result<Vec<(Step, bool)>, Error> {
        let doing = "read the journal";
        let sql = "SELECT step, done IS NOT NULL FROM journal WHERE change = ?1 ORDER BY seq";
        let mut statement = self.connection.prepare(sql).map_err(failed(doing))?;
        let rows = statement
            .query_map([int(change.0)], |row| {
                Ok((row.get::<_, String>(0)?, row.get(1)?))
            })
            .map_err(failed(doing))?;
        let mut steps = Vec::new();
        for row in rows {
            let (step, done) = row.map_err(failed(doing))?;
            steps.push((document(&step)?, done));
        }
        Ok(steps)
    }

    /// The changes that made this generation run, or were to, oldest first.
    pub fn changes_to(&self, generation: Generation) -> Result<Vec<ChangeId>, Error> {
        let doing = "tell which changes led to a generation";
        let sql = "SELECT id FROM changes WHERE target = ?1 ORDER BY id";
        let mut statement = self.connection.prepare(sql).map_err(failed(doing))?;
        let rows = statement
            .query_map([int(generation.0)], |row| Ok(ChangeId(uint(row.get(0)?))))
            .map_err(failed(doing))?;
        rows.collect::<rusqlite::Result<_>>().map_err(failed(doing))
    }

    /// What a change did below `/etc`, oldest first.
    pub fn config_changes(&self, change: ChangeId) -> Result<Vec<ConfigChange>, Error> {
        let mut all = Vec::new();
        for (step, _) in self.steps(change)? {
            if let Step::Config { changes } = step {
                all.extend(changes);
            }
        }
        Ok(all)
    }

    /// The generation that ran before this one came to run, by the newest change that led here.
    pub fn came_from(&self, generation: Generation) -> Result<Option<Generation>, Error> {
        let sql = "SELECT origin FROM changes WHERE target = ?1 AND origin != ?1 \
                   AND json_extract(report, '$.generation') = ?1 ORDER BY id DESC LIMIT 1";
        let found = self
            .connection
            .query_row(sql, [int(generation.0)], |row| row.get(0))
            .optional();
        let found: Option<i64> = found.map_err(failed("tell what ran before"))?;
        Ok(found
            .map(|number| Generation(uint(number)))
            .filter(|one| one.0 != 0))
    }

    /// Objects that hold what stood below `/etc` before changes to `oldest` and later generations.
    pub fn config_objects(&self, oldest: Generation) -> Result<Vec<Key>, Error> {
        let doing = "tell which configuration is kept";
        let sql = "SELECT step FROM journal JOIN changes ON changes.id = journal.change \
                   WHERE target >= ?1 AND step LIKE '%\"config\"%'";
        let mut statement = self.connection.prepare(sql).map_err(failed(doing))?;
        let rows = statement
            .query_map([int(oldest.0)], |row| row.get::<_, String>(0))
            .map_err(failed(doing))?;
        let mut keys = Vec::new();
        for row in rows {
            if let Step::Config { changes } = document(&row.map_err(failed(doing))?)? {
                keys.extend(changes.iter().filter_map(ConfigChange::kept));
            }
        }
        Ok(keys)
    }

    /// The change that is going on or was last, with the time at which it began.
    pub fn began(&self, change: ChangeId) -> Result<Option<Time>, Error> {
        let sql = "SELECT began FROM changes WHERE id = ?1";
        let found = self
            .connection
            .query_row(sql, [int(change.0)], |row| row.get(0))
            .optional();
        Ok(found.map_err(failed("read a change"))?.map(Time))
    }
}

#[cfg(test)]
mod tests {
    use model::change::{HistoryFilter, Outcome};

    use super::*;

    #[test]
    fn a_change_is_unfinished_until_it_ends_and_then_history() {
        let dir = tempfile::tempdir().unwrap();
        let mut db = Db::open(&dir.path().join("state.db")).unwrap();
        let request = Request {
            force: true,
            ..Request::default()
        };
        let plan = PlanReport::default();
        let beginning = Beginning {
            requester: "root",
            boot: "b",
            origin: Generation(1),
            target: Generation(2),
            request: &request,
            plan: &plan,
        };
        let id = db.begin_change(&beginning).unwrap();
        let stage = db.intend(id, &Step::Stage).unwrap();
        db.step_done(id, stage).unwrap();
        db.intend(id, &Step::Switch).unwrap();
        let unfinished = db.unfinished().unwrap();
        assert_eq!(unfinished.len(), 1);
        assert_eq!(
            unfinished[0].steps,
            [(Step::Stage, true), (Step::Switch, false)]
        );
        assert!(unfinished[0].has_switched());
        assert_eq!(
            db.next_generation().unwrap(),
            Generation(3),
            "a target is never used twice"
        );
        let report = ChangeReport::new(id, Outcome::Done, Generation(2));
        db.end_change(&report).unwrap();
        assert!(db.unfinished().unwrap().is_empty());
        let history = db.history(&HistoryFilter::default()).unwrap();
        assert_eq!(history[0].report.as_ref(), Some(&report));
        assert!(history[0].request.force);
        assert!(history[0].ended.is_some());
    }
}
