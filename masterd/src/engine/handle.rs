//! How others speak to the engine.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use model::wire::{FleetEvent, FromNode, Hello, NodeName};
use tokio::sync::{broadcast, mpsc, oneshot};
use transfer::Shelf;

use super::link::{LinkId, Outgoing};
use super::notes::Checks;
use super::{Engine, Error};

/// Something for the engine's mailbox.
pub(super) enum Message {
    /// A node made itself known.
    Opened(Box<Opening>),
    /// A link's message.
    From(NodeName, LinkId, Box<FromNode>),
    /// A link is gone.
    Closed(NodeName, LinkId),
    /// Whether the older of two links answered.
    Probed(NodeName, LinkId, bool),
    /// Anything else: run by the owner of the state.
    Do(Box<dyn FnOnce(&mut Engine) + Send>),
}

/// A link whose node has made itself known.
pub(super) struct Opening {
    pub(super) node: NodeName,
    pub(super) link: LinkId,
    pub(super) hello: Hello,
    pub(super) to: mpsc::Sender<Outgoing>,
}

/// The engine, as others hold it.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(super) mailbox: mpsc::Sender<Message>,
    pub(super) events: broadcast::Sender<FleetEvent>,
    pub(super) shelf: Arc<Shelf>,
    pub(super) spool: PathBuf,
    pub(super) silence: Duration,
    pub(super) checks: Checks,
    /// Whoever puts objects there that nothing names yet reads; a collection writes.
    pub(super) shelf_in_use: Arc<tokio::sync::RwLock<()>>,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Opened(_) => "Opened",
            Self::From(..) => "From",
            Self::Closed(..) => "Closed",
            Self::Probed(..) => "Probed",
            Self::Do(_) => "Do",
        })
    }
}

impl Handle {
    /// Runs `act` where the state is; the answer comes when everything that it changed is stored.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Engine) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let run = Box::new(move |engine: &mut Engine| {
            let answer = act(engine);
            engine.answer(reply, answer);
        });
        let sent = self.mailbox.send(Message::Do(run)).await;
        sent.map_err(|_| Error::Stopped)?;
        answer.await.map_err(|_| Error::Stopped)?
    }

    /// A node's first message on a new link. What the master has to say comes through `to`; when
    /// that is closed, the link is to end.
    pub async fn link_opened(
        &self,
        node: NodeName,
        hello: Hello,
        to: mpsc::Sender<Outgoing>,
    ) -> Result<LinkId, Error> {
        let link = LinkId::next();
        let opening = Opening {
            node,
            link,
            hello,
            to,
        };
        let sent = self.mailbox.send(Message::Opened(Box::new(opening))).await;
        sent.map_err(|_| Error::Stopped)?;
        Ok(link)
    }

    /// A further message of a link.
    pub async fn link_message(
        &self,
        node: NodeName,
        link: LinkId,
        message: FromNode,
    ) -> Result<(), Error> {
        let message = Message::From(node, link, Box::new(message));
        self.mailbox.send(message).await.map_err(|_| Error::Stopped)
    }

    /// A link is gone.
    pub async fn link_closed(&self, node: NodeName, link: LinkId) {
        drop(self.mailbox.send(Message::Closed(node, link)).await);
    }

    /// Where large things may be put down for a while.
    pub fn spool(&self) -> &Path {
        &self.spool
    }

    /// A link that says nothing so long is asked whether it lives, and ends after as long again.
    pub fn silence(&self) -> Duration {
        self.silence
    }

    /// What happens from now on.
    pub fn events(&self) -> broadcast::Receiver<FleetEvent> {
        self.events.subscribe()
    }
}
