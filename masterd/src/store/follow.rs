//! A list, and then every change of it, for those who keep a copy.

use super::{Change, Entry, Error, Revision, Seen, Store, Watch};

/// What a follower is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Followed {
    /// All of it, at this revision: what the follower has besides is gone.
    All(Vec<Entry>, Revision),
    /// The changes of one transaction.
    Changed(Vec<Change>),
}

/// Gives a list first, then its changes, and a list again where the thread was lost.
#[derive(Debug)]
pub struct Follow {
    store: Store,
    prefix: String,
    watch: Option<Watch>,
}

impl Follow {
    pub(super) fn new(store: Store, prefix: String) -> Self {
        Self {
            store,
            prefix,
            watch: None,
        }
    }

    /// The next; [`Error::Stopped`] when the store has stopped.
    pub async fn next(&mut self) -> Result<Followed, Error> {
        if let Some(watch) = &mut self.watch {
            match watch.next().await {
                Some(Seen::Changed(changes)) => return Ok(Followed::Changed(changes)),
                Some(Seen::Compacted) => self.watch = None,
                None => return Err(Error::Stopped),
            }
        }
        let (entries, revision) = self.store.range(&self.prefix).await?;
        self.watch = Some(self.store.watch(&self.prefix, revision).await?);
        Ok(Followed::All(entries, revision))
    }
}
