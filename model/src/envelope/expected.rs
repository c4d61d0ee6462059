//! The objects that a list of manifests names, in the order in which an envelope has them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::digest::Digest;
use crate::manifest::{Manifest, Node};

/// One object, by name and length in plain bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) digest: Digest,
    pub(super) size: u64,
}

/// One object is said to have two lengths.
#[derive(Debug)]
pub(super) struct TwoSizes {
    pub(super) digest: Digest,
    pub(super) one: u64,
    pub(super) other: u64,
}

/// Each distinct object of `manifests` at its first mention.
pub(super) fn expected<'a>(
    manifests: impl Iterator<Item = &'a Manifest>,
) -> Result<Vec<Expected>, TwoSizes> {
    let mut seen: HashMap<Digest, u64> = HashMap::new();
    let mut order = Vec::new();
    for entry in manifests.flat_map(|manifest| &manifest.files) {
        let Node::File(file) = &entry.node else {
            continue;
        };
        match seen.entry(file.digest) {
            Entry::Vacant(vacant) => {
                vacant.insert(file.size);
                order.push(Expected {
                    digest: file.digest,
                    size: file.size,
                });
            }
            Entry::Occupied(known) if *known.get() == file.size => {}
            Entry::Occupied(known) => {
                let (one, other) = (*known.get(), file.size);
                return Err(TwoSizes {
                    digest: file.digest,
                    one,
                    other,
                });
            }
        }
    }
    Ok(order)
}
