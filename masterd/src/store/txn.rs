//! Transactions, and what no store takes.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{Error, Lease, Revision};

/// Bytes that a key may have.
pub const MOST_KEY: usize = 512;
/// A value, and all of a transaction together, has fewer bytes than this.
pub const MOST_VALUE: usize = 1_500_000;
/// Comparisons, and writes, of one transaction.
pub const MOST_OPERATIONS: usize = 128;

/// Compare, then write all or nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Txn {
    /// Keys with the revision that they must be at; [`Revision::ABSENT`]: they must not be there.
    pub compare: Vec<(String, Revision)>,
    /// Keys with what they are to hold.
    pub puts: Vec<(String, Vec<u8>)>,
    /// Keys that go; one that is not there is no failure.
    pub deletes: Vec<String>,
    /// The puts go away with it.
    pub lease: Option<Lease>,
}

impl Txn {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only where `key` is at `revision`.
    #[must_use]
    pub fn when(mut self, key: impl Into<String>, revision: Revision) -> Self {
        self.compare.push((key.into(), revision));
        self
    }

    /// `key` is to hold `record`, as JSON.
    pub fn put(self, key: impl Into<String>, record: &impl Serialize) -> Result<Self, Error> {
        let key = key.into();
        match serde_json::to_vec(record) {
            Ok(value) => Ok(self.put_bytes(key, value)),
            Err(source) => Err(Error::Write { key, source }),
        }
    }

    /// `key` is to hold `value`.
    #[must_use]
    pub fn put_bytes(mut self, key: impl Into<String>, value: Vec<u8>) -> Self {
        self.puts.push((key.into(), value));
        self
    }

    /// `key` goes.
    #[must_use]
    pub fn delete(mut self, key: impl Into<String>) -> Self {
        self.deletes.push(key.into());
        self
    }

    /// What is put goes away with `lease`.
    #[must_use]
    pub fn under(mut self, lease: Lease) -> Self {
        self.lease = Some(lease);
        self
    }

    /// How many keys it writes.
    pub fn writes(&self) -> usize {
        self.puts.len() + self.deletes.len()
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        let refuse = |what| Err(Error::Transaction { what });
        if self.compare.len() > MOST_OPERATIONS || self.writes() > MOST_OPERATIONS {
            return refuse("has more than 128 comparisons or writes");
        }
        let mut size = 0;
        for (key, value) in &self.puts {
            size += key.len() + value.len();
            if value.len() >= MOST_VALUE {
                return Err(Error::Value {
                    key: key.clone(),
                    size: value.len(),
                });
            }
        }
        if size >= MOST_VALUE {
            return refuse("has 1,500,000 bytes or more");
        }
        let compared = self.compare.iter().map(|(key, _)| key);
        let put = self.puts.iter().map(|(key, _)| key);
        let written = put.chain(&self.deletes);
        compared
            .chain(written.clone())
            .try_for_each(|key| check_key(key))?;
        if written.collect::<BTreeSet<_>>().len() != self.writes() {
            return refuse("writes a key twice");
        }
        Ok(())
    }
}

pub(super) fn check_key(key: &str) -> Result<(), Error> {
    if key.is_empty() || key.len() > MOST_KEY || key.chars().any(char::is_control) {
        return Err(Error::Key {
            key: key.chars().take(80).collect(),
        });
    }
    Ok(())
}
