//! Where two files differ, for people: the answer to "why is its signature another one?"

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use object::elf;
use serde::Serialize;

use super::image::{Image, Section, Segment};
use super::signature::{has_substance, masked, overlay};
use super::texts::{first_difference, without_paths_and_dates};

/// How two files differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Difference {
    /// In one word.
    pub verdict: Verdict,
    /// The parts that differ, in the new file's order; those that only the old one has last.
    pub parts: Vec<Part>,
}

/// What kind of difference it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The same bytes.
    Identical,
    /// Other bytes, the same substance: rebuilt, stripped, or with other debug information.
    Rebuilt,
    /// The substance differs, but only in strings that look like paths or dates.
    PathsAndDates,
    /// The substance differs.
    Substance,
}

/// A part of a file that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Part {
    /// A section's name, or what else it is, in words.
    pub name: String,
    /// Its size in bytes in the old file; `None` where that has no such part.
    pub old: Option<u64>,
    /// Its size in bytes in the new file; `None` where that has no such part.
    pub new: Option<u64>,
    /// Where it differs only in strings that look like paths or dates: the first such pair.
    pub text: Option<(String, String)>,
}

/// Compares two files, given as their exact bytes.
pub fn explain(old: &[u8], new: &[u8]) -> Difference {
    if old == new {
        return Difference {
            verdict: Verdict::Identical,
            parts: Vec::new(),
        };
    }
    let images = (Image::open(old), Image::open(new));
    let parts = match images {
        (Ok(Some(one)), Ok(Some(two))) => {
            let (Some(one), Some(two)) = (Side::new(old, one), Side::new(new, two)) else {
                return judge(vec![whole(old, new)]);
            };
            linked_files(&one, &two)
        }
        _ => vec![whole(old, new)],
    };
    judge(parts)
}

fn judge(parts: Vec<Part>) -> Difference {
    let verdict = if parts.is_empty() {
        Verdict::Rebuilt
    } else if parts.iter().all(|part| part.text.is_some()) {
        Verdict::PathsAndDates
    } else {
        Verdict::Substance
    };
    Difference { verdict, parts }
}

/// One of two linked files.
struct Side<'a> {
    bytes: &'a [u8],
    image: Image,
    masked: Vec<std::ops::Range<u64>>,
}

impl<'a> Side<'a> {
    fn new(bytes: &'a [u8], image: Image) -> Option<Self> {
        let masked = masked(bytes, &image).ok()?;
        Some(Self {
            bytes,
            image,
            masked,
        })
    }

    /// Bytes of the file, with zeros for what is without substance.
    fn piece(&self, at: u64, length: u64) -> Cow<'a, [u8]> {
        let end = at.saturating_add(length);
        let index = |at| usize::try_from(at).unwrap_or(usize::MAX);
        let mut piece = Cow::Borrowed(self.bytes.get(index(at)..index(end)).unwrap_or_default());
        for mask in self
            .masked
            .iter()
            .filter(|mask| mask.start < end && mask.end > at)
        {
            let start = index(mask.start.max(at) - at);
            let end = index(mask.end.min(end) - at);
            if let Some(zeros) = piece.to_mut().get_mut(start..end) {
                zeros.fill(0);
            }
        }
        piece
    }

    /// The sections that have substance, by name and, where a name stands twice, by turn.
    fn sections(&self) -> BTreeMap<(&str, usize), &Section> {
        let mut turns: BTreeMap<&str, usize> = BTreeMap::new();
        let mut sections = BTreeMap::new();
        let matter = |one: &&Section| one.is_mapped() || has_substance(one);
        for section in self.image.sections.iter().filter(matter) {
            let turn = turns.entry(&section.name).or_default();
            sections.insert((section.name.as_str(), *turn), section);
            *turn += 1;
        }
        sections
    }

    fn section_bytes(&self, section: &Section) -> Cow<'a, [u8]> {
        if section.has_bytes() {
            self.piece(section.offset, section.size)
        } else {
            Cow::default()
        }
    }

    fn overlay(&self) -> Cow<'a, [u8]> {
        let range = overlay(&self.image, self.bytes.len() as u64);
        self.piece(range.start, range.end - range.start)
    }
}

fn linked_files(old: &Side<'_>, new: &Side<'_>) -> Vec<Part> {
    let mut parts = Vec::new();
    let identity = |side: &Side<'_>| (side.image.form, side.image.identity.clone());
    if identity(old) != identity(new) {
        parts.push(named("file header", None, None));
    }
    parts.extend(sections(old, new));
    if parts.is_empty() || old.image.sections.is_empty() || new.image.sections.is_empty() {
        parts.extend(loaded_segments(old, new));
    }
    parts.extend(program_headers(&old.image, &new.image));
    let appended = (old.overlay(), new.overlay());
    if appended.0 != appended.1 {
        let name = "bytes behind everything that the tables describe";
        parts.push(compared(name, &appended.0, &appended.1));
    }
    parts
}

fn named(name: &str, old: Option<u64>, new: Option<u64>) -> Part {
    Part {
        name: name.to_owned(),
        old,
        new,
        text: None,
    }
}

/// A part with bytes on both sides, which differ.
fn compared(name: &str, old: &[u8], new: &[u8]) -> Part {
    let alike = without_paths_and_dates(old) == without_paths_and_dates(new);
    let text = if alike {
        first_difference(old, new)
    } else {
        None
    };
    let (old, new) = (Some(old.len() as u64), Some(new.len() as u64));
    Part {
        name: name.to_owned(),
        old,
        new,
        text,
    }
}

fn whole(old: &[u8], new: &[u8]) -> Part {
    compared("contents", old, new)
}

fn sections(old: &Side<'_>, new: &Side<'_>) -> Vec<Part> {
    let (before, after) = (old.sections(), new.sections());
    if before.is_empty() || after.is_empty() {
        return Vec::new();
    }
    let mut changed: Vec<(u64, Part)> = Vec::new();
    for (key, section) in &after {
        let part = match before.get(key) {
            None => Some(named(key.0, None, Some(section.size))),
            Some(was) => section_pair((old, was), (new, section)),
        };
        changed.extend(part.map(|part| (section.offset, part)));
    }
    changed.sort_by_key(|(offset, _)| *offset);
    let gone = before.iter().filter(|(key, _)| !after.contains_key(*key));
    let gone = gone.map(|(key, section)| named(key.0, Some(section.size), None));
    changed
        .into_iter()
        .map(|(_, part)| part)
        .chain(gone)
        .collect()
}

fn section_pair(old: (&Side<'_>, &Section), new: (&Side<'_>, &Section)) -> Option<Part> {
    let (before, after) = (old.0.section_bytes(old.1), new.0.section_bytes(new.1));
    let attributes = |one: &Section| (one.kind, one.flags);
    let same_attributes = attributes(old.1) == attributes(new.1);
    if before == after && old.1.size == new.1.size && same_attributes {
        return None;
    }
    let code = new.1.flags & elf::SHF_EXECINSTR.0 != 0;
    if same_attributes && new.1.has_bytes() && !code {
        return Some(compared(&new.1.name, &before, &after));
    }
    Some(named(&new.1.name, Some(old.1.size), Some(new.1.size)))
}

/// Where there are no sections to name: the loaded segments.
fn loaded_segments(old: &Side<'_>, new: &Side<'_>) -> Vec<Part> {
    let mut parts = Vec::new();
    let pairs = old.image.loaded().zip(new.image.loaded());
    for (index, (before, after)) in pairs.enumerate() {
        let one = old.piece(before.offset, before.file_size);
        let two = new.piece(after.offset, after.file_size);
        if one != two {
            let name = format!("loaded segment {index} ({})", permissions(after));
            parts.push(compared(&name, &one, &two));
        }
    }
    parts
}

fn permissions(segment: &Segment) -> String {
    [(elf::PF_R, 'r'), (elf::PF_W, 'w'), (elf::PF_X, 'x')]
        .map(|(flag, letter)| {
            if segment.flags & flag.0 == 0 {
                '-'
            } else {
                letter
            }
        })
        .iter()
        .collect()
}

/// The program headers that differ in what the loader reads, by what they are for.
fn program_headers(old: &Image, new: &Image) -> Vec<Part> {
    let substance = |one: &Segment| Segment {
        offset: 0,
        ..one.clone()
    };
    let mut parts = Vec::new();
    let longest = old.segments.len().max(new.segments.len());
    for index in 0..longest {
        let (before, after) = (old.segments.get(index), new.segments.get(index));
        if before.map(substance) == after.map(substance) {
            continue;
        }
        let kind = after.or(before).map_or(0, |segment| segment.kind);
        let name = format!("program header {index} ({})", kind_name(kind));
        let size = |segment: &Segment| segment.memory_size;
        parts.push(named(&name, before.map(size), after.map(size)));
    }
    parts
}

fn kind_name(kind: u32) -> Cow<'static, str> {
    Cow::Borrowed(match elf::ProgramType(kind) {
        elf::PT_LOAD => "LOAD",
        elf::PT_DYNAMIC => "DYNAMIC",
        elf::PT_INTERP => "INTERP",
        elf::PT_NOTE => "NOTE",
        elf::PT_PHDR => "PHDR",
        elf::PT_TLS => "TLS",
        elf::PT_GNU_EH_FRAME => "GNU_EH_FRAME",
        elf::PT_GNU_STACK => "GNU_STACK",
        elf::PT_GNU_RELRO => "GNU_RELRO",
        elf::PT_GNU_PROPERTY => "GNU_PROPERTY",
        _ => return Cow::Owned(format!("type {kind:#x}")),
    })
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.verdict {
            Verdict::Identical => "identical",
            Verdict::Rebuilt => "rebuilt only: other bytes, the same substance",
            Verdict::PathsAndDates => "differs only in strings that look like paths or dates",
            Verdict::Substance => "differs in substance",
        })?;
        for part in &self.parts {
            write!(f, "\n  {part}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match (self.old, self.new) {
            (Some(old), Some(new)) if old == new => write!(f, ": {new} bytes, other contents")?,
            (Some(old), Some(new)) => write!(f, ": {old} bytes before, {new} now")?,
            (None, Some(new)) => write!(f, ": new, {new} bytes")?,
            (Some(old), None) => write!(f, ": gone, {old} bytes")?,
            (None, None) => f.write_str(": other values")?,
        }
        match &self.text {
            Some((old, new)) => write!(f, " (paths or dates: {old:?} before, {new:?} now)"),
            None => Ok(()),
        }
    }
}
