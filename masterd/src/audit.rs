//! Who did what, and why: `audit/SEQ` in the store, written with the deed in one transaction.

use std::fmt::Display;
use std::sync::Arc;

use model::wire::AuditEntry;
use tokio::sync::Mutex;

use crate::clock;
use crate::store::{Error, Listing, Outcome, Store, Txn};

const PREFIX: &str = "audit/";

/// The audit log. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Audit {
    store: Store,
    next: Arc<Mutex<u64>>,
}

/// One line of it, before it has its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    by: String,
    what: String,
    on: Option<String>,
    reason: String,
}

impl Note {
    /// Who (an operator, a node, or `masterd`) did what.
    pub fn new(by: impl Display, what: &str) -> Self {
        Self {
            by: by.to_string(),
            what: what.to_owned(),
            on: None,
            reason: String::new(),
        }
    }

    /// To which node, update or package; at most 1000 characters are kept.
    #[must_use]
    pub fn on(mut self, what: impl Display) -> Self {
        self.on = Some(short(&what.to_string()));
        self
    }

    /// Why; at most 1000 characters are kept.
    #[must_use]
    pub fn because(mut self, reason: &str) -> Self {
        self.reason = short(reason);
        self
    }

    /// About so many bytes in the store.
    pub(crate) fn size(&self) -> usize {
        200 + self.by.len()
            + self.what.len()
            + self.reason.len()
            + self.on.as_ref().map_or(0, String::len)
    }

    fn numbered(&self, seq: u64) -> AuditEntry {
        AuditEntry {
            seq,
            at: clock::rfc3339(clock::now()),
            by: self.by.clone(),
            what: self.what.clone(),
            on: self.on.clone(),
            reason: self.reason.clone(),
        }
    }
}

fn short(text: &str) -> String {
    text.chars().take(1000).collect()
}

impl Audit {
    /// Goes on behind the newest line.
    pub async fn start(store: Store) -> Result<Self, Error> {
        let newest = Listing {
            most: Some(1),
            newest_first: true,
            ..Listing::all(PREFIX)
        };
        let (entries, _) = store.list(newest).await?;
        let last = entries.first().map(crate::store::Entry::read::<AuditEntry>);
        let next = last.transpose()?.map_or(1, |last| last.seq + 1);
        Ok(Self {
            store,
            next: Arc::new(Mutex::new(next)),
        })
    }

    /// Commits `txn` with a line of the log: both, or, where it conflicts, none.
    pub async fn commit(&self, txn: Txn, note: Note) -> Result<Outcome, Error> {
        self.commit_with(txn, std::slice::from_ref(&note)).await
    }

    /// Commits `txn` with these lines of the log: all, or, where it conflicts, none.
    pub async fn commit_with(&self, mut txn: Txn, notes: &[Note]) -> Result<Outcome, Error> {
        if notes.is_empty() {
            return self.store.commit(txn).await;
        }
        // Held until the store has answered: the numbers have no holes.
        let mut next = self.next.lock().await;
        let mut after = *next;
        for note in notes {
            txn = txn.put(key(after), &note.numbered(after))?;
            after += 1;
        }
        let outcome = self.store.commit(txn).await?;
        if outcome != Outcome::Conflict {
            *next = after;
        }
        Ok(outcome)
    }

    /// Lines behind `after`, oldest first; without it the newest ones.
    pub async fn lines(&self, after: Option<u64>, most: u32) -> Result<Vec<AuditEntry>, Error> {
        let listing = Listing {
            after: after.map(key),
            most: Some(most),
            newest_first: after.is_none(),
            ..Listing::all(PREFIX)
        };
        let (entries, _) = self.store.list(listing).await?;
        let lines: Result<Vec<AuditEntry>, Error> =
            entries.iter().map(crate::store::Entry::read).collect();
        let mut lines = lines?;
        lines.sort_by_key(|line| line.seq);
        Ok(lines)
    }
}

fn key(seq: u64) -> String {
    format!("{PREFIX}{seq:020}")
}
