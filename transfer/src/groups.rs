//! Hashes of a large blob's groups, so that a wrong byte shows within its own mebibyte.
//!
//! BLAKE3 is a tree: the chaining values of a blob's groups merge into the blob's own hash. Whoever
//! holds the hash can check the values, and with each value its group, before the next one is
//! fetched.

use std::io::{self, Read};

use blake3::hazmat::{
    ChainingValue, HasherExt, Mode, left_subtree_len, merge_subtrees_non_root, merge_subtrees_root,
};
use model::Digest;

/// Bytes of one group.
pub(crate) const GROUP: u64 = 1 << 20;

/// Blobs above this size are hashed group by group.
pub(crate) const GROUPED_ABOVE: u64 = 4 << 20;

/// The chaining value of group number `index`, whose bytes these are.
pub(crate) fn group(index: u64, bytes: &[u8]) -> ChainingValue {
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(index * GROUP);
    hasher.update(bytes);
    hasher.finalize_non_root()
}

/// The chaining values of all groups of a blob of more than one group.
pub(crate) fn groups(mut reader: impl Read, size: u64) -> io::Result<Vec<ChainingValue>> {
    let mut values = Vec::new();
    let mut bytes = Vec::new();
    for index in 0..size.div_ceil(GROUP) {
        bytes.clear();
        reader.by_ref().take(GROUP).read_to_end(&mut bytes)?;
        values.push(group(index, &bytes));
    }
    Ok(values)
}

/// The hash of the blob of `size` bytes that has these groups; `None`: no blob has.
pub(crate) fn root(values: &[ChainingValue], size: u64) -> Option<Digest> {
    if values.len() < 2 || size.div_ceil(GROUP) != values.len() as u64 {
        return None;
    }
    let (left, right) = halves(values, size)?;
    Some(merge_subtrees_root(&merge(left)?, &merge(right)?, Mode::Hash).into())
}

type Run<'a> = (&'a [ChainingValue], u64);

fn halves(values: &[ChainingValue], size: u64) -> Option<(Run<'_>, Run<'_>)> {
    let left = left_subtree_len(size);
    let (first, rest) = values.split_at_checked(usize::try_from(left / GROUP).ok()?)?;
    Some(((first, left), (rest, size - left)))
}

/// As deep as the tree, which is the logarithm of the blob's size.
fn merge((values, size): Run<'_>) -> Option<ChainingValue> {
    match values {
        [] => None,
        [one] => Some(*one),
        more => {
            let (left, right) = halves(more, size)?;
            Some(merge_subtrees_non_root(
                &merge(left)?,
                &merge(right)?,
                Mode::Hash,
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_any_size_merge_into_the_hash() {
        let bytes: Vec<u8> = (0..9 * GROUP + 5).map(|i| (i % 251) as u8).collect();
        for size in [
            GROUP + 1,
            2 * GROUP,
            3 * GROUP - 1,
            7 * GROUP,
            9 * GROUP + 5,
        ] {
            let blob = &bytes[..usize::try_from(size).unwrap()];
            let mut values = groups(blob, size).unwrap();
            assert_eq!(root(&values, size), Some(Digest::of(blob)), "{size}");
            values[1][0] ^= 1;
            assert_ne!(root(&values, size), Some(Digest::of(blob)), "{size}");
            values.pop();
            assert_eq!(root(&values, size), None, "{size}");
        }
    }
}
