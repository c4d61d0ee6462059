//! The doing: requests in parallel, fail-over, and what becomes of the answers.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::try_join_all;
use model::Digest;

use super::blob::{Target, Unit, units};
use super::limiter::Limiter;
use super::plan::{Choice, Planned};
use super::spool::Spool;
use super::unpack::unpack;
use super::{Fetcher, Order, Progress, Report, Settings};
use crate::error::{Doing, Error};
use crate::index::Blob;
use crate::patch::Buffers;

mod attempt;
mod sources;

pub(super) use sources::{Failed, Sources};

/// One fetch.
pub(super) struct Run<'a> {
    pub(super) sources: Sources<'a>,
    pub(super) settings: Settings,
    pub(super) limiter: Limiter,
    spool: Spool,
    progress: &'a (dyn Fn(Progress) + Send + Sync),
    counts: Counts,
    /// Why an object cannot be had; under no object: why none can.
    reasons: Mutex<HashMap<Option<Digest>, String>>,
    indices: Mutex<Vec<Digest>>,
    /// One object is unpacked at a time: that is what bounds the memory.
    unpacking: Arc<Mutex<Buffers>>,
}

/// What goes into the report and the progress.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) fetched: AtomicU64,
    pub(super) requests: AtomicUsize,
    pub(super) retries: AtomicUsize,
    pub(super) refused: AtomicUsize,
    resumed: AtomicU64,
    of: AtomicU64,
    whole: AtomicUsize,
    patched: AtomicUsize,
}

/// A blob that is being fetched, and what is to come out of it.
struct Job<'p> {
    blob: &'p Blob,
    choices: &'p [Choice],
    target: Mutex<Target>,
    /// Pieces that are not done.
    left: AtomicUsize,
}

/// A range of a blob to fetch; none where the blob lacks nothing and is only to be unpacked.
type Piece<'p> = (Arc<Job<'p>>, Option<(u64, u64)>);

/// What is to be done, opened bit by bit so that few files are open at once.
struct Queue<'p> {
    blobs: std::slice::Iter<'p, Planned>,
    pieces: VecDeque<Piece<'p>>,
}

impl<'a> Run<'a> {
    pub(super) fn new(fetcher: &'a Fetcher, spool: &Spool, order: &Order<'a>) -> Self {
        Self {
            sources: Sources::new(&fetcher.sources),
            settings: fetcher.settings,
            limiter: Limiter::new(fetcher.settings.rate),
            spool: spool.clone(),
            progress: order.progress,
            counts: Counts::default(),
            reasons: Mutex::default(),
            indices: Mutex::default(),
            unpacking: Arc::default(),
        }
    }

    pub(super) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// What was done so far. The indices are not needed any more.
    pub(super) fn report(&self) -> Report {
        for index in lock(&self.indices).drain(..) {
            // What stays is swept with the spool.
            drop(self.spool.drop_part(&index));
        }
        let counts = &self.counts;
        Report {
            fetched: counts.fetched.load(Ordering::Relaxed),
            requests: counts.requests.load(Ordering::Relaxed),
            resumed: counts.resumed.load(Ordering::Relaxed),
            whole: counts.whole.load(Ordering::Relaxed),
            patched: counts.patched.load(Ordering::Relaxed),
            retries: counts.retries.load(Ordering::Relaxed),
            refused: counts.refused.load(Ordering::Relaxed),
        }
    }

    /// Why this object is still missing.
    pub(super) fn reason(&self, object: &Digest) -> String {
        let reasons = lock(&self.reasons);
        let found = reasons.get(&Some(*object)).or_else(|| reasons.get(&None));
        found
            .cloned()
            .unwrap_or_else(|| "no index offers it with the size that the list says".to_owned())
    }

    /// Notes why nothing can be had this way.
    pub(super) fn refuse_all(&self, reason: &str) {
        tracing::debug!(reason, "a way to the objects is closed");
        lock(&self.reasons).insert(None, reason.to_owned());
    }

    fn refuse(&self, object: &Digest, reason: &str) {
        tracing::warn!(%object, reason, "an object could not be had this way");
        lock(&self.reasons).insert(Some(*object), reason.to_owned());
    }

    pub(super) fn tell(&self) {
        let counts = &self.counts;
        let resumed = counts.resumed.load(Ordering::Relaxed);
        let fetched = counts.fetched.load(Ordering::Relaxed);
        (self.progress)(Progress {
            bytes: resumed + fetched,
            fetched,
            of: counts.of.load(Ordering::Relaxed),
            objects: counts.whole.load(Ordering::Relaxed) + counts.patched.load(Ordering::Relaxed),
        });
    }

    fn opened(&self, blob: &Blob, units: Vec<Unit>) -> Result<Target, Error> {
        let target = Target::open(&self.spool, blob, units)
            .doing(|| format!("open blob {} in the spool", blob.digest))?;
        self.counts
            .resumed
            .fetch_add(target.resumed, Ordering::Relaxed);
        Ok(target)
    }

    /// Fetches one blob that is an index.
    pub(super) async fn blob_of(
        &self,
        blob: &Blob,
        units: Vec<Unit>,
    ) -> Result<Mutex<Target>, Failed> {
        lock(&self.indices).push(blob.digest);
        let target = self.opened(blob, units).map_err(Failed::Network)?;
        self.counts.of.fetch_add(target.length(), Ordering::Relaxed);
        let pieces = target.pieces();
        let target = Mutex::new(target);
        for piece in pieces {
            self.piece(blob, &target, piece).await?;
        }
        Ok(target)
    }

    /// Fetches and unpacks what was planned.
    pub(super) async fn objects(&self, plan: &[Planned]) -> Result<(), Error> {
        let parts = plan.iter().flat_map(|(_, choices)| choices);
        let length: u64 = parts.map(|choice| choice.part.length).sum();
        self.counts.of.fetch_add(length, Ordering::Relaxed);
        let queue = Mutex::new(Queue {
            blobs: plan.iter(),
            pieces: VecDeque::new(),
        });
        let workers = (0..self.settings.connections.max(1)).map(|_| self.worker(&queue));
        try_join_all(workers).await.map(drop)
    }

    async fn worker(&self, queue: &Mutex<Queue<'_>>) -> Result<(), Error> {
        while let Some((job, piece)) = self.next(queue)? {
            if let Some(piece) = piece {
                match self.piece(job.blob, &job.target, piece).await {
                    Ok(()) => {}
                    Err(Failed::Network(error)) => return Err(error),
                    Err(Failed::Refused(reason)) => {
                        job.choices
                            .iter()
                            .for_each(|choice| self.refuse(&choice.part.object, &reason));
                    }
                }
            }
            if job.left.fetch_sub(1, Ordering::Relaxed) == 1 {
                self.unpack(&job).await?;
            }
        }
        Ok(())
    }

    /// The next piece; a blob of which nothing is missing has one without bytes.
    fn next<'p>(&self, queue: &Mutex<Queue<'p>>) -> Result<Option<Piece<'p>>, Error> {
        let mut queue = lock(queue);
        if queue.pieces.is_empty()
            && let Some((blob, choices)) = queue.blobs.next()
        {
            let units = units(blob, choices.iter().map(|choice| &choice.part));
            let target = self.opened(blob, units)?;
            let mut pieces: Vec<_> = target.pieces().into_iter().map(Some).collect();
            if pieces.is_empty() {
                pieces.push(None);
            }
            let job = Arc::new(Job {
                blob,
                choices,
                target: Mutex::new(target),
                left: AtomicUsize::new(pieces.len()),
            });
            queue
                .pieces
                .extend(pieces.into_iter().map(|piece| (Arc::clone(&job), piece)));
        }
        Ok(queue.pieces.pop_front())
    }

    /// Unpacks all objects of a blob whose pieces are done, and lets its bytes go.
    async fn unpack(&self, job: &Job<'_>) -> Result<(), Error> {
        let reader = {
            let target = lock(&job.target);
            if !target.complete() {
                return Ok(());
            }
            target.reader().doing(|| "read the spool".to_owned())?
        };
        let (choices, spool) = (job.choices.to_vec(), self.spool.clone());
        let buffers = Arc::clone(&self.unpacking);
        let all = move || -> Vec<_> {
            let mut buffers = lock(&buffers);
            let mut one = |choice: &Choice| unpack(&reader, choice, (&spool, &mut buffers));
            choices
                .into_iter()
                .map(|choice| (one(&choice), choice))
                .collect()
        };
        let done = tokio::task::spawn_blocking(all).await;
        let done = done
            .map_err(std::io::Error::other)
            .doing(|| "unpack objects".to_owned())?;
        for (result, choice) in done {
            self.unpacked(result, &choice)?;
        }
        self.tell();
        self.spool.drop_part(&job.blob.digest)
    }

    fn unpacked(&self, result: std::io::Result<()>, choice: &Choice) -> Result<(), Error> {
        let object = &choice.part.object;
        match result {
            Ok(()) => {
                let patched = choice.base.is_some();
                let count = if patched {
                    &self.counts.patched
                } else {
                    &self.counts.whole
                };
                count.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            // A base that is not what it should be, or a patch that lies: the object comes whole.
            Err(error)
                if choice.base.is_some() || error.kind() == std::io::ErrorKind::InvalidData =>
            {
                self.refuse(object, &error.to_string());
                Ok(())
            }
            Err(error) => Err(error).doing(|| format!("unpack object {object}")),
        }
    }

    /// Waits between two rounds over all sources.
    pub(super) async fn pause(&self, round: usize) {
        let shift = u32::try_from(round).unwrap_or(5).min(5);
        tokio::time::sleep(Duration::from_millis(100 << shift)).await;
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
