//! Which object of an older software set a new one is most like: a decision, made from manifests.

use std::collections::HashMap;

use model::Digest;
use model::manifest::{Manifest, Node};

/// An object and the older one that it is probably like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pair {
    /// The older object.
    pub old: Digest,
    /// The newer one.
    pub new: Digest,
}

/// Pairs the files of two sets: by path; where that fails, by the path without its numbers, since
/// versions stand in paths (`/usr/lib/modules/6.1.0-37/…`). One pair for each new object at most.
pub fn files<'a>(
    old: impl IntoIterator<Item = &'a Manifest>,
    new: impl IntoIterator<Item = &'a Manifest>,
) -> Vec<Pair> {
    let mut exact = HashMap::new();
    let mut rough = HashMap::new();
    for (path, digest) in old.into_iter().flat_map(objects) {
        rough.entry(without_numbers(path)).or_insert(digest);
        exact.entry(path).or_insert(digest);
    }
    let mut pairs: HashMap<Digest, Pair> = HashMap::new();
    for (path, new) in new.into_iter().flat_map(objects) {
        let found = exact
            .get(path)
            .or_else(|| rough.get(&without_numbers(path)));
        if let Some(&old) = found.filter(|&&old| old != new) {
            pairs.entry(new).or_insert(Pair { old, new });
        }
    }
    let mut pairs: Vec<Pair> = pairs.into_values().collect();
    pairs.sort_unstable();
    pairs
}

/// Pairs documents that have one name in both sets, as the manifests of one package's versions do.
pub fn named<N: Ord>(old: &[(N, Digest)], new: &[(N, Digest)]) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for (name, new) in new {
        let twin = old.iter().find(|(old, _)| old == name);
        if let Some((_, old)) = twin.filter(|(_, old)| old != new) {
            pairs.push(Pair {
                old: *old,
                new: *new,
            });
        }
    }
    pairs
}

fn objects(manifest: &Manifest) -> impl Iterator<Item = (&str, Digest)> {
    manifest.files.iter().filter_map(|entry| match &entry.node {
        Node::File(file) => Some((entry.path.as_str(), file.digest)),
        Node::Link { .. } | Node::Directory => None,
    })
}

/// Each run of digits and what joins digits becomes one `#`.
fn without_numbers(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut number = false;
    for c in path.chars() {
        let joins = number && matches!(c, '.' | '-' | '+' | '~' | '_');
        if c.is_ascii_digit() || joins {
            if !number {
                out.push('#');
            }
            number = true;
        } else {
            number = false;
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_in_a_path_does_not_hide_its_twin() {
        let plain = |path| without_numbers(path);
        assert_eq!(
            plain("/m/6.1.0-37-amd64/a.ko"),
            plain("/m/6.1.0-40-amd64/a.ko")
        );
        assert_ne!(plain("/m/6.1/a.ko"), plain("/m/6.1/b.ko"));
    }
}
