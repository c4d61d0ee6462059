//! Identities and operators in memory: asked at each request, fed by the store alone.
//!
//! A change is not answered before it counts here ([`Known::settled`]).

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use model::wire::{FleetName, NodeName};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::records::{IDENTITIES, Identity, OPERATORS, Operator, State};
use crate::store::{Change, Error, Followed, Revision, Store};

/// Who is who.
#[derive(Debug)]
pub(super) struct Known {
    nodes: Table<NodeName, (State, u64)>,
    operators: Table<FleetName, Arc<Operator>>,
}

#[derive(Debug)]
struct Table<K, V> {
    rows: Arc<RwLock<HashMap<K, V>>>,
    seen: watch::Receiver<Revision>,
}

impl Known {
    /// Reads all, and goes on to read what changes.
    pub(super) async fn start(store: &Store) -> Result<Self, Error> {
        let node = |it: Identity| (it.name, (it.state, it.generation));
        let operator = |it: Operator| (it.name.clone(), Arc::new(it));
        Ok(Self {
            nodes: Table::start(store, IDENTITIES, node).await?,
            operators: Table::start(store, OPERATORS, operator).await?,
        })
    }

    pub(super) fn node(&self, name: &NodeName) -> Option<(State, u64)> {
        self.nodes.get(name)
    }

    pub(super) fn operator(&self, name: &FleetName) -> Option<Arc<Operator>> {
        self.operators.get(name)
    }

    pub(super) fn operators(&self) -> Vec<Arc<Operator>> {
        let mut all: Vec<_> = self.operators.read().values().map(Arc::clone).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// A change of an identity or operator at `revision` counts from now on.
    pub(super) async fn settled(&self, key: &str, revision: Revision) {
        let mut seen = if key.starts_with(IDENTITIES) {
            self.nodes.seen.clone()
        } else {
            self.operators.seen.clone()
        };
        // The follower ends with the store only, and then nothing is answered any more.
        drop(seen.wait_for(|seen| *seen >= revision).await);
    }
}

impl<K, V> Table<K, V>
where
    K: std::hash::Hash + Eq + std::str::FromStr + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    async fn start<T: DeserializeOwned + 'static>(
        store: &Store,
        prefix: &'static str,
        row: fn(T) -> (K, V),
    ) -> Result<Self, Error> {
        let mut follow = store.follow(prefix);
        let first = follow.next().await?;
        let rows = Arc::new(RwLock::new(HashMap::new()));
        let revision = take(&rows, first, prefix, row);
        let (tell, seen) = watch::channel(revision);
        let table = Self {
            rows: Arc::clone(&rows),
            seen,
        };
        tokio::spawn(async move {
            loop {
                let next = tokio::select! {
                    next = follow.next() => next,
                    () = tell.closed() => return,
                };
                let Ok(next) = next else {
                    return;
                };
                tell.send_replace(take(&rows, next, prefix, row));
            }
        });
        Ok(table)
    }

    fn get(&self, key: &K) -> Option<V> {
        self.read().get(key).cloned()
    }
}

impl<K, V> Table<K, V> {
    fn read(&self) -> std::sync::RwLockReadGuard<'_, HashMap<K, V>> {
        self.rows.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Brings the rows up to date; a record that cannot be read lets nobody in.
fn take<K, V, T>(
    rows: &RwLock<HashMap<K, V>>,
    followed: Followed,
    prefix: &str,
    row: fn(T) -> (K, V),
) -> Revision
where
    K: std::hash::Hash + Eq + std::str::FromStr,
    T: DeserializeOwned,
{
    let mut rows = rows.write().unwrap_or_else(PoisonError::into_inner);
    if matches!(followed, Followed::All(..)) {
        rows.clear();
    }
    let mut put = |key: &str, read: Result<Option<T>, Error>| {
        let record = read.unwrap_or_else(|error| {
            tracing::error!(%error, key, "a record is passed over");
            None
        });
        if let Some(record) = record {
            let (key, value) = row(record);
            rows.insert(key, value);
        } else if let Ok(key) = key.trim_start_matches(prefix).parse() {
            rows.remove(&key);
        }
    };
    match followed {
        Followed::Changed(changes) => {
            for change in &changes {
                put(&change.key, change.read());
            }
            let revision = |change: &Change| change.revision;
            changes.last().map(revision).unwrap_or_default()
        }
        Followed::All(entries, revision) => {
            for entry in &entries {
                put(&entry.key, entry.read().map(Some));
            }
            revision
        }
    }
}
