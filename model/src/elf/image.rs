//! The tables at both ends of an ELF file: what it is, its segments, its sections.
//!
//! Everything that comes from the file is an offset that may lie: each is checked against the
//! file's length before it is followed, and each count against a limit before it is believed.

use std::borrow::Cow;
use std::io;

use object::elf;

use super::ElfError;
use super::source::Source;

/// More program headers than any linker writes.
const MAX_SEGMENTS: u64 = 1024;
/// More sections than any linked file has.
const MAX_SECTIONS: u64 = 65_536;
/// The largest table that is taken into memory (strings, symbols).
const MAX_TABLE: u64 = 64 << 20;
/// The longest string that is believed, its NUL included.
const MAX_TEXT: usize = 4096;
/// The longest section name that is believed, its NUL included.
const MAX_SECTION_NAME: usize = 256;

/// How numbers are written in this file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Form {
    /// 64 bits.
    pub(super) wide: bool,
    /// Most significant byte first.
    pub(super) big: bool,
}

impl Form {
    pub(super) fn u16(self, bytes: &[u8], at: usize) -> Option<u16> {
        let raw = *bytes.get(at..)?.first_chunk()?;
        Some(if self.big {
            u16::from_be_bytes(raw)
        } else {
            u16::from_le_bytes(raw)
        })
    }

    pub(super) fn u32(self, bytes: &[u8], at: usize) -> Option<u32> {
        let raw = *bytes.get(at..)?.first_chunk()?;
        Some(if self.big {
            u32::from_be_bytes(raw)
        } else {
            u32::from_le_bytes(raw)
        })
    }

    fn u64(self, bytes: &[u8], at: usize) -> Option<u64> {
        let raw = *bytes.get(at..)?.first_chunk()?;
        Some(if self.big {
            u64::from_be_bytes(raw)
        } else {
            u64::from_le_bytes(raw)
        })
    }

    /// An address, offset or size.
    pub(super) fn word(self, bytes: &[u8], at: usize) -> Option<u64> {
        if self.wide {
            self.u64(bytes, at)
        } else {
            self.u32(bytes, at).map(u64::from)
        }
    }

    /// Bytes of [`Form::word`].
    pub(super) fn word_size(self) -> u64 {
        if self.wide { 8 } else { 4 }
    }

    /// `wide` where numbers have 64 bits, else `narrow`.
    pub(super) fn pick<T>(self, wide: T, narrow: T) -> T {
        if self.wide { wide } else { narrow }
    }
}

/// The fields of the file header that say what the file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) osabi: u8,
    pub(super) abi_version: u8,
    pub(super) kind: u16,
    pub(super) machine: u16,
    pub(super) version: u32,
    pub(super) flags: u32,
    pub(super) entry: u64,
}

/// One program header; `p_paddr` means nothing to a loader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) kind: u32,
    pub(super) flags: u32,
    pub(super) offset: u64,
    pub(super) address: u64,
    pub(super) file_size: u64,
    pub(super) memory_size: u64,
    pub(super) align: u64,
}

impl Segment {
    pub(super) fn is(&self, kind: elf::ProgramType) -> bool {
        self.kind == kind.0
    }
}

/// One section header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) name: String,
    pub(super) kind: u32,
    pub(super) flags: u64,
    pub(super) address: u64,
    pub(super) offset: u64,
    pub(super) size: u64,
    pub(super) align: u64,
}

impl Section {
    /// Whether it is part of the program in memory.
    pub(super) fn is_mapped(&self) -> bool {
        self.flags & elf::SHF_ALLOC.0 != 0
    }

    /// Whether it has bytes in the file.
    pub(super) fn has_bytes(&self) -> bool {
        self.kind != elf::SHT_NOBITS.0 && self.kind != elf::SHT_NULL.0
    }
}

/// A file that the loader takes, as its tables describe it.
#[derive(Debug)]
pub(super) struct Image {
    pub(super) form: Form,
    pub(super) identity: Identity,
    pub(super) machine: &'static str,
    pub(super) segments: Vec<Segment>,
    /// Empty where the file has none or where their table is not what it should be.
    pub(super) sections: Vec<Section>,
    /// Where the tables of headers end in the file.
    pub(super) tables_end: u64,
}

impl Image {
    /// `None`: nothing that a loader takes (see [`super::read()`]).
    pub(super) fn open<S: Source + ?Sized>(source: &S) -> Result<Option<Self>, ElfError> {
        let Some(form) = form(source)? else {
            return Ok(None);
        };
        let header_size = form.pick(64, 52);
        let header = take(source, "file header", 0, header_size)?;
        let Some(identity) = identity(form, &header) else {
            return Ok(None);
        };
        let Some(machine) = machine_name(form, &identity) else {
            return Ok(None);
        };
        let Some((segments, segments_end)) = segments(source, form, &header)? else {
            return Ok(None);
        };
        let (sections, sections_end) = sections(source, form, &header).unwrap_or_default();
        if sections.iter().any(is_taken_out) {
            return Ok(None);
        }
        check_loaded(&segments, source.length())?;
        let tables_end = header_size.max(segments_end).max(sections_end);
        Ok(Some(Self {
            form,
            identity,
            machine,
            segments,
            sections,
            tables_end,
        }))
    }

    /// The segments that are mapped.
    pub(super) fn loaded(&self) -> impl Iterator<Item = &Segment> {
        self.segments
            .iter()
            .filter(|segment| segment.is(elf::PT_LOAD))
    }

    /// Where the byte that is at `address` in memory is in the file.
    pub(super) fn offset_of(&self, address: u64) -> Option<u64> {
        self.loaded().find_map(|segment| {
            let into = address.checked_sub(segment.address)?;
            (into < segment.file_size).then(|| segment.offset + into)
        })
    }

    /// The bytes that are at `address` in memory.
    pub(super) fn at_address<'s, S: Source + ?Sized>(
        &self,
        source: &'s S,
        part: &'static str,
        address: u64,
        length: u64,
    ) -> Result<Cow<'s, [u8]>, ElfError> {
        let offset = self.offset_of(address).ok_or(ElfError::Outside { part })?;
        take(source, part, offset, length)
    }
}

/// A piece of the file, if it lies inside and is not unreasonably large.
pub(super) fn take<'s, S: Source + ?Sized>(
    source: &'s S,
    part: &'static str,
    at: u64,
    length: u64,
) -> Result<Cow<'s, [u8]>, ElfError> {
    if length > MAX_TABLE {
        return Err(ElfError::TooLarge {
            part,
            limit: MAX_TABLE,
        });
    }
    source.bytes(at, length).map_err(|error| {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            ElfError::Outside { part }
        } else {
            ElfError::Read(error)
        }
    })
}

/// The text that begins at `at` and ends with a NUL.
pub(super) fn text(table: &[u8], part: &'static str, at: u64) -> Result<String, ElfError> {
    text_within(table, part, at, MAX_TEXT)
}

fn text_within(
    table: &[u8],
    part: &'static str,
    at: u64,
    limit: usize,
) -> Result<String, ElfError> {
    let rest = usize::try_from(at).ok().and_then(|at| table.get(at..));
    let rest = rest.ok_or(ElfError::Outside { part })?;
    let end = rest.iter().take(limit).position(|c| *c == 0);
    let raw = end
        .and_then(|end| rest.get(..end))
        .ok_or(ElfError::NotText { part })?;
    match str::from_utf8(raw) {
        Ok(text) if !text.contains(char::is_control) => Ok(text.to_owned()),
        _ => Err(ElfError::NotText { part }),
    }
}

fn form<S: Source + ?Sized>(source: &S) -> Result<Option<Form>, ElfError> {
    if source.length() < 52 {
        return Ok(None);
    }
    let ident = take(source, "file header", 0, 16)?;
    let form = match &*ident {
        [
            0x7f,
            b'E',
            b'L',
            b'F',
            class @ (1 | 2),
            data @ (1 | 2),
            1,
            ..,
        ] => Form {
            wide: *class == 2,
            big: *data == 2,
        },
        _ => return Ok(None),
    };
    Ok(Some(form))
}

/// `None`: an object, a core or a file for no system that this project runs on.
fn identity(form: Form, header: &[u8]) -> Option<Identity> {
    let after_entry = form.pick(0x30, 0x24);
    let identity = Identity {
        osabi: *header.get(7)?,
        abi_version: *header.get(8)?,
        kind: form.u16(header, 0x10)?,
        machine: form.u16(header, 0x12)?,
        version: form.u32(header, 0x14)?,
        entry: form.word(header, 0x18)?,
        flags: form.u32(header, after_entry)?,
    };
    let kind = identity.kind == elf::ET_EXEC.0 || identity.kind == elf::ET_DYN.0;
    // ARM's number stands on files for the older ABI; the loader takes System V and GNU.
    let arm = identity.osabi == 97 && identity.machine == elf::EM_ARM.0;
    let system = matches!(identity.osabi, 0 | 3) || arm;
    (kind && system).then_some(identity)
}

/// The machine as `uname -m` names it; `None`: one that Linux's loaders do not run on.
fn machine_name(form: Form, identity: &Identity) -> Option<&'static str> {
    Some(
        match (elf::Machine(identity.machine), form.wide, form.big) {
            (elf::EM_X86_64, true, false) => "x86_64",
            (elf::EM_X86_64, false, false) => "x32",
            (elf::EM_386, false, false) => "i386",
            (elf::EM_AARCH64, true, false) => "aarch64",
            (elf::EM_AARCH64, true, true) => "aarch64_be",
            (elf::EM_ARM, false, false) => "arm",
            (elf::EM_ARM, false, true) => "armeb",
            (elf::EM_RISCV, true, false) => "riscv64",
            (elf::EM_RISCV, false, false) => "riscv32",
            (elf::EM_PPC64, true, false) => "ppc64le",
            (elf::EM_PPC64, true, true) => "ppc64",
            (elf::EM_PPC, false, true) => "ppc",
            (elf::EM_S390, true, true) => "s390x",
            (elf::EM_LOONGARCH, true, false) => "loongarch64",
            (elf::EM_MIPS, true, false) => "mips64el",
            (elf::EM_MIPS, true, true) => "mips64",
            (elf::EM_MIPS, false, false) => "mipsel",
            (elf::EM_MIPS, false, true) => "mips",
            (elf::EM_SPARCV9, true, true) => "sparc64",
            _ => return None,
        },
    )
}

type Table<T> = (Vec<T>, u64);

/// The program headers and where they end; `None` where nothing is mapped.
fn segments<S: Source + ?Sized>(
    source: &S,
    form: Form,
    header: &[u8],
) -> Result<Option<Table<Segment>>, ElfError> {
    let part = "program header table";
    let malformed = ElfError::Malformed { part };
    let (at, size, count) = (|| {
        let at = form.word(header, form.pick(0x20, 0x1c))?;
        let sizes = form.pick(0x36, 0x2a);
        Some((at, form.u16(header, sizes)?, form.u16(header, sizes + 2)?))
    })()
    .ok_or(malformed)?;
    if count == 0 {
        return Ok(None);
    }
    if size != form.pick(56, 32) {
        return Err(ElfError::Malformed { part });
    }
    if u64::from(count) > MAX_SEGMENTS {
        return Err(ElfError::TooLarge {
            part,
            limit: MAX_SEGMENTS,
        });
    }
    let length = u64::from(size) * u64::from(count);
    let table = take(source, part, at, length)?;
    let segments: Option<Vec<_>> = table
        .chunks_exact(usize::from(size))
        .map(|raw| segment(form, raw))
        .collect();
    let segments = segments.ok_or(ElfError::Malformed { part })?;
    let any = segments.iter().any(|segment| segment.is(elf::PT_LOAD));
    Ok(any.then_some((segments, at + length)))
}

fn segment(form: Form, raw: &[u8]) -> Option<Segment> {
    let [flags, offset, address, file_size, memory_size, align] =
        form.pick([4, 8, 16, 32, 40, 48], [24, 4, 8, 16, 20, 28]);
    Some(Segment {
        kind: form.u32(raw, 0)?,
        flags: form.u32(raw, flags)?,
        offset: form.word(raw, offset)?,
        address: form.word(raw, address)?,
        file_size: form.word(raw, file_size)?,
        memory_size: form.word(raw, memory_size)?,
        align: form.word(raw, align)?,
    })
}

/// The sections and where their table ends. Loaders do not look at it, so a bad one is no table.
fn sections<S: Source + ?Sized>(source: &S, form: Form, header: &[u8]) -> Option<Table<Section>> {
    let at = form.word(header, form.pick(0x28, 0x20))?;
    let sizes = form.pick(0x3a, 0x2e);
    let size = form.u16(header, sizes)?;
    if at == 0 || size != form.pick(64, 40) {
        return None;
    }
    let first = source.bytes(at, u64::from(size)).ok()?;
    // Numbers that do not fit 16 bits are in the first section's header.
    let count = match form.u16(header, sizes + 2)? {
        0 => form.word(&first, form.pick(32, 20))?,
        count => u64::from(count),
    };
    let names = match form.u16(header, sizes + 4)? {
        0xffff => form.u32(&first, form.pick(40, 24))?,
        names => u32::from(names),
    };
    if count > MAX_SECTIONS {
        return None;
    }
    let length = u64::from(size) * count;
    let table = take(source, "section header table", at, length).ok()?;
    let raw: Vec<&[u8]> = table.chunks_exact(usize::from(size)).collect();
    let names = section(form, raw.get(usize::try_from(names).ok()?)?, &[])?;
    let names = take(source, "section names", names.offset, names.size).ok()?;
    let sections: Option<Vec<_>> = raw.iter().map(|raw| section(form, raw, &names)).collect();
    let sections = sections?;
    let inside = |one: &Section| {
        !one.has_bytes()
            || one
                .offset
                .checked_add(one.size)
                .is_some_and(|e| e <= source.length())
    };
    sections.iter().all(inside).then(|| (sections, at + length))
}

/// One section. Without names (an empty table) its name is empty.
fn section(form: Form, raw: &[u8], names: &[u8]) -> Option<Section> {
    let [flags, address, offset, size, align] = form.pick([8, 16, 24, 32, 48], [8, 12, 16, 20, 32]);
    let name = if names.is_empty() {
        String::new()
    } else {
        text_within(
            names,
            "section name",
            form.u32(raw, 0)?.into(),
            MAX_SECTION_NAME,
        )
        .ok()?
    };
    Some(Section {
        name,
        kind: form.u32(raw, 4)?,
        flags: form.word(raw, flags)?,
        address: form.word(raw, address)?,
        offset: form.word(raw, offset)?,
        size: form.word(raw, size)?,
        align: form.word(raw, align)?,
    })
}

/// Whether `section` always has bytes but they were taken out: the mark of a debug-only file, whose
/// program headers may still claim those bytes.
fn is_taken_out(section: &Section) -> bool {
    let always = [
        ".dynamic",
        ".dynsym",
        ".dynstr",
        ".text",
        ".rodata",
        ".interp",
        ".eh_frame",
    ];
    section.kind == elf::SHT_NOBITS.0
        && section.is_mapped()
        && section.size > 0
        && always.contains(&section.name.as_str())
}

/// Every mapped byte is in the file, and no byte is mapped over and over.
fn check_loaded(segments: &[Segment], length: u64) -> Result<(), ElfError> {
    let part = "loaded segment";
    let mut total = 0_u64;
    for segment in segments.iter().filter(|segment| segment.is(elf::PT_LOAD)) {
        let end = segment.offset.checked_add(segment.file_size);
        if end.is_none_or(|end| end > length) {
            return Err(ElfError::Outside { part });
        }
        total = total.saturating_add(segment.file_size);
    }
    if total > length.saturating_mul(2) {
        return Err(ElfError::Malformed { part });
    }
    Ok(())
}
