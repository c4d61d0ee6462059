//! The sole owner of what the master knows of its fleet: one task, one mailbox.
//!
//! ```text
//! links, people ──► mailbox ──► Engine: memory ─► pending writes ─► store ─► effects: messages, answers
//!                                  │     ▲
//!                                  └ plan ┘     decisions are functions of the memory
//! ```
//!
//! Messages are taken in batches. All that a batch changes is written first, in as few transactions
//! as it takes; then messages leave and answers are given. So nobody is told what a master that dies
//! would not know any more, and a thousand votes cost a few transactions.
//!
//! Invariant: what is in the store alone is enough to go on: a master that was killed loads it, tells
//! each update that it was restarted, and finds out the rest as the nodes come back.

mod assigned;
mod collect;
mod documents;
mod drive;
mod error;
mod fleet;
mod goback;
mod handle;
mod images;
mod link;
mod load;
mod node;
mod notes;
mod packages;
mod patches;
mod people;
mod prepare;
mod ready;
pub mod records;
mod show;
mod update;
mod writes;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use model::PackageId;
use model::trust::SecretKey;
use model::wire::{
    Assignment, Epoch, FleetEvent, FleetName, LinkSettings, NodeName, RolloutId, Scope, Selector,
};
use tokio::sync::{broadcast, mpsc, oneshot};
use transfer::Shelf;

pub use error::Error;
pub use handle::Handle;
pub use link::{LinkId, Outgoing};

use crate::audit::Audit;
use crate::clock::{self, now_ms};
use crate::hooks::Hooks;
use crate::plan::rollout::Rollout;
use crate::store::Store;
use handle::Message;
use node::Node;
use records::PackageRecord;
use writes::{Effect, Fence, Pending};

/// Messages that wait for the engine at most; whoever has more waits himself.
const MAILBOX: usize = 1024;
/// Messages that are taken before what they changed is written.
const BATCH: usize = 512;
/// Live events that a slow reader may be behind.
const EVENTS: usize = 1024;
/// The clock is looked at so often, since it may jump.
const LOOK: Duration = Duration::from_secs(2);
/// A store that fails is tried again after this.
const STORE_AGAIN: Duration = Duration::from_secs(1);

/// What the engine is started with.
#[derive(Debug)]
pub struct Parts {
    /// Where the state is.
    pub store: Store,
    /// Where the objects are.
    pub shelf: Arc<Shelf>,
    /// Signs wanted states.
    pub key: SecretKey,
    /// For what does not fit into memory, on the shelf's file system.
    pub spool: PathBuf,
    /// How nodes are to keep their links.
    pub link: LinkSettings,
    /// Who did what.
    pub audit: Audit,
    /// Whom people want to be told.
    pub hooks: Hooks,
}

/// All that the master knows, as its owner holds it.
pub(super) struct Engine {
    store: Store,
    audit: Audit,
    hooks: Hooks,
    checks: notes::Checks,
    patches: patches::Patches,
    fence: Fence,
    shelf: Arc<Shelf>,
    key: SecretKey,
    link: LinkSettings,
    epoch: Epoch,
    nodes: BTreeMap<NodeName, Node>,
    assignments: BTreeMap<Scope, Assignment>,
    groups: BTreeMap<FleetName, Selector>,
    packages: BTreeMap<PackageId, PackageRecord>,
    /// Every package with its manifest.
    candidates: documents::Candidates,
    documents: documents::Documents,
    images: images::Images,
    ready: Option<ready::Ready>,
    rollouts: BTreeMap<RolloutId, Rollout>,
    /// When each update wants to be looked at, milliseconds since 1970.
    wakes: BTreeMap<RolloutId, u64>,
    next_rollout: u64,
    keys: HashMap<String, RolloutId>,
    pending: Pending,
    events: broadcast::Sender<FleetEvent>,
    mailbox: mpsc::WeakSender<Message>,
}

/// Loads the state and starts the engine. It stops when every handle is gone, or when another master
/// has taken the store over.
///
/// # Errors
/// Where the store or the shelf cannot be read.
pub async fn start(
    parts: Parts,
) -> Result<(Handle, tokio::task::JoinHandle<Result<(), Error>>), Error> {
    let (sender, mailbox) = mpsc::channel(MAILBOX);
    let (events, _) = broadcast::channel(EVENTS);
    let handle = Handle {
        mailbox: sender.clone(),
        events: events.clone(),
        shelf: Arc::clone(&parts.shelf),
        spool: parts.spool.clone(),
        silence: Duration::from_millis(parts.link.ping_ms.saturating_mul(3) / 2),
        checks: notes::Checks::default(),
        shelf_in_use: Arc::default(),
    };
    let mut engine = Engine::load(parts, events, sender.downgrade()).await?;
    engine.checks = handle.checks.clone();
    for name in engine.nodes.keys() {
        engine.recheck_now(name);
    }
    drop(sender);
    engine.restarted();
    engine.flush().await?;
    let task = tokio::spawn(engine.run(mailbox));
    Ok((handle, task))
}

/// RFC 3339 in UTC, by the second.
fn rfc3339(ms: u64) -> String {
    clock::rfc3339(ms / 1000)
}

impl Engine {
    async fn run(mut self, mut mailbox: mpsc::Receiver<Message>) -> Result<(), Error> {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let wait = self.until_due();
            tokio::select! {
                count = mailbox.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        return Ok(());
                    }
                    for message in batch.drain(..) {
                        self.take(message);
                    }
                }
                () = tokio::time::sleep(wait) => {}
            }
            self.due();
            self.flush().await?;
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Opened(opening) => self.opened(*opening),
            Message::From(node, link, message) => self.heard(&node, link, *message),
            Message::Closed(node, link) => self.closed(&node, link),
            Message::Probed(node, link, alive) => self.probed(&node, link, alive),
            Message::Do(act) => act(self),
        }
    }

    /// Writes what has changed, then does what waited for it. A store that fails is tried until it
    /// works again: nothing is told meanwhile, and nothing is lost.
    async fn flush(&mut self) -> Result<(), Error> {
        while let Err(error) = self.pending.write(&self.audit, &self.fence).await {
            if matches!(error, Error::Conflict(_)) {
                return Err(error);
            }
            tracing::error!(error = %model::report::Chain(&error), "the store cannot be written: trying again");
            tokio::time::sleep(STORE_AGAIN).await;
        }
        self.tell_parts();
        self.tell_moved();
        for effect in std::mem::take(&mut self.pending.effects) {
            self.perform(effect);
        }
        Ok(())
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Send(node, text) => self.send(&node, text),
            Effect::Cut(node, reason) => self.cut_now(&node, reason),
            // Nobody may listen.
            Effect::Tell(event) => drop(self.events.send(event)),
            Effect::Hook(occasion) => self.hooks.tell(*occasion),
            Effect::Check(node) => self.recheck_now(&node),
            Effect::Answer(answer) => answer(),
        }
    }

    /// Gives an answer when what belongs to it is stored.
    fn answer<T: Send + 'static>(
        &mut self,
        reply: oneshot::Sender<Result<T, Error>>,
        answer: Result<T, Error>,
    ) {
        // Whoever asked may have gone.
        let give = Box::new(move || drop(reply.send(answer)));
        self.pending.effect(Effect::Answer(give));
    }

    fn until_due(&self) -> Duration {
        let Some(first) = self.wakes.values().min() else {
            return LOOK;
        };
        Duration::from_millis(first.saturating_sub(now_ms())).min(LOOK)
    }
}
