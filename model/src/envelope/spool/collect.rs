//! The part that runs alone: bringing what the workers made into order and into the file.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::{self, Receiver};
use std::thread;

use super::super::entry::{BLOCK, Entry};
use super::work::{Answer, Batch, Gate, Job, Made, Shared, Source, batches};
use super::{Filled, Spool, SpoolError, Stored, header};
use crate::digest::Digest;
use crate::mapped::Mapped;

/// More threads than this would only hold memory.
const MOST_WORKERS: usize = 8;

impl Spool {
    /// Reads, hashes and compresses every source, each once, and shows its bytes to `look`, in
    /// several threads. The answer is in the order of `sources`; so is the file. `progress` is
    /// told bytes done and bytes in all.
    pub fn fill<T: Send>(
        &mut self,
        sources: &[Source],
        look: &(dyn Fn(usize, &[u8], Digest) -> T + Sync),
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Vec<Filled<T>>, SpoolError> {
        let (jobs, all) = jobs(sources)?;
        let shared = Shared {
            sources,
            jobs: &jobs,
            batches: &batches(&jobs),
            next: AtomicUsize::new(0),
            gate: Gate::default(),
            look,
        };
        let threads = thread::available_parallelism()
            .map_or(1, usize::from)
            .min(MOST_WORKERS);
        thread::scope(|scope| {
            let (send, receive) = mpsc::channel();
            for _ in 0..threads {
                let (shared, send) = (&shared, send.clone());
                scope.spawn(move || shared.work(&send));
            }
            drop(send);
            let result = Collect {
                spool: self,
                shared: &shared,
                filled: Vec::new(),
                large: None,
            }
            .run(receive, &mut |done| progress(done, all));
            // On an error workers may be waiting for a writer that is gone.
            shared.gate.advance(u64::MAX);
            result
        })
    }
}

fn jobs(sources: &[Source]) -> Result<(Vec<Job>, u64), SpoolError> {
    let (mut jobs, mut before, mut all) = (Vec::with_capacity(sources.len()), 0, 0);
    for (number, source) in sources.iter().enumerate() {
        let size = match source {
            Source::Path(path) => fs_err::metadata(path)
                .map_err(|source| SpoolError::Read {
                    path: path.clone(),
                    source,
                })?
                .len(),
            Source::Bytes(bytes) => bytes.len() as u64,
        };
        Job::split(number, size, &mut before, &mut jobs);
        all += size;
    }
    Ok((jobs, all))
}

/// A source of several frames, of which some are written.
struct Large {
    start: u64,
    packed: u64,
    hasher: blake3::Hasher,
}

struct Collect<'a, 'b, T> {
    spool: &'a mut Spool,
    shared: &'a Shared<'b, T>,
    filled: Vec<Filled<T>>,
    large: Option<Large>,
}

impl<T> Collect<'_, '_, T> {
    fn run(
        mut self,
        answers: Receiver<Answer<T>>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Vec<Filled<T>>, SpoolError> {
        let mut early = BTreeMap::new();
        let (mut next, mut done) = (0, 0);
        for (number, batch) in answers {
            early.insert(number, batch?);
            while let Some(batch) = early.remove(&next) {
                let shared = self.shared;
                let numbers = shared.batches.get(next).cloned().unwrap_or_default();
                let jobs = shared.jobs.get(numbers).unwrap_or_default();
                self.take(jobs, batch)?;
                done += jobs.iter().map(|job| job.length as u64).sum::<u64>();
                next += 1;
                shared.gate.advance(jobs.last().map_or(0, |job| job.before));
            }
            progress(done);
        }
        Ok(self.filled)
    }

    /// Takes a batch in; what is new in it goes to the file in as few writes as can be.
    fn take(&mut self, jobs: &[Job], batch: Batch<T>) -> Result<(), SpoolError> {
        let (mut unwritten, mut at) = (0, 0);
        for (job, made) in jobs.iter().zip(batch.made) {
            match made {
                Made::Whole {
                    digest,
                    length,
                    seen,
                } => {
                    if self.spool.contains(&digest) {
                        self.write(batch.entries.get(unwritten..at))?;
                        unwritten = at + length;
                    } else {
                        let start = self.spool.end;
                        self.keep(digest, start, start + length as u64);
                    }
                    at += length;
                    self.filled.push(Filled {
                        digest,
                        size: job.size,
                        seen,
                    });
                }
                Made::Part { plain, packed } => self.part(job, &plain, &packed)?,
            }
        }
        self.write(batch.entries.get(unwritten..at))
    }

    /// Writes entries that are kept already, and end where the file does.
    fn write(&self, entries: Option<&[u8]>) -> Result<(), SpoolError> {
        let entries = entries.unwrap_or_default();
        let start = self.spool.end - entries.len() as u64;
        Ok(self.spool.file.write_all_at(entries, start)?)
    }

    fn keep(&mut self, digest: Digest, start: u64, end: u64) {
        self.spool.stored.insert(digest, Stored { start, end });
        self.spool.end = end;
    }

    /// The name of a large object is known only at its end, so its header is written last.
    fn part(&mut self, job: &Job, plain: &[u8], packed: &[u8]) -> Result<(), SpoolError> {
        let start = self.spool.end;
        let large = self.large.get_or_insert_with(|| Large {
            start,
            packed: 0,
            hasher: blake3::Hasher::new(),
        });
        large.hasher.update(plain);
        let place = large.start + BLOCK as u64 + large.packed;
        self.spool.file.write_all_at(packed, place)?;
        large.packed += packed.len() as u64;
        match self.large.take_if(|_| job.is_last()) {
            Some(large) => self.end_large(job, &large),
            None => Ok(()),
        }
    }

    fn end_large(&mut self, job: &Job, large: &Large) -> Result<(), SpoolError> {
        let digest = Digest::from(large.hasher.finalize());
        // A doubled object is simply written over by the next one.
        if !self.spool.contains(&digest) {
            let end = large.start + BLOCK as u64 + large.packed;
            let padding = vec![0; Entry::padding(large.packed)];
            self.spool
                .file
                .write_all_at(&header(&digest, large.packed)?, large.start)?;
            self.spool.file.write_all_at(&padding, end)?;
            self.keep(digest, large.start, end + padding.len() as u64);
        }
        let seen = self.look_large(job, digest)?;
        self.filled.push(Filled {
            digest,
            size: job.size,
            seen,
        });
        Ok(())
    }

    fn look_large(&self, job: &Job, digest: Digest) -> Result<T, SpoolError> {
        let look = |bytes: &[u8]| (self.shared.look)(job.source, bytes, digest);
        match self.shared.sources.get(job.source) {
            Some(Source::Path(path)) => {
                let mapped = Mapped::open(path).map_err(|source| SpoolError::Read {
                    path: path.clone(),
                    source,
                })?;
                Ok(look(&mapped))
            }
            Some(Source::Bytes(bytes)) => Ok(look(bytes)),
            None => Ok(look(&[])),
        }
    }
}
