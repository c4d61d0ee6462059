//! Notes: the build-id, package metadata and the libraries that are opened at run time.

use std::ops::Range;

use object::elf;

use super::image::{Form, Image, take};
use super::source::Source;
use super::{DlopenNote, ElfError};

/// Owner `FDO`: package metadata (systemd's `.note.package`).
const FDO_PACKAGE: u32 = 0xcafe_1a7e;
/// Owner `FDO`: libraries opened at run time (`.note.dlopen`).
const FDO_DLOPEN: u32 = 0x407c_0c0a;
/// A real build-id has 8 to 32 bytes.
const MAX_BUILD_ID: usize = 64;
/// Real metadata is one short line of JSON.
const MAX_METADATA: usize = 4096;
/// A segment of notes larger than this holds no notes that matter here.
const MAX_SEGMENT: u64 = 1 << 20;
/// More segments of notes than any linker writes.
const MAX_SEGMENTS: usize = 64;
/// More notes in a segment than any library has.
const MAX_NOTES: usize = 4096;

/// One JSON object, with NULs behind it: no machine code looks like that.
fn is_metadata(text: &[u8]) -> bool {
    let end = text
        .iter()
        .rposition(|c| *c != 0)
        .map_or(0, |last| last + 1);
    let text = text.get(..end).unwrap_or_default();
    end <= MAX_METADATA
        && text.first() == Some(&b'{')
        && text.last() == Some(&b'}')
        && str::from_utf8(text).is_ok_and(|text| !text.contains(char::is_control))
}

/// What the notes of one file say, and where.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// The build-id, where it stands in the file, and its bytes.
    pub(super) build_id: Option<(Range<u64>, Vec<u8>)>,
    /// Where the package metadata stands in the file.
    pub(super) package: Option<Range<u64>>,
    /// The JSON text of each `.note.dlopen` entry.
    dlopen: Vec<Vec<u8>>,
}

impl Notes {
    /// Reads the notes that are mapped, then `.note.dlopen` where a linker left it unmapped.
    pub(super) fn of<S: Source + ?Sized>(source: &S, image: &Image) -> Result<Self, ElfError> {
        let mut notes = Self::default();
        let segments = image
            .segments
            .iter()
            .filter(|segment| segment.is(elf::PT_NOTE));
        let mapped = segments.map(|segment| (segment.offset, segment.file_size, segment.align));
        let sections = image.sections.iter().filter(|section| {
            section.name == ".note.dlopen" && section.has_bytes() && !section.is_mapped()
        });
        let unmapped = sections.map(|section| (section.offset, section.size, section.align));
        for (offset, size, align) in mapped.take(MAX_SEGMENTS).chain(unmapped.take(1)) {
            if size <= MAX_SEGMENT {
                let bytes = take(source, "note segment", offset, size)?;
                notes.collect(image.form, &bytes, offset, align);
            }
        }
        Ok(notes)
    }

    /// The notes in `bytes`, which stand at `offset` in the file. Ends at the first that does not
    /// fit, as loaders do.
    fn collect(&mut self, form: Form, bytes: &[u8], offset: u64, align: u64) {
        let align = if align == 8 { 8 } else { 4 };
        let mut at = 0;
        for _ in 0..MAX_NOTES {
            let Some(next) = self.one(form, bytes, (offset, at), align) else {
                break;
            };
            at = next;
        }
    }

    /// The note at `at`; answers where the next one begins.
    fn one(
        &mut self,
        form: Form,
        bytes: &[u8],
        (offset, at): (u64, usize),
        align: usize,
    ) -> Option<usize> {
        let name_size = usize::try_from(form.u32(bytes, at)?).ok()?;
        let size = usize::try_from(form.u32(bytes, at + 4)?).ok()?;
        let kind = form.u32(bytes, at + 8)?;
        let name_end = (at + 12).checked_add(name_size)?;
        let owner = bytes.get(at + 12..name_end)?;
        let start = name_end.checked_next_multiple_of(align)?;
        let end = start.checked_add(size)?;
        let text = bytes.get(start..end)?;
        let place = offset + start as u64..offset + end as u64;
        // Only the first of each, and only of a plausible size: what these two ranges hold does not
        // count as substance, so they must not be a place to hide code.
        match (owner, kind) {
            (b"GNU\0", id) if id == elf::NT_GNU_BUILD_ID.0 && size <= MAX_BUILD_ID => {
                self.build_id.get_or_insert_with(|| (place, text.to_vec()));
            }
            (b"FDO\0", FDO_PACKAGE) if is_metadata(text) => {
                self.package.get_or_insert(place);
            }
            (b"FDO\0", FDO_DLOPEN) => self.dlopen.push(text.to_vec()),
            _ => {}
        }
        end.checked_next_multiple_of(align)
    }

    /// The build-id in hexadecimal.
    pub(super) fn build_id_text(&self) -> Option<String> {
        use std::fmt::Write;
        let (_, bytes) = self.build_id.as_ref()?;
        let mut text = String::with_capacity(bytes.len() * 2);
        for byte in bytes {
            write!(text, "{byte:02x}").ok()?;
        }
        Some(text)
    }

    /// The libraries that the file's author says it opens.
    pub(super) fn dlopen_notes(&self) -> Result<Vec<DlopenNote>, ElfError> {
        let mut all = Vec::new();
        for text in &self.dlopen {
            let end = text
                .iter()
                .rposition(|c| *c != 0)
                .map_or(0, |last| last + 1);
            let text = text.get(..end).unwrap_or_default();
            let notes: Vec<DlopenNote> = serde_json::from_slice(text)?;
            let bad = |name: &String| name.is_empty() || name.contains(char::is_control);
            if notes
                .iter()
                .any(|note| note.soname.is_empty() || note.soname.iter().any(bad))
            {
                return Err(ElfError::Malformed {
                    part: ".note.dlopen",
                });
            }
            all.extend(notes);
        }
        Ok(all)
    }
}
