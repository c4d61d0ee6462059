//! The sole owner of the node's state, with one mailbox.
//!
//! ```text
//! dbus ──Handle──► mailbox ─► Engine ─┬─ answers at once: list, plan, status, why, history
//!                     ▲               ├─ an `add`, one at a time ──┐
//!                     └── their end ──┴─ a change, one at a time ──┴─ tasks of their own
//! ```
//! Tasks have a database connection of their own and tell the engine their end; the engine alone
//! knows what is active, and collects what nobody needs when neither is going on.

mod change;
mod collect;
mod lists;
mod observe;
mod recover;
mod request;
mod show;
mod votes;
mod why;

use std::collections::VecDeque;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use model::change::{
    Action, AddedPackage, ChangeRecord, ChangeReport, HistoryEntry, HistoryFilter, Outcome,
    PackageRef, PlanReport, Progress, Request, RunningChange, StatusReport, StoredPackage,
    WhyReport,
};
use model::{ChangeId, Generation, PackageId};
use resolve::deps::Shelf;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

pub use request::Error;
use request::{Message, Reply};

use self::change::Changeover;
use self::observe::ActiveSet;
use crate::config::Config;
use crate::plan;
use crate::sys::clock::{self, Time};
use crate::sys::db::Db;
use crate::sys::generation::Generations;
use crate::sys::journal::Beginning;
use crate::sys::objects::Objects;
use crate::sys::rooted::Root;
use crate::sys::sysmgr::{self, Seen, Sysmgr};
use crate::sys::{self, Doing, packages};

/// What a task needs besides a database connection; cheap to clone.
#[derive(Debug, Clone)]
struct Context {
    config: Arc<Config>,
    objects: Objects,
    generations: Generations,
    /// Where `etc`, `var`, `run` and `srv` are.
    machine: Arc<Root>,
    /// This boot.
    boot: String,
    told: broadcast::Sender<Progress>,
    mailbox: mpsc::WeakSender<Message>,
}

impl Context {
    fn database(&self) -> PathBuf {
        self.config.state_dir.join("state.db")
    }

    fn sysmgr(&self) -> Sysmgr {
        let limit = self
            .config
            .timeouts
            .sysmgrd
            .limit()
            .unwrap_or(Duration::from_hours(1));
        Sysmgr::new(&self.config.run_dir.join("sysmgrd.sock"), limit)
    }

    fn progress(&self, phase: &str, what: impl Into<String>, count: Option<(u64, u64)>) {
        let progress = Progress {
            phase: phase.to_owned(),
            what: what.into(),
            count,
        };
        if let Some(mailbox) = self.mailbox.upgrade() {
            drop(mailbox.try_send(Message::Phase(phase.to_owned())));
        }
        drop(self.told.send(progress));
    }
}

/// What outsiders may watch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// The generation that runs.
    pub generation: Generation,
    /// `NAME=VERSION` of every active package, in order.
    pub active: Vec<String>,
    /// What is true and should not be.
    pub discrepancies: Vec<String>,
    /// How far the daemon's own start is.
    pub start: Start,
}

/// How far the daemon's start is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Start {
    /// sysmgrd has not come yet.
    #[default]
    Waiting,
    /// The set is being brought up.
    Begun,
    /// The set was brought up, as far as it came up.
    Settled,
}

/// A way to the engine.
#[derive(Debug, Clone)]
pub struct Handle {
    mailbox: mpsc::Sender<Message>,
    told: broadcast::Sender<Progress>,
    view: watch::Receiver<View>,
}

impl Handle {
    async fn ask<T>(&self, message: impl FnOnce(Reply<T>) -> Message) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.mailbox
            .send(message(reply))
            .await
            .map_err(|_| Error::Ending)?;
        answer.await.map_err(|_| Error::Ending)?
    }

    /// Reads an envelope into the store.
    pub async fn add(&self, envelope: File) -> Result<Vec<AddedPackage>, Error> {
        self.ask(|reply| Message::Add { envelope, reply }).await
    }

    /// Removes packages that are not active.
    pub async fn remove(&self, packages: Vec<PackageRef>) -> Result<Vec<PackageId>, Error> {
        self.ask(|reply| Message::Remove { packages, reply }).await
    }

    /// The packages in the store.
    pub async fn list(&self) -> Result<Vec<StoredPackage>, Error> {
        self.ask(|reply| Message::List { reply }).await
    }

    /// What a request would do.
    pub async fn plan(&self, request: Request) -> Result<PlanReport, Error> {
        self.ask(|reply| Message::Plan { request, reply }).await
    }

    /// Carries a request out; answers when it has ended.
    pub async fn apply(&self, request: Request, by: String) -> Result<ChangeReport, Error> {
        self.ask(|reply| Message::Apply { request, by, reply })
            .await
    }

    /// The node in one document.
    pub async fn status(&self) -> Result<StatusReport, Error> {
        self.ask(|reply| Message::Status { reply }).await
    }

    /// Why a process, path or package is as it is.
    pub async fn why(&self, what: String) -> Result<WhyReport, Error> {
        self.ask(|reply| Message::Why { what, reply }).await
    }

    /// Changes that are meant, newest first.
    pub async fn history(&self, filter: HistoryFilter) -> Result<Vec<HistoryEntry>, Error> {
        self.ask(|reply| Message::History { filter, reply }).await
    }

    /// All that is known of one change.
    pub async fn change(&self, change: ChangeId) -> Result<ChangeRecord, Error> {
        self.ask(|reply| Message::Change { change, reply }).await
    }

    /// What is told while something goes on.
    pub fn progress(&self) -> broadcast::Receiver<Progress> {
        self.told.subscribe()
    }

    /// Waits until the committed set was brought up, or until sysmgrd has not come within the limit
    /// that it has: a boot is not held up for good by a daemon that is not there.
    pub async fn settled(&self, sysmgrd: Duration) {
        let mut view = self.view.clone();
        let began =
            tokio::time::timeout(sysmgrd, view.wait_for(|seen| seen.start > Start::Waiting));
        if began.await.is_ok_and(|seen| seen.is_ok()) {
            drop(view.wait_for(|seen| seen.start == Start::Settled).await);
        }
    }

    /// What may be watched.
    pub fn view(&self) -> watch::Receiver<View> {
        self.view.clone()
    }
}

/// The owner of the node's state.
#[derive(Debug)]
struct Engine {
    context: Context,
    db: Db,
    sysmgr: Sysmgr,
    shelf: Arc<Shelf>,
    active: ActiveSet,
    running: Generation,
    /// The change that is going on, or what the start is still busy with.
    change: Option<RunningChange>,
    /// Requests that came while the committed set was still being started.
    waiting: VecDeque<(Request, String, Reply<ChangeReport>)>,
    booting: bool,
    start: Start,
    adding: bool,
    adds: VecDeque<(File, Reply<Vec<AddedPackage>>)>,
    /// Found by the last change or at start; kept until the next change.
    findings: Vec<String>,
    view: watch::Sender<View>,
}

/// Opens the node's state, recovers what a killed daemon left, and starts to answer. The engine
/// ends when the last handle is gone and nothing is going on. Must be called inside a runtime.
pub fn start(config: Config) -> Result<(Handle, tokio::task::JoinHandle<()>), Error> {
    let (mailbox, letters) = mpsc::channel(64);
    let (told, _) = broadcast::channel(1024);
    let (view_sender, view) = watch::channel(View::default());
    let context = open(config, told.clone(), mailbox.downgrade())?;
    let mut db = Db::open(&context.database())?;
    recover::before_anything(&context, &mut db)?;
    let sysmgr = context.sysmgr().again(Duration::ZERO);
    let (shelf, damaged) = observe::shelf(&context, &db)?;
    let running = db
        .running()?
        .map_or(Generation(0), |(generation, _)| generation);
    let active = observe::active(&context, &db, &shelf, running)?;
    let mut engine = Engine {
        sysmgr,
        shelf: Arc::new(shelf),
        active,
        running,
        change: None,
        waiting: VecDeque::new(),
        booting: false,
        start: Start::default(),
        adding: false,
        adds: VecDeque::new(),
        findings: damaged,
        view: view_sender,
        context: context.clone(),
        db,
    };
    engine.publish();
    let (seen, watched) = mpsc::channel(256);
    let socket = context.config.run_dir.join("sysmgrd.sock");
    tokio::spawn(sysmgr::watch(socket, seen));
    let task = tokio::spawn(engine.serve(letters, watched));
    Ok((
        Handle {
            mailbox,
            told,
            view,
        },
        task,
    ))
}

fn open(
    config: Config,
    told: broadcast::Sender<Progress>,
    mailbox: mpsc::WeakSender<Message>,
) -> Result<Context, Error> {
    let what = || format!("open {}", config.state_dir.display());
    fs_err::create_dir_all(&config.state_dir).doing(what)?;
    rustix::fs::chmod(&config.state_dir, rustix::fs::Mode::RWXU).doing(what)?;
    fs_err::create_dir_all(&config.run_dir).doing(|| "open the run directory".to_owned())?;
    let machine =
        Root::open(&config.machine_root).doing(|| "open the machine's root".to_owned())?;
    Ok(Context {
        objects: Objects::open(&config.state_dir.join("store"))?,
        generations: Generations::open(&config.state_dir.join("generations"))?,
        machine: Arc::new(machine),
        boot: clock::boot_id(&config.boot_id_file)?,
        config: Arc::new(config),
        told,
        mailbox,
    })
}

impl Engine {
    async fn serve(mut self, mut letters: mpsc::Receiver<Message>, mut seen: mpsc::Receiver<Seen>) {
        loop {
            let message = tokio::select! {
                letter = letters.recv() => match letter {
                    Some(message) => message,
                    None => return,
                },
                Some(seen) = seen.recv() => Message::Sysmgrd(seen),
            };
            self.take(message).await;
        }
    }

    async fn take(&mut self, message: Message) {
        match message {
            Message::Add { envelope, reply } => {
                self.adds.push_back((envelope, reply));
                self.next_add();
            }
            Message::Added { added, reply } => self.added(added, reply),
            Message::Remove { packages, reply } => answer(reply, self.remove(&packages).await),
            Message::List { reply } => answer(reply, self.list()),
            Message::Plan { request, reply } => answer(reply, self.plan(&request).await),
            Message::Apply { request, by, reply } => self.apply(request, by, reply).await,
            Message::Phase(phase) => {
                if let Some(change) = &mut self.change {
                    change.phase = phase;
                }
            }
            Message::Ended { report, reply } => {
                let report = self.ended(report).await;
                answer(reply, report);
            }
            Message::Status { reply } => answer(reply, self.status().await),
            Message::Why { what, reply } => answer(reply, self.why(&what)),
            Message::History { filter, reply } => {
                answer(reply, self.db.history(&filter).map_err(Error::from));
            }
            Message::Change { change, reply } => answer(reply, self.record(change)),
            Message::Sysmgrd(seen) => self.sysmgrd(seen),
            Message::Booted(booted) => self.booted(booted).await,
        }
    }

    /// Starts the next `add`, where none is going on.
    fn next_add(&mut self) {
        if self.adding {
            return;
        }
        let Some((envelope, reply)) = self.adds.pop_front() else {
            return;
        };
        self.adding = true;
        let context = self.context.clone();
        tokio::task::spawn_blocking(move || {
            let added = add(&context, envelope).map_err(Error::from);
            if let Some(mailbox) = context.mailbox.upgrade() {
                drop(mailbox.blocking_send(Message::Added { added, reply }));
            }
        });
    }

    fn added(&mut self, added: Result<Vec<AddedPackage>, Error>, reply: Reply<Vec<AddedPackage>>) {
        self.adding = false;
        let shelved = added.and_then(|added| {
            let shelf = Arc::make_mut(&mut self.shelf);
            for one in added.iter().filter(|one| one.new) {
                let manifest = packages::manifest(&self.context.objects, &one.id)?;
                shelf.put(resolve::Package::new(one.id.clone(), Arc::new(manifest)));
            }
            Ok(added)
        });
        answer(reply, shelved);
        self.next_add();
    }

    async fn world(&mut self) -> Result<plan::World, Error> {
        let running = observe::running(&mut self.sysmgr).await;
        let previous = self.db.previous()?;
        Ok(observe::world(&self.active, &self.shelf, previous, running))
    }

    async fn plan(&mut self, request: &Request) -> Result<PlanReport, Error> {
        self.check(request)?;
        let world = self.world().await?;
        Ok(plan::plan(&world, request).report)
    }

    /// A request names something, and what it names is there.
    fn check(&self, request: &Request) -> Result<(), Error> {
        if request.actions.is_empty() {
            return Err(Error::Invalid("the request names no package".to_owned()));
        }
        for action in &request.actions {
            let (Action::Activate(reference) | Action::Deactivate(reference)) = action;
            let versions = self.shelf.versions(&reference.name);
            if !versions
                .iter()
                .any(|package| package.is_meant_by(reference))
            {
                let all = versions.iter().map(|one| one.id.version.to_string());
                let hint = match action {
                    _ if !versions.is_empty() => {
                        format!("there are {}", all.collect::<Vec<_>>().join(", "))
                    }
                    Action::Activate(_) => "add it first".to_owned(),
                    Action::Deactivate(_) => "so it is not active either".to_owned(),
                };
                return Err(Error::Invalid(format!(
                    "{reference} is not in the store: {hint}"
                )));
            }
        }
        Ok(())
    }

    async fn apply(&mut self, request: Request, by: String, reply: Reply<ChangeReport>) {
        if self.booting && self.change.is_some() {
            self.waiting.push_back((request, by, reply));
            return;
        }
        match self.begin(request, by).await {
            Err(error) => answer(reply, Err(error)),
            Ok(Begun::Nothing(report)) => answer(reply, Ok(report)),
            Ok(Begun::Change(changeover)) => {
                let mailbox = self.context.mailbox.clone();
                tokio::spawn(async move {
                    let report = changeover.run().await;
                    if let Some(mailbox) = mailbox.upgrade() {
                        drop(mailbox.send(Message::Ended { report, reply }).await);
                    }
                });
            }
        }
    }

    async fn begin(&mut self, request: Request, by: String) -> Result<Begun, Error> {
        if let Some(change) = &self.change {
            let RunningChange {
                change,
                by,
                since,
                phase,
            } = change;
            return Err(Error::Busy(format!(
                "change {change} holds the node: asked for by {by}, since {since}, in {phase}"
            )));
        }
        self.check(&request)?;
        let world = self.world().await?;
        let plan = plan::plan(&world, &request);
        if !plan.report.unmet.is_empty() {
            return Err(Error::Unmet(unmet(&plan.report)));
        }
        let target = if plan.is_empty {
            self.running
        } else {
            self.db.next_generation()?
        };
        let id = self.db.begin_change(&Beginning {
            requester: &by,
            boot: &self.context.boot,
            origin: self.running,
            target,
            request: &request,
            plan: &plan.report,
        })?;
        if plan.is_empty {
            let report = nothing(id, self.running);
            self.db.end_change(&report)?;
            return Ok(Begun::Nothing(report));
        }
        let since = Time::now().rfc3339();
        self.change = Some(RunningChange {
            change: id,
            by,
            since,
            phase: "plan".to_owned(),
        });
        let new: Vec<PackageId> = plan.list.iter().map(|package| package.id.clone()).collect();
        let previous = recover::replaced(&world.previous, &self.active.row.list, &new);
        Ok(Begun::Change(Box::new(Changeover {
            context: self.context.clone(),
            db: Db::open(&self.context.database())?,
            sysmgr: self.context.sysmgr(),
            id,
            request,
            world,
            plan,
            origin: self.running,
            target,
            previous,
        })))
    }

    /// Takes the end of a change in.
    async fn ended(&mut self, report: Result<ChangeReport, Error>) -> Result<ChangeReport, Error> {
        self.change = None;
        if let Ok(report) = &report {
            self.findings.clone_from(&report.discrepancies);
        }
        self.reload()?;
        if let Err(error) = self.collect().await {
            let error = model::report::Chain(&error).to_string();
            tracing::warn!(error, "what nobody needs could not be removed");
        }
        self.publish();
        if self.booting && report.is_ok() {
            self.boot();
        }
        let mut report = report?;
        report.discrepancies = self.discrepancies();
        Ok(report)
    }

    /// Reads what runs from the database.
    fn reload(&mut self) -> Result<(), Error> {
        let running = self
            .db
            .running()?
            .map_or(Generation(0), |(generation, _)| generation);
        if running != self.running {
            self.active = observe::active(&self.context, &self.db, &self.shelf, running)?;
            self.running = running;
        }
        Ok(())
    }

    fn discrepancies(&self) -> Vec<String> {
        let mut all: Vec<String> = self
            .active
            .notes
            .iter()
            .chain(&self.findings)
            .cloned()
            .collect();
        all.dedup();
        all
    }

    /// Lets everyone see what runs.
    fn publish(&mut self) {
        let view = View {
            generation: self.running,
            active: self
                .active
                .order
                .iter()
                .map(|package| package.id.name_version())
                .collect(),
            discrepancies: self.discrepancies(),
            start: self.start,
        };
        self.view.send_if_modified(|seen| {
            let differs = *seen != view;
            *seen = view;
            differs
        });
    }
}

/// What a request leads to.
enum Begun {
    /// The set is as it was asked for already.
    Nothing(ChangeReport),
    /// A change.
    Change(Box<Changeover>),
}

fn nothing(change: ChangeId, generation: Generation) -> ChangeReport {
    ChangeReport {
        detail: Some("the software set is already so".to_owned()),
        ..ChangeReport::new(change, Outcome::Done, generation)
    }
}

fn unmet(report: &PlanReport) -> String {
    let one = |unmet: &model::change::Unmet| {
        let hint = if unmet.hint.is_empty() {
            String::new()
        } else {
            format!(" ({})", unmet.hint)
        };
        format!("{} needs {}{hint}", unmet.by, unmet.needs)
    };
    report.unmet.iter().map(one).collect::<Vec<_>>().join("; ")
}

fn add(context: &Context, envelope: File) -> Result<Vec<AddedPackage>, sys::Error> {
    let mut db = Db::open(&context.database())?;
    let accounts = sys::setup::accounts::Accounts::read(&context.machine)?;
    let mut shown = std::time::Instant::now();
    let mut told = |done, total| {
        // A signal for each object would cost more than the object.
        if done == total || shown.elapsed() > Duration::from_millis(100) {
            shown = std::time::Instant::now();
            let what = "writing objects".to_owned();
            let progress = Progress {
                phase: "add".to_owned(),
                what,
                count: Some((done, total)),
            };
            drop(context.told.send(progress));
        }
    };
    packages::add(&context.objects, &mut db, accounts, envelope, &mut told)
}

/// The asker may be gone; that changes nothing.
fn answer<T>(reply: Reply<T>, value: Result<T, Error>) {
    drop(reply.send(value));
}

/// Adds whatever is dropped into the directory `incoming`, one file after the other.
pub async fn incoming(mut incoming: sys::incoming::Incoming, engine: Handle) {
    while let Some((path, file)) = incoming.next().await {
        let added = engine.add(file).await;
        let refused = added
            .as_ref()
            .err()
            .map(|error| model::report::Chain(error).to_string());
        match &refused {
            None => tracing::info!("added {}", path.display()),
            Some(reason) => tracing::warn!("refused {}: {reason}", path.display()),
        }
        if let Err(error) = incoming.settle(&path, refused.as_deref()) {
            tracing::warn!(error = %model::report::Chain(&error), "incoming");
        }
    }
}
