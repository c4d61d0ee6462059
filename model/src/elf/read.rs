//! The facts of an ELF file.

use std::fs::File;
use std::io;

use object::elf;

use super::dynamic::Dynamic;
use super::image::{Image, take};
use super::notes::Notes;
use super::signature::substance;
use super::source::{Source, Stored};
use super::symbols::Symbols;
use super::{ElfFacts, Pin};
use crate::digest::{Digest, Signature};

/// Why a file that looks like one for the loader could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ElfError {
    /// A table or string would lie beyond the file's end, or at an address that nothing maps.
    #[error("the ELF file is cut short or damaged: its {part} lies outside of it")]
    Outside {
        /// Which one.
        part: &'static str,
    },
    /// A table that contradicts itself.
    #[error("the ELF file is damaged: its {part} is malformed")]
    Malformed {
        /// Which one.
        part: &'static str,
    },
    /// A table beyond what any real file has.
    #[error("the ELF file is refused: its {part} is larger than the limit of {limit}")]
    TooLarge {
        /// Which one.
        part: &'static str,
        /// In entries or bytes.
        limit: u64,
    },
    /// A name that is no text.
    #[error("the ELF file is refused: a {part} is not printable text of at most 4,095 bytes")]
    NotText {
        /// Which one.
        part: &'static str,
    },
    /// `.note.dlopen` is not the JSON that its specification asks for.
    #[error("the ELF file's .note.dlopen is not a JSON array of objects with a soname list")]
    Note(#[from] serde_json::Error),
    /// The file could not be read.
    #[error("could not read the ELF file")]
    Read(#[source] io::Error),
}

/// What is known of one file: what it says of itself and what its substance is.
#[derive(Debug)]
pub struct Examined {
    /// As [`read`] gives it.
    pub facts: Result<Option<ElfFacts>, ElfError>,
    /// As [`super::signature()`] gives it.
    pub signature: Signature,
}

/// The facts of the ELF file that `bytes` is.
///
/// `None` for everything that Linux's loader does not take: no ELF at all, an object or kernel
/// module, a core dump, a debug-only file (its code is in another file), one for another system.
/// An error for what claims to be for the loader but is damaged or hostile; the caller knows its
/// name. The time and memory that it takes are bounded by the file's size.
pub fn read(bytes: &[u8]) -> Result<Option<ElfFacts>, ElfError> {
    match Image::open(bytes)? {
        Some(image) => facts(bytes, &image).map(Some),
        None => Ok(None),
    }
}

/// Facts and signature of the file whose exact bytes are `bytes`, with the digest `digest`.
pub fn examine(bytes: &[u8], digest: Digest) -> Examined {
    examine_source(bytes, digest)
}

/// As [`examine`], of a file that is not brought into memory: only its tables are (at most some
/// 64 MiB each in a hostile file, a few hundred KiB in a real one). The descriptor's position
/// does not matter and stays. The error says nothing of the file's name: the caller knows it.
pub fn examine_file(file: &File, digest: Digest) -> io::Result<Examined> {
    let examined = examine_source(&Stored::new(file)?, digest);
    match examined.facts {
        Err(ElfError::Read(error)) => Err(error),
        facts => Ok(Examined { facts, ..examined }),
    }
}

fn examine_source<S: Source + ?Sized>(source: &S, digest: Digest) -> Examined {
    let exact = Signature::of_exact(digest);
    let image = match Image::open(source) {
        Ok(Some(image)) => image,
        Ok(None) => {
            return Examined {
                facts: Ok(None),
                signature: exact,
            };
        }
        Err(error) => {
            return Examined {
                facts: Err(error),
                signature: exact,
            };
        }
    };
    match substance(source, &image) {
        Ok(signature) => Examined {
            facts: facts(source, &image).map(Some),
            signature,
        },
        Err(error @ ElfError::Read(_)) => Examined {
            facts: Err(error),
            signature: exact,
        },
        Err(_) => Examined {
            facts: facts(source, &image).map(Some),
            signature: exact,
        },
    }
}

fn facts<S: Source + ?Sized>(source: &S, image: &Image) -> Result<ElfFacts, ElfError> {
    let notes = Notes::of(source, image)?;
    let interpreter = interpreter(source, image)?;
    let mut facts = ElfFacts {
        machine: image.machine.to_owned(),
        dlopen_notes: notes.dlopen_notes()?,
        build_id: notes.build_id_text(),
        program: image.identity.kind == elf::ET_EXEC.0 || interpreter.is_some(),
        interpreter,
        ..ElfFacts::default()
    };
    if let Some(dynamic) = Dynamic::of(source, image)? {
        linking(&mut facts, source, image, &dynamic)?;
        symbols(&mut facts, source, image, &dynamic)?;
    }
    Ok(facts)
}

fn interpreter<S: Source + ?Sized>(source: &S, image: &Image) -> Result<Option<String>, ElfError> {
    let part = "interpreter";
    let Some(segment) = image
        .segments
        .iter()
        .find(|segment| segment.is(elf::PT_INTERP))
    else {
        return Ok(None);
    };
    let raw = take(source, part, segment.offset, segment.file_size)?;
    super::image::text(&raw, part, 0).map(Some)
}

fn linking<S: Source + ?Sized>(
    facts: &mut ElfFacts,
    source: &S,
    image: &Image,
    dynamic: &Dynamic<'_>,
) -> Result<(), ElfError> {
    facts.soname = dynamic.string(elf::DT_SONAME)?;
    facts.needed = dynamic.needed()?;
    facts.runpath = dynamic.directories(elf::DT_RUNPATH)?;
    if dynamic.value(elf::DT_RUNPATH).is_none() {
        facts.rpath = dynamic.directories(elf::DT_RPATH)?;
    }
    facts.versions_provided = dynamic.versions_provided(source, image)?;
    facts.versions_needed = dynamic.versions_needed(source, image)?;
    // Some libraries can be run too (libc.so.6 prints its version): their name says what they are.
    let runnable_library = facts.soname.is_some() && image.identity.kind == elf::ET_DYN.0;
    let flagged = dynamic.has_flag(elf::DF_1_PIE.0);
    facts.program = flagged || (facts.program && !runnable_library);
    Ok(())
}

fn symbols<S: Source + ?Sized>(
    facts: &mut ElfFacts,
    source: &S,
    image: &Image,
    dynamic: &Dynamic<'_>,
) -> Result<(), ElfError> {
    let symbols = Symbols::of(source, image, dynamic)?;
    facts.calls_dlopen = symbols.calls_dlopen;
    let pins = [
        (dynamic.has_flag(elf::DF_1_NODELETE.0), Pin::NoDelete),
        (symbols.defines_unique, Pin::UniqueSymbols),
        (symbols.thread_destructors, Pin::ThreadLocalDestructors),
    ];
    facts.pinned_by = pins
        .into_iter()
        .filter(|pin| pin.0)
        .map(|pin| pin.1)
        .collect();
    Ok(())
}
