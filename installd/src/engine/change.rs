//! A changeover, step by step:
//!
//! ```text
//! ask ─► stage ─► prepare ─► switch ─► transition ─► verify ─► persist ─► end
//!  │       │         │          └──────────┴── fails: roll back, and say why
//!  └───────┴─────────┴── fails or vetoed: abort; nothing was touched
//! ```
//! Each step writes its intent before it acts and can be taken twice; [`super::recover`] finishes
//! or undoes what a killed daemon left.

use std::collections::{BTreeMap, BTreeSet};

use model::change::{ChangeReport, Failure, Outcome, Request, Verdict};
use model::report::Chain;
use model::transition::{Announcement, Ended, Transition, TransitionReport, Wanted};
use model::{ChangeId, Generation, ProcessName};

use super::lists::{self, Standing};
use super::request::Error;
use super::{Context, votes};
use crate::plan::{PathChange, Plan, World};
use crate::sys::clock::Time;
use crate::sys::config_files::{ConfigFiles, Differs};
use crate::sys::db::{Db, GenerationRow};
use crate::sys::generation::Entry;
use crate::sys::journal::Step;
use crate::sys::objects::Spec;
use crate::sys::rooted::Root;
use crate::sys::setup::accounts::{self, Accounts};
use crate::sys::sysmgr::{self, Sysmgr};
use crate::sys::{self, Doing, setup};

/// How often a transition is sent again to a sysmgrd that went away in the middle of it.
const SENDINGS: usize = 3;

/// A change on its way.
pub(super) struct Changeover {
    pub(super) context: Context,
    pub(super) db: Db,
    pub(super) sysmgr: Sysmgr,
    pub(super) id: ChangeId,
    pub(super) request: Request,
    pub(super) world: World,
    pub(super) plan: Plan,
    pub(super) origin: Generation,
    pub(super) target: Generation,
    /// What will have been replaced when it is committed.
    pub(super) previous: BTreeMap<model::PackageName, Vec<model::PackageId>>,
}

/// Why a change did not go on.
pub(super) enum Stop {
    /// Processes objected.
    Vetoed,
    /// Something failed before anything was touched.
    Failed(String),
}

impl<E: Into<Error>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(Chain(&error.into()).to_string())
    }
}

impl Changeover {
    /// Takes the change to its end, however it ends; the report is in the history then.
    pub(super) async fn run(mut self) -> Result<ChangeReport, Error> {
        let mut report = ChangeReport::new(self.id, Outcome::Done, self.origin);
        let mut standing = Standing::default();
        let announcement = self.announcement(None);
        match self
            .before_switch(&mut report, &mut standing, announcement)
            .await
        {
            Ok(announcement) => {
                self.after_switch(&mut report, &standing, &announcement)
                    .await;
            }
            Err(stop) => self.abort(&mut report, stop),
        }
        self.db.end_change(&report)?;
        let told = Ended {
            change: self.id,
            completed: report.generation == self.target,
            detail: report
                .detail
                .clone()
                .unwrap_or_else(|| report.outcome.to_string()),
        };
        self.tell_end(&told).await;
        Ok(report)
    }

    /// Everything that touches nothing that runs.
    async fn before_switch(
        &mut self,
        report: &mut ChangeReport,
        standing: &mut Standing,
        announcement: Announcement,
    ) -> Result<Announcement, Stop> {
        // Nobody else can move the processes: without sysmgrd nothing is begun.
        *standing = Standing::of(&self.sysmgr.processes().await?);
        let planned: BTreeSet<_> = self.world.running.iter().map(|one| &one.name).collect();
        if let Some(name) = standing.alive.iter().find(|name| !planned.contains(name)) {
            let why = format!("{name} was not seen when the plan was made; ask again");
            return Err(Stop::Failed(why));
        }
        votes::ask(self, report, standing, announcement).await?;
        self.context
            .progress("stage", "building the new generation", None);
        let step = self.db.intend(self.id, &Step::Stage)?;
        self.stage().await?;
        self.db.step_done(self.id, step)?;
        let staged = self.announcement(Some(self.target));
        let step = self.db.intend(self.id, &Step::Prepare)?;
        votes::prepare(self, report, standing, staged.clone()).await?;
        self.db.step_done(self.id, step)?;
        Ok(staged)
    }

    /// Builds the tree. Accounts come first: they own files in it.
    async fn stage(&mut self) -> Result<(), Error> {
        let (context, target) = (self.context.clone(), self.target);
        let entries: Vec<Entry> = (self.plan.tree(&self.world).into_iter())
            .map(|one| Entry {
                entry: one.entry,
                object: one.object,
            })
            .collect();
        let kept = self.kept(&entries);
        let row = GenerationRow {
            number: target,
            list: self
                .plan
                .list
                .iter()
                .map(|package| package.id.clone())
                .collect(),
            kept,
            automatic: self.automatic(),
            trial: false,
        };
        let setups = self.setups();
        blocking(move || {
            let setups: Vec<_> = setups.iter().collect();
            for made in accounts::make(&context.machine, &setups)? {
                tracing::info!("made {made}");
            }
            let accounts = Accounts::read(&context.machine)?;
            context
                .generations
                .build(target, &entries, &context.objects, &accounts)
        })
        .await?;
        self.db.insert_generation(&row, Time::now())?;
        Ok(())
    }

    fn kept(
        &self,
        entries: &[Entry],
    ) -> BTreeMap<model::PackagePath, (model::Digest, sys::objects::Key)> {
        let of = |entry: &Entry| {
            let digest = self.plan.kept.get(&entry.entry.path)?;
            let spec = Spec {
                digest: *digest,
                ..entry.spec()?
            };
            Some((entry.entry.path.clone(), (*digest, spec.key())))
        };
        entries.iter().filter_map(of).collect()
    }

    /// Who came as a dependency: what was so before and is still there, and what this brings;
    /// whoever is asked for by name is so no more.
    fn automatic(&self) -> BTreeSet<model::PackageName> {
        let asked: BTreeSet<_> = self
            .request
            .actions
            .iter()
            .filter_map(|action| match action {
                model::change::Action::Activate(reference) => Some(&reference.name),
                model::change::Action::Deactivate(_) => None,
            })
            .collect();
        let all = self.world.automatic.iter().chain(&self.plan.brought);
        let there = |name: &&model::PackageName| {
            !asked.contains(name) && self.plan.list.iter().any(|one| one.id.name == **name)
        };
        all.filter(there).cloned().collect()
    }

    fn setups(&self) -> Vec<model::manifest::Setup> {
        let all = self
            .plan
            .order
            .iter()
            .map(|package| package.manifest.setup.clone());
        all.filter(|setup| !setup.is_empty()).collect()
    }

    /// What is told to processes; inodes of the new files from the store until the tree stands.
    fn announcement(&self, staged: Option<Generation>) -> Announcement {
        let (generations, objects) = (&self.context.generations, &self.context.objects);
        lists::announcement(self.id, &self.plan, |one: &PathChange| {
            let old = one
                .old
                .as_ref()
                .and_then(|_| generations.inode(self.origin, &one.path));
            let new = one.new.as_ref().and_then(|selected| {
                if let Some(target) = staged {
                    return generations.inode(target, &one.path);
                }
                let entry = Entry {
                    entry: selected.entry.clone(),
                    object: selected.object,
                };
                objects.inode(entry.spec()?.key())
            });
            (old, new)
        })
    }

    /// Nothing was touched: everyone who was told hears that it does not happen.
    fn abort(&mut self, report: &mut ChangeReport, stop: Stop) {
        let detail = match stop {
            Stop::Vetoed => {
                report.outcome = Outcome::Vetoed;
                "processes object; --force overrides them".to_owned()
            }
            Stop::Failed(detail) => {
                report.outcome = Outcome::Failed;
                report.failure = Some(Failure::Unchanged);
                detail
            }
        };
        report.detail = Some(detail);
        if let Err(error) = self.drop_target() {
            tracing::warn!(error = %Chain(&error), "the staged generation stays until the next start");
        }
    }

    fn drop_target(&mut self) -> Result<(), sys::Error> {
        self.db.delete_generation(self.target)?;
        self.context.generations.remove(self.target)
    }

    /// From the switch on: to the end, or back.
    async fn after_switch(
        &mut self,
        report: &mut ChangeReport,
        standing: &Standing,
        announcement: &Announcement,
    ) {
        let tree = lists::tree(&self.context.generations, self.target);
        let next = lists::forward(self.id, tree, &self.plan, standing);
        let went = match self.switch(report, &next).await {
            Ok(()) => self.transition(&next).await,
            Err(error) => Err(Chain(&error).to_string()),
        };
        let why = match went {
            Ok(done) => {
                let why = failures(&done);
                report.processes = done.processes;
                why
            }
            Err(why) => Some(why),
        };
        match why {
            None => self.complete(report, announcement).await,
            Some(why) if self.request.keep_on_failure => {
                self.complete(report, announcement).await;
                report.outcome = Outcome::Failed;
                report.failure = Some(Failure::Kept);
                report.detail = Some(why);
            }
            Some(why) => self.roll_back(report, &next, why).await,
        }
    }

    /// The journal, `/etc`, and the pointer.
    async fn switch(&mut self, report: &mut ChangeReport, next: &Transition) -> Result<(), Error> {
        self.context.progress(
            "switch",
            format!("switching to generation {}", self.target),
            None,
        );
        self.db.note_transition(self.id, next)?;
        let switch = self.db.intend(self.id, &Step::Switch)?;
        let differs = self.config_differs();
        if !differs.is_empty() {
            let context = self.context.clone();
            let (changes, notes) =
                blocking(move || context.with_config(|config| config.plan(&differs))).await?;
            report.discrepancies.extend(notes);
            let step = self.db.intend(
                self.id,
                &Step::Config {
                    changes: changes.clone(),
                },
            )?;
            let context = self.context.clone();
            blocking(move || context.with_config(|config| config.apply(&changes))).await?;
            self.db.step_done(self.id, step)?;
        }
        let (context, setups) = (self.context.clone(), self.setups());
        let made = blocking(move || {
            setup::directories(&context.machine, &setups.iter().collect::<Vec<_>>())
        });
        for made in made.await? {
            tracing::info!("made {made}");
        }
        self.db.set_running(self.target, &self.context.boot)?;
        self.db.step_done(self.id, switch)?;
        Ok(())
    }

    fn config_differs(&self) -> Vec<Differs> {
        let below_etc = self.plan.changes.iter().filter(|one| one.path.is_config());
        let differs = below_etc.map(|one| Differs {
            path: one.path.clone(),
            old: one.old.as_ref().map(|selected| selected.entry.clone()),
            new: one.new.as_ref().map(|selected| selected.entry.clone()),
        });
        differs.collect()
    }

    /// Has sysmgrd move the processes; what it did not finish before it went away is sent again.
    async fn transition(&mut self, next: &Transition) -> Result<TransitionReport, String> {
        let explain = |error: &dyn std::error::Error| format!("{error}");
        let step = self
            .db
            .intend(self.id, &Step::Transition)
            .map_err(|e| explain(&e))?;
        let report = send(&mut self.sysmgr, next)
            .await
            .map_err(|error| Chain(&error).to_string())?;
        self.db.step_done(self.id, step).map_err(|e| explain(&e))?;
        Ok(report)
    }

    /// Verifies and commits.
    async fn complete(&mut self, report: &mut ChangeReport, announcement: &Announcement) {
        self.context
            .progress("verify", "looking at what is mapped", None);
        report.discrepancies.extend(self.verify(announcement).await);
        self.context
            .progress("persist", "making it what the next boot runs", None);
        report.generation = self.target;
        let persisted = self.db.intend(self.id, &Step::Persist).and_then(|step| {
            self.db.commit(self.target, &self.previous)?;
            self.db.step_done(self.id, step)
        });
        if let Err(error) = persisted {
            let error = Chain(&error).to_string();
            report.outcome = Outcome::Failed;
            report.failure = Some(Failure::Kept);
            report.detail = Some(format!(
                "it runs, but the next boot runs the old set: {error}"
            ));
        }
    }

    /// Processes that still map what was replaced, though they were to let go of it.
    async fn verify(&mut self, announcement: &Announcement) -> Vec<String> {
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
        if reached.is_empty() {
            return Vec::new();
        }
        let mapped = match self.sysmgr.mapped().await {
            Ok(mapped) => mapped,
            Err(error) => return vec![format!("what is mapped was not seen: {}", Chain(&error))],
        };
        let mut found = BTreeSet::new();
        for one in mapped.iter().filter(|one| reached.contains(&one.process)) {
            for file in &one.files {
                if let Some(path) = stale.get(&(file.dev, file.inode)) {
                    let (process, pid) = (&one.process, one.pid);
                    found.insert(format!("{process} (pid {pid}) still maps the old {path}"));
                }
            }
        }
        found.into_iter().collect()
    }

    /// Takes everything back by itself, and says why.
    async fn roll_back(&mut self, report: &mut ChangeReport, forward: &Transition, why: String) {
        tracing::warn!(change = self.id.0, "rolling back: {why}");
        self.context
            .progress("process", format!("rolling back: {why}"), None);
        let old: BTreeMap<ProcessName, Wanted> = (self.plan.processes.iter())
            .filter_map(|one| {
                let (package, spec) = one.old.as_ref()?;
                let wanted = Wanted {
                    spec: (**spec).clone(),
                    package: package.clone(),
                };
                Some((one.name.clone(), wanted))
            })
            .collect();
        let back = Back {
            id: self.id,
            origin: self.origin,
            target: self.target,
            old: &old,
            forward,
        };
        match back
            .run(&self.context, &mut self.db, &mut self.sysmgr)
            .await
        {
            Ok(notes) => {
                report.outcome = Outcome::RolledBack;
                report.detail = Some(why);
                report.discrepancies.extend(notes);
            }
            Err(error) => {
                report.outcome = Outcome::Failed;
                report.failure = Some(Failure::RollbackFailed);
                report.detail = Some(format!("{why}; and the way back failed: {error}"));
            }
        }
    }

    /// Tells the end until it is acknowledged, or sysmgrd stays away: its processes then learn it
    /// from the connection's end.
    pub(super) async fn tell_end(&mut self, ended: &Ended) {
        for _ in 0..SENDINGS {
            match self.sysmgr.end(ended).await {
                // One that is away has told its processes by that.
                Ok(()) | Err(sysmgr::Error::Away { .. }) => return,
                Err(error) => tracing::warn!(error = %Chain(&error), "the end was not heard"),
            }
        }
    }
}

/// What went wrong in a transition; `None`: nothing.
pub(super) fn failures(report: &TransitionReport) -> Option<String> {
    let one = |veto: &model::change::Veto| format!("{}: {}", veto.process, veto.reason);
    let all: Vec<String> = report.failed.iter().map(one).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// Sends a transition; should sysmgrd go away in the middle, waits for it to come back and sends
/// what is still to be done.
pub(super) async fn send(
    sysmgr: &mut Sysmgr,
    whole: &Transition,
) -> Result<TransitionReport, sysmgr::Error> {
    let (mut next, mut sent) = (whole.clone(), 1);
    loop {
        match sysmgr.transition(&next).await {
            Err(sysmgr::Error::Away { .. }) if sent < SENDINGS => {
                sent += 1;
                tracing::warn!("sysmgrd went away in the middle of a transition");
                next = lists::remaining(whole, &sysmgr.processes().await?);
            }
            other => return other,
        }
    }
}

/// The way back from a change that has switched.
pub(super) struct Back<'a> {
    pub(super) id: ChangeId,
    pub(super) origin: Generation,
    pub(super) target: Generation,
    pub(super) old: &'a BTreeMap<ProcessName, Wanted>,
    pub(super) forward: &'a Transition,
}

impl Back<'_> {
    /// The pointer and `/etc` first, then the processes. Answers what had to be left.
    pub(super) async fn run(
        &self,
        context: &Context,
        db: &mut Db,
        sysmgr: &mut Sysmgr,
    ) -> Result<Vec<String>, String> {
        let explain = |error: sys::Error| Chain(&error).to_string();
        let step = db.intend(self.id, &Step::RollBack).map_err(explain)?;
        let notes = self
            .files(context, db)
            .await
            .map_err(|error| Chain(&error).to_string())?;
        let statuses = sysmgr
            .processes()
            .await
            .map_err(|error| Chain(&error).to_string())?;
        let tree = lists::tree(&context.generations, self.origin);
        let back = lists::backward(self.forward, tree, self.old, &statuses);
        if !lists::is_empty(&back) {
            let done = send(sysmgr, &back)
                .await
                .map_err(|error| Chain(&error).to_string())?;
            if let Some(why) = failures(&done) {
                return Err(why);
            }
        }
        db.delete_generation(self.target).map_err(explain)?;
        db.step_done(self.id, step).map_err(explain)?;
        Ok(notes)
    }

    async fn files(&self, context: &Context, db: &mut Db) -> Result<Vec<String>, Error> {
        let unfinished = db.unfinished()?.into_iter().find(|one| one.id == self.id);
        let changes = unfinished
            .map(|one| one.config_changes())
            .unwrap_or_default();
        let own = context.clone();
        let notes = blocking(move || own.with_config(|config| config.undo(&changes))).await?;
        db.set_running(self.origin, &context.boot)?;
        Ok(notes)
    }
}

impl Context {
    /// The machine's `/etc`, for one piece of work.
    pub(super) fn with_config<T>(
        &self,
        work: impl FnOnce(&ConfigFiles<'_>) -> Result<T, sys::Error>,
    ) -> Result<T, sys::Error> {
        let etc = self.config.machine_root.join("etc");
        fs_err::create_dir_all(&etc).doing(|| "open the machine's /etc".to_owned())?;
        let root = Root::beneath(&etc).doing(|| "open the machine's /etc".to_owned())?;
        let accounts = Accounts::read(&self.machine)?;
        work(&ConfigFiles {
            root: &root,
            objects: &self.objects,
            accounts: &accounts,
        })
    }
}

/// Runs work that waits for the disk beside the other tasks.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, sys::Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(Error::Ending),
    }
}
