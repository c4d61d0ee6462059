//! Whether the objects of a package are what its manifest says of them.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

use model::Digest;
use model::elf::{ElfFacts, Examined, contradiction, examine, examine_file};
use model::envelope::{Object, ReadError, ReadPackage};
use model::manifest::{Node, RegularFile};

use super::sign::{SignError, open, unreadable};

/// Larger objects go through a file.
const IN_MEMORY: u64 = 64 << 20;

/// What a package or set holds, and what is wrong with it.
#[derive(Debug)]
pub struct Walked {
    /// Its packages.
    pub packages: Vec<ReadPackage>,
    /// Objects that were read; each gave its digest.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What manifests say that is not so.
    pub lies: Vec<String>,
}

/// Who says what of an object.
type Claims = HashMap<Digest, Vec<(String, RegularFile)>>;

/// Reads every object, and holds what the manifests say against its bytes.
pub fn walk(file: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<Walked, SignError> {
    let bad = |error| unreadable(file, error);
    let mut reader = open(file)?;
    let claims = claims(reader.packages());
    let total = reader.objects().map(|(_, size)| size).sum();
    let mut walked = Walked {
        packages: reader.packages().to_vec(),
        objects: 0,
        bytes: 0,
        lies: Vec::new(),
    };
    while let Some(object) = reader.next_object().map_err(bad)? {
        let (digest, size) = (object.digest(), object.size());
        let examined = look(object).map_err(bad)?;
        for (who, file) in claims.get(&digest).into_iter().flatten() {
            let facts: Option<&ElfFacts> = file.elf.as_deref();
            if let Some(lie) = contradiction(file.signature, facts, &examined) {
                walked.lies.push(format!("{who} {lie}"));
            }
        }
        walked.objects += 1;
        walked.bytes += size;
        progress(walked.bytes, total);
    }
    Ok(walked)
}

fn claims(packages: &[ReadPackage]) -> Claims {
    let mut all = Claims::new();
    for package in packages {
        for entry in &package.manifest.files {
            if let Node::File(file) = &entry.node {
                let who = format!("{} of {}", entry.path, package.id.name_version());
                let list = all.entry(file.digest).or_default();
                let known = |(_, one): &(String, RegularFile)| {
                    one.signature == file.signature && one.elf == file.elf
                };
                if !list.iter().any(known) {
                    list.push((who, (**file).clone()));
                }
            }
        }
    }
    all
}

fn look<R: Read>(object: Object<'_, R>) -> Result<Examined, ReadError> {
    let digest = object.digest();
    if object.size() <= IN_MEMORY {
        return Ok(examine(&object.into_bytes()?, digest));
    }
    let mut file = tempfile::tempfile().map_err(ReadError::Io)?;
    object.copy_to(&mut file)?;
    examine_file(&file, digest).map_err(ReadError::Io)
}
