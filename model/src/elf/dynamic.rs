//! The dynamic section: what the loader reads, found the way the loader finds it.

use std::borrow::Cow;

use object::elf;

use super::ElfError;
use super::image::{Image, text};
use super::source::Source;
use crate::manifest::LibraryNeed;

/// Entries of `PT_DYNAMIC` that are read.
const MAX_ENTRIES: u64 = 65_536;
/// Libraries that one file may name.
const MAX_NEEDED: usize = 4096;
/// Symbol versions that one file may define, or need.
const MAX_VERSIONS: usize = 16_384;

/// The dynamic section's entries and its table of strings.
#[derive(Debug)]
pub(super) struct Dynamic<'s> {
    entries: Vec<(u64, u64)>,
    strings: Cow<'s, [u8]>,
}

impl<'s> Dynamic<'s> {
    /// `None` for a program without one: it is linked statically.
    pub(super) fn of<S: Source + ?Sized>(
        source: &'s S,
        image: &Image,
    ) -> Result<Option<Self>, ElfError> {
        let part = "dynamic section";
        let Some(segment) = image
            .segments
            .iter()
            .find(|segment| segment.is(elf::PT_DYNAMIC))
        else {
            return Ok(None);
        };
        let word = image.form.word_size();
        if segment.file_size / (word * 2) > MAX_ENTRIES {
            return Err(ElfError::TooLarge {
                part,
                limit: MAX_ENTRIES,
            });
        }
        let raw = image.at_address(source, part, segment.address, segment.file_size)?;
        let size = image.form.pick(16, 8);
        let entry = |raw: &[u8]| Some((image.form.word(raw, 0)?, image.form.word(raw, size / 2)?));
        let entries = raw
            .chunks_exact(size)
            .map_while(entry)
            .take_while(|entry| entry.0 != 0);
        let mut dynamic = Self {
            entries: entries.collect(),
            strings: Cow::Borrowed(&[]),
        };
        if let Some(address) = dynamic.value(elf::DT_STRTAB) {
            let length = dynamic.value(elf::DT_STRSZ).unwrap_or_default();
            dynamic.strings = image.at_address(source, "string table", address, length)?;
        }
        Ok(Some(dynamic))
    }

    /// The value of an entry; where there are several, the loader takes the last.
    pub(super) fn value(&self, tag: elf::DynamicTag) -> Option<u64> {
        let tag = tag.0.cast_unsigned();
        self.entries
            .iter()
            .rev()
            .find(|entry| entry.0 == tag)
            .map(|entry| entry.1)
    }

    /// The bytes of the table of strings from `at` on.
    pub(super) fn name(&self, at: u32) -> &[u8] {
        usize::try_from(at)
            .ok()
            .and_then(|at| self.strings.get(at..))
            .unwrap_or_default()
    }

    fn text(&self, at: u64) -> Result<String, ElfError> {
        text(&self.strings, "dynamic section's string", at)
    }

    /// The string of an entry.
    pub(super) fn string(&self, tag: elf::DynamicTag) -> Result<Option<String>, ElfError> {
        self.value(tag).map(|at| self.text(at)).transpose()
    }

    /// The directories of `DT_RPATH` or `DT_RUNPATH`. To the loader an empty one is the current
    /// directory.
    pub(super) fn directories(&self, tag: elf::DynamicTag) -> Result<Vec<String>, ElfError> {
        let Some(text) = self.string(tag)? else {
            return Ok(Vec::new());
        };
        let directory = |part: &str| if part.is_empty() { "./" } else { part }.to_owned();
        Ok(text.split(':').map(directory).collect())
    }

    /// `DT_NEEDED`, in order.
    pub(super) fn needed(&self) -> Result<Vec<String>, ElfError> {
        let tag = elf::DT_NEEDED.0.cast_unsigned();
        let needed: Vec<u64> = self
            .entries
            .iter()
            .filter(|entry| entry.0 == tag)
            .map(|entry| entry.1)
            .collect();
        if needed.len() > MAX_NEEDED {
            return Err(ElfError::TooLarge {
                part: "list of needed libraries",
                limit: 4096,
            });
        }
        needed.into_iter().map(|at| self.text(at)).collect()
    }

    /// Whether `DT_FLAGS_1` has this flag.
    pub(super) fn has_flag(&self, flag: u64) -> bool {
        self.value(elf::DT_FLAGS_1)
            .is_some_and(|flags| flags & flag != 0)
    }

    /// The versions that the file defines, sorted, without the one that is its own name.
    pub(super) fn versions_provided<S: Source + ?Sized>(
        &self,
        source: &S,
        image: &Image,
    ) -> Result<Vec<String>, ElfError> {
        let part = "version definitions";
        let Some(mut at) = self.value(elf::DT_VERDEF) else {
            return Ok(Vec::new());
        };
        let form = image.form;
        let mut versions = Vec::new();
        for _ in 0..MAX_VERSIONS {
            let raw = image.at_address(source, part, at, 20)?;
            let fields = (form.u16(&raw, 2), form.u32(&raw, 12), form.u32(&raw, 16));
            let (Some(flags), Some(first), Some(next)) = fields else {
                break;
            };
            if flags & elf::VER_FLG_BASE.0 == 0 {
                let raw = image.at_address(source, part, step(at, first)?, 8)?;
                versions.push(self.text(u64::from(form.u32(&raw, 0).unwrap_or_default()))?);
            }
            if next == 0 {
                versions.sort();
                versions.dedup();
                return Ok(versions);
            }
            at = step(at, next)?;
        }
        Err(ElfError::TooLarge {
            part,
            limit: MAX_VERSIONS as u64,
        })
    }

    /// The versions that the file needs, by library in the file's order; versions sorted.
    pub(super) fn versions_needed<S: Source + ?Sized>(
        &self,
        source: &S,
        image: &Image,
    ) -> Result<Vec<LibraryNeed>, ElfError> {
        let part = "version needs";
        let Some(mut at) = self.value(elf::DT_VERNEED) else {
            return Ok(Vec::new());
        };
        let form = image.form;
        let mut needs: Vec<LibraryNeed> = Vec::new();
        let mut left = MAX_VERSIONS;
        for _ in 0..MAX_NEEDED {
            let raw = image.at_address(source, part, at, 16)?;
            let fields = (form.u32(&raw, 4), form.u32(&raw, 8), form.u32(&raw, 12));
            let (Some(file), Some(first), Some(next)) = fields else {
                break;
            };
            let soname = self.text(u64::from(file))?;
            let versions = self.needed_from(source, image, step(at, first)?, &mut left)?;
            needs.push(LibraryNeed { soname, versions });
            if next == 0 {
                return Ok(needs);
            }
            at = step(at, next)?;
        }
        Err(ElfError::TooLarge {
            part,
            limit: MAX_NEEDED as u64,
        })
    }

    /// The versions of one library's list, which begins at `at`.
    fn needed_from<S: Source + ?Sized>(
        &self,
        source: &S,
        image: &Image,
        mut at: u64,
        left: &mut usize,
    ) -> Result<Vec<String>, ElfError> {
        let part = "version needs";
        let mut versions = Vec::new();
        while *left > 0 {
            *left -= 1;
            let raw = image.at_address(source, part, at, 16)?;
            let name = image.form.u32(&raw, 8).unwrap_or_default();
            versions.push(self.text(u64::from(name))?);
            match image.form.u32(&raw, 12) {
                None | Some(0) => {
                    versions.sort();
                    versions.dedup();
                    return Ok(versions);
                }
                Some(next) => at = step(at, next)?,
            }
        }
        Err(ElfError::TooLarge {
            part,
            limit: MAX_VERSIONS as u64,
        })
    }
}

/// The next record of a chain.
fn step(at: u64, by: u32) -> Result<u64, ElfError> {
    at.checked_add(u64::from(by)).ok_or(ElfError::Outside {
        part: "version table",
    })
}
