//! A way to the engine for everyone else.

use std::fs::File;
use std::time::Duration;

use model::change::{
    AddedPackage, ChangeRecord, ChangeReport, HistoryEntry, HistoryFilter, PackageRef, PlanReport,
    Progress, Request, RunningChange, StatusReport, StoredPackage, Thoroughness, VerifyReport,
    WhyReport,
};
use model::{ChangeId, Generation, PackageId};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use super::request::{Error, Message, Reply};

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
    /// The change that is going on.
    pub change: Option<RunningChange>,
    /// Another number whenever the store may hold other packages, or the history another change.
    pub store: u64,
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
    pub(super) mailbox: mpsc::Sender<Message>,
    pub(super) told: broadcast::Sender<Progress>,
    pub(super) ends: broadcast::Sender<ChangeReport>,
    pub(super) view: watch::Receiver<View>,
}

impl Handle {
    pub(super) async fn ask<T>(
        &self,
        message: impl FnOnce(Reply<T>) -> Message,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.mailbox
            .send(message(reply))
            .await
            .map_err(|_| Error::Ending)?;
        answer.await.map_err(|_| Error::Ending)?
    }

    /// Reads an envelope into the store.
    pub async fn add(&self, envelope: File) -> Result<Vec<AddedPackage>, Error> {
        self.add_allowed(envelope, None).await
    }

    /// The same; packages that no trusted key has signed are taken on the word of `allowed_by`.
    pub async fn add_allowed(
        &self,
        envelope: File,
        allowed_by: Option<String>,
    ) -> Result<Vec<AddedPackage>, Error> {
        self.ask(|reply| Message::Add {
            envelope,
            allowed_by,
            reply,
        })
        .await
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

    /// Makes the trial that runs what the next boot runs; answers when it has ended.
    pub async fn commit(&self, by: String) -> Result<ChangeReport, Error> {
        self.ask(|reply| Message::Commit { by, reply }).await
    }

    /// Keeps a generation until it is unpinned, or no longer; answers whether that was news.
    pub async fn pin(&self, generation: Generation, pinned: bool) -> Result<bool, Error> {
        let ask = |reply| Message::Pin {
            generation,
            pinned,
            reply,
        };
        self.ask(ask).await
    }

    /// Gives generations up that could be gone back to.
    pub async fn forget(&self, generations: Vec<Generation>) -> Result<Vec<Generation>, Error> {
        self.ask(|reply| Message::Forget { generations, reply })
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

    /// Whether the disk and the running processes are as the active generation says.
    pub async fn verify(&self, thoroughness: Thoroughness) -> Result<VerifyReport, Error> {
        self.ask(|reply| Message::Verify {
            thoroughness,
            reply,
        })
        .await
    }

    /// What is told while something goes on.
    pub fn progress(&self) -> broadcast::Receiver<Progress> {
        self.told.subscribe()
    }

    /// Every change that ends from now on, however it ends.
    pub fn ends(&self) -> broadcast::Receiver<ChangeReport> {
        self.ends.subscribe()
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
