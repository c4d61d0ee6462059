//! What stands behind the store.

use std::fmt;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use super::{Entry, Error, Lease, Listing, Outcome, Revision, Txn};

/// What a backend answers, in time.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, Error>>;

/// Keeps keys and values. What is given to it was checked by [`Store`](super::Store).
pub trait Backend: fmt::Debug + Send + Sync {
    /// One key.
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Entry>>;
    /// Keys with a beginning, at one revision.
    fn list(&self, listing: Listing) -> Answer<'_, (Vec<Entry>, Revision)>;
    /// Compare, then write all or nothing; on the disk when it is answered.
    fn commit(&self, txn: Txn) -> Answer<'_, Outcome>;
    /// Every change behind a revision, in order.
    fn watch<'a>(&'a self, prefix: &'a str, from: Revision) -> Answer<'a, Watch>;
    /// A lease that ends so long after it was last kept alive.
    fn grant(&self, ttl: Duration) -> Answer<'_, Lease>;
    /// Keeps a lease.
    fn keep_alive(&self, lease: Lease) -> Answer<'_, ()>;
    /// Ends a lease, and with it its keys.
    fn revoke(&self, lease: Lease) -> Answer<'_, ()>;
}

/// One key, changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Which.
    pub key: String,
    /// What it holds now; `None`: it is gone.
    pub value: Option<Vec<u8>>,
    /// Of the transaction that did it.
    pub revision: Revision,
}

impl Change {
    /// The record that it holds now; `None`: it is gone.
    pub fn read<T: serde::de::DeserializeOwned>(&self) -> Result<Option<T>, Error> {
        let Some(value) = &self.value else {
            return Ok(None);
        };
        let record = serde_json::from_slice(value).map_err(|source| Error::Record {
            key: self.key.clone(),
            source,
        })?;
        Ok(Some(record))
    }
}

/// What a watch sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// The changes of one transaction that concern the prefix.
    Changed(Vec<Change>),
    /// What followed is not kept any more: list again. The watch has ended.
    Compacted,
}

/// Every change of the keys with a beginning, in order, each once.
#[derive(Debug)]
pub struct Watch {
    events: mpsc::Receiver<Seen>,
}

impl Watch {
    /// The watch that a backend feeds.
    pub fn new(events: mpsc::Receiver<Seen>) -> Self {
        Self { events }
    }

    /// The next; `None`: the store has stopped. May be dropped while it waits.
    pub async fn next(&mut self) -> Option<Seen> {
        self.events.recv().await
    }
}
