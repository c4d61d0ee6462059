//! A blob that is being fetched: its bytes, their journal, and what they are checked by.

use std::io::{self, Read, Write};

use blake3::hazmat::{ChainingValue, HasherExt};
use fs_err::os::unix::fs::FileExt;
use fs_err::{File, OpenOptions};
use model::Digest;

use super::ranges::Ranges;
use super::spool::Spool;
use crate::groups::GROUP;
use crate::index::{Blob, Part};

/// Bytes of one request, unless a single unit is larger.
const PIECE: u64 = 4 << 20;

/// Units with so few bytes between them are asked for together: a request costs more.
const GAP: u64 = 1024;

/// In a journal's record: these bytes are not there any more.
const GONE: u64 = 1 << 63;

/// The smallest range whose bytes can be checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unit {
    start: u64,
    end: u64,
    check: Check,
    right: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Check {
    Sum(Digest),
    Group(u64, ChainingValue),
}

/// The units that the parts need, in order.
pub(super) fn units<'a>(blob: &Blob, parts: impl Iterator<Item = &'a Part>) -> Vec<Unit> {
    let unit = |start, end, check| Unit {
        start,
        end,
        check,
        right: false,
    };
    let mut units: Vec<Unit> = if blob.groups.is_empty() {
        parts
            .map(|part| {
                let sum = part.sum.unwrap_or(blob.digest);
                unit(part.at, part.at + part.length, Check::Sum(sum))
            })
            .collect()
    } else {
        // A grouped blob holds one part, which is all of it.
        let values = (0..).zip(&blob.groups);
        let group = |(index, value): (u64, &ChainingValue)| {
            let end = ((index + 1) * GROUP).min(blob.size);
            unit(index * GROUP, end, Check::Group(index, *value))
        };
        values.map(group).collect()
    };
    units.sort_by_key(|unit| (unit.start, unit.end));
    units.dedup();
    units
}

/// A blob's bytes in the spool.
#[derive(Debug)]
pub(super) struct Target {
    file: File,
    journal: File,
    ranges: Ranges,
    units: Vec<Unit>,
    /// Bytes that were there when it was opened, and were right or not yet to be judged.
    pub(super) resumed: u64,
}

/// What became of bytes that were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// Nothing speaks against them.
    Fine,
    /// They completed a unit that is not what the index says; it was dropped, with the bytes
    /// written now that are not judged. The unit starts here: bytes before the writer's own were
    /// somebody else's.
    Wrong(u64),
}

impl Target {
    /// The blob's bytes as an earlier fetch left them; whole units are judged at once.
    pub(super) fn open(spool: &Spool, blob: &Blob, units: Vec<Unit>) -> io::Result<Self> {
        let mut open = OpenOptions::new();
        open.read(true).write(true).create(true).truncate(false);
        let file = open.open(spool.part(&blob.digest))?;
        let mut journal = open.append(true).open(spool.journal(&blob.digest))?;
        let length = file.metadata()?.len().min(blob.size);
        let ranges = replay(&mut journal, length)?;
        let mut target = Self {
            file,
            journal,
            ranges,
            units,
            resumed: 0,
        };
        target.judge(0, blob.size)?;
        let there = |unit: &Unit| target.ranges.count(unit.start, unit.end);
        target.resumed = target.units.iter().map(there).sum();
        Ok(target)
    }

    /// Bytes that its units need.
    pub(super) fn length(&self) -> u64 {
        self.units.iter().map(|unit| unit.end - unit.start).sum()
    }

    /// Whether each unit is there and right.
    pub(super) fn complete(&self) -> bool {
        self.units.iter().all(|unit| unit.right)
    }

    /// The ranges to ask for.
    pub(super) fn pieces(&self) -> Vec<(u64, u64)> {
        let mut pieces: Vec<(u64, u64)> = Vec::new();
        for unit in self.units.iter().filter(|unit| !unit.right) {
            match pieces.last_mut() {
                Some((start, end)) if unit.start <= *end + GAP && unit.end - *start <= PIECE => {
                    *end = unit.end.max(*end);
                }
                _ => pieces.push((unit.start, unit.end)),
            }
        }
        pieces
    }

    /// The first range between `start` and `end` that is not there.
    pub(super) fn hole(&self, start: u64, end: u64) -> Option<(u64, u64)> {
        self.ranges.hole(start, end)
    }

    /// Bytes between `start` and `end` that are there.
    pub(super) fn count(&self, start: u64, end: u64) -> u64 {
        self.ranges.count(start, end)
    }

    /// Takes bytes. The journal follows them, so that a kill between the two costs these alone.
    pub(super) fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<Written> {
        let end = at + bytes.len() as u64;
        self.file.write_all_at(bytes, at)?;
        self.note(at, end)?;
        self.ranges.add(at, end);
        let written = self.judge(at, end)?;
        if let Written::Wrong(start) = written {
            self.forget(start.max(at), end)?;
        }
        Ok(written)
    }

    /// Drops bytes, but for those of units that are right.
    fn forget(&mut self, start: u64, end: u64) -> io::Result<()> {
        let unjudged = |unit: &&Unit| !unit.right && unit.start < end && start < unit.end;
        let cuts: Vec<(u64, u64)> = self
            .units
            .iter()
            .filter(unjudged)
            .map(|unit| (unit.start.max(start), unit.end.min(end)))
            .collect();
        for (start, end) in cuts {
            self.note(start | GONE, end)?;
            self.ranges.remove(start, end);
        }
        Ok(())
    }

    /// A copy of the file's handle, for reading.
    pub(super) fn reader(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    fn note(&mut self, start: u64, end: u64) -> io::Result<()> {
        let mut record = [0; 16];
        let (first, second) = record.split_at_mut(8);
        first.copy_from_slice(&start.to_le_bytes());
        second.copy_from_slice(&end.to_le_bytes());
        self.journal.write_all(&record)
    }

    /// Judges the units that touch these bytes and are whole.
    fn judge(&mut self, start: u64, end: u64) -> io::Result<Written> {
        let mut all = Written::Fine;
        let mut wrong = Vec::new();
        for unit in &mut self.units {
            let touched = unit.start < end && start < unit.end && !unit.right;
            if !touched || !self.ranges.has(unit.start, unit.end) {
                continue;
            }
            unit.right = right(&self.file, unit)?;
            if !unit.right {
                wrong.push((unit.start, unit.end));
            }
        }
        for (start, end) in wrong {
            if all == Written::Fine {
                all = Written::Wrong(start);
            }
            self.note(start | GONE, end)?;
            self.ranges.remove(start, end);
        }
        Ok(all)
    }
}

fn right(file: &File, unit: &Unit) -> io::Result<bool> {
    let mut hasher = blake3::Hasher::new();
    if let Check::Group(index, _) = unit.check {
        hasher.set_input_offset(index * GROUP);
    }
    let mut buffer = vec![0; 64 << 10];
    let mut at = unit.start;
    while at < unit.end {
        let most = usize::try_from(unit.end - at)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let bytes = buffer.get_mut(..most).unwrap_or_default();
        file.read_exact_at(bytes, at)?;
        hasher.update(bytes);
        at += most as u64;
    }
    Ok(match &unit.check {
        Check::Sum(sum) => Digest::from(hasher.finalize()) == *sum,
        Check::Group(_, value) => hasher.finalize_non_root() == *value,
    })
}

/// What a journal says, as far as the file can have it; a torn last record is cut off.
fn replay(journal: &mut File, length: u64) -> io::Result<Ranges> {
    let mut bytes = Vec::new();
    journal.read_to_end(&mut bytes)?;
    let (records, torn) = bytes.as_chunks::<16>();
    if !torn.is_empty() {
        journal.set_len((bytes.len() - torn.len()) as u64)?;
    }
    let mut ranges = Ranges::default();
    for record in records {
        let (first, second) = record.split_at(8);
        let number = |part: &[u8]| part.try_into().map_or(0, u64::from_le_bytes);
        let (start, end) = (number(first), number(second).min(length));
        if start & GONE == 0 {
            ranges.add(start, end);
        } else {
            ranges.remove(start & !GONE, end);
        }
    }
    Ok(ranges)
}
