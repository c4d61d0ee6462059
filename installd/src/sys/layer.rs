//! What must lie over one tree to show another: the files of a trial. Pure.

use std::collections::{BTreeMap, BTreeSet};

use model::manifest::{FileEntry, Node};
use model::{Digest, PackagePath};

use super::generation::Entry;

/// What an inode costs in memory besides its bytes.
const INODE: u64 = 1024;
/// Memory comes in pages.
const PAGE: u64 = 4096;

/// A layer over a tree.
#[derive(Debug, Clone, Default)]
pub struct Layer {
    /// What stands in it, sorted by path: each entry that differs, and the directories above.
    pub put: Vec<Entry>,
    /// What the tree below has and the new one has not; of a directory that went, itself only.
    pub gone: Vec<PackagePath>,
}

/// What stands at a path, as far as a tree shows it.
#[derive(PartialEq, Eq)]
enum Shown<'a> {
    File(String),
    Link(&'a str),
    Directory(u32, Option<&'a str>, Option<&'a str>),
}

fn shown(entry: &Entry) -> Shown<'_> {
    match &entry.entry.node {
        Node::File(_) => Shown::File(
            entry
                .spec()
                .map(|spec| spec.key().text())
                .unwrap_or_default(),
        ),
        Node::Link { target } => Shown::Link(target),
        Node::Directory => {
            let mode = match entry.entry.mode & 0o7777 {
                0 => 0o755,
                mode => mode,
            };
            let (owner, group) = (entry.entry.owner.as_deref(), entry.entry.group.as_deref());
            Shown::Directory(mode, other_than_root(owner), other_than_root(group))
        }
    }
}

/// A directory without an owner is root's.
fn other_than_root(name: Option<&str>) -> Option<&str> {
    name.filter(|name| *name != "root")
}

/// Every path of a tree: those of its entries and the directories above them.
fn whole(entries: &[Entry]) -> BTreeMap<PackagePath, Entry> {
    let mut all = BTreeMap::new();
    for one in entries.iter().filter(|one| !one.entry.path.is_config()) {
        let mut parent = one.entry.path.parent();
        while let Some(path) = parent {
            parent = path.parent();
            all.entry(path.clone()).or_insert_with(|| directory(path));
        }
        all.insert(one.entry.path.clone(), one.clone());
    }
    all
}

fn directory(path: PackagePath) -> Entry {
    Entry {
        entry: FileEntry {
            path,
            mode: 0o755,
            owner: None,
            group: None,
            node: Node::Directory,
        },
        object: None,
    }
}

impl Layer {
    /// What must lie over `base` to show `new`. Files below `/etc` are the machine's and in neither.
    pub fn between(base: &[Entry], new: &[Entry]) -> Self {
        let (base, new) = (whole(base), whole(new));
        let mut put: BTreeSet<&PackagePath> = BTreeSet::new();
        let differs = new.iter().filter(|(path, entry)| {
            base.get(*path)
                .is_none_or(|before| shown(before) != shown(entry))
        });
        put.extend(differs.map(|(path, _)| path));
        let gone: Vec<PackagePath> = base
            .keys()
            .filter(|path| {
                let stays_above = path.parent().is_none_or(|above| is_directory(&new, &above));
                !new.contains_key(*path) && stays_above
            })
            .cloned()
            .collect();
        // A directory that the layer has is the one that is seen: it must be as the new tree has it.
        let mut above = BTreeSet::new();
        for path in put.iter().copied().chain(&gone) {
            let mut parent = path.parent();
            while let Some(path) = parent {
                parent = path.parent();
                above.insert(path);
            }
        }
        let all: BTreeSet<&PackagePath> = put.into_iter().chain(&above).collect();
        Self {
            put: all
                .iter()
                .filter_map(|path| new.get(*path).cloned())
                .collect(),
            gone,
        }
    }

    /// Bytes of memory that it takes: each content once, in pages, and its inodes.
    pub fn bytes(&self) -> u64 {
        let mut contents: BTreeMap<Digest, u64> = BTreeMap::new();
        for one in &self.put {
            if let Node::File(file) = &one.entry.node {
                contents.insert(one.object.unwrap_or(file.digest), file.size);
            }
        }
        let pages = contents.values().map(|size| size.div_ceil(PAGE) * PAGE);
        let inodes = (self.put.len() + self.gone.len()) as u64;
        pages.sum::<u64>() + inodes * INODE
    }
}

fn is_directory(tree: &BTreeMap<PackagePath, Entry>, path: &PackagePath) -> bool {
    tree.get(path)
        .is_some_and(|entry| entry.entry.node == Node::Directory)
}

#[cfg(test)]
mod tests {
    use model::Signature;
    use model::manifest::{FileType, RegularFile};

    use super::*;

    fn file(path: &str, bytes: &[u8]) -> Entry {
        let digest = Digest::of(bytes);
        let node = Node::File(Box::new(RegularFile {
            digest,
            size: bytes.len() as u64,
            signature: Signature::of_exact(digest),
            file_type: FileType::Data,
            function: None,
            architecture: None,
            capabilities: None,
            provides_apis: vec![],
            consumes_apis: vec![],
            elf: None,
            uses: None,
            interpreter: None,
        }));
        entry(path, 0o644, node)
    }

    fn entry(path: &str, mode: u32, node: Node) -> Entry {
        let entry = FileEntry {
            path: path.parse().unwrap(),
            mode,
            owner: None,
            group: None,
            node,
        };
        Entry {
            entry,
            object: None,
        }
    }

    fn told(layer: &Layer) -> (Vec<&str>, Vec<&str>) {
        (
            layer
                .put
                .iter()
                .map(|one| one.entry.path.as_str())
                .collect(),
            layer.gone.iter().map(PackagePath::as_str).collect(),
        )
    }

    #[test]
    fn a_layer_has_what_differs_with_the_directories_above_and_no_more() {
        let base = [
            file("/usr/a", b"1"),
            file("/usr/d/x", b"1"),
            file("/usr/e/y", b"1"),
        ];
        let new = [
            file("/usr/a", b"1"),
            file("/usr/d/x", b"2"),
            file("/usr/n/z", b"1"),
        ];
        let layer = Layer::between(&base, &new);
        let put = vec!["/usr", "/usr/d", "/usr/d/x", "/usr/n", "/usr/n/z"];
        assert_eq!(told(&layer), (put, vec!["/usr/e"]));
        assert_eq!(layer.bytes(), 4096 + 4096 + 6 * 1024);
        assert_eq!(told(&Layer::between(&base, &base)), (vec![], vec![]));
    }

    #[test]
    fn a_directory_in_the_layer_is_as_the_new_tree_has_it() {
        let sticky = entry("/usr/d", 0o1777, Node::Directory);
        let base = [sticky.clone(), file("/usr/d/x", b"1")];
        let changed = Layer::between(&base, &[sticky, file("/usr/d/x", b"2")]);
        assert_eq!(changed.put[1].entry.mode, 0o1777);
        let plain = Layer::between(&base, &[file("/usr/d/x", b"1")]);
        assert_eq!(told(&plain).0, ["/usr", "/usr/d"]);
        assert_eq!(plain.put[1].entry.mode, 0o755);
    }

    #[test]
    fn what_changes_its_kind_needs_no_whiteout() {
        let base = [file("/usr/d/x", b"1"), file("/usr/f", b"1")];
        let new = [file("/usr/d", b"1"), file("/usr/f/x", b"1")];
        let layer = Layer::between(&base, &new);
        assert_eq!(
            told(&layer),
            (vec!["/usr", "/usr/d", "/usr/f", "/usr/f/x"], vec![])
        );
    }

    #[test]
    fn configuration_is_the_machines() {
        let layer = Layer::between(&[], &[file("/etc/x", b"1")]);
        assert_eq!(told(&layer), (vec![], vec![]));
    }
}
