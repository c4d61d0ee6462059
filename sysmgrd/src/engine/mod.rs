//! The one task that owns every process: one queue of events in, effects out.
//!
//! ```text
//!  bus, sysmgrd.sock ──Request──┐                          ┌──► sys: start, signal, mount, write
//!  sessions ────────────────────┤                          │
//!  NOTIFY_SOCKETs, descriptors ─┼──► queue ──► Engine ─────┼──► machine::step ──► actions
//!  ends of processes, timers ───┤                          │
//!  results of blocking work ────┘                          └──► signals to the bus
//! ```
//!
//! Handling an event never waits: whatever takes time is a task that sends an event when it is
//! done, with the number of the run that it belongs to. So an answer that comes too late is known
//! as such, and no two events ever race.

mod beside;
mod ending;
mod ends;
mod evaluate;
mod handover;
mod listeners;
mod readying;
mod report;
mod run;
mod settling;
mod signals;
mod starting;
mod state;
mod supervised;
mod told;
mod transition;
mod turns;
mod views;
mod votes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use model::bus::Error;
use model::change::{ProcessStatus, Progress};
use model::transition::{
    Announcement, Ask, Ended, Prepare, Prepared, Transition, TransitionReport, Tree, Votes,
};
use model::{ChangeId, Generation, ProcessName};
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::process::Exit;
use crate::process::machine::{self, Commands};
use crate::sys::cgroup::{Cgroups, Group};
use crate::sys::fd_store::FdStore;
use crate::sys::logs::Log;
use crate::sys::notify_socket::Message;
use crate::sys::places::Places;
use crate::sys::reap::Children;
use crate::sys::spawn::Spawned;
use crate::sys::state_files::StateFiles;
use crate::sys::view::View;

use self::ends::Unheard;
use self::listeners::Listeners;
use self::readying::Readying;
use self::supervised::Supervised;
pub use self::told::{SessionEvent, SessionSignal};
use self::transition::Run;
use self::turns::Waiting;
use self::views::Views;
use self::votes::Question;

/// An answer on its way to a caller.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// What callers ask for.
#[derive(Debug)]
pub enum Request {
    /// Every process.
    Processes(Reply<Vec<ProcessStatus>>),
    /// The log of a process.
    Log(ProcessName, Reply<Log>),
    /// Stop and start these.
    Restart(Vec<ProcessName>, Reply<TransitionReport>),
    /// The newest view.
    View(Reply<View>),
    /// Vote.
    Ask(Box<Ask>, Reply<Votes>),
    /// Get ready and wait.
    Prepare(Box<Prepare>, Reply<Prepared>),
    /// The next state.
    Transition(Box<Transition>, Reply<TransitionReport>),
    /// A change has ended.
    End(Ended, Reply<()>),
    /// Every member of every process's group.
    Members(Reply<Vec<Members>>),
    /// Stop everything, in order, and answer when nothing runs.
    StopAll(Reply<()>),
}

/// The processes of one group.
#[derive(Debug, Clone)]
pub struct Members {
    /// Whose.
    pub process: ProcessName,
    /// The generation that they run in.
    pub generation: Generation,
    group: Option<Group>,
    main: Option<u32>,
}

impl Members {
    /// Their numbers now; asks the kernel, and so is for blocking threads.
    pub fn pids(&self) -> Vec<u32> {
        let group = self.group.as_ref();
        group
            .map(|group| group.members(self.main))
            .unwrap_or_default()
    }
}

/// Something that happened.
#[derive(Debug)]
pub(crate) enum Event {
    Request(Request),
    /// News of a run of a process.
    Process(ProcessName, u64, News),
    /// From a process's session.
    Session(ProcessName, u64, SessionEvent),
    /// The timer that was armed with this count.
    Due(ProcessName, u64),
    /// The view of a transition's tree was made, or not.
    TreeReady(Box<Run>, Result<(), String>),
    /// The state of a process is as its new program wants it, or could not be made so.
    StateReady(ProcessName, Result<(), String>),
    /// The time to answer a question is over.
    QuestionDue(u64),
    /// The time to get ready is over.
    ReadyingDue(u64),
    /// An evaluate program has voted.
    Evaluated(u64, ProcessName, Result<(), String>),
    /// An evaluate program asks for more time.
    ProgramWantsTime(u64, ProcessName, Duration),
    /// A process has not acknowledged the end of a change in time.
    Unheard(ProcessName, ChangeId),
    /// A health program has ended.
    HealthChecked(u64, ProcessName, Result<(), String>),
    /// All that a transition started have stayed up for as long as they had to.
    Settled,
}

/// News of a run.
#[derive(Debug)]
pub(crate) enum News {
    /// Its program was started.
    Launched(Result<(Spawned, starting::Listening), String>),
    /// A command was started.
    CommandLaunched(Commands, Result<Spawned, String>),
    /// A command ended.
    CommandEnded(u32, Result<(), String>),
    /// A process that was its main one ended.
    Exited(u32, Exit),
    /// It is ready: by its descriptor or sockets.
    Ready,
    /// The daemon that a forking program left.
    Main(Result<u32, String>),
    /// Nothing of it is left.
    Emptied,
    /// It says something of itself.
    Notified(Message),
    /// Its view was moved.
    Moved(Result<(), String>),
    /// It has not said *done* in time.
    DoneDue(u64),
    /// What it maps after it said *done*.
    Checked(Vec<String>),
}

/// What is told to everybody who listens.
#[derive(Debug, Clone)]
pub enum Signal {
    /// A step of a transition.
    Progress(Progress),
    /// A process came into another state.
    ProcessChanged(ProcessStatus),
    /// A process is supervised no more.
    ProcessGone(ProcessName),
}

/// The engine, from outside.
#[derive(Debug, Clone)]
pub struct Handle {
    events: mpsc::Sender<Event>,
    signals: broadcast::Sender<Signal>,
}

impl Handle {
    /// Asks the engine and waits for its answer.
    pub async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let gone = || Error::Failed("sysmgrd is stopping".to_owned());
        self.events
            .send(Event::Request(request(reply)))
            .await
            .map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Everything that is told to listeners from now on.
    pub fn signals(&self) -> broadcast::Receiver<Signal> {
        self.signals.subscribe()
    }

    pub(crate) async fn send(&self, event: Event) {
        // The engine is gone only when the daemon ends.
        drop(self.events.send(event).await);
    }

    /// News from the session of run `run` of `process`.
    pub async fn session(&self, process: ProcessName, run: u64, event: SessionEvent) {
        self.send(Event::Session(process, run, event)).await;
    }
}

/// What the engine works with.
#[derive(Debug, Clone)]
pub struct Tools {
    /// Paths, both sides.
    pub places: Arc<Places>,
    /// Control groups.
    pub cgroups: Cgroups,
    /// This daemon's children.
    pub children: Children,
    /// Live state.
    pub files: StateFiles,
    /// What the next daemon is given.
    pub store: FdStore,
}

/// The owner of every process.
#[derive(Debug)]
pub struct Engine {
    events: mpsc::Receiver<Event>,
    handle: Handle,
    listeners: Listeners,
    tools: Tools,
    views: Views,
    processes: BTreeMap<ProcessName, Supervised>,
    /// The newest generation that a transition was asked for.
    tree: Option<Tree>,
    run: Option<Run>,
    waiting: Waiting,
    question: Option<Question>,
    readying: Option<Readying>,
    questions: u64,
    /// Ends of changes that processes have not acknowledged.
    unheard: BTreeMap<ProcessName, Unheard>,
    /// The change that processes were told of last.
    told: Option<ChangeId>,
    /// The last transition that was begun for a change.
    last: Option<(ChangeId, Generation)>,
    /// What the running change is, from *prepare* on.
    announcement: Option<Announcement>,
    /// Processes whose live state has changed since it was written.
    unsaved: BTreeSet<ProcessName>,
    /// Processes that a running change reaches: one that ends is started again only by its step.
    held: BTreeSet<ProcessName>,
}

impl Engine {
    /// An engine that finds what an earlier one left running.
    pub fn new(tools: Tools) -> (Self, Handle) {
        let (events, receiver) = mpsc::channel(1024);
        let (signals, _) = broadcast::channel(1024);
        let handle = Handle { events, signals };
        let engine = Self {
            events: receiver,
            listeners: Listeners::new(handle.signals.clone()),
            handle: handle.clone(),
            tools,
            views: Views::default(),
            processes: BTreeMap::new(),
            tree: None,
            run: None,
            waiting: Waiting::default(),
            question: None,
            readying: None,
            questions: 0,
            unheard: BTreeMap::new(),
            told: None,
            last: None,
            announcement: None,
            unsaved: BTreeSet::new(),
            held: BTreeSet::new(),
        };
        (engine, handle)
    }

    /// Works for as long as somebody holds a handle.
    pub async fn work(mut self) {
        self.adopt();
        while let Some(event) = self.events.recv().await {
            self.handle(event);
            // What is queued is handled first: a burst is remembered once, not once an event.
            while let Ok(event) = self.events.try_recv() {
                self.handle(event);
            }
            self.save_changed();
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Request(request) => self.request(request),
            Event::Process(name, run, news) => {
                match self
                    .processes
                    .get(&name)
                    .filter(|process| process.run == run)
                {
                    Some(_) => self.news(&name, news),
                    None => self.late(news),
                }
            }
            Event::Session(name, run, event) => self.session_event(&name, run, event),
            Event::Due(name, count) => {
                if self
                    .processes
                    .get(&name)
                    .is_some_and(|process| process.armed == count)
                {
                    self.step(&name, machine::Event::Due);
                }
            }
            Event::TreeReady(run, made) => self.tree_ready(*run, made),
            Event::StateReady(name, result) => self.state_ready(&name, result),
            Event::QuestionDue(number) => self.question_due(number),
            Event::ReadyingDue(number) => self.readying_due(number),
            Event::Evaluated(number, name, vote) => self.evaluated(number, &name, vote),
            Event::ProgramWantsTime(number, name, time) => {
                self.program_wants_time(number, &name, time);
            }
            Event::Unheard(name, change) => self.unheard(&name, change),
            Event::HealthChecked(number, name, result) => {
                self.health_checked(number, &name, result);
            }
            Event::Settled => self.settled(),
        }
    }

    fn request(&mut self, request: Request) {
        match request {
            Request::Processes(reply) => {
                let list = self.processes.values().map(Supervised::status).collect();
                answer(reply, Ok(list));
            }
            Request::Log(name, reply) => answer(reply, self.log_of(&name)),
            Request::Restart(names, reply) => self.restart(&names, reply),
            Request::View(reply) => self.open_view(reply),
            Request::Ask(ask, reply) => self.ask(&ask, reply),
            Request::Prepare(prepare, reply) => self.prepare(*prepare, reply),
            Request::Transition(transition, reply) => self.transition(*transition, reply),
            Request::End(ended, reply) => {
                self.end(&ended);
                answer(reply, Ok(()));
            }
            Request::Members(reply) => answer(reply, Ok(self.members())),
            Request::StopAll(reply) => self.stop_all(reply),
        }
    }

    fn log_of(&self, name: &ProcessName) -> Result<Log, Error> {
        let process = self.processes.get(name).ok_or_else(|| unknown(name))?;
        let never = || Error::Invalid(format!("{name} has not been started yet"));
        process.log.clone().ok_or_else(never)
    }

    fn members(&self) -> Vec<Members> {
        self.processes.values().map(Supervised::group_of).collect()
    }

    fn open_view(&self, reply: Reply<View>) {
        let Some(tree) = self.tree.clone() else {
            let why = "no generation is active yet: activate a package first";
            return answer(reply, Err(Error::Invalid(why.to_owned())));
        };
        let (views, places) = (self.views.clone(), Arc::clone(&self.tools.places));
        tokio::task::spawn_blocking(move || {
            answer(reply, views.get(&tree, &places).map_err(Error::Failed));
        });
    }

    fn tell_all(&self, signal: Signal) {
        self.listeners.tell(signal);
    }

    /// Sends `event` later; the task ends with the holder.
    fn after(&self, delay: Duration, event: Event) -> supervised::Task {
        let handle = self.handle.clone();
        supervised::Task::spawn(async move {
            tokio::time::sleep(delay).await;
            handle.send(event).await;
        })
    }
}

fn answer<T>(reply: Reply<T>, result: Result<T, Error>) {
    // A caller that has gone away needs no answer.
    drop(reply.send(result));
}

fn unknown(name: &ProcessName) -> Error {
    Error::Invalid(format!("no process {name}; `pkgtool ps` lists them"))
}
