//! What has changed in memory and is not in the store yet, and what waits for that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::wire::{FleetEvent, NodeName, RolloutId, ToNode};
use serde::Serialize;

use crate::store::{MOST_OPERATIONS, MOST_VALUE, Outcome, Revision, Store, Txn};

use super::Error;

/// What is done when all is in the store.
pub(super) enum Effect {
    /// A text goes to a node.
    Send(NodeName, Arc<str>),
    /// A node's link ends, with a reason for its log.
    Cut(NodeName, &'static str),
    /// People are told.
    Tell(FleetEvent),
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

/// Changes and what waits for them.
#[derive(Default)]
pub(super) struct Pending {
    puts: BTreeMap<(Rank, String), Option<Vec<u8>>>,
    pub(super) effects: Vec<Effect>,
    /// Updates of which people are to be told once.
    pub(super) moved: BTreeSet<RolloutId>,
}

impl Pending {
    pub(super) fn put(&mut self, rank: Rank, key: String, record: &impl Serialize) {
        // Records are ours: they can be written down.
        let bytes = serde_json::to_vec(record).unwrap_or_default();
        self.puts.insert((rank, key), Some(bytes));
    }

    pub(super) fn delete(&mut self, rank: Rank, key: String) {
        self.puts.insert((rank, key), None);
    }

    pub(super) fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// Writes all of it, in the order of the ranks, as few transactions as the limits allow. What
    /// was written is not written again by a second call.
    pub(super) async fn write(&mut self, store: &Store, fence: &Fence) -> Result<(), Error> {
        while let Some(txn) = self.next(fence) {
            let keys: Vec<_> = txn.1;
            match store.commit(txn.0).await? {
                Outcome::Committed(_) => {}
                Outcome::Conflict => {
                    return Err(Error::Conflict(
                        "another master writes to this store".to_owned(),
                    ));
                }
            }
            for key in keys {
                self.puts.remove(&key);
            }
        }
        Ok(())
    }

    fn next(&self, fence: &Fence) -> Option<(Txn, Vec<(Rank, String)>)> {
        if self.puts.is_empty() {
            return None;
        }
        let mut txn = Txn::new().when(fence.key.clone(), fence.revision);
        let (mut keys, mut size) = (Vec::new(), 0);
        for ((rank, key), value) in &self.puts {
            size += key.len() + value.as_ref().map_or(0, Vec::len);
            if keys.len() == MOST_OPERATIONS || (size >= MOST_VALUE && !keys.is_empty()) {
                break;
            }
            txn = match value {
                Some(value) => txn.put_bytes(key.clone(), value.clone()),
                None => txn.delete(key.clone()),
            };
            keys.push((*rank, key.clone()));
        }
        Some((txn, keys))
    }
}

/// The key that says which run of a master may write; another run takes it over.
#[derive(Debug, Clone)]
pub(super) struct Fence {
    pub(super) key: String,
    pub(super) revision: Revision,
}
