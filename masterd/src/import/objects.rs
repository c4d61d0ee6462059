//! What manifests say of bytes, held against the bytes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{Read, Seek, Write};
use std::path::Path;

use model::elf::{ElfFacts, Examined};
use model::envelope::{BootImage, ReadError, ReadPackage};
use model::manifest::Node;
use model::{Digest, PackageId, Signature};
use transfer::{Import, Shelf};

use super::Error;

/// Objects up to this size are looked at in memory.
const SMALL: u64 = 4 << 20;

/// One object's part in the packages that are being taken.
struct Said {
    signature: Signature,
    elf: Option<Box<ElfFacts>>,
    /// Whose words these are, for the refusal.
    by: String,
    size: u64,
    /// A package says so that the master lacks.
    new: bool,
}

impl Said {
    fn hold_against(&self, found: &Examined) -> Result<(), Error> {
        match model::elf::contradiction(self.signature, self.elf.as_deref(), found) {
            None => Ok(()),
            Some(lie) => Err(Error::Lies(format!("{} {lie}", self.by))),
        }
    }
}

/// Every object of the packages, with what their manifests say of it; and boot images, of which
/// nobody says anything.
pub(super) struct Awaited {
    said: HashMap<Digest, Said>,
    opaque: HashSet<Digest>,
}

impl Awaited {
    pub(super) fn all<'a>(
        packages: &[ReadPackage],
        boot: impl Iterator<Item = &'a BootImage>,
        known: &BTreeMap<PackageId, Digest>,
    ) -> Result<Self, Error> {
        let mut all = HashMap::new();
        for package in packages {
            let new = !known.contains_key(&package.id);
            for entry in &package.manifest.files {
                let Node::File(file) = &entry.node else {
                    continue;
                };
                let by = || format!("{} of {}", entry.path, package.id.name_version());
                let said = all.entry(file.digest).or_insert_with(|| Said {
                    signature: file.signature,
                    elf: file.elf.clone(),
                    by: by(),
                    size: file.size,
                    new,
                });
                said.new |= new;
                if said.signature != file.signature || said.elf != file.elf {
                    return Err(Error::Lies(format!(
                        "{} and {} have the same bytes but claim different things of them",
                        said.by,
                        by()
                    )));
                }
            }
        }
        Ok(Self {
            said: all,
            opaque: boot.map(|one| one.object).collect(),
        })
    }

    /// Holds new packages' words against the objects that the shelf has already.
    pub(super) fn had(&self, shelf: &Shelf, spool: &Path) -> Result<(), Error> {
        for (digest, said) in self.said.iter().filter(|(_, said)| said.new) {
            if !shelf.has(digest)? {
                continue;
            }
            let (examined, _) = examine(shelf.read(digest)?, (*digest, said.size), spool)?;
            said.hold_against(&examined)?;
        }
        Ok(())
    }

    pub(super) fn take(
        &self,
        object: impl Read,
        (digest, size): (Digest, u64),
        batch: &mut Import<'_>,
        spool: &Path,
    ) -> Result<(), Error> {
        let Some(said) = self.said.get(&digest) else {
            if self.opaque.contains(&digest) {
                batch.put(&digest, size, object)?;
                return Ok(());
            }
            return Err(Error::Lies(format!(
                "object {digest} belongs to nothing in the envelope"
            )));
        };
        let (examined, plain) = examine(object, (digest, size), spool)?;
        said.hold_against(&examined)?;
        match plain {
            Plain::Memory(bytes) => batch.put(&digest, size, &bytes[..])?,
            Plain::File(file) => batch.put(&digest, size, file)?,
        };
        Ok(())
    }
}

/// An object's bytes, where they were put to be looked at.
enum Plain {
    Memory(Vec<u8>),
    File(std::fs::File),
}

fn examine(
    mut object: impl Read,
    (digest, size): (Digest, u64),
    spool: &Path,
) -> Result<(Examined, Plain), Error> {
    if size <= SMALL {
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        object.read_to_end(&mut bytes).map_err(ReadError::from_io)?;
        return Ok((model::elf::examine(&bytes, digest), Plain::Memory(bytes)));
    }
    let io = |source| Error::Io {
        doing: "look at a large object in the spool",
        source,
    };
    let mut file = tempfile::tempfile_in(spool).map_err(io)?;
    copy(&mut object, &mut file)?;
    let examined = model::elf::examine_file(&file, digest).map_err(io)?;
    file.rewind().map_err(io)?;
    Ok((examined, Plain::File(file)))
}

/// Tells the envelope's errors from the disk's.
fn copy(from: &mut impl Read, to: &mut impl Write) -> Result<(), Error> {
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = from.read(&mut buffer).map_err(ReadError::from_io)?;
        if count == 0 {
            return Ok(());
        }
        to.write_all(buffer.get(..count).unwrap_or_default())
            .map_err(|source| Error::Io {
                doing: "write a large object into the spool",
                source,
            })?;
    }
}
