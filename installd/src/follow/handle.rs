//! A way to the follower for everyone else.

use model::wire::{Join, MemberState, Membership};
use tokio::sync::{mpsc, oneshot, watch};

use super::{Error, Message, now};

type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// What people ask of the follower.
pub(super) enum Command {
    Join(Box<Join>, Reply<()>),
    Leave(Reply<bool>),
    Hold(String, u64, Reply<()>),
}

/// A way to the follower.
#[derive(Debug, Clone)]
pub struct Handle {
    mailbox: mpsc::WeakSender<Message>,
    /// Keeps the follower alive.
    _own: std::sync::Arc<mpsc::Sender<Message>>,
    view: watch::Receiver<Membership>,
}

impl Handle {
    pub(super) fn new(
        mailbox: mpsc::WeakSender<Message>,
        own: mpsc::Sender<Message>,
        view: watch::Receiver<Membership>,
    ) -> Self {
        Self {
            mailbox,
            _own: std::sync::Arc::new(own),
            view,
        }
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let mailbox = self.mailbox.upgrade().ok_or(Error::Ending)?;
        let sent = mailbox.send(Message::Command(command(reply))).await;
        sent.map_err(|_| Error::Ending)?;
        answer.await.map_err(|_| Error::Ending)?
    }

    /// Enters a fleet.
    pub async fn join(&self, join: Join) -> Result<Membership, Error> {
        self.ask(|reply| Command::Join(Box::new(join), reply))
            .await?;
        Ok(self.membership())
    }

    /// Leaves the fleet; whether it was in one.
    pub async fn leave(&self) -> Result<bool, Error> {
        self.ask(Command::Leave).await
    }

    /// Takes the node out of the fleet's hands until then; 0 ends that.
    pub async fn hold(&self, reason: String, until: u64) -> Result<Membership, Error> {
        self.ask(|reply| Command::Hold(reason, until, reply))
            .await?;
        Ok(self.membership())
    }

    /// How the node stands to its fleet.
    pub fn membership(&self) -> Membership {
        self.view.borrow().clone()
    }

    /// Told whenever that changes.
    pub fn watch(&self) -> watch::Receiver<Membership> {
        self.view.clone()
    }

    /// Why nobody may change the node here, where that is so.
    pub fn refuses_local_change(&self) -> Option<String> {
        let seen = self.view.borrow();
        let held = seen.installed.hold.as_ref();
        let held = held.is_some_and(|hold| hold.until > now());
        if seen.state != MemberState::Member || held {
            return None;
        }
        let master = seen.url.as_deref().unwrap_or("a master");
        Some(format!(
            "this node is managed by {master}: change it there (pkgtool fleet), or say why not with \
             --override REASON --until TIME, which the fleet shows as a hold"
        ))
    }
}
