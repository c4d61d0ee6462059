//! The session with `sysmgrd`: questions come as events, answers go as calls.
//!
//! ```text
//! program's loop ──poll──► one descriptor (readable while an event waits) ──► try_next()
//!       └── accept, veto, ready_and_waiting, done … ──► worker thread ──socket──► sysmgrd
//! ```
//!
//! The socket was inherited; it is the process's identity, so that nobody has to name themselves.
//!
//! A `sysmgrd` that ends does not end the session: the worker comes back to the next one, and
//! registers again where the process had registered. What was asked and not answered meanwhile is
//! asked again, by whoever still wants to know; answers to the daemon that is gone are dropped.
//!
//! A session that `sysmgrd` has closed for good gives [`Event::Disconnected`], and nothing more: the
//! process keeps running and is no longer asked. Silence counts as a veto *no answer*; a process
//! that wants to be asked again ends itself when it suits it, and is started with a new session.

mod reason;
mod way_back;
mod worker;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use model::bus::session::{FD_VARIABLE, SOCKET_VARIABLE};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use crate::sys::inherited;
use crate::{Announcement, Asked, ChangeId, Ended};

pub use reason::{NoReason, Reason};
use worker::{Answer, Command};

/// What `sysmgrd` asks and tells.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// May this change happen? Nothing has been touched. To be answered with [`Session::accept`],
    /// [`Session::accept_reached`] or [`Session::veto`] before the question's time is over;
    /// [`Session::more_time`] lengthens it.
    Evaluate(Announcement, Asked),
    /// *Going to change*: get ready and wait. To be answered with [`Session::ready_and_waiting`]
    /// or [`Session::not_ready`]. From that answer on paths may name new files at any moment.
    Prepare(Announcement),
    /// The new files stand at every path. To be answered with [`Session::done`] or
    /// [`Session::ask_restart`]. It comes a second time for the same change, without a question and
    /// without [`Event::Prepare`], where the change is taken back: then the old files stand there.
    Changed(ChangeId),
    /// The change has ended, with success or aborted.
    Ended(Ended),
    /// The session is over for good; the last event. A `sysmgrd` that is only restarted causes none.
    Disconnected,
}

/// Why a session could not be had, or an answer not be given.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The variable is there, and what it says is not a number of an inherited stream socket.
    #[error("{FD_VARIABLE}={0} names no inherited socket: leave the variable as sysmgrd set it")]
    BadVariable(String),
    /// A process has one session.
    #[error("the session of this process was taken before")]
    Taken,
    /// The machine's.
    #[error("could not set up the session")]
    Io(#[from] io::Error),
    /// `sysmgrd` did not speak as it should, or refused.
    #[error("sysmgrd refused or could not be understood")]
    Refused(#[from] model::bus::Error),
    /// The connection is gone, or `sysmgrd` has not answered in time.
    #[error("the session with sysmgrd is over")]
    Over,
}

/// The session of this process.
///
/// Its descriptor ([`AsFd`]) is readable while an event waits, for any event loop. All methods may
/// be called from any thread.
#[derive(Debug)]
pub struct Session {
    commands: Option<tokio::sync::mpsc::UnboundedSender<Command>>,
    inbox: Arc<Inbox>,
    worker: Option<JoinHandle<()>>,
}

/// Events that wait, and the descriptor that says so.
#[derive(Debug)]
struct Inbox {
    waiting: Mutex<VecDeque<Event>>,
    /// A semaphore: its count is that of the events that may be taken.
    count: OwnedFd,
    /// The last event has been taken.
    over: AtomicBool,
}

impl Inbox {
    fn new() -> io::Result<Self> {
        let flags = EventfdFlags::SEMAPHORE | EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC;
        Ok(Self {
            waiting: Mutex::default(),
            count: eventfd(0, flags)?,
            over: AtomicBool::new(false),
        })
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Event>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, event: Event) {
        self.waiting().push_back(event);
        // It fails only where 2^64 events wait.
        let _written = rustix::io::write(&self.count, &1_u64.to_ne_bytes());
    }

    fn take(&self) -> Option<Event> {
        let mut waiting = self.waiting();
        // The event is put before it is counted, so that a count always has its event.
        rustix::io::read(&self.count, &mut [0; 8]).ok()?;
        let event = waiting.pop_front();
        drop(waiting);
        if event == Some(Event::Disconnected) {
            self.over.store(true, Ordering::Release);
        }
        event
    }
}

impl Inbox {
    /// Takes back what a daemon that is gone has asked.
    fn forget_questions(&self) {
        let mut waiting = self.waiting();
        let before = waiting.len();
        waiting.retain(|event| !matches!(event, Event::Evaluate(..)));
        for _ in waiting.len()..before {
            let _counted = rustix::io::read(&self.count, &mut [0; 8]);
        }
    }
}

impl Session {
    /// The session that `sysmgrd` gave this process; `None` where it gave none, as when the
    /// program is run by hand. Taken once in the life of a process; programs that it starts do not
    /// inherit it. While no `sysmgrd` runs, registering waits for it.
    ///
    /// # Errors
    ///
    /// The variable is damaged, the session was taken before, or `sysmgrd` does not answer.
    pub fn from_env() -> Result<Option<Self>, SessionError> {
        let Some(value) = std::env::var_os(FD_VARIABLE) else {
            return Ok(None);
        };
        let text = value.to_string_lossy().into_owned();
        let Ok(number) = text.parse() else {
            return Err(SessionError::BadVariable(text));
        };
        match inherited::stream(number) {
            Ok(stream) => {
                let way_back = std::env::var_os(SOCKET_VARIABLE).map(PathBuf::from);
                Self::with(stream, way_back).map(Some)
            }
            Err(inherited::Refusal::Taken) => Err(SessionError::Taken),
            Err(inherited::Refusal::NotASocket) => Err(SessionError::BadVariable(text)),
        }
    }

    /// A session over this socket alone; for programs that got it by other means, and tests.
    ///
    /// # Errors
    ///
    /// The other end does not speak D-Bus, peer to peer.
    pub fn over(stream: UnixStream) -> Result<Self, SessionError> {
        Self::with(stream, None)
    }

    /// A session over this socket, with a path to come back to when its other end is gone.
    ///
    /// # Errors
    ///
    /// As [`Self::over`], where there is no path.
    pub fn with(stream: UnixStream, way_back: Option<PathBuf>) -> Result<Self, SessionError> {
        let inbox = Arc::new(Inbox::new()?);
        let (commands, orders) = tokio::sync::mpsc::unbounded_channel();
        let (started, outcome) = mpsc::channel();
        let events = Arc::clone(&inbox);
        let worker = std::thread::Builder::new()
            .name("selfmanage".to_owned())
            .spawn(move || worker::run(stream, way_back, orders, &events, &started))?;
        let session = Self {
            commands: Some(commands),
            inbox,
            worker: Some(worker),
        };
        outcome.recv().map_err(|_| SessionError::Over)??;
        Ok(session)
    }

    /// Registers for every change; from now on events come. Answers the process's own name. A
    /// second call does nothing more. Where `sysmgrd` is being restarted, it waits.
    ///
    /// # Errors
    ///
    /// The session is over, or refused.
    pub fn register(&self) -> Result<String, SessionError> {
        let (reply, answer) = mpsc::channel();
        self.order(Command::Register(reply))?;
        answer.recv().map_err(|_| SessionError::Over)?
    }

    /// Is told nothing any more, until it registers again. A change that reaches this process then
    /// finds it silent: that is a veto *no answer*, and a forced change restarts it.
    ///
    /// # Errors
    ///
    /// The session is over.
    pub fn unregister(&self) -> Result<(), SessionError> {
        let (reply, answer) = mpsc::channel();
        self.order(Command::Unregister(reply))?;
        answer.recv().map_err(|_| SessionError::Over)?
    }

    /// Asks for more time to vote; answers how much is granted on top of what the question had:
    /// never more than the node allows, and none where `sysmgrd` has gone. Once a change.
    ///
    /// # Errors
    ///
    /// As [`Self::accept`]; also where more time was granted before.
    pub fn more_time(&self, change: ChangeId, wanted: Duration) -> Result<Duration, SessionError> {
        let (reply, answer) = mpsc::channel();
        self.order(Command::MoreTime(change, wanted, reply))?;
        answer.recv().map_err(|_| SessionError::Over)?
    }

    /// The next event, if one waits.
    pub fn try_next(&self) -> Option<Event> {
        self.inbox.take()
    }

    /// Waits for the next event. After [`Event::Disconnected`] it gives that again at once.
    ///
    /// # Errors
    ///
    /// The machine's.
    pub fn next_event(&self) -> io::Result<Event> {
        loop {
            if let Some(event) = self.inbox.take() {
                return Ok(event);
            }
            if self.inbox.over.load(Ordering::Acquire) {
                return Ok(Event::Disconnected);
            }
            match poll(&mut [PollFd::new(&self.inbox.count, PollFlags::IN)], None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Votes for the change. Where `sysmgrd` has gone meanwhile, this answer and all others count as
    /// given: what the next one still wants to know it asks again.
    ///
    /// # Errors
    ///
    /// As for all answers: the session is over, or the answer does not count: it is for another
    /// change, comes too late, or is the second one.
    pub fn accept(&self, change: ChangeId) -> Result<(), SessionError> {
        self.answer(Answer::Vote {
            change,
            veto: None,
            reached: false,
        })
    }

    /// Votes for the change and says that it reaches this process, whatever the plan knew.
    ///
    /// # Errors
    ///
    /// As [`Self::accept`].
    pub fn accept_reached(&self, change: ChangeId) -> Result<(), SessionError> {
        self.answer(Answer::Vote {
            change,
            veto: None,
            reached: true,
        })
    }

    /// Votes against the change.
    ///
    /// # Errors
    ///
    /// As [`Self::accept`].
    pub fn veto(&self, change: ChangeId, reason: Reason) -> Result<(), SessionError> {
        self.answer(Answer::Vote {
            change,
            veto: Some(reason),
            reached: false,
        })
    }

    /// Votes against the change and says that it reaches this process: the objection of a process
    /// that the plan did not know to be reached counts only with this.
    ///
    /// # Errors
    ///
    /// As [`Self::accept`].
    pub fn veto_reached(&self, change: ChangeId, reason: Reason) -> Result<(), SessionError> {
        self.answer(Answer::Vote {
            change,
            veto: Some(reason),
            reached: true,
        })
    }

    /// Ready: from now on files may change under this process.
    ///
    /// # Errors
    ///
    /// As [`Self::accept`].
    pub fn ready_and_waiting(&self, change: ChangeId) -> Result<(), SessionError> {
        self.answer(Answer::Prepared {
            change,
            not_ready: None,
        })
    }

    /// It cannot get ready: the change is aborted, or, where it is forced, this process restarted.
    ///
    /// # Errors
    ///
    /// As [`Self::accept`].
    pub fn not_ready(&self, change: ChangeId, reason: Reason) -> Result<(), SessionError> {
        self.answer(Answer::Prepared {
            change,
            not_ready: Some(reason),
        })
    }

    /// This process runs wholly on the new files.
    ///
    /// # Errors
    ///
    /// As [`Self::accept`].
    pub fn done(&self, change: ChangeId) -> Result<(), SessionError> {
        self.answer(Answer::Done {
            change,
            restart: None,
        })
    }

    /// This process asks to be restarted instead.
    ///
    /// # Errors
    ///
    /// As [`Self::accept`].
    pub fn ask_restart(&self, change: ChangeId, reason: Reason) -> Result<(), SessionError> {
        self.answer(Answer::Done {
            change,
            restart: Some(reason),
        })
    }

    fn answer(&self, answer: Answer) -> Result<(), SessionError> {
        let (reply, taken) = mpsc::channel();
        self.order(Command::Answer(answer, reply))?;
        taken.recv().map_err(|_| SessionError::Over)?
    }

    fn order(&self, command: Command) -> Result<(), SessionError> {
        let commands = self.commands.as_ref().ok_or(SessionError::Over)?;
        commands.send(command).map_err(|_| SessionError::Over)
    }
}

impl AsFd for Session {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inbox.count.as_fd()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.commands = None;
        // A worker that panicked has said so on standard error; there is no one else to tell.
        let _ended = self.worker.take().map(JoinHandle::join);
    }
}
