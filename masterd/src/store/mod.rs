//! What the master must not forget: keys and values, changed in transactions.
//!
//! ```text
//! trust, engine ──► Store (limits) ──► Backend: sqlite | …        one revision for each transaction
//!       ▲                                  │
//!       └───────── Watch ◄─────────────────┘                       every change, in order, once
//! ```
//!
//! The interface is what an etcd cluster offers, and no more: values below [`MOST_VALUE`], at most
//! [`MOST_OPERATIONS`] in a transaction, comparison by the revision that a key was last written at,
//! a watch that may say that it has lost the thread ([`Seen::Compacted`]). [`Store`] refuses what
//! would not fit there, so that no backend has to be trusted to.
//!
//! Invariant: a transaction that was answered with [`Outcome::Committed`] is on the disk.
//! Invariant: heartbeats, progress and files' bytes are never in here.

mod backend;
mod error;
mod follow;
pub mod sqlite;
#[cfg(test)]
mod suite;
mod txn;

use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;

pub use backend::{Answer, Backend, Change, Seen, Watch};
pub use error::Error;
pub use follow::{Follow, Followed};
pub use txn::{MOST_KEY, MOST_OPERATIONS, MOST_VALUE, Txn};

/// Grows by one with each transaction that writes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl Revision {
    /// Of a key that is not there: to compare with it is to ask that nobody has made it.
    pub const ABSENT: Self = Self(0);
}

/// A key with what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// For example `node/edge-7`.
    pub key: String,
    /// JSON, by custom.
    pub value: Vec<u8>,
    /// Of the transaction that wrote it last.
    pub revision: Revision,
}

impl Entry {
    /// The value, as the record that it is.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.value).map_err(|source| Error::Record {
            key: self.key.clone(),
            source,
        })
    }
}

/// What became of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is on the disk, at this revision.
    Committed(Revision),
    /// A key was not at the revision that was expected; nothing was written.
    Conflict,
}

/// A promise to be there: keys that are written under it go away when it is not kept alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lease(pub i64);

/// Which keys a [`Store::list`] gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// Their beginning.
    pub prefix: String,
    /// Only keys behind this one, or before it where `newest_first`.
    pub after: Option<String>,
    /// How many at most.
    pub most: Option<u32>,
    /// From the last key to the first.
    pub newest_first: bool,
}

impl Listing {
    /// All keys with this beginning, in order.
    pub fn all(prefix: impl Into<String>) -> Self {
        Self {
            prefix: prefix.into(),
            after: None,
            most: None,
            newest_first: false,
        }
    }
}

/// The store, whatever stands behind it; cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    backend: Arc<dyn Backend>,
}

impl Store {
    /// The store over a backend.
    pub fn new(backend: Arc<dyn Backend>) -> Self {
        Self { backend }
    }

    /// One key; `None`: it is not there.
    pub async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        txn::check_key(key)?;
        self.backend.get(key).await
    }

    /// One key's record, with the revision to compare with.
    pub async fn record<T: DeserializeOwned>(
        &self,
        key: &str,
    ) -> Result<Option<(T, Revision)>, Error> {
        let Some(entry) = self.get(key).await? else {
            return Ok(None);
        };
        Ok(Some((entry.read()?, entry.revision)))
    }

    /// All keys that begin with `prefix`, in order, and the revision at which that was so.
    pub async fn range(&self, prefix: &str) -> Result<(Vec<Entry>, Revision), Error> {
        self.list(Listing::all(prefix)).await
    }

    /// Some of the keys that begin with a prefix, and the revision at which that was so.
    pub async fn list(&self, listing: Listing) -> Result<(Vec<Entry>, Revision), Error> {
        self.backend.list(listing).await
    }

    /// Compares, then writes all or nothing; on the disk when it is answered. A transaction that
    /// writes nothing only compares.
    pub async fn commit(&self, txn: Txn) -> Result<Outcome, Error> {
        txn.check()?;
        self.backend.commit(txn).await
    }

    /// Every change of keys that begin with `prefix`, behind the revision `from`.
    pub async fn watch(&self, prefix: &str, from: Revision) -> Result<Watch, Error> {
        self.backend.watch(prefix, from).await
    }

    /// The keys that begin with `prefix`, and then every change of them; a lost thread is taken up
    /// again by a new list.
    pub fn follow(&self, prefix: impl Into<String>) -> Follow {
        Follow::new(self.clone(), prefix.into())
    }

    /// A lease that ends `ttl` after it was last kept alive.
    pub async fn grant(&self, ttl: Duration) -> Result<Lease, Error> {
        self.backend.grant(ttl).await
    }

    /// Keeps a lease; [`Error::LeaseGone`] where it has ended.
    pub async fn keep_alive(&self, lease: Lease) -> Result<(), Error> {
        self.backend.keep_alive(lease).await
    }

    /// Ends a lease; its keys are gone when it is answered.
    pub async fn revoke(&self, lease: Lease) -> Result<(), Error> {
        self.backend.revoke(lease).await
    }
}
