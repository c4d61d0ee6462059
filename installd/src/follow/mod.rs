//! The fleet's follower: holds the link to a master, answers its questions, and carries out what it
//! has decided and signed. A task of its own beside the engine, which it only asks.
//!
//! ```text
//! dbus ──Handle──► mailbox ─► Follower ─► engine::Handle
//!                     ▲           │ link::hold: one WebSocket, opened again when it is lost
//!  link, work ────────┘           └ one question and one order at a time, in tasks of their own
//!                                   (ask, carry); their ends come back as messages
//! ```
//! What must survive is on the disk before it is acted on ([`kept`]). [`judge`] has the decisions.
//!
//! Invariants:
//! - Nothing of a wanted state is acted on before its epoch and counter are on the disk.
//! - A change that waits for contact is not what the next boot runs.

mod allowed;
mod ask;
mod carry;
mod checking;
mod contact;
mod fetch;
mod gate;
mod handle;
mod join;
pub mod judge;
pub mod kept;
mod messages;
mod tell;

use std::path::PathBuf;
use std::sync::Arc;

use model::wire::{FromNode, LinkSettings, MemberState, Membership, RolloutId, StorePolicy};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;

pub use gate::holds_boot;
pub use handle::Handle;

use self::handle::Command;
use self::kept::{Kept, Member, State};
use crate::config::Config;
use crate::engine;
use crate::sys::master::identity::Identity;
use crate::sys::master::link;
use crate::sys::{self, clock};

/// Why the follower did not do something.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was asked for makes no sense here.
    #[error("{0}")]
    Invalid(String),
    /// The master was not reached, or not believed.
    #[error(transparent)]
    Master(#[from] sys::master::Error),
    /// An effect failed.
    #[error(transparent)]
    Effect(#[from] sys::Error),
    /// The engine refused.
    #[error(transparent)]
    Engine(#[from] engine::Error),
    /// The daemon is going down.
    #[error("installd is ending; ask again when it is back")]
    Ending,
}

/// A message to the follower.
enum Message {
    Command(Command),
    /// Of the link with this number; an older one is not listened to.
    Link(u64, link::Event),
    /// A question was answered.
    Answered(ask::Answered),
    /// An order is at its end.
    Carried(Box<carry::Carried>),
    /// All is ready and waits for the others.
    Ready(RolloutId),
    /// The master was waited for long enough.
    OpenGate,
    /// The master has said that the node differs; by now it would have sent what is wanted.
    NothingWanted,
    /// What is to be in memory only is tried again.
    Load(Box<model::trust::Signed>),
    /// It is time to look whether something is due.
    Due,
    /// The master is asked to be let in once more.
    Enter,
    /// Something for the master.
    Say(Box<FromNode>),
    /// The set that runs may be another one.
    Moved,
}

/// The owner of what the node knows of its fleet.
struct Follower {
    config: Arc<Config>,
    engine: engine::Handle,
    kept: Kept,
    state: State,
    member: Option<(Member, Identity)>,
    /// What was found by probes, sorted.
    features: Vec<model::wire::FleetName>,
    problems: Vec<String>,
    /// Why the last wanted state was not taken.
    refused: Option<String>,
    mailbox: mpsc::Sender<Message>,
    /// How the link is to be kept.
    settings: watch::Sender<LinkSettings>,
    /// The link's task and its number.
    link: Option<AbortHandle>,
    link_number: u64,
    /// To the master, while the link is open.
    master: Option<mpsc::Sender<FromNode>>,
    /// When it was opened last.
    opened: Option<clock::Time>,
    /// Why it is not open.
    closed: Option<String>,
    /// The start of the committed set waits for the master.
    gated: bool,
    /// The question that is being answered.
    asking: Option<(RolloutId, u32, AbortHandle)>,
    /// The order that is being carried out.
    carrying: Option<Carrying>,
    /// The check that goes on.
    checking: Option<checking::Stop>,
    /// The engine is taking it back.
    going_back: bool,
    /// What runs, as it was seen last.
    seen: tell::Seen,
    /// What was told last of what runs.
    told: Option<model::wire::Installed>,
    due: Option<AbortHandle>,
    /// No new certificate is asked for before (seconds since 1970).
    renew_after: u64,
    view: watch::Sender<Membership>,
}

/// An order that is being carried out.
struct Carrying {
    rollout: Option<RolloutId>,
    counter: (model::wire::Epoch, model::wire::Counter),
    phase: &'static str,
    /// How it is told to go, or not to.
    go: Option<oneshot::Sender<Result<(), String>>>,
    /// It is taken back at its end, because of this.
    abort: Option<String>,
    /// It takes an update back.
    is_back: bool,
    /// As long as nothing was touched it can simply be stopped.
    fetching: Option<AbortHandle>,
}

/// Starts the follower; must be called inside a runtime.
pub fn start(config: &Config, engine: engine::Handle) -> Result<Handle, Error> {
    let kept = Kept::open(&config.state_dir.join("fleet"))?;
    let (mailbox, letters) = mpsc::channel(256);
    let (view, seen) = watch::channel(Membership::default());
    let member = kept.member()?;
    let follower = Follower {
        state: kept.state()?,
        config: Arc::new(config.clone()),
        engine,
        kept,
        member,
        features: Vec::new(),
        problems: Vec::new(),
        refused: None,
        mailbox: mailbox.clone(),
        settings: watch::channel(link::AT_FIRST).0,
        link: None,
        link_number: 0,
        master: None,
        opened: None,
        closed: None,
        gated: config.hold_boot,
        asking: None,
        carrying: None,
        checking: None,
        going_back: false,
        seen: tell::Seen::default(),
        told: None,
        due: None,
        renew_after: 0,
        view,
    };
    // Known from the first moment: a call must not find the node unmanaged while it starts.
    follower.publish(None);
    let weak = mailbox.downgrade();
    tokio::spawn(follower.serve(letters));
    Ok(Handle::new(weak, mailbox, seen))
}

impl Follower {
    async fn serve(mut self, mut letters: mpsc::Receiver<Message>) {
        self.watch_engine();
        if self.gated {
            self.limit_gate();
        } else {
            let limit = self.config.timeouts.sysmgrd.limit();
            let limit = limit.unwrap_or(std::time::Duration::MAX);
            self.engine.settled(limit).await;
        }
        self.begin().await;
        while let Some(message) = letters.recv().await {
            self.take(message).await;
        }
    }

    /// What a killed daemon left, and the link.
    async fn begin(&mut self) {
        self.probe().await;
        self.take_up().await;
        self.go_on_joining();
        if self.member.is_some() {
            self.open_link();
        }
        self.schedule();
        self.refresh();
    }

    async fn take(&mut self, message: Message) {
        match message {
            Message::Command(command) => self.command(command).await,
            Message::Link(number, event) => {
                if number == self.link_number {
                    self.link_event(event).await;
                }
            }
            Message::Answered(answered) => self.answered(answered),
            Message::Carried(carried) => self.carried(*carried).await,
            Message::Ready(rollout) => self.ready(rollout),
            Message::Due => self.is_due().await,
            Message::OpenGate => self.open_gate("it was waited for long enough").await,
            Message::NothingWanted => {
                if self.carrying.is_none() {
                    self.open_gate("the master has sent nothing").await;
                }
            }
            Message::Load(signed) => {
                let wanted = self.last_wanted();
                if wanted.is_some_and(|one| self.is_to_be_loaded(&one)) && self.carrying.is_none() {
                    self.wanted(*signed).await;
                }
            }
            Message::Enter => self.try_to_enter().await,
            Message::Say(what) => {
                self.say(*what);
            }
            Message::Moved => self.moved().await,
        }
        self.schedule();
        self.refresh();
    }

    /// Tells the mailbox whenever what runs may be another set.
    fn watch_engine(&self) {
        let (mut view, mailbox) = (self.engine.view(), self.mailbox.clone());
        tokio::spawn(async move {
            while view.changed().await.is_ok() {
                if mailbox.send(Message::Moved).await.is_err() {
                    return;
                }
            }
        });
    }

    /// Opens the link, in place of one that is open.
    fn open_link(&mut self) {
        self.close_link();
        let Some((member, identity)) = &self.member else {
            return;
        };
        let anchor = sys::master::tls::Anchor::Certificate(member.ca.clone());
        let tls = sys::master::tls::client(&anchor, Some(identity));
        let (tls, address) = match (tls, member.url.parse()) {
            (Ok(tls), Ok(address)) => (tls, address),
            (Err(error), _) | (_, Err(error)) => {
                self.closed = Some(model::report::Chain(&error).to_string());
                return;
            }
        };
        self.link_number += 1;
        let (number, mailbox) = (self.link_number, self.mailbox.clone());
        let (events, mut heard) = mpsc::channel(64);
        let settings = self.settings.subscribe();
        let task = tokio::spawn(async move {
            let pass_on = async {
                while let Some(event) = heard.recv().await {
                    if mailbox.send(Message::Link(number, event)).await.is_err() {
                        return;
                    }
                }
            };
            tokio::join!(
                link::hold(address, Arc::new(tls), settings, events),
                pass_on
            );
        });
        self.link = Some(task.abort_handle());
    }

    fn close_link(&mut self) {
        if let Some(link) = self.link.take() {
            link.abort();
        }
        self.master = None;
        self.link_number += 1;
    }

    /// Says something to the master, where the link is open; it is never waited for.
    fn say(&self, what: FromNode) -> bool {
        let sent = self.master.as_ref().map(|master| master.try_send(what));
        matches!(sent, Some(Ok(())))
    }

    /// Writes what must survive; what was not written is not acted on.
    fn save(&self) -> Result<(), Error> {
        Ok(self.kept.set_state(&self.state)?)
    }

    fn spool(&self) -> PathBuf {
        self.kept.spool()
    }

    /// Where objects on their way are.
    fn spool_of(&self, store: StorePolicy) -> PathBuf {
        match store {
            StorePolicy::Keep => self.spool(),
            StorePolicy::Memory => self.config.run_dir.join("memory/spool"),
        }
    }

    fn member_state(&self) -> MemberState {
        match (&self.member, self.kept.joining()) {
            (Some(_), _) => MemberState::Member,
            (None, Ok(Some(_))) => MemberState::Pending,
            (None, Ok(None) | Err(_)) => MemberState::Alone,
        }
    }
}

/// Seconds since 1970.
fn now() -> u64 {
    u64::try_from(clock::Time::now().0 / 1000).unwrap_or(0)
}
