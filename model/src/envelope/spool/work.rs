//! The part that runs in several threads: reading, hashing, looking and compressing.

use std::io::ErrorKind;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Condvar, Mutex, PoisonError};

use super::super::compress::{Compressor, FRAME};
use super::{SpoolError, finish};
use crate::digest::Digest;

/// Where an object's bytes come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A regular file, read once.
    Path(PathBuf),
    /// Bytes in memory.
    Bytes(Vec<u8>),
}

/// At most a frame of one source.
#[derive(Debug, Clone, Copy)]
pub(super) struct Job {
    /// Which source.
    pub(super) source: usize,
    /// Where in it.
    pub(super) offset: u64,
    /// How much of it.
    pub(super) length: usize,
    /// How long the source is.
    pub(super) size: u64,
    /// Work before this job, in bytes: never less than that of an earlier job.
    pub(super) before: u64,
}

impl Job {
    /// Whether the source has no other job.
    pub(super) fn is_whole(&self) -> bool {
        self.size == self.length as u64
    }

    pub(super) fn is_last(&self) -> bool {
        self.offset + self.length as u64 == self.size
    }

    /// The jobs of one source.
    pub(super) fn split(source: usize, size: u64, before: &mut u64, jobs: &mut Vec<Self>) {
        let mut offset = 0;
        loop {
            let length = usize::try_from(size - offset).unwrap_or(FRAME).min(FRAME);
            jobs.push(Self {
                source,
                offset,
                length,
                size,
                before: *before,
            });
            // An empty file is work, too.
            *before += length as u64 + 4096;
            offset += length as u64;
            if offset == size {
                return;
            }
        }
    }
}

/// What a worker made of a job.
pub(super) enum Made<T> {
    /// A whole source: the length of its finished entry among those of its batch.
    Whole {
        digest: Digest,
        length: usize,
        seen: T,
    },
    /// A part of one: the plain bytes, to be hashed in order, and their frame.
    Part { plain: Vec<u8>, packed: Vec<u8> },
}

/// What a worker made of a batch: one answer to each of its jobs, and the finished entries of the
/// whole sources among them, end to end.
pub(super) struct Batch<T> {
    pub(super) made: Vec<Made<T>>,
    pub(super) entries: Vec<u8>,
}

/// Small files are worked on and written this many bytes at a time, for waking a thread or
/// writing a file costs more than most of them.
const BATCH: u64 = 512 << 10;

/// Which jobs are done together: consecutive whole sources, or one part of a large one.
pub(super) fn batches(jobs: &[Job]) -> Vec<Range<usize>> {
    let mut batches: Vec<Range<usize>> = Vec::new();
    let mut bytes = 0;
    for (number, job) in jobs.iter().enumerate() {
        let after_whole = number > 0 && jobs.get(number - 1).is_some_and(Job::is_whole);
        let work = job.length as u64 + 4096;
        match batches.last_mut() {
            Some(batch) if after_whole && job.is_whole() && bytes + work <= BATCH => {
                batch.end = number + 1;
                bytes += work;
            }
            Some(_) | None => {
                batches.push(number..number + 1);
                bytes = work;
            }
        }
    }
    batches
}

/// Keeps the workers from running far ahead of the writer.
#[derive(Default)]
pub(super) struct Gate {
    done: Mutex<u64>,
    moved: Condvar,
}

impl Gate {
    /// Bytes of work in flight; with what workers hold, about three times as much memory.
    const WINDOW: u64 = 4 << 20;

    fn wait(&self, before: u64) {
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let ahead = |done: &mut u64| before > done.saturating_add(Self::WINDOW);
        drop(
            self.moved
                .wait_while(done, ahead)
                .unwrap_or_else(PoisonError::into_inner),
        );
    }

    /// All work up to `before` is written; `u64::MAX` lets everyone run to the end.
    pub(super) fn advance(&self, before: u64) {
        *self.done.lock().unwrap_or_else(PoisonError::into_inner) = before;
        self.moved.notify_all();
    }
}

/// What all workers share.
pub(super) struct Shared<'a, T> {
    pub(super) sources: &'a [Source],
    pub(super) jobs: &'a [Job],
    pub(super) batches: &'a [Range<usize>],
    pub(super) next: AtomicUsize,
    pub(super) gate: Gate,
    pub(super) look: &'a (dyn Fn(usize, &[u8], Digest) -> T + Sync),
}

pub(super) type Answer<T> = (usize, Result<Batch<T>, SpoolError>);

impl<T> Shared<'_, T> {
    /// Takes batches until there are none, or nobody wants the answers.
    pub(super) fn work(&self, answers: &Sender<Answer<T>>) {
        let mut compressor = match Compressor::new() {
            Ok(compressor) => compressor,
            Err(error) => {
                // The writer has gone only when it failed itself.
                drop(answers.send((usize::MAX, Err(error.into()))));
                return;
            }
        };
        let mut plain = Vec::with_capacity(FRAME);
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(batch) = self.batches.get(number) else {
                return;
            };
            let jobs = self.jobs.get(batch.clone()).unwrap_or_default();
            self.gate.wait(jobs.first().map_or(0, |job| job.before));
            let made = self.batch(jobs, &mut compressor, &mut plain);
            if answers.send((number, made)).is_err() {
                return;
            }
        }
    }

    fn batch(
        &self,
        jobs: &[Job],
        compressor: &mut Compressor,
        plain: &mut Vec<u8>,
    ) -> Result<Batch<T>, SpoolError> {
        let mut batch = Batch {
            made: Vec::with_capacity(jobs.len()),
            entries: Vec::new(),
        };
        for job in jobs {
            let made = self.make(job, compressor, plain, &mut batch.entries)?;
            batch.made.push(made);
        }
        batch.entries.shrink_to_fit();
        Ok(batch)
    }

    fn make(
        &self,
        job: &Job,
        compressor: &mut Compressor,
        plain: &mut Vec<u8>,
        entries: &mut Vec<u8>,
    ) -> Result<Made<T>, SpoolError> {
        plain.clear();
        if let Some(source) = self.sources.get(job.source) {
            read(source, job, plain)?;
        }
        if !job.is_whole() {
            let mut packed = Vec::new();
            compressor.frame(plain, &mut packed)?;
            packed.shrink_to_fit();
            return Ok(Made::Part {
                plain: plain.clone(),
                packed,
            });
        }
        let digest = Digest::of(plain);
        let seen = (self.look)(job.source, plain, digest);
        let start = entries.len();
        finish(&digest, compressor, plain, entries)?;
        Ok(Made::Whole {
            digest,
            length: entries.len() - start,
            seen,
        })
    }
}

fn read(source: &Source, job: &Job, plain: &mut Vec<u8>) -> Result<(), SpoolError> {
    match source {
        Source::Path(path) => read_file(path, job, plain),
        Source::Bytes(bytes) => {
            let start = usize::try_from(job.offset).unwrap_or(usize::MAX);
            let part = bytes.get(start..).unwrap_or_default();
            plain.extend_from_slice(part.get(..job.length).unwrap_or_default());
            Ok(())
        }
    }
}

fn read_file(path: &Path, job: &Job, plain: &mut Vec<u8>) -> Result<(), SpoolError> {
    let failed = |source| SpoolError::Read {
        path: path.to_owned(),
        source,
    };
    let changed = || SpoolError::Changed {
        path: path.to_owned(),
    };
    let file = fs_err::File::open(path).map_err(failed)?.into_parts().0;
    // At the end of the file there is room for one byte more, which must not come.
    plain.resize(job.length + usize::from(job.is_last()), 0);
    let mut have = 0;
    loop {
        let room = plain.get_mut(have..).unwrap_or_default();
        match file.read_at(room, job.offset + have as u64) {
            Ok(0) => break,
            Ok(count) => have += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
        // A read that leaves room has met the end.
        if have >= job.length {
            break;
        }
    }
    if have != job.length {
        return Err(changed());
    }
    plain.truncate(job.length);
    Ok(())
}
