//! What a killed daemon or machine left is finished or undone, and the set that is to run is
//! brought up.
//!
//! | killed                        | same boot                     | another boot                  |
//! |-------------------------------|-------------------------------|-------------------------------|
//! | before the switch was intended| undone                        | undone                        |
//! | in the switch                 | undone, `/etc` included       | undone, `/etc` included       |
//! | after it, not yet committed   | finished, or else rolled back | undone, `/etc` included       |
//! | on the way back               | rolled back                   | undone, `/etc` included       |
//! | after it was committed        | finished                      | kept                          |

use std::collections::BTreeMap;
use std::time::Duration;

use model::change::{ChangeReport, Failure, HistoryFilter, Outcome, RunningChange};
use model::report::Chain;
use model::transition::{Ended, Transition, Wanted};
use model::{ChangeId, Generation, PackageId, PackageName, ProcessName};

use super::back::Back;
use super::change::{self, failures, shortly};
use super::open::{Aim, NotBack, Open};
use super::request::{Error, Message};
use super::{Context, Engine, Start, Waiting, answer, lists, observe};
use crate::sys::clock::Time;
use crate::sys::db::Db;
use crate::sys::journal::{Step, Unfinished};
use crate::sys::sysmgr::{self, Seen, Sysmgr};
use crate::sys::{self, packages};

/// Whether the processes of the set are as they should be.
#[derive(Debug)]
pub(super) struct Booted {
    /// What did not come up.
    findings: Vec<String>,
    /// What kept it from being looked at.
    failed: Option<Error>,
    /// A change whose end is still to be reached.
    open: Option<Box<Open>>,
    /// Changes that came to their end.
    ended: Vec<ChangeReport>,
}

/// All that needs no process: sweeps, undoes, and sets the pointer. Nothing has been answered yet.
pub(super) fn before_anything(context: &Context, db: &mut Db) -> Result<(), Error> {
    db.forget_loaded(&context.boot)?;
    let known: Vec<PackageId> = db.packages()?.into_iter().map(|row| row.id).collect();
    packages::sweep(&context.objects, &known)?;
    for unfinished in db.unfinished()? {
        let committed = db.committed()? == unfinished.target;
        let elsewhen = unfinished.boot != context.boot;
        if committed && (elsewhen || unfinished.is_commit()) {
            let why = if elsewhen {
                "finished after the machine restarted"
            } else {
                "finished after a restart of installd"
            };
            db.end_change(&report(&unfinished, Outcome::Done, why))?;
        } else if elsewhen || !is_switched(&unfinished) {
            undo(context, db, &unfinished)?;
        }
    }
    forget_trials(context, db)?;
    let here = db.running()?.filter(|(_, boot)| *boot == context.boot);
    if here.is_none() {
        let committed = db.committed()?;
        db.set_running(committed, &context.boot)?;
    }
    Ok(())
}

/// Whether the switch was taken to its end.
fn is_switched(unfinished: &Unfinished) -> bool {
    unfinished.steps.contains(&(Step::Switch, true))
}

/// Leaves nothing of a change whose processes were not touched, or are gone with their boot.
fn undo(context: &Context, db: &mut Db, unfinished: &Unfinished) -> Result<(), Error> {
    let changes = unfinished.config_changes();
    let mut notes = Vec::new();
    if !changes.is_empty() {
        notes = context.with_config(|config| config.undo(&changes))?;
    }
    if unfinished.has_switched() {
        let pointer = if unfinished.boot == context.boot {
            unfinished.origin
        } else {
            db.committed()?
        };
        db.set_running(pointer, &context.boot)?;
    }
    let begun = unfinished
        .steps
        .iter()
        .any(|(step, _)| matches!(step, Step::Transition { .. }));
    let elsewhen = unfinished.boot != context.boot;
    let rewrote = |told: &&Transition| begun && elsewhen && !told.state.is_empty();
    let rewrote = unfinished.transition.as_ref().filter(rewrote);
    if rewrote.is_some() {
        db.note_undone(rewrote)?;
    }
    if unfinished.is_commit() {
        // One that was built on the disk at once stays; what is built for a commit goes.
        let in_memory = context.trials().tree(unfinished.target).is_some();
        if in_memory && db.trials()?.contains(&unfinished.target) {
            context.generations.remove(unfinished.target)?;
        }
    } else if unfinished.request.to.is_none() {
        db.delete_generation(unfinished.target)?;
        // Programs that undo what was done to state run in this tree; it goes with the next sweep.
        if rewrote.is_none() {
            context.generations.remove(unfinished.target)?;
        }
        context.trials().remove(unfinished.target)?;
    }
    let why = if unfinished.boot == context.boot {
        "installd was stopped in the middle of it; nothing was touched"
    } else {
        "the machine restarted in the middle of it; the committed set runs"
    };
    let mut report = report(unfinished, Outcome::Failed, why);
    report.discrepancies = notes;
    db.end_change(&report)?;
    tracing::warn!(change = unfinished.id.0, "{why}");
    Ok(())
}

/// What a trial of another boot did to `/etc` is undone, the newest first; nothing else is left
/// of it.
fn forget_trials(context: &Context, db: &mut Db) -> Result<(), Error> {
    let here = db.running()?.is_some_and(|(_, boot)| boot == context.boot);
    if here {
        return Ok(());
    }
    for number in db.trials()?.into_iter().rev() {
        for change in db.changes_to(number)?.into_iter().rev() {
            let changes = db.config_changes(change)?;
            for note in context.with_config(|config| config.undo(&changes))? {
                tracing::warn!("{note}");
            }
            // Programs that undo what was done to state run in its tree, which goes with a sweep.
            if let Some(told) = db.kept_transition(change)? {
                db.note_undone(Some(&told))?;
            }
        }
        db.delete_generation(number)?;
        if db.undone()?.is_none() {
            context.generations.remove(number)?;
        }
        tracing::warn!("the trial {number} ended with the boot that it ran in");
    }
    for number in context.trials().all() {
        context.trials().remove(number)?;
    }
    Ok(context.memory.clear()?)
}

/// The last change, where it left a way back half done.
pub(super) fn left_half(db: &Db) -> Result<Option<ChangeReport>, Error> {
    let newest = HistoryFilter {
        limit: 1,
        ..HistoryFilter::default()
    };
    let last = db.history(&newest)?.pop().and_then(|entry| entry.report);
    Ok(last.filter(|report| super::open::left_half(report).is_some()))
}

fn report(unfinished: &Unfinished, outcome: Outcome, detail: &str) -> ChangeReport {
    let generation = if outcome == Outcome::Done {
        unfinished.target
    } else {
        unfinished.origin
    };
    ChangeReport {
        failure: (outcome == Outcome::Failed).then_some(Failure::Unchanged),
        detail: Some(detail.to_owned()),
        ..ChangeReport::new(unfinished.id, outcome, generation)
    }
}

impl Engine {
    /// What the watch saw.
    pub(super) fn sysmgrd(&mut self, seen: Seen) {
        match seen {
            Seen::Up if self.held => tracing::info!("the start waits for the fleet's master"),
            Seen::Up if self.change.is_none() => self.boot(),
            // A change is going on and talks to sysmgrd itself; afterwards the rest is looked at.
            Seen::Up => self.booting = true,
            Seen::Down => tracing::warn!("sysmgrd went away"),
            Seen::Progress(progress) => drop(self.context.told.send(progress)),
        }
    }

    /// Whether a request is answered after what goes on: the start of the set, or another try of a
    /// change that is open, which begins now.
    pub(super) fn must_wait(&mut self) -> bool {
        if self.open.is_some() && self.change.is_none() {
            self.boot();
        }
        self.held || self.booting && self.change.is_some()
    }

    /// Brings the set up, beside the mailbox.
    pub(super) fn boot(&mut self) {
        self.booting = true;
        self.start = self.start.max(Start::Begun);
        self.publish();
        let open = self.open.as_ref();
        let (by, phase) = match open.map(|open| open.aim) {
            None => ("installd, which starts the committed set", "process"),
            Some(Aim::Back) => ("installd, which takes it back", "roll-back"),
            Some(Aim::Commit) => ("installd, which commits it", "persist"),
        };
        self.change = Some(RunningChange {
            change: open.map_or(ChangeId(0), |open| open.report.change),
            by: by.to_owned(),
            since: Time::now().rfc3339(),
            phase: phase.to_owned(),
        });
        // What has ended is not to be finished again because its end could not be written.
        drop(self.write_the_unwritten());
        let ended = self.unwritten.as_ref().map(|end| end.report.change);
        let (context, shelf) = (self.context.clone(), std::sync::Arc::clone(&self.shelf));
        let open = self.open.clone();
        tokio::spawn(async move {
            let mailbox = context.mailbox.clone();
            let booted = match Boot::new(context, shelf, (open.clone(), ended)) {
                Ok(boot) => boot.run().await,
                Err(error) => Booted {
                    findings: Vec::new(),
                    failed: Some(error),
                    open,
                    ended: Vec::new(),
                },
            };
            if let Some(mailbox) = mailbox.upgrade() {
                drop(mailbox.send(Message::Booted(booted)).await);
            }
        });
    }

    /// The set is up; requests that waited go on.
    pub(super) async fn booted(&mut self, booted: Booted) {
        self.booting = false;
        self.start = Start::Settled;
        self.change = None;
        self.findings.extend(booted.findings);
        self.open = booted.open;
        for report in booted.ended {
            self.take_end(&report);
            drop(self.ends.send(report));
        }
        self.unstarted = None;
        match booted.failed {
            None => {}
            // It is waited for anyway.
            Some(error @ Error::Sysmgrd(sysmgr::Error::Away { .. })) => {
                let why = Chain(&error).to_string();
                if !self.findings.contains(&why) {
                    self.findings.push(why);
                }
            }
            Some(error) => self.not_started(&error),
        }
        if let Err(error) = self.reload() {
            self.findings.push(Chain(&error).to_string());
        }
        self.tidy().await;
        self.publish();
        while let Some(waiting) = self.waiting.pop_front() {
            self.go_on(waiting).await;
        }
    }

    /// Does what waited for the start.
    async fn go_on(&mut self, waiting: Waiting) {
        // A change that is open was tried just now: nothing else begins before its end.
        let refusal = self.open.as_ref().map(|open| open.refusal());
        match (waiting, refusal) {
            (Waiting::Change(_, _, reply) | Waiting::Commit(_, reply), Some(why)) => {
                answer(reply, Err(why));
            }
            (Waiting::Change(request, by, reply), None) => self.apply(request, by, reply).await,
            (Waiting::Commit(by, reply), None) => self.commit(by, reply),
            (Waiting::Remove(packages, reply), _) => answer(reply, self.remove(&packages).await),
            (Waiting::Forget(numbers, reply), _) => answer(reply, self.forget(&numbers).await),
        }
    }
}

/// The work that needs sysmgrd.
struct Boot {
    context: Context,
    shelf: std::sync::Arc<resolve::deps::Shelf>,
    db: Db,
    sysmgr: Sysmgr,
    /// A change whose end is still to be reached.
    open: Option<Box<Open>>,
    /// One that has ended, which the journal does not know yet.
    over: Option<ChangeId>,
    ended: Vec<ChangeReport>,
}

/// How long another try of an open change waits for sysmgrd, whose coming brings the next one.
const SHORT: Duration = Duration::from_secs(1);

impl Boot {
    fn new(
        context: Context,
        shelf: std::sync::Arc<resolve::deps::Shelf>,
        (open, over): (Option<Box<Open>>, Option<ChangeId>),
    ) -> Result<Self, Error> {
        let db = Db::open(&context.database())?;
        let sysmgr = match open {
            Some(_) => context.sysmgr().again(SHORT),
            None => context.sysmgr(),
        };
        Ok(Self {
            context,
            shelf,
            db,
            sysmgr,
            open,
            over,
            ended: Vec::new(),
        })
    }

    async fn run(mut self) -> Booted {
        let (findings, failed) = match self.bring_up().await {
            Ok(findings) => (findings, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        Booted {
            findings,
            failed,
            open: self.open,
            ended: self.ended,
        }
    }

    async fn bring_up(&mut self) -> Result<Vec<String>, Error> {
        let mut findings = Vec::new();
        for unfinished in self.db.unfinished()? {
            if Some(unfinished.id) != self.over {
                findings.extend(self.finish(&unfinished).await?);
            }
        }
        if self.open.is_some() {
            return Ok(findings);
        }
        self.end_last().await;
        let running = self
            .db
            .running()?
            .map_or(Generation(0), |(generation, _)| generation);
        if running == Generation(0) {
            return Ok(findings);
        }
        let wanted = self.processes_of(running)?;
        self.setup(running).await?;
        let statuses = self.sysmgr.processes().await?;
        let tree = self.context.tree(running);
        let mut next = lists::whole_set(tree, &wanted, &statuses);
        // Without a process too: sysmgrd is to know the tree that commands and later starts see.
        let idle = lists::is_empty(&next);
        let undone = self.db.undone()?;
        if let Some(undone) = &undone {
            next.state = lists::state_back(undone, &next);
        }
        if !idle {
            let (new, obsolete) = (next.new.len(), next.obsolete.len());
            tracing::info!(
                "starting {new} processes and stopping {obsolete}: generation {running}"
            );
        }
        let done = change::send(&mut self.sysmgr, &next).await?;
        // Once: what runs from here on writes state that nothing may be put over.
        if undone.is_some() && !idle {
            self.db.note_undone(None)?;
        }
        findings.extend(failures(&done).as_deref().map(shortly));
        Ok(findings)
    }

    /// `/run` is empty after a boot: directories that packages want there are made again.
    async fn setup(&mut self, generation: Generation) -> Result<(), Error> {
        let order = self.order(generation)?;
        let setups: Vec<_> = order.iter().map(|one| one.manifest.setup.clone()).collect();
        let context = self.context.clone();
        let made = change::blocking(move || {
            sys::setup::directories(&context.machine, &setups.iter().collect::<Vec<_>>())
        });
        made.await.map(drop)
    }

    fn order(&self, generation: Generation) -> Result<Vec<resolve::Package>, Error> {
        Ok(observe::active(&self.context, &self.db, &self.shelf, generation)?.order)
    }

    fn processes_of(&self, generation: Generation) -> Result<BTreeMap<ProcessName, Wanted>, Error> {
        Ok(lists::exported(&self.order(generation)?))
    }

    /// Brings a change whose switch was taken to its end, in the same boot; what is worth telling.
    async fn finish(&mut self, unfinished: &Unfinished) -> Result<Vec<String>, Error> {
        tracing::info!(
            change = unfinished.id.0,
            "finishing a change that was interrupted"
        );
        let was_open = self.open.is_some();
        let Some(mut report) = self.bring_to_end(unfinished).await? else {
            return Ok(Vec::new());
        };
        report.trial = unfinished.request.is_trial() && report.generation == unfinished.target;
        self.db.end_change(&report)?;
        self.open = None;
        let completed = report.generation == unfinished.target;
        let detail = report.detail.clone().unwrap_or_default();
        let ended = Ended {
            change: unfinished.id,
            completed,
            detail: detail.clone(),
        };
        let outcome = report.outcome;
        self.ended.push(report);
        self.sysmgr.end(&ended).await?;
        // Of one that was open nothing is left to be said.
        let silent = was_open || outcome == Outcome::Done;
        Ok(if silent { Vec::new() } else { vec![detail] })
    }

    /// Its end, or nothing where it stays open.
    async fn bring_to_end(
        &mut self,
        unfinished: &Unfinished,
    ) -> Result<Option<ChangeReport>, Error> {
        let open = self
            .open
            .take_if(|open| open.report.change == unfinished.id);
        if let Some(open) = open {
            // Should it not even be begun, it is as it was.
            self.open = Some(open.clone());
            return match open.aim {
                Aim::Back => self.take_back(unfinished, *open).await,
                Aim::Commit => Ok(self.commit_open(unfinished, *open)),
            };
        }
        if let Some(why) = self.goes_back(unfinished)? {
            let report = report(unfinished, Outcome::Failed, &why);
            let open = Open::new(report, Aim::Back);
            return self.take_back(unfinished, open).await;
        }
        self.go_on(unfinished).await
    }

    /// Why the way of a change goes back, where it does.
    fn goes_back(&self, unfinished: &Unfinished) -> Result<Option<String>, Error> {
        if let Some((_, why)) = unfinished.way_back() {
            let stopped = "installd was stopped while it was taken back";
            let all = [why, stopped].into_iter().filter(|one| !one.is_empty());
            return Ok(Some(all.collect::<Vec<_>>().join("\n")));
        }
        // Its journal could not be written then.
        let origin = (unfinished.origin, self.context.boot.clone());
        let is_back = self.db.running()? == Some(origin);
        Ok(is_back.then(|| "installd was stopped while it was taken back".to_owned()))
    }

    /// The way forward, from wherever it was left.
    async fn go_on(&mut self, unfinished: &Unfinished) -> Result<Option<ChangeReport>, Error> {
        // A way back that the journal does not know may have come as far as to some files.
        let changes = unfinished.config_changes();
        let context = self.context.clone();
        let redone = move || context.with_config(|config| config.redo(&changes));
        change::blocking(redone).await?;
        let committed = self.db.committed()? == unfinished.target;
        let (mut report, why) = self.finish_processes(unfinished).await?;
        match why {
            Some(why) if !committed && !unfinished.stays() => {
                report.generation = unfinished.origin;
                report.detail = Some(why);
                let open = Open::new(report, Aim::Back);
                self.take_back(unfinished, open).await
            }
            why => {
                report.detail = why;
                let open = Open::new(report, Aim::Commit);
                let mut end = self.commit_open(unfinished, open);
                if let Some(end) = &mut end {
                    let late = "finished after a restart of installd";
                    end.detail.get_or_insert_with(|| late.to_owned());
                }
                Ok(end)
            }
        }
    }

    /// Sends what is still to be done of the transition; why it did not come about.
    async fn finish_processes(
        &mut self,
        unfinished: &Unfinished,
    ) -> Result<(ChangeReport, Option<String>), Error> {
        let mut report = report(unfinished, Outcome::Done, "");
        let Some(transition) = &unfinished.transition else {
            let why = "it is not known what was to be done".to_owned();
            return Ok((report, Some(why)));
        };
        let next = lists::remaining(transition, &self.sysmgr.processes().await?);
        if lists::is_empty(&next) {
            return Ok((report, None));
        }
        match change::send(&mut self.sysmgr, &next).await {
            Ok(done) => {
                let why = failures(&done);
                report.processes = done.processes;
                Ok((report, why))
            }
            Err(error) => Ok((report, Some(Chain(&error).to_string()))),
        }
    }

    /// Makes what runs what the next boot runs, or notes why that is still to be done.
    fn commit_open(&mut self, unfinished: &Unfinished, mut open: Open) -> Option<ChangeReport> {
        match self.commit(unfinished) {
            Ok(()) => Some(open.committed(Time::now())),
            Err(error) => {
                open.not_yet(Chain(&error).to_string());
                self.open = Some(Box::new(open));
                None
            }
        }
    }

    fn commit(&mut self, unfinished: &Unfinished) -> Result<(), Error> {
        let committed = self.db.committed()?;
        if !unfinished.request.is_trial() {
            let old = self.db.generation(committed)?.list;
            let new = self.db.generation(unfinished.target)?.list;
            let previous = replaced(&self.db.previous()?, &old, &new);
            self.db.commit(unfinished.target, &previous)?;
        }
        Ok(())
    }

    /// Its end, or nothing where it stays open.
    async fn take_back(
        &mut self,
        unfinished: &Unfinished,
        mut open: Open,
    ) -> Result<Option<ChangeReport>, Error> {
        let old = self.processes_of(unfinished.origin)?;
        let tree = self.context.tree(unfinished.target);
        let none = lists::empty(unfinished.id, tree);
        let why = open.report.detail.clone().unwrap_or_default();
        let back = Back {
            id: unfinished.id,
            origin: unfinished.origin,
            target: unfinished.target,
            made: unfinished.request.to.is_none(),
            old: &old,
            forward: unfinished.transition.as_ref().unwrap_or(&none),
            why: &why,
        };
        let processes = &mut open.report.processes;
        let went = back
            .run(&self.context, &mut self.db, &mut self.sysmgr, processes)
            .await;
        let last_word = match &went {
            Ok(_) | Err(NotBack::Down(_)) => true,
            Err(NotBack::Yet(reason)) => {
                open.not_yet(reason.clone());
                false
            }
            Err(NotBack::Refused(reason)) => open.refused(reason.clone()),
        };
        if !last_word {
            tracing::warn!("{}", open.discrepancy());
            self.open = Some(Box::new(open));
            return Ok(None);
        }
        Ok(Some(match went {
            Ok(notes) => open.taken_back(notes, Time::now()),
            Err(NotBack::Down(why) | NotBack::Yet(why) | NotBack::Refused(why)) => open.down(&why),
        }))
    }

    /// Whoever was told of a change that ended without its daemon hears how.
    async fn end_last(&mut self) {
        let newest = HistoryFilter {
            limit: 1,
            ..HistoryFilter::default()
        };
        let Ok(history) = self.db.history(&newest) else {
            return;
        };
        let Some(last) = history.first().and_then(|entry| entry.report.as_ref()) else {
            return;
        };
        // Its report may have been written by a daemon that was killed before it told anybody. Those who
        // have heard of this end hear of it twice.
        let completed = last.outcome == Outcome::Done || last.failure == Some(Failure::Kept);
        let ended = Ended {
            change: last.change,
            completed,
            detail: last.detail.clone().unwrap_or_default(),
        };
        if let Err(error) = self.sysmgr.end(&ended).await {
            tracing::warn!(error = %Chain(&error), "the end was not heard");
        }
    }
}

/// What each version replaced, after the set `old` has become `new`: a version that replaces
/// another remembers it; one that goes back to it forgets.
pub(super) fn replaced(
    previous: &BTreeMap<PackageName, Vec<PackageId>>,
    old: &[PackageId],
    new: &[PackageId],
) -> BTreeMap<PackageName, Vec<PackageId>> {
    let mut next = previous.clone();
    for leaving in old.iter().filter(|id| !new.contains(id)) {
        let stack = next.entry(leaving.name.clone()).or_default();
        match new.iter().find(|id| id.name == leaving.name) {
            None => stack.clear(),
            Some(entering) => match stack.iter().rposition(|id| id == entering) {
                Some(at) => stack.truncate(at),
                None => stack.push(leaving.clone()),
            },
        }
    }
    next.retain(|_, stack| !stack.is_empty());
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_replaced_is_remembered_until_it_is_gone_back_to() {
        let id = |text: &str| text.parse::<PackageId>().unwrap();
        let name: PackageName = "a".parse().unwrap();
        let (one, two, three) = (id("a_1_00000000"), id("a_2_00000000"), id("a_3_00000000"));
        let step = |previous: &BTreeMap<_, _>, old: &PackageId, new: &PackageId| {
            replaced(
                previous,
                std::slice::from_ref(old),
                std::slice::from_ref(new),
            )
        };
        let first = step(&BTreeMap::new(), &one, &two);
        let second = step(&first, &two, &three);
        assert_eq!(second[&name], [one.clone(), two.clone()]);
        assert_eq!(step(&second, &three, &two), first);
        assert!(step(&second, &three, &one).is_empty());
        assert!(replaced(&second, &[three], &[]).is_empty());
    }
}
