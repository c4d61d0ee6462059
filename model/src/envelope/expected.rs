//! The objects that a list of manifests names, in the order in which an envelope has them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::image::BootImage;
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

/// Each distinct object of `manifests` and then of `boot` at its first mention.
pub(super) fn expected<'a>(
    manifests: impl Iterator<Item = &'a Manifest>,
    boot: &[BootImage],
) -> Result<Vec<Expected>, TwoSizes> {
    let mut seen: HashMap<Digest, u64> = HashMap::new();
    let mut order = Vec::new();
    let files = manifests
        .flat_map(|manifest| &manifest.files)
        .filter_map(|entry| {
            let Node::File(file) = &entry.node else {
                return None;
            };
            Some((file.digest, file.size))
        });
    let boot = boot.iter().map(|one| (one.object, one.size));
    for (digest, size) in files.chain(boot) {
        match seen.entry(digest) {
            Entry::Vacant(vacant) => {
                vacant.insert(size);
                order.push(Expected { digest, size });
            }
            Entry::Occupied(known) if *known.get() == size => {}
            Entry::Occupied(known) => {
                let (one, other) = (*known.get(), size);
                return Err(TwoSizes { digest, one, other });
            }
        }
    }
    Ok(order)
}
