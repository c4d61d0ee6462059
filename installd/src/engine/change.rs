//! A changeover, step by step:
//!
//! ```text
//! ask ─► stage ─► prepare ─► switch ─► transition ─► verify ─► persist ─► end
//!  │       │         │          └──────────┴── fails: roll back, and say why
//!  └───────┴─────────┴── fails or vetoed: abort; nothing was touched
//! ```
//! Each step writes its intent before it acts and can be taken twice; [`super::recover`] finishes
//! or undoes what a killed daemon left. [`super::stage`] has what comes before the switch,
//! [`super::switch`] what comes after it, [`super::back`] the way back.

use std::collections::{BTreeMap, BTreeSet};

use model::change::{ChangeReport, Failure, Moment, Outcome, ProcessOutcome, Request, Verdict};
use model::report::Chain;
use model::transition::{Announcement, Ended, Transition, TransitionReport, Tree};
use model::{ChangeId, Generation, ProcessName};

use super::gate::Gate;
use super::lists::{self, Standing};
use super::open::{Open, Pending};
use super::phases::Phases;
use super::request::Error;
use super::{Context, votes};
use crate::plan::{Plan, World};
use crate::sys::config_files::ConfigFiles;
use crate::sys::db::Db;
use crate::sys::generation::Entry;
use crate::sys::journal::Step;
use crate::sys::rooted::Root;
use crate::sys::setup::accounts::Accounts;
use crate::sys::sysmgr::{self, Sysmgr};
use crate::sys::{self, Doing};

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
    /// The tree of `origin`.
    pub(super) before: Tree,
    pub(super) target: Generation,
    pub(super) becomes: Becomes,
    /// What will have been replaced when it is committed.
    pub(super) previous: BTreeMap<model::PackageName, Vec<model::PackageId>>,
    pub(super) phases: Phases,
    /// When each process was asked, told to get ready, and answered.
    pub(super) moments: Vec<(ProcessName, Moment)>,
    /// Objectors who only asked for more time, in milliseconds.
    pub(super) later: Vec<(ProcessName, u64)>,
    /// Where it waits before it switches.
    pub(super) gate: Option<Gate>,
    /// Nothing runs yet: the whole set is started, not only what differs.
    pub(super) at_boot: bool,
}

/// How a change went.
#[derive(Debug)]
pub(super) struct Went {
    /// What is told to whoever asked for it.
    pub(super) report: ChangeReport,
    /// What is still to be done.
    pub(super) open: Option<Box<Open>>,
}

impl From<ChangeReport> for Went {
    fn from(report: ChangeReport) -> Self {
        Self { report, open: None }
    }
}

/// How the generation comes about that a change makes run.
pub(super) enum Becomes {
    /// It is built and committed.
    Built,
    /// It is built, and committed when somebody says so; the next boot forgets it otherwise.
    Uncommitted,
    /// It is built in memory, over the committed one with these files.
    Trial(Generation, Vec<Entry>),
    /// It is one that is kept; nothing is built.
    Kept,
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
    /// Takes the change to its end, however it ends; the report is in the history then. One whose
    /// end may be reached later is still open.
    pub(super) async fn run(mut self) -> Result<Went, Error> {
        let mut report = ChangeReport::new(self.id, Outcome::Done, self.origin);
        let mut standing = Standing::default();
        let announcement = self.announcement(None);
        let pending = match self
            .before_switch(&mut report, &mut standing, announcement)
            .await
        {
            Ok(announcement) => {
                Self::note_overridden(&mut report);
                self.after_switch(&mut report, &standing, &announcement)
                    .await
            }
            Err(stop) => {
                self.abort(&mut report, stop);
                None
            }
        };
        self.close(&mut report, &standing);
        if let Some(pending) = pending {
            return Ok(self.stays_open(report, pending));
        }
        if let Err(error) = self.db.end_change(&report) {
            // The engine sees that it is missing, and tries again.
            let error = Chain(&error).to_string();
            tracing::error!(
                change = self.id.0,
                error,
                "the end of the change was not written"
            );
        }
        let told = Ended {
            change: self.id,
            completed: report.generation == self.target,
            detail: report
                .detail
                .clone()
                .unwrap_or_else(|| report.outcome.to_string()),
        };
        self.tell_end(&told).await;
        Ok(Went { report, open: None })
    }

    /// It stays unfinished in the journal, so that another daemon finishes it too.
    fn stays_open(&self, report: ChangeReport, pending: Pending) -> Went {
        let runs = self.db.running().ok().flatten();
        let open = Open::pending(report, pending);
        let mut report = open.meanwhile();
        report.generation = runs.map_or(report.generation, |(runs, _)| runs);
        let open = Some(Box::new(open));
        Went { report, open }
    }

    /// Whoever objected and was not heard, where nobody has said so yet.
    fn note_overridden(report: &mut ChangeReport) {
        let all: BTreeSet<ProcessName> = (report.vetoes.iter())
            .map(|veto| veto.process.clone())
            .chain(std::mem::take(&mut report.overridden))
            .collect();
        report.overridden = all.into_iter().collect();
    }

    /// What is known of the whole change, for the report and the history.
    fn close(&mut self, report: &mut ChangeReport, standing: &Standing) {
        report.phases = self.phases.take();
        report.trial = self.is_trial() && report.generation == self.target;
        let mut moments: BTreeMap<ProcessName, Vec<Moment>> = BTreeMap::new();
        for (process, moment) in self.moments.drain(..) {
            moments.entry(process).or_default().push(moment);
        }
        for one in &mut report.processes {
            one.moments
                .extend(moments.remove(&one.name).unwrap_or_default());
            one.moments.sort_by_key(|moment| moment.at_ms);
        }
        // Whoever was asked and not touched.
        let asked = lists::asked(&self.plan).into_iter();
        let asked = asked.filter(|one| standing.alive.contains(&one.process));
        for one in asked {
            moments.entry(one.process).or_default();
        }
        let touched: BTreeSet<_> = report
            .processes
            .iter()
            .map(|one| one.name.clone())
            .collect();
        moments.retain(|name, _| !touched.contains(name));
        report.processes.extend(moments.into_iter().map(untouched));
    }

    pub(super) fn is_trial(&self) -> bool {
        matches!(self.becomes, Becomes::Trial(..) | Becomes::Uncommitted)
    }

    /// Everything that touches nothing that runs.
    async fn before_switch(
        &mut self,
        report: &mut ChangeReport,
        standing: &mut Standing,
        announcement: Announcement,
    ) -> Result<Announcement, Stop> {
        // Nobody else can move the processes: without sysmgrd nothing is begun.
        self.phases.begin("ask");
        *standing = Standing::of(&self.sysmgr.processes().await?);
        let planned: BTreeSet<_> = self.world.running.iter().map(|one| &one.name).collect();
        if let Some(name) = standing.alive.iter().find(|name| !planned.contains(name)) {
            let why = format!("{name} was not seen when the plan was made; ask again");
            return Err(Stop::Failed(why));
        }
        votes::ask(self, report, standing, announcement).await?;
        self.phases.begin("stage");
        self.context
            .progress("stage", "building the new generation", None);
        let step = self.db.intend(self.id, &Step::Stage)?;
        self.stage().await?;
        self.db.step_done(self.id, step)?;
        let staged = self.announcement(Some(&self.context.tree(self.target)));
        self.phases.begin("prepare");
        let step = self.db.intend(self.id, &Step::Prepare)?;
        votes::prepare(self, report, standing, staged.clone()).await?;
        self.db.step_done(self.id, step)?;
        self.wait_at_gate().await?;
        Ok(staged)
    }

    /// Nothing was touched: everyone who was told hears that it does not happen.
    pub(super) fn abort(&mut self, report: &mut ChangeReport, stop: Stop) {
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
        match self.becomes {
            Becomes::Built | Becomes::Uncommitted => {
                self.db.delete_generation(self.target)?;
                self.context.generations.remove(self.target)
            }
            Becomes::Trial(..) => {
                self.db.delete_generation(self.target)?;
                self.context.trials().remove(self.target)
            }
            Becomes::Kept => Ok(()),
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
    // What a process wrote stands further right than who failed.
    let one = |veto: &model::change::Veto| {
        let reason = veto.reason.replace('\n', "\n  ");
        format!("{}: {reason}", veto.process)
    };
    let all: Vec<String> = report.failed.iter().map(one).collect();
    (!all.is_empty()).then(|| all.join("\n"))
}

/// Stands between why a change failed and why it could not be taken back.
pub(super) const WAY_BACK: &str = "\nthe way back failed too:\n";

/// Why a change failed, and why it could not be taken back.
pub(super) fn not_back(why: &str, back: &str) -> String {
    format!("{why}{WAY_BACK}{back}")
}

/// The failures without what the processes wrote, in one line.
pub(super) fn shortly(failures: &str) -> String {
    let lines = failures.lines().filter(|line| !line.starts_with(' '));
    let heads = lines.map(|line| line.trim_end_matches("; its last lines:"));
    heads.collect::<Vec<_>>().join("; ")
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

/// One that was asked, or told, and nothing more.
fn untouched((name, mut moments): (ProcessName, Vec<Moment>)) -> ProcessOutcome {
    moments.sort_by_key(|moment| moment.at_ms);
    ProcessOutcome {
        name,
        verdict: Verdict::Ask,
        down_ms: 0,
        ready_ms: 0,
        detail: None,
        moments,
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
