//! Generations that are kept: pins, rollback points that are given up, and trials that stay.

use std::collections::BTreeSet;

use model::change::{
    ChangeReport, Failure, Outcome, PlanReport, Request, RunningChange, SetChange,
};
use model::report::Chain;
use model::{Generation, PackageId, PackageName};

use super::change::blocking;
use super::observe::is_alive;
use super::phases::Phases;
use super::request::{Error, Message, Reply};
use super::{Context, Engine, Waiting, answer, recover};
use crate::sys::clock::Time;
use crate::sys::db::Db;
use crate::sys::generation::Entry;
use crate::sys::journal::{Beginning, Step};
use crate::sys::packages;

/// What each version replaced, by name.
type Previous = std::collections::BTreeMap<PackageName, Vec<PackageId>>;

impl Engine {
    /// Keeps a generation until it is unpinned, or no longer; answers whether that was news.
    pub(super) fn pin(&mut self, number: Generation, pinned: bool) -> Result<bool, Error> {
        if self.kept_row(number)? {
            let why = format!("generation {number} is a trial: commit it first");
            return Err(Error::Invalid(why));
        }
        Ok(self.db.pin(number, pinned)?)
    }

    /// Whether a generation that must be known is a trial.
    fn kept_row(&self, number: Generation) -> Result<bool, Error> {
        let all = self.db.generations()?;
        if all.iter().any(|(known, _)| *known == number) {
            return Ok(self.db.generation(number)?.trial);
        }
        let known: Vec<String> = all.iter().map(|(number, _)| number.to_string()).collect();
        Err(Error::Invalid(format!(
            "generation {number} is not kept: there are {}",
            known.join(", ")
        )))
    }

    /// [`Self::forget`], after the start of the set where that goes on.
    pub(super) async fn forget_later(
        &mut self,
        numbers: Vec<Generation>,
        reply: Reply<Vec<Generation>>,
    ) {
        if self.must_wait() {
            self.waiting.push_back(Waiting::Forget(numbers, reply));
        } else {
            answer(reply, self.forget(&numbers).await);
        }
    }

    /// Gives generations up that could be gone back to. All of them, or none.
    pub(super) async fn forget(
        &mut self,
        numbers: &[Generation],
    ) -> Result<Vec<Generation>, Error> {
        self.refuse_busy()?;
        let statuses = self.sysmgr.processes().await?;
        for number in numbers {
            let trial = self.kept_row(*number)?;
            let lives = |one: &&_| is_alive(one) && one.generation == *number;
            let why = if *number == self.running || trial {
                "runs".to_owned()
            } else if *number == self.db.committed()? {
                "is what the next boot runs".to_owned()
            } else if self.db.pinned()?.contains(number) {
                format!("is pinned: pkgtool unpin {number} first")
            } else if let Some(one) = statuses.iter().find(lives) {
                format!("is where {} lives: restart it first", one.name)
            } else {
                continue;
            };
            return Err(Error::Invalid(format!("generation {number} {why}")));
        }
        for number in numbers {
            self.db.delete_generation(*number)?;
        }
        self.collect().await?;
        Ok(numbers.to_vec())
    }

    pub(super) fn refuse_busy(&self) -> Result<(), Error> {
        match (&self.change, &self.open) {
            (None, None) => Ok(()),
            (None, Some(open)) => Err(open.refusal()),
            (Some(change), _) => Err(Error::Busy(format!(
                "change {} holds the node: asked for by {}, since {}",
                change.change, change.by, change.since
            ))),
        }
    }

    /// Where `rollback` without a number goes: out of a trial, or to what the last change that was
    /// done came from.
    pub(super) fn way_back(&self) -> Result<Option<Generation>, Error> {
        let committed = self.db.committed()?;
        if self.active.row.trial {
            return Ok((committed != Generation(0)).then_some(committed));
        }
        let Some(origin) = self.db.came_from(self.running)? else {
            return Ok(None);
        };
        let kept = self.db.generations()?;
        let known = kept.iter().any(|(number, _)| *number == origin);
        Ok(known.then_some(origin))
    }

    /// A trial is easily forgotten.
    pub(super) fn nag(&self) {
        if self.active.row.trial && !self.context.trials().is_loaded(self.running) {
            tracing::warn!(
                "generation {} runs as a trial and is gone after a reboot: pkgtool commit keeps \
                 it, pkgtool rollback ends it",
                self.running
            );
        }
    }

    /// Makes the trial that runs what the next boot runs. Nothing that runs is disturbed.
    pub(super) fn commit(&mut self, by: String, reply: Reply<ChangeReport>) {
        if self.must_wait() {
            self.waiting.push_back(Waiting::Commit(by, reply));
            return;
        }
        match self.begin_commit(by) {
            Err(error) => answer(reply, Err(error)),
            Ok(Err(report)) => answer(reply, Ok(report)),
            Ok(Ok(commit)) => {
                let mailbox = self.context.mailbox.clone();
                tokio::spawn(async move {
                    let went = Ok(commit.run().await.into());
                    if let Some(mailbox) = mailbox.upgrade() {
                        drop(mailbox.send(Message::Ended { went, reply }).await);
                    }
                });
            }
        }
    }

    fn begin_commit(&mut self, by: String) -> Result<Result<Commit, ChangeReport>, Error> {
        self.refuse_busy()?;
        self.write_the_unwritten()?;
        let number = self.running;
        if self.context.trials().is_loaded(number) {
            return Err(Error::Invalid(format!(
                "generation {number} is loaded into memory at each boot, as its fleet says: \
                 pkgtool fleet assign … --store keep, and an update, put it onto the disk"
            )));
        }
        let request = Request {
            to: Some(number),
            ..Request::default()
        };
        let active = self.view.borrow().active.clone();
        let plan = PlanReport {
            set: SetChange {
                before: active.clone().into(),
                after: active.into(),
            },
            ..PlanReport::default()
        };
        let id = self.db.begin_change(&Beginning {
            requester: &by,
            boot: &self.context.boot,
            origin: number,
            target: number,
            request: &request,
            plan: &plan,
        })?;
        let mut report = ChangeReport::new(id, Outcome::Done, number);
        let committed = self.db.committed()?;
        if committed == number {
            report.detail = Some(format!("generation {number} is committed already"));
            self.end_at_once(&report)?;
            return Ok(Err(report));
        }
        report.detail = Some(format!("generation {number} is what the next boot runs"));
        let committed = self.db.generation(committed)?;
        let row = &self.active.row;
        // One that is no trial stands on the disk: only its commit had failed.
        let is_in_memory = self.context.trials().tree(number).is_some();
        let in_memory = (row.trial && is_in_memory)
            .then(|| self.context.entries(row, &self.shelf))
            .transpose()?;
        let commit = Commit {
            previous: recover::replaced(&self.db.previous()?, &committed.list, &row.list),
            trial: row.trial,
            built: is_in_memory,
            in_memory,
            db: Db::open(&self.context.database())?,
            context: self.context.clone(),
            report,
        };
        self.change = Some(RunningChange {
            change: id,
            by,
            since: Time::now().rfc3339(),
            phase: "stage".to_owned(),
        });
        Ok(Ok(commit))
    }

    /// Of sets that are in memory only, the one that runs and the one before it stay known; of
    /// others only the one that runs.
    fn forget_trials(&mut self, inhabited: &BTreeSet<Generation>) -> Result<(), Error> {
        let loaded = self.context.trials().is_loaded(self.running);
        if self.active.row.trial && !loaded {
            return Ok(());
        }
        let before = self.db.came_from(self.running)?.filter(|_| loaded);
        let (mut gone, mut stay) = (BTreeSet::new(), BTreeSet::new());
        for number in self.db.trials()? {
            let list = self.db.generation(number)?.list;
            let needed = number == self.running || inhabited.contains(&number);
            if needed || Some(number) == before {
                stay.extend(list);
            } else {
                gone.extend(list);
                self.db.delete_generation(number)?;
            }
        }
        for id in gone.difference(&stay) {
            if self.db.is_loaded(id)? {
                packages::remove(&self.context.objects, &mut self.db, id)?;
                std::sync::Arc::make_mut(&mut self.shelf).take(id);
            }
        }
        Ok(())
    }

    /// Forgets trials that do not run any more, and takes their trees out of memory where nobody
    /// lives in them.
    pub(super) fn end_trials(&mut self, inhabited: &BTreeSet<Generation>) -> Result<(), Error> {
        self.forget_trials(inhabited)?;
        let trials = self.context.trials();
        let known = self.db.trials()?;
        for number in trials.all() {
            let needed = number == self.running || inhabited.contains(&number);
            if !needed && !known.contains(&number) {
                trials.remove(number)?;
            }
        }
        Ok(())
    }
}

/// What runs on its way to being what the next boot runs.
struct Commit {
    context: Context,
    db: Db,
    trial: bool,
    /// Its tree on the disk is made by this.
    built: bool,
    /// What is to be built on the disk, for a trial.
    in_memory: Option<Vec<Entry>>,
    previous: Previous,
    report: ChangeReport,
}

impl Commit {
    async fn run(mut self) -> ChangeReport {
        let mut phases = Phases::default();
        if let Err(error) = self.take(&mut phases).await {
            let why = Chain(&error).to_string();
            tracing::error!(change = self.report.change.0, "{why}");
            self.report.outcome = Outcome::Failed;
            self.report.failure = Some(Failure::Unchanged);
            self.report.detail = Some(format!("it runs until the next boot still: {why}"));
            self.report.trial = self.trial;
            if self.trial && self.built {
                drop(self.context.generations.remove(self.report.generation));
            }
        }
        self.report.phases = phases.take();
        if let Err(error) = self.db.end_change(&self.report) {
            // The engine sees that it is missing, and tries again.
            let error = Chain(&error).to_string();
            tracing::error!(
                change = self.report.change.0,
                error,
                "the end is not written"
            );
        }
        self.report
    }

    async fn take(&mut self, phases: &mut Phases) -> Result<(), Error> {
        let (id, number) = (self.report.change, self.report.generation);
        phases.begin("stage");
        self.context
            .progress("stage", "building the generation on the disk", None);
        if let Some(entries) = self.in_memory.take() {
            let step = self.db.intend(id, &Step::Stage)?;
            let context = self.context.clone();
            blocking(move || context.build(number, &entries)).await?;
            self.db.step_done(id, step)?;
        }
        phases.begin("persist");
        let step = self.db.intend(id, &Step::Persist)?;
        self.db.commit(number, &self.previous)?;
        // It is what the next boot runs; that the journal does not say so changes nothing.
        drop(self.db.step_done(id, step));
        Ok(())
    }
}
