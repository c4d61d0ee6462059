//! What has changed lately, and who wants to know.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{broadcast, mpsc};

use crate::store::{Change, Revision, Seen, Watch};

/// So many transactions are remembered; a watch from an older revision lists again.
pub const HISTORY: usize = 4096;
/// Bytes of values that are remembered with them.
const MOST_BYTES: usize = 16 << 20;
/// Transactions that a watch may be behind before it loses the thread: their values stay in memory.
const LIVE: usize = 256;
/// Messages that wait for a watch that is slow.
const WAITING: usize = 64;

type Changes = Arc<Vec<Change>>;

/// Shared by the writer, which adds to it, and by those who begin to watch.
#[derive(Debug, Clone)]
pub(super) struct History {
    past: Arc<Mutex<Past>>,
    live: broadcast::Sender<Changes>,
}

#[derive(Debug)]
struct Past {
    /// Changes behind this revision are all here.
    compacted: Revision,
    bytes: usize,
    changes: VecDeque<Changes>,
}

impl History {
    pub(super) fn new(revision: Revision) -> Self {
        let past = Past {
            compacted: revision,
            bytes: 0,
            changes: VecDeque::new(),
        };
        Self {
            past: Arc::new(Mutex::new(past)),
            live: broadcast::Sender::new(LIVE),
        }
    }

    /// A transaction was written.
    pub(super) fn add(&self, changes: Vec<Change>) {
        let changes = Arc::new(changes);
        // Under the lock, so that a watch that begins now has it once: from the past or live.
        let mut past = self.lock();
        past.bytes += size(&changes);
        past.changes.push_back(Arc::clone(&changes));
        while past.changes.len() > HISTORY || past.bytes > MOST_BYTES {
            let Some(oldest) = past.changes.pop_front() else {
                break;
            };
            past.bytes -= size(&oldest);
            past.compacted = oldest.last().map_or(past.compacted, |last| last.revision);
        }
        // Nobody watching is no failure.
        drop(self.live.send(changes));
    }

    pub(super) fn watch(&self, prefix: &str, from: Revision) -> Watch {
        let (to, events) = mpsc::channel(WAITING);
        let past = self.lock();
        let live = self.live.subscribe();
        let backlog = (from >= past.compacted).then(|| {
            let is_behind =
                |changes: &&Changes| changes.last().is_some_and(|it| it.revision > from);
            past.changes
                .iter()
                .filter(is_behind)
                .map(Arc::clone)
                .collect()
        });
        drop(past);
        tokio::spawn(forward(prefix.to_owned(), backlog, live, to));
        Watch::new(events)
    }

    fn lock(&self) -> MutexGuard<'_, Past> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn size(changes: &[Change]) -> usize {
    let one = |change: &Change| change.key.len() + change.value.as_ref().map_or(0, Vec::len);
    changes.iter().map(one).sum()
}

/// Ends when the watch is dropped, when the store is, or when the thread is lost.
async fn forward(
    prefix: String,
    backlog: Option<Vec<Changes>>,
    mut live: broadcast::Receiver<Changes>,
    to: mpsc::Sender<Seen>,
) {
    let Some(backlog) = backlog else {
        drop(to.send(Seen::Compacted).await);
        return;
    };
    for changes in backlog {
        if !tell(&prefix, &changes, &to).await {
            return;
        }
    }
    loop {
        let next = tokio::select! {
            next = live.recv() => next,
            () = to.closed() => return,
        };
        match next {
            Ok(changes) if tell(&prefix, &changes, &to).await => {}
            Ok(_) | Err(broadcast::error::RecvError::Closed) => return,
            Err(broadcast::error::RecvError::Lagged(_)) => {
                drop(to.send(Seen::Compacted).await);
                return;
            }
        }
    }
}

/// `false`: nobody listens any more.
async fn tell(prefix: &str, changes: &[Change], to: &mpsc::Sender<Seen>) -> bool {
    let concerns = |change: &&Change| change.key.starts_with(prefix);
    let changes: Vec<Change> = changes.iter().filter(concerns).cloned().collect();
    changes.is_empty() || to.send(Seen::Changed(changes)).await.is_ok()
}
