//! What the modules of a package are to those that were there.

use std::collections::HashMap;

use model::manifest::{Manifest, Node};
use model::wire::{ImportedFile, ModuleVerdict};

/// Each file of `new` against the file at the same path of `old`, the newest version that was
/// there; without one, every module is new.
pub fn verdicts(old: Option<&Manifest>, new: &Manifest) -> Vec<ImportedFile> {
    let files = |manifest: &'_ Manifest| -> HashMap<_, _> {
        let regular = manifest.files.iter().filter_map(|entry| match &entry.node {
            Node::File(file) => Some((entry.path.clone(), (file.digest, file.signature))),
            Node::Link { .. } | Node::Directory => None,
        });
        regular.collect()
    };
    let old = old.map(files).unwrap_or_default();
    let judged = new.files.iter().filter_map(|entry| match &entry.node {
        Node::File(file) => Some((entry, file)),
        Node::Link { .. } | Node::Directory => None,
    });
    judged
        .map(|(entry, file)| ImportedFile {
            path: entry.path.clone(),
            verdict: match old.get(&entry.path) {
                Some((digest, _)) if *digest == file.digest => ModuleVerdict::SameBytes,
                Some((_, signature)) if *signature == file.signature => {
                    ModuleVerdict::SameSignature
                }
                Some(_) | None => ModuleVerdict::New,
            },
        })
        .collect()
}
