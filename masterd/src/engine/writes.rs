//! What has changed in memory and is not in the store yet, and what waits for that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::wire::{FleetEvent, NodeName, RolloutId, ToNode};
use serde::Serialize;

use crate::audit::{Audit, Note};
use crate::hooks::Occasion;
use crate::store::{MOST_OPERATIONS, MOST_VALUE, Outcome, Revision, Txn};

use super::Error;

/// What is done when all is in the store.
pub(super) enum Effect {
    /// A text goes to a node.
    Send(NodeName, Arc<str>),
    /// A node's link ends, with a reason for its log.
    Cut(NodeName, &'static str),
    /// People are told.
    Tell(FleetEvent),
    /// People's programs are told.
    Hook(Box<Occasion>),
    /// What a node is to run may be something else: checks are to know.
    Check(NodeName),
    /// Somebody gets an answer.
    Answer(Box<dyn FnOnce() + Send>),
}

impl Effect {
    /// This message to this node.
    pub(super) fn send(node: &NodeName, message: &ToNode) -> Self {
        let text = serde_json::to_string(message).unwrap_or_default();
        Self::Send(node.clone(), text.into())
    }
}

/// Where a write stands among the others: an update's parts before its head, and both before the
/// signed states that follow from them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// Whatever nothing hangs on.
    Plain,
    /// A node's part of an update.
    Part,
    /// An update as a whole.
    Head,
    /// A signed state.
    Wanted,
}

/// What is to be done to one key.
#[derive(Debug, Default)]
enum Value {
    /// Nothing: only a line of the audit log stands at it.
    #[default]
    Same,
    Put(Vec<u8>),
    Delete,
}

/// A key's change, and what is written of it into the audit log in the same transaction.
#[derive(Debug, Default)]
struct Write {
    value: Value,
    notes: Vec<Note>,
}

type Place = (Rank, String);

/// Changes and what waits for them.
#[derive(Default)]
pub(super) struct Pending {
    writes: BTreeMap<Place, Write>,
    pub(super) effects: Vec<Effect>,
    /// Updates of which people are to be told once.
    pub(super) moved: BTreeSet<RolloutId>,
    /// Parts of updates that are somewhere else.
    pub(super) parts: BTreeSet<(RolloutId, NodeName)>,
}

/// One transaction, and what of the pending changes is in it: of each key its first lines, and
/// whether its value.
#[derive(Debug, Default)]
struct Batch {
    txn: Txn,
    notes: Vec<Note>,
    taken: Vec<(Place, usize, bool)>,
    size: usize,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.txn.writes() + self.notes.len() >= MOST_OPERATIONS
    }

    /// Takes what there is room for of a key's change; `false`: it is full.
    fn take(&mut self, place: &Place, write: &Write) -> bool {
        let mut count = 0;
        for note in &write.notes {
            if self.is_full() || self.size + note.size() >= MOST_VALUE {
                self.taken.push((place.clone(), count, false));
                return false;
            }
            self.size += note.size();
            self.notes.push(note.clone());
            count += 1;
        }
        let size = place.1.len() + write.value.size();
        // A value alone is never too large for a transaction: the store's limit is the value's.
        let fits = self.taken.is_empty() && self.notes.is_empty() || self.size + size < MOST_VALUE;
        if self.is_full() || !fits {
            self.taken.push((place.clone(), count, false));
            return false;
        }
        self.size += size;
        let txn = std::mem::take(&mut self.txn);
        self.txn = match &write.value {
            Value::Same => txn,
            Value::Put(bytes) => txn.put_bytes(place.1.clone(), bytes.clone()),
            Value::Delete => txn.delete(place.1.clone()),
        };
        self.taken.push((place.clone(), count, true));
        true
    }
}

impl Value {
    fn size(&self) -> usize {
        match self {
            Self::Same | Self::Delete => 0,
            Self::Put(bytes) => bytes.len(),
        }
    }
}

impl Pending {
    pub(super) fn put(&mut self, rank: Rank, key: String, record: &impl Serialize) {
        // Records are ours: they can be written down.
        let bytes = serde_json::to_vec(record).unwrap_or_default();
        self.writes.entry((rank, key)).or_default().value = Value::Put(bytes);
    }

    pub(super) fn delete(&mut self, rank: Rank, key: String) {
        self.writes.entry((rank, key)).or_default().value = Value::Delete;
    }

    /// A line of the audit log, written with what is written at `key`.
    pub(super) fn note(&mut self, rank: Rank, key: String, note: Note) {
        self.writes.entry((rank, key)).or_default().notes.push(note);
    }

    pub(super) fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// Writes all of it, in the order of the ranks, as few transactions as the limits allow. What
    /// was written is not written again by a second call.
    pub(super) async fn write(&mut self, audit: &Audit, fence: &Fence) -> Result<(), Error> {
        while let Some(batch) = self.next(fence) {
            match audit.commit_with(batch.txn, &batch.notes).await? {
                Outcome::Committed(_) => {}
                Outcome::Conflict => {
                    return Err(Error::Conflict(
                        "another master writes to this store".to_owned(),
                    ));
                }
            }
            for (place, notes, is_whole) in batch.taken {
                if is_whole {
                    self.writes.remove(&place);
                } else if let Some(write) = self.writes.get_mut(&place) {
                    write.notes.drain(..notes);
                }
            }
        }
        Ok(())
    }

    fn next(&self, fence: &Fence) -> Option<Batch> {
        if self.writes.is_empty() {
            return None;
        }
        let mut batch = Batch {
            txn: Txn::new().when(fence.key.clone(), fence.revision),
            ..Batch::default()
        };
        for (place, write) in &self.writes {
            if !batch.take(place, write) {
                break;
            }
        }
        Some(batch)
    }
}

/// The key that says which run of a master may write; another run takes it over.
#[derive(Debug, Clone)]
pub(super) struct Fence {
    pub(super) key: String,
    pub(super) revision: Revision,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fence() -> Fence {
        Fence {
            key: "meta/engine".to_owned(),
            revision: Revision::ABSENT,
        }
    }

    fn written(pending: &mut Pending) -> Vec<(usize, usize)> {
        let mut sizes = Vec::new();
        while let Some(batch) = pending.next(&fence()) {
            assert!(batch.txn.writes() + batch.notes.len() <= MOST_OPERATIONS);
            assert!(!batch.notes.is_empty() || batch.txn.writes() > 0);
            sizes.push((batch.txn.writes(), batch.notes.len()));
            for (place, notes, is_whole) in batch.taken {
                if is_whole {
                    pending.writes.remove(&place);
                } else if let Some(write) = pending.writes.get_mut(&place) {
                    write.notes.drain(..notes);
                }
            }
        }
        sizes
    }

    #[test]
    fn a_line_of_the_log_goes_with_its_deed_and_alone_where_there_is_none() {
        let mut pending = Pending::default();
        pending.put(Rank::Plain, "assign/fleet".to_owned(), &1);
        let note = || Note::new("anna", "assign");
        pending.note(Rank::Plain, "assign/fleet".to_owned(), note());
        pending.note(Rank::Head, "rollout/1".to_owned(), note());
        assert_eq!(written(&mut pending), [(1, 2)]);
    }

    #[test]
    fn more_than_a_transaction_takes_is_spread_over_several() {
        let mut pending = Pending::default();
        for number in 0..300 {
            pending.put(Rank::Part, format!("rollout-node/{number:03}"), &number);
        }
        for _ in 0..200 {
            pending.note(
                Rank::Head,
                "rollout/1".to_owned(),
                Note::new("anna", "decide"),
            );
        }
        pending.put(Rank::Head, "rollout/1".to_owned(), &1);
        let sizes = written(&mut pending);
        let sum = |(a, b), (c, d)| (a + c, b + d);
        assert_eq!(sizes.iter().copied().fold((0, 0), sum), (301, 200));
        assert_eq!(sizes.len(), 4);
        let large = "x".repeat(MOST_VALUE - 100);
        pending.put(Rank::Plain, "a".to_owned(), &large);
        pending.put(Rank::Plain, "b".to_owned(), &large);
        assert_eq!(written(&mut pending), [(1, 0), (1, 0)]);
    }
}
