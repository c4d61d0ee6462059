//! The way from one list to another: patches where they are smaller, whole objects else.

use std::collections::{HashMap, HashSet};
use std::io::{self, Seek, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use fs_err::File;
use model::Digest;
use tempfile::NamedTempFile;

use super::Shelf;
use super::packer::{ALONE, Packer, Written};
use super::publish::Draft;
use super::records::{self, Place, Stored, Tried};
use crate::error::{Doing, Error};
use crate::index::Blob;
use crate::pairs::Pair;
use crate::{encode, patch};

/// How much work an offer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effort {
    /// zstd's level.
    pub level: i32,
    /// Threads that work at once.
    pub threads: usize,
    /// After so long no further patch is begun; what has none is offered whole.
    pub within: Duration,
}

impl Default for Effort {
    fn default() -> Self {
        Self {
            level: 19,
            threads: 1,
            within: Duration::from_mins(10),
        }
    }
}

/// What a node that has the older list is offered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Offered {
    /// Objects that come as the difference to one that it has.
    pub patches: usize,
    /// Objects that come whole.
    pub whole: usize,
    /// Bytes of all of them as they are sent.
    pub bytes: u64,
    /// Patches that were not tried for want of time.
    pub out_of_time: usize,
}

/// One object of the new list that the old one lacks.
#[derive(Debug)]
struct Job {
    new: Digest,
    stored: Stored,
    /// The older object to try, where there is one on the shelf.
    old: Option<(Digest, Stored)>,
    known: Option<Tried>,
}

/// The best that was found for a job.
enum Best {
    /// As it is on the shelf.
    Stored,
    /// A patch that is on the shelf.
    Known(Place),
    /// These bytes: a patch, or the object compressed better.
    Made { patch: bool, file: NamedTempFile },
}

/// How a job ended.
struct Done {
    best: Best,
    /// Whether a patch was tried in vain: it is not tried again.
    useless: bool,
    out_of_time: bool,
}

impl Shelf {
    /// Offers nodes that have the list `old` what they lack of the list `new`; both are published.
    /// `pairs` say which objects are probably alike. An offer that was made is not made again.
    /// Takes as long as `effort` says: call it on a thread of its own.
    pub fn offer(
        &self,
        old: &Digest,
        new: &Digest,
        pairs: &[Pair],
        effort: Effort,
    ) -> Result<Offered, Error> {
        let jobs = self.jobs(old, new, pairs)?;
        let deadline = Instant::now() + effort.within;
        let mut offered = Offered::default();
        let mut packer = Packer::new(&self.private, &self.public);
        let mut others = Vec::new();
        let (send, receive) = sync_channel(1);
        let next = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..effort.threads.max(1) {
                let send = send.clone();
                let (jobs, next) = (&jobs, &next);
                scope.spawn(move || self.work(jobs, next, (effort.level, deadline), &send));
            }
            drop(send);
            collect(&jobs, &receive, (&mut packer, &mut others), &mut offered)
        })?;
        let written = packer.finish()?;
        self.store_offer((old, new), &jobs, &written, &others)?;
        Ok(offered)
    }

    fn jobs(&self, old: &Digest, new: &Digest, pairs: &[Pair]) -> Result<Vec<Job>, Error> {
        let list = |of: &Digest| {
            let found = self.records(|records| records::list(records, of))?;
            if found.is_empty() {
                return Err(Error::NoList { list: *of });
            }
            Ok(found)
        };
        let had: HashSet<Digest> = list(old)?.into_iter().collect();
        let twins: HashMap<Digest, Digest> = pairs
            .iter()
            .filter(|pair| had.contains(&pair.old))
            .map(|pair| (pair.new, pair.old))
            .collect();
        let wanted = list(new)?;
        self.records(|records| {
            let mut jobs = Vec::new();
            for new in wanted.into_iter().filter(|object| !had.contains(object)) {
                let Some(stored) = records::object(records, &new)? else {
                    continue;
                };
                let mut job = Job {
                    new,
                    stored,
                    old: None,
                    known: None,
                };
                if let Some(old) = twins.get(&new) {
                    job.old = records::object(records, old)?.map(|stored| (*old, stored));
                    job.known = records::patch(records, (old, &new))?;
                }
                jobs.push(job);
            }
            Ok(jobs)
        })
    }

    fn work(
        &self,
        jobs: &[Job],
        next: &AtomicUsize,
        (level, deadline): (i32, Instant),
        send: &SyncSender<Ended>,
    ) {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = jobs.get(number) else {
                return;
            };
            let done = self.best(job, level, deadline);
            if send.send((number, done)).is_err() {
                return;
            }
        }
    }

    /// The smallest form of one object that there is time for.
    fn best(&self, job: &Job, level: i32, deadline: Instant) -> Result<Done, Error> {
        if let Some(Tried::Made(place)) = &job.known {
            return Ok(Done::with(Best::Known(place.clone())));
        }
        if Instant::now() >= deadline {
            return Ok(Done {
                best: Best::Stored,
                useless: false,
                out_of_time: true,
            });
        }
        let new = self.plain(&job.new)?;
        let most = job.stored.place.length;
        if let Some((old, stored)) = job.old.as_ref().filter(|_| job.known.is_none()) {
            let old = self.plain(old)?;
            let mut file = self.scratch()?;
            let sides = ((&old, stored.size), (&new, job.stored.size));
            let made = patch::make(sides.0, sides.1, level, most, file.as_file_mut())
                .doing(|| format!("make a patch that gives object {}", job.new))?;
            // A patch that saves little would only tie the object to the older one.
            if made.is_some_and(|length| length < most / 10 * 9) {
                return Ok(Done::with(Best::Made { patch: true, file }));
            }
        }
        let best = self.repack(&new, job, level)?;
        Ok(Done {
            best,
            useless: job.old.is_some(),
            out_of_time: false,
        })
    }

    fn repack(&self, mut new: &File, job: &Job, level: i32) -> Result<Best, Error> {
        let mut file = self.scratch()?;
        new.rewind()
            .and_then(|()| encode::pack(&mut new, job.stored.size, level, file.as_file_mut()))
            .doing(|| format!("compress object {}", job.new))?;
        let length = file
            .as_file()
            .metadata()
            .doing(|| "measure a blob".to_owned())?
            .len();
        // A small one stands in some pack among others: beside the patches it costs no request.
        if length < job.stored.place.length || length <= ALONE {
            return Ok(Best::Made { patch: false, file });
        }
        Ok(Best::Stored)
    }

    /// The plain bytes of an object in a file without a name.
    fn plain(&self, digest: &Digest) -> Result<File, Error> {
        let doing = || format!("unpack object {digest}");
        let path = self.private.join("tmp");
        let file = tempfile::tempfile_in(&path).doing(doing)?;
        let mut file = File::from_parts(file, path);
        io::copy(&mut self.read(digest)?, &mut file).doing(doing)?;
        file.flush().doing(doing)?;
        Ok(file)
    }

    fn scratch(&self) -> Result<NamedTempFile, Error> {
        NamedTempFile::new_in(self.private.join("tmp")).doing(|| "make a scratch file".to_owned())
    }

    fn store_offer(
        &self,
        (old, new): (&Digest, &Digest),
        jobs: &[Job],
        written: &[Written<Piece>],
        others: &[(usize, Best, bool)],
    ) -> Result<(), Error> {
        let mut draft = Draft::default();
        for (blob, pieces) in written {
            for piece in pieces {
                let Some(job) = jobs.get(piece.what.job) else {
                    continue;
                };
                let from = job
                    .old
                    .as_ref()
                    .map(|(old, _)| *old)
                    .filter(|_| piece.what.patch);
                let place = Place {
                    blob: blob.digest,
                    at: piece.at,
                    length: piece.length,
                    sum: piece.sum,
                };
                draft.add(
                    (job.new, job.stored.size),
                    &place,
                    from,
                    || Ok(blob.clone()),
                )?;
            }
        }
        for (job, best, _) in others {
            let Some(job) = jobs.get(*job) else {
                continue;
            };
            let (place, from) = match best {
                Best::Known(place) => (place, job.old.as_ref().map(|(old, _)| *old)),
                Best::Stored | Best::Made { .. } => (&job.stored.place, None),
            };
            draft.add((job.new, job.stored.size), place, from, || {
                self.blob(&place.blob)
            })?;
        }
        self.remember(jobs, written, others)?;
        let own: Vec<Blob> = written.iter().map(|(blob, _)| blob.clone()).collect();
        self.write_index((new, Some(old)), &draft, &own, None)
    }

    /// Records the patches, those that were not worth it too.
    fn remember(
        &self,
        jobs: &[Job],
        written: &[Written<Piece>],
        others: &[(usize, Best, bool)],
    ) -> Result<(), Error> {
        let pair = |number: usize| {
            let job = jobs.get(number)?;
            Some((job.old.as_ref()?.0, job.new))
        };
        self.write_records(|records| {
            for (blob, pieces) in written {
                let id = records::add_blob(records, blob)?;
                for piece in pieces {
                    let Some((old, new)) = pair(piece.what.job) else {
                        continue;
                    };
                    let place = (id, piece.at, piece.length, piece.sum);
                    let place = piece.what.patch.then_some(place);
                    records::add_patch(records, (&old, &new), place)?;
                }
            }
            for (number, _, useless) in others {
                if let Some((old, new)) = pair(*number).filter(|_| *useless) {
                    records::add_patch(records, (&old, &new), None)?;
                }
            }
            Ok(())
        })
    }
}

impl Done {
    fn with(best: Best) -> Self {
        Self {
            best,
            useless: false,
            out_of_time: false,
        }
    }
}

/// What a piece of an offer's packs is.
#[derive(Debug, Clone, Copy)]
struct Piece {
    job: usize,
    patch: bool,
}

type Ended = (usize, Result<Done, Error>);

/// Takes what the workers made: new bytes into packs, the rest into `others`.
fn collect(
    jobs: &[Job],
    receive: &Receiver<Ended>,
    (packer, others): (&mut Packer<Piece>, &mut Vec<(usize, Best, bool)>),
    offered: &mut Offered,
) -> Result<(), Error> {
    for (number, done) in receive {
        let done = done?;
        offered.out_of_time += usize::from(done.out_of_time);
        let patch = matches!(done.best, Best::Known(_) | Best::Made { patch: true, .. });
        offered.patches += usize::from(patch);
        offered.whole += usize::from(!patch);
        match done.best {
            Best::Made { patch, file } => {
                let length = file
                    .as_file()
                    .metadata()
                    .doing(|| "measure a blob".to_owned())?
                    .len();
                offered.bytes += length;
                packer.add_file(Piece { job: number, patch }, file)?;
            }
            Best::Known(place) => {
                offered.bytes += place.length;
                others.push((number, Best::Known(place), false));
            }
            Best::Stored => {
                offered.bytes += jobs.get(number).map_or(0, |job| job.stored.place.length);
                others.push((number, Best::Stored, done.useless));
            }
        }
    }
    Ok(())
}
