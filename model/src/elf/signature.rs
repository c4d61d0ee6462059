//! The signature of a file's substance: what the loader maps, and what a program could read of its
//! own file; not what a rebuild at another place or time changes.
//!
//! Counted: the file's identity; every program header (type, flags, address, sizes, alignment); the
//! bytes of every loaded segment; sections that are not mapped and not known to be without
//! substance; bytes past the end of everything that the file's tables describe.
//! Not counted: where the section headers are, the build-id, package metadata of the same length,
//! symbol tables, debug information, comments.

use std::ops::Range;

use blake3::Hasher;
use object::elf;

use super::ElfError;
use super::image::{Image, Section};
use super::notes::Notes;
use super::source::Source;
use crate::digest::{Digest, Signature};

/// Sets these hashes apart from those of contents, and one recipe from the next.
const CONTEXT: &str = "changeover ELF substance, recipe 1";

/// Sections that are never mapped and that a strip or a rebuild elsewhere may change.
const WITHOUT_SUBSTANCE: [&str; 13] = [
    ".symtab",
    ".symtab_shndx",
    ".strtab",
    ".shstrtab",
    ".comment",
    ".gdb_index",
    ".gnu_debuglink",
    ".gnu_debugaltlink",
    ".gnu_debugdata",
    ".note.gnu.gold-version",
    ".GCC.command.line",
    ".llvm_addrsig",
    ".rustc",
];

/// The same, as beginnings of names.
const WITHOUT_SUBSTANCE_BEGIN: [&str; 6] = [
    ".debug",
    ".zdebug",
    ".stab",
    ".gnu.build.attributes",
    ".gnu.lto_",
    ".gnu.debuglto_",
];

/// Notes that are masked where they are mapped, and passed over where they are not.
const MASKED_NOTES: [&str; 2] = [".note.gnu.build-id", ".note.package"];

/// The signature of the file whose exact bytes are `bytes`, with the digest `digest`.
///
/// For what is not an ELF file that the loader takes (see [`super::read()`]), and for one that is
/// damaged, the bytes are the substance.
pub fn signature(bytes: &[u8], digest: Digest) -> Signature {
    match Image::open(bytes) {
        Ok(Some(image)) => substance(bytes, &image).unwrap_or_else(|_| Signature::of_exact(digest)),
        Ok(None) | Err(_) => Signature::of_exact(digest),
    }
}

/// The signature of a file that the loader takes.
pub(super) fn substance<S: Source + ?Sized>(
    source: &S,
    image: &Image,
) -> Result<Signature, ElfError> {
    let masked = masked(source, image)?;
    let mut hasher = Hasher::new_derive_key(CONTEXT);
    headers(&mut hasher, image);
    for segment in image.loaded() {
        let range = segment.offset..segment.offset + segment.file_size;
        feed(source, &mut hasher, range, &masked)?;
    }
    let extra: Vec<&Section> = image
        .sections
        .iter()
        .filter(|one| has_substance(one))
        .collect();
    let total = extra
        .iter()
        .fold(0_u64, |sum, one| sum.saturating_add(one.size));
    if total > source.length() {
        return Err(ElfError::Malformed {
            part: "section header table",
        });
    }
    number(&mut hasher, extra.len() as u64);
    for section in extra {
        number(&mut hasher, section.name.len() as u64);
        hasher.update(section.name.as_bytes());
        for field in [u64::from(section.kind), section.flags, section.size] {
            number(&mut hasher, field);
        }
        feed(
            source,
            &mut hasher,
            section.offset..section.offset + section.size,
            &[],
        )?;
    }
    let overlay = overlay(image, source.length());
    number(&mut hasher, overlay.end - overlay.start);
    feed(source, &mut hasher, overlay, &[])?;
    Ok(hasher.finalize().into())
}

fn number(hasher: &mut Hasher, value: u64) {
    hasher.update(&value.to_le_bytes());
}

/// Identity and program headers, each field at a fixed width.
fn headers(hasher: &mut Hasher, image: &Image) {
    let identity = &image.identity;
    let fields = [
        u64::from(image.form.wide),
        u64::from(image.form.big),
        u64::from(identity.osabi),
        u64::from(identity.abi_version),
        u64::from(identity.kind),
        u64::from(identity.machine),
        u64::from(identity.version),
        u64::from(identity.flags),
        identity.entry,
        image.segments.len() as u64,
    ];
    for field in fields {
        number(hasher, field);
    }
    for segment in &image.segments {
        let fields = [
            u64::from(segment.kind),
            u64::from(segment.flags),
            segment.address,
            segment.file_size,
            segment.memory_size,
            segment.align,
        ];
        for field in fields {
            number(hasher, field);
        }
    }
}

/// The parts of the file that count as zeros, in order, without overlap.
pub(super) fn masked<S: Source + ?Sized>(
    source: &S,
    image: &Image,
) -> Result<Vec<Range<u64>>, ElfError> {
    let notes = Notes::of(source, image)?;
    // e_shoff, then e_shentsize, e_shnum and e_shstrndx: a strip changes them.
    let mut ranges = image
        .form
        .pick(vec![0x28..0x30, 0x3a..0x40], vec![0x20..0x24, 0x2e..0x34]);
    ranges.extend(notes.build_id.map(|(place, _)| place));
    ranges.extend(notes.package);
    ranges.sort_by_key(|range| (range.start, range.end));
    let mut merged: Vec<Range<u64>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    Ok(merged)
}

/// Whether a section that no loader maps may matter to the program itself.
pub(super) fn has_substance(section: &Section) -> bool {
    let tables = [
        elf::SHT_SYMTAB,
        elf::SHT_REL,
        elf::SHT_RELA,
        elf::SHT_SYMTAB_SHNDX,
    ];
    let name = section.name.as_str();
    let known = WITHOUT_SUBSTANCE.contains(&name)
        || MASKED_NOTES.contains(&name)
        || WITHOUT_SUBSTANCE_BEGIN
            .iter()
            .any(|begin| name.starts_with(begin));
    !known
        && section.has_bytes()
        && !section.is_mapped()
        && !tables.iter().any(|table| table.0 == section.kind)
}

/// The bytes past the end of the headers, the loaded segments and the sections.
pub(super) fn overlay(image: &Image, length: u64) -> Range<u64> {
    let segments = image
        .loaded()
        .map(|segment| segment.offset + segment.file_size);
    let sections = image.sections.iter().filter(|section| section.has_bytes());
    let sections = sections.map(|section| section.offset + section.size);
    let end = segments.chain(sections).fold(image.tables_end, u64::max);
    end.min(length)..length
}

const ZEROS: [u8; 256] = [0; 256];

/// Puts `range` of the file through `hasher`, with zeros where it is masked.
fn feed<S: Source + ?Sized>(
    source: &S,
    hasher: &mut Hasher,
    range: Range<u64>,
    masked: &[Range<u64>],
) -> Result<(), ElfError> {
    let mut at = range.start;
    for mask in masked {
        let start = mask.start.clamp(at, range.end);
        let end = mask.end.clamp(start, range.end);
        source
            .feed(at, start - at, hasher)
            .map_err(ElfError::Read)?;
        let mut left = usize::try_from(end - start).unwrap_or_default();
        while left > 0 {
            let now = left.min(ZEROS.len());
            hasher.update(ZEROS.get(..now).unwrap_or(&ZEROS));
            left -= now;
        }
        at = end.max(at);
    }
    source
        .feed(at, range.end - at, hasher)
        .map_err(ElfError::Read)
}
