//! The node's side: what a list needs and the node lacks, into a spool.
//!
//! ```text
//! SPOOL/HASH              an object, whole and verified
//! SPOOL/parts/HASH        bytes of a blob, with holes
//! SPOOL/parts/HASH.got    its journal: which ranges are there; appended to after the bytes
//! ```
//!
//! Whoever killed the node costs it the bytes that were on the way. The journal is believed about
//! where bytes are, never about what they are: each range is hashed before it is used.

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::Digest;

use crate::error::Error;

mod blob;
mod catalogue;
mod download;
mod limiter;
mod plan;
mod ranges;
mod spool;
mod unpack;

/// Where blobs are had: the master, a mirror, a cache.
#[derive(Debug, Clone)]
pub struct Source {
    /// What stands before `/objects/…` and `/lists/…`.
    pub url: String,
    /// The client that speaks to it; it carries no credentials.
    pub client: reqwest::Client,
}

/// How a node fetches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Bytes per second over all sources; 0: as fast as it goes.
    pub rate: u64,
    /// Requests at once.
    pub connections: usize,
    /// A source that sends nothing for so long is left.
    pub stall: Duration,
    /// How often one range is tried, over all sources, before the fetch fails.
    pub attempts: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            rate: 0,
            connections: 4,
            stall: Duration::from_secs(20),
            attempts: 6,
        }
    }
}

/// What is known of a wanted object's length, from signed documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bound {
    /// So many bytes.
    Exactly(u64),
    /// At most so many.
    Most(u64),
}

/// An object that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Want {
    /// Its name.
    pub digest: Digest,
    /// Its length.
    pub bound: Bound,
}

/// What to fetch, with what, to where.
#[derive(Clone, Copy)]
pub struct Order<'a> {
    /// The software list that the objects belong to.
    pub list: Digest,
    /// The list that the node has, if any: what differs is then fetched as patches, where the
    /// master offers that way.
    pub from: Option<Digest>,
    /// The objects; what is in the spool already is not fetched.
    pub wants: &'a [Want],
    /// Where the bytes of an object that the node has can be read. Asked for what patches start
    /// from; a file with other bytes costs a fetch of the whole object, nothing else.
    pub have: &'a (dyn Fn(&Digest) -> Option<PathBuf> + Send + Sync),
    /// A directory of its own, on a disk with room; made where it is missing. One fetch at a time.
    pub spool: &'a Path,
    /// Told of each step.
    pub progress: &'a (dyn Fn(Progress) + Send + Sync),
}

impl fmt::Debug for Order<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Order")
            .field("list", &self.list)
            .field("from", &self.from)
            .field("wants", &self.wants.len())
            .field("spool", &self.spool)
            .finish_non_exhaustive()
    }
}

/// How far a fetch is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that crossed the network, or that an earlier fetch had left.
    pub bytes: u64,
    /// Of these, bytes that this fetch brought.
    pub fetched: u64,
    /// Bytes that will have, as far as is known.
    pub of: u64,
    /// Objects that are whole.
    pub objects: usize,
}

/// What a fetch did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// Bytes of bodies that crossed the network.
    pub fetched: u64,
    /// Requests.
    pub requests: usize,
    /// Bytes that an earlier fetch had left and that were used.
    pub resumed: u64,
    /// Objects that came compressed alone.
    pub whole: usize,
    /// Objects that came as the difference to one that the node had.
    pub patched: usize,
    /// Ranges that had to be asked for again, of another source or later.
    pub retries: usize,
    /// Ranges whose bytes were not what the index says: a source that is broken or lies.
    pub refused: usize,
}

/// Fetches objects for a node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Fetcher {
    sources: Vec<Source>,
    settings: Settings,
}

impl Fetcher {
    /// A fetcher that tries `sources` in turn; the first is the master, or what stands for it.
    pub fn new(sources: Vec<Source>, settings: Settings) -> Self {
        Self { sources, settings }
    }

    /// Fetches what `order` wants; each object is then a file `SPOOL/HASH`. Killed or failed, it
    /// goes on where it was when it is called again with the same spool.
    ///
    /// # Errors
    /// [`Error::Unreachable`] where trying later may help, [`Error::NotOffered`] where it will not.
    pub async fn fetch(&self, order: Order<'_>) -> Result<Report, Error> {
        let spool = spool::Spool::open(order.spool)?;
        let mut run = download::Run::new(self, &spool, &order);
        let mut missing: Vec<Want> = unique(order.wants);
        missing.retain(|want| !spool.has(&want.digest));
        let ways = [order.from.map(Some), Some(None)];
        for from in ways.into_iter().flatten() {
            if missing.is_empty() {
                break;
            }
            self.by_way((&order, from), &spool, (&mut run, &missing))
                .await?;
            missing.retain(|want| !spool.has(&want.digest));
        }
        match missing.first() {
            None => Ok(run.report()),
            Some(first) => Err(Error::NotOffered {
                digest: first.digest,
                count: missing.len(),
                reason: run.reason(&first.digest),
            }),
        }
    }

    /// Fetches what one index offers of the missing objects.
    async fn by_way(
        &self,
        (order, from): (&Order<'_>, Option<Digest>),
        spool: &spool::Spool,
        (run, missing): (&mut download::Run<'_>, &[Want]),
    ) -> Result<(), Error> {
        let Some(index) = catalogue::open(run, (&order.list, from.as_ref()), missing).await? else {
            return Ok(());
        };
        let have = |digest: &Digest| spool.find(digest).or_else(|| (order.have)(digest));
        let plan = plan::plan(&index, missing, &have);
        run.objects(&plan).await
    }
}

/// Each object once.
fn unique(wants: &[Want]) -> Vec<Want> {
    let mut seen = HashSet::new();
    let mut wants = wants.to_vec();
    wants.retain(|want| seen.insert(want.digest));
    wants
}
