//! The sole owner of the node's state, with one mailbox.
//!
//! ```text
//! dbus ──Handle──► mailbox ─► Engine ─┬─ answers at once: list, plan, status, why, history
//!                     ▲               ├─ an `add`, one at a time ──┐
//!                     └── their end ──┴─ a change, one at a time ──┴─ tasks of their own
//! ```
//! Tasks have a database connection of their own and tell the engine their end; the engine alone
//! knows what is active, and collects what nobody needs when neither is going on.

mod adding;
mod back;
mod begin;
mod change;
mod collect;
mod context;
mod fleet;
mod gate;
mod handle;
mod kept;
mod lists;
mod observe;
mod open;
mod phases;
mod proof;
mod recover;
mod request;
mod retry;
mod show;
mod shown;
mod stage;
mod switch;
mod trees;
mod trust;
mod verify;
mod votes;
mod why;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use model::change::{ChangeReport, PackageRef, Request, RunningChange};
use model::{Generation, PackageId};
use resolve::deps::Shelf;
use tokio::sync::{broadcast, mpsc, watch};

pub use adding::incoming;
pub use fleet::{Evaluation, Question, Software, free};
pub use gate::Gate;
pub use handle::{Handle, Start, View};
pub use request::Error;

use self::change::Went;
use self::context::Context;
use self::observe::ActiveSet;
use self::open::Open;
use self::request::{Message, Reply};
use self::retry::{Retry, Unwritten};
use self::shown::Shown;
use crate::config::Config;
use crate::plan::{Plan, World};
use crate::sys::db::Db;
use crate::sys::sysmgr::{self, Seen, Sysmgr};

/// The owner of the node's state.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
struct Engine {
    context: Context,
    db: Db,
    sysmgr: Sysmgr,
    shelf: Arc<Shelf>,
    active: ActiveSet,
    running: Generation,
    /// The answer to the last message, where it was a plan: nothing has moved since.
    shown: Option<Shown<(World, Plan)>>,
    /// The change that is going on, or what the start is still busy with.
    change: Option<RunningChange>,
    /// Requests that came while the committed set was still being started.
    waiting: VecDeque<Waiting>,
    booting: bool,
    /// Nothing is started until the fleet's master was heard, or was waited for long enough.
    held: bool,
    start: Start,
    adding: bool,
    adds: VecDeque<adding::Add>,
    /// Found by the last change or at start; kept until the next change.
    findings: Vec<String>,
    /// The end of a change that could not be written; it is before another begins.
    unwritten: Option<Unwritten>,
    /// Something that nobody needs could not be removed.
    untidy: bool,
    /// A change whose end is still to be reached; it is before another begins.
    open: Option<Box<Open>>,
    /// The last change, where what it was to leave running does not run.
    left: Option<ChangeReport>,
    /// Why the set could not be started.
    unstarted: Option<String>,
    /// When any of these is tried again.
    retry: Retry,
    view: watch::Sender<View>,
    /// Changes that have ended, for whoever listens.
    ends: broadcast::Sender<ChangeReport>,
}

/// What is done after the committed set was started, and where the answer goes.
#[derive(Debug)]
enum Waiting {
    Change(Request, String, Reply<ChangeReport>),
    Commit(String, Reply<ChangeReport>),
    Remove(Vec<PackageRef>, Reply<Vec<PackageId>>),
    Forget(Vec<Generation>, Reply<Vec<Generation>>),
}

/// Opens the node's state, recovers what a killed daemon left, and starts to answer. The engine
/// ends when the last handle is gone and nothing is going on. Must be called inside a runtime.
pub fn start(config: Config) -> Result<(Handle, tokio::task::JoinHandle<()>), Error> {
    let (mailbox, letters) = mpsc::channel(64);
    let (told, _) = broadcast::channel(1024);
    let (ends, _) = broadcast::channel(64);
    let (view_sender, view) = watch::channel(View::default());
    let context = context::open(config, told.clone(), mailbox.downgrade())?;
    let mut db = Db::open(&context.database())?;
    recover::before_anything(&context, &mut db)?;
    let sysmgr = context.sysmgr().again(Duration::ZERO);
    let (shelf, mut damaged) = observe::shelf(&context, &db)?;
    let running = db
        .running()?
        .map_or(Generation(0), |(generation, _)| generation);
    damaged.extend(trees::rebuild(&context, &db, &shelf)?);
    let left = recover::left_half(&db)?;
    let active = observe::active(&context, &db, &shelf, running)?;
    let mut engine = Engine {
        sysmgr,
        shelf: Arc::new(shelf),
        active,
        running,
        shown: None,
        change: None,
        waiting: VecDeque::new(),
        booting: false,
        held: context.config.hold_boot,
        start: Start::default(),
        adding: false,
        adds: VecDeque::new(),
        findings: damaged,
        unwritten: None,
        untidy: false,
        open: None,
        left,
        unstarted: None,
        retry: Retry::default(),
        view: view_sender,
        ends: ends.clone(),
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
            ends,
            view,
        },
        task,
    ))
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
            let moves = matches!(
                message,
                Message::Added { .. }
                    | Message::Remove { .. }
                    | Message::Ended { .. }
                    | Message::Booted(_)
            );
            if !matches!(message, Message::Apply { .. }) {
                self.shown = None;
            }
            self.take(message).await;
            self.tell_news(moves);
        }
    }

    async fn take(&mut self, message: Message) {
        match message {
            Message::Add {
                envelope,
                allowed_by,
                reply,
            } => {
                let source = adding::Source::Envelope(envelope);
                self.adds.push_back((source, allowed_by, reply));
                self.next_add();
            }
            Message::Added { added, reply } => self.added(added, reply),
            Message::Remove { packages, reply } => self.remove_later(packages, reply).await,
            Message::List { reply } => answer(reply, self.list()),
            Message::Plan { request, reply } => answer(reply, self.plan(&request).await),
            Message::Apply { request, by, reply } => self.apply(request, by, reply).await,
            Message::Phase(phase) => {
                if let Some(change) = &mut self.change {
                    change.phase = phase;
                }
            }
            Message::Ended { went, reply } => {
                let report = self.ended(went).await;
                if let Ok(report) = &report
                    && !report.unfinished
                {
                    // Nobody listening is no failure.
                    drop(self.ends.send(report.clone()));
                }
                answer(reply, report);
            }
            Message::Commit { by, reply } => self.commit(by, reply),
            Message::Pin {
                generation,
                pinned,
                reply,
            } => answer(reply, self.pin(generation, pinned)),
            Message::Forget { generations, reply } => self.forget_later(generations, reply).await,
            Message::Status { reply } => answer(reply, self.status().await),
            Message::Why { what, reply } => answer(reply, self.why(&what)),
            Message::History { filter, reply } => {
                answer(reply, self.db.history(&filter).map_err(Error::from));
            }
            Message::Change { change, reply } => answer(reply, self.record(change)),
            Message::Verify {
                thoroughness,
                reply,
            } => self.verify(thoroughness, reply),
            Message::Verified {
                generation,
                report,
                reply,
            } => self.verified(generation, report, reply),
            Message::Sysmgrd(seen) => self.sysmgrd(seen),
            Message::Booted(booted) => self.booted(booted).await,
            Message::Again => self.again().await,
            Message::Fleet(message) => self.fleet(message).await,
        }
    }

    /// Takes the end of a change in.
    async fn ended(&mut self, went: Result<Went, Error>) -> Result<ChangeReport, Error> {
        self.change = None;
        let report = went.map(|Went { report, open }| {
            self.findings.clone_from(&report.discrepancies);
            self.open = open;
            self.take_end(&report);
            report
        });
        self.soon();
        self.reload()?;
        self.nag();
        self.tidy().await;
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
        self.active.row.trial = self.db.generation(running)?.trial;
        Ok(())
    }

    fn discrepancies(&self) -> Vec<String> {
        let mut all: Vec<String> = self
            .active
            .notes
            .iter()
            .chain(&self.findings)
            .cloned()
            .chain(self.undone())
            .chain(self.trust_notes())
            .chain(self.not_committed())
            .collect();
        all.dedup();
        all
    }

    /// That the next boot would run another set, though what runs is no trial.
    fn not_committed(&self) -> Option<String> {
        let committed = self.db.committed().ok()?;
        let moves = self.change.is_some() || self.open.is_some();
        let stays = self.active.row.trial || moves || committed == self.running;
        (!stays).then(|| {
            format!(
                "generation {} runs and the next boot runs {committed}: pkgtool commit keeps what \
                 runs",
                self.running
            )
        })
    }

    /// Lets everyone see the running change, and that the store may hold something else now.
    fn tell_news(&self, moves: bool) {
        self.view.send_if_modified(|seen| {
            let differs = moves || seen.change != self.change;
            seen.store += u64::from(moves);
            seen.change.clone_from(&self.change);
            differs
        });
    }

    /// The discrepancies; those that nobody has heard of yet go to the log.
    fn news(&self) -> Vec<String> {
        let all = self.discrepancies();
        let known = &self.view.borrow().discrepancies;
        for one in all.iter().filter(|one| !known.contains(one)) {
            tracing::warn!("discrepancy: {one}");
        }
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
            discrepancies: self.news(),
            start: self.start,
            change: self.change.clone(),
            store: self.view.borrow().store,
        };
        self.view.send_if_modified(|seen| {
            let differs = *seen != view;
            *seen = view;
            differs
        });
    }
}

/// The asker may be gone; that changes nothing.
fn answer<T>(reply: Reply<T>, value: Result<T, Error>) {
    drop(reply.send(value));
}
