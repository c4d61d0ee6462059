//! One hash for what a node runs: equal hashes are equal software.

use blake3::Hasher;
use model::Digest;
use model::manifest::{FileEntry, Node};

use crate::{Characteristics, Package, select};

/// What the hashed bytes begin with: another form has another number.
const FORM: &[u8] = b"changeover software 1";

/// The software hash of a set in its order, on a node like this: over the ids of all packages,
/// front first, and every path of the composed tree with what is selected for it (signature, mode,
/// owner, capabilities; of a link its text). Each part has its length before it.
///
/// The master computes it for each node, and the node computes it itself and refuses a difference.
/// Two nodes with the same packages have different hashes where their architectures select
/// different files.
pub fn software_hash(order: &[Package], node: &Characteristics) -> Digest {
    let mut hasher = Hasher::new();
    text(&mut hasher, FORM);
    count(&mut hasher, order.len());
    for package in order {
        text(&mut hasher, package.id.to_string().as_bytes());
    }
    let tree = select::compose(order, node);
    let entries = tree.entries();
    count(&mut hasher, entries.len());
    for (_, selected) in entries {
        entry(&mut hasher, selected);
    }
    hasher.finalize().into()
}

fn entry(hasher: &mut Hasher, entry: &FileEntry) {
    text(hasher, entry.path.as_str().as_bytes());
    hasher.update(&entry.mode.to_le_bytes());
    optional(hasher, entry.owner.as_deref());
    optional(hasher, entry.group.as_deref());
    match &entry.node {
        Node::File(file) => {
            hasher.update(b"f");
            hasher.update(file.signature.as_bytes());
            optional(hasher, file.capabilities.as_deref());
        }
        Node::Link { target } => {
            hasher.update(b"l");
            text(hasher, target.as_bytes());
        }
        Node::Directory => {
            hasher.update(b"d");
        }
    }
}

fn text(hasher: &mut Hasher, bytes: &[u8]) {
    count(hasher, bytes.len());
    hasher.update(bytes);
}

fn optional(hasher: &mut Hasher, value: Option<&str>) {
    match value {
        None => {
            hasher.update(b"-");
        }
        Some(value) => {
            hasher.update(b"+");
            text(hasher, value.as_bytes());
        }
    }
}

fn count(hasher: &mut Hasher, number: usize) {
    hasher.update(&(number as u64).to_le_bytes());
}

#[cfg(test)]
mod tests;
