//! What an author should know and nothing forbids.

use std::collections::{BTreeMap, BTreeSet};

use model::Manifest;
use model::elf::{ElfFacts, Pin, annotations};
use model::manifest::{FileEntry, Node, RegularFile, Subject};
use model::path::{PackagePath, merged_usr};
use model::process::{Kind, ProcessSpec};

use super::Finding;

/// Names in one sentence before the rest is only counted.
const SHOWN: usize = 5;

pub(super) fn advise(manifest: &Manifest) -> Vec<Finding> {
    let files = manifest
        .files
        .iter()
        .map(|entry| (&entry.path, entry))
        .collect();
    let advice = Advice { manifest, files };
    let mut found: Vec<Finding> = manifest
        .processes
        .iter()
        .filter_map(|process| advice.dlopen(process))
        .collect();
    found.extend(advice.pinned());
    found
}

struct Advice<'a> {
    manifest: &'a Manifest,
    files: BTreeMap<&'a PackagePath, &'a FileEntry>,
}

impl Advice<'_> {
    /// A process that can reach a `dlopen` of which nobody said what it opens.
    fn dlopen(&self, process: &ProcessSpec) -> Option<Finding> {
        if process.kind != Kind::Simple {
            return None;
        }
        let program = process.exec.first()?;
        let program = program.strip_prefix('-').unwrap_or(program);
        let (path, file) = self.follow(merged_usr(program).parse().ok()?)?;
        let mut reached = vec![path];
        if let Some(uses) = &file.uses {
            reached.extend(uses.direct.iter().chain(&uses.transitive));
        }
        let unknown: Vec<String> = reached
            .into_iter()
            .filter(|path| self.opens_unknown(path))
            .map(ToString::to_string)
            .collect();
        if unknown.is_empty() {
            return None;
        }
        let text = format!(
            "reaches dlopen in {}, and nothing says what it opens: it cannot be Simple on faith; \
             name what it opens in [[dlopen]]",
            some(&unknown)
        );
        Some(Finding::warning(
            Subject::Process(process.name.clone()),
            text,
        ))
    }

    fn opens_unknown(&self, path: &PackagePath) -> bool {
        let Some(facts) = self.facts(path) else {
            return false;
        };
        let named = self.manifest.dlopen.iter().any(|one| one.file == *path);
        let known = |name: &str| annotations::of(name).is_some();
        let shipped = facts.soname.as_deref().is_some_and(known) || known(path.file_name());
        facts.calls_dlopen && facts.dlopen_notes.is_empty() && !named && !shipped
    }

    fn facts(&self, path: &PackagePath) -> Option<&ElfFacts> {
        match &self.files.get(path)?.node {
            Node::File(file) => file.elf.as_deref(),
            Node::Link { .. } | Node::Directory => None,
        }
    }

    /// The regular file that `path` leads to inside the package.
    fn follow(&self, path: PackagePath) -> Option<(&PackagePath, &RegularFile)> {
        let mut path = path;
        for _ in 0..40 {
            let entry = self.files.get(&path)?;
            match &entry.node {
                Node::File(file) => return Some((&entry.path, file)),
                Node::Link { target } => path = path.link_target(target)?,
                Node::Directory => return None,
            }
        }
        None
    }

    /// Libraries that stay in a process that has closed them.
    fn pinned(&self) -> Vec<Finding> {
        let mut pinned: BTreeMap<Pin, BTreeSet<String>> = BTreeMap::new();
        for entry in &self.manifest.files {
            let Some(facts) = self.facts(&entry.path).filter(|facts| !facts.program) else {
                continue;
            };
            for pin in &facts.pinned_by {
                pinned
                    .entry(*pin)
                    .or_default()
                    .insert(entry.path.to_string());
            }
        }
        pinned
            .into_iter()
            .map(|(pin, paths)| unloadable(pin, &paths))
            .collect()
    }
}

fn unloadable(pin: Pin, paths: &BTreeSet<String>) -> Finding {
    let paths: Vec<String> = paths.iter().cloned().collect();
    let text = format!(
        "cannot be relied on to unload, because of {}: {}; a Self-Managing user is restarted \
         when it changes",
        pin_name(pin),
        some(&paths)
    );
    Finding::warning(Subject::Package, text)
}

/// Why a library stays loaded, for people.
pub(crate) fn pin_name(pin: Pin) -> &'static str {
    match pin {
        Pin::NoDelete => "its NODELETE flag",
        Pin::UniqueSymbols => "unique symbols (build with -fno-gnu-unique)",
        Pin::ThreadLocalDestructors => "destructors of thread-local objects",
    }
}

fn some(names: &[String]) -> String {
    let shown = names
        .get(..names.len().min(SHOWN))
        .unwrap_or_default()
        .join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
