//! The part that runs alone: bringing what the workers made into order and into the file.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::{self, Receiver};
use std::thread;

use super::super::entry::{BLOCK, Entry};
use super::work::{Answer, Gate, Job, Made, Shared, Source};
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
        for (number, made) in answers {
            early.insert(number, made?);
            while let Some(made) = early.remove(&next) {
                let Some(job) = self.shared.jobs.get(next) else {
                    break;
                };
                self.take(job, made)?;
                done += job.length as u64;
                next += 1;
                self.shared.gate.advance(job.before);
            }
            progress(done);
        }
        Ok(self.filled)
    }

    fn take(&mut self, job: &Job, made: Made<T>) -> Result<(), SpoolError> {
        match made {
            Made::Whole {
                digest,
                entry,
                seen,
            } => {
                self.keep_whole(digest, &entry)?;
                self.filled.push(Filled {
                    digest,
                    size: job.size,
                    seen,
                });
                Ok(())
            }
            Made::Part { plain, packed } => self.part(job, &plain, &packed),
        }
    }

    fn keep_whole(&mut self, digest: Digest, entry: &[u8]) -> Result<(), SpoolError> {
        if self.spool.contains(&digest) {
            return Ok(());
        }
        let start = self.spool.end;
        self.spool.file.write_all_at(entry, start)?;
        self.keep(digest, start, start + entry.len() as u64);
        Ok(())
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
