//! What a file is, by its content and place.

use std::collections::BTreeMap;

use model::Manifest;
use model::elf::ElfFacts;
use model::manifest::{FileType, Node, Subject};
use model::path::PackagePath;

use super::Finding;

/// What a file is where its author does not say.
pub(super) fn file_type(path: &PackagePath, facts: Option<&ElfFacts>, script: bool) -> FileType {
    if path.is_config() {
        return FileType::Config;
    }
    match facts {
        Some(facts) if facts.program => FileType::Executable,
        Some(_) => FileType::SharedLibrary,
        None if script => FileType::Executable,
        None => FileType::Data,
    }
}

/// The interpreter on a script's first line.
pub(super) fn interpreter(bytes: &[u8]) -> Option<String> {
    // The kernel looks no further either.
    let line = bytes.get(..bytes.len().min(256))?.strip_prefix(b"#!")?;
    let line = line.split(|byte| *byte == b'\n').next()?;
    let text = std::str::from_utf8(line).ok()?.trim();
    let word = text.split_ascii_whitespace().next()?;
    word.starts_with('/').then(|| word.to_owned())
}

/// One architecture for all: the package's is that of its ELF files.
pub(super) fn architecture(manifest: &mut Manifest) -> Vec<Finding> {
    let mut found: BTreeMap<String, &PackagePath> = BTreeMap::new();
    for entry in &manifest.files {
        if let Node::File(file) = &entry.node
            && let Some(machine) = &file.architecture
        {
            found.entry(machine.clone()).or_insert(&entry.path);
        }
    }
    let mut machines = found.iter();
    let (Some((first, at)), second) = (machines.next(), machines.next()) else {
        return Vec::new();
    };
    if let (None, Some((other, there))) = (&manifest.architecture, second) {
        let text = format!(
            "its files are for {first} ({at}) and for {other} ({there}): a package has one \
             architecture; make one package for each"
        );
        return vec![Finding::error(Subject::Package, text)];
    }
    // Where the author named one, every other file is reported by the manifest's own check.
    let first = first.clone();
    manifest.architecture.get_or_insert(first);
    Vec::new()
}
