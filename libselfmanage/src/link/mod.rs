//! What this process has loaded, as a graph: objects, which needs which, and what file each is.
//!
//! The questions here are pure functions of a [`Graph`]; [`snapshot`] fills one from the loader and
//! `/proc/self/maps`. A name is never taken for a file: the file behind an object is known by the
//! device and inode that the kernel has mapped at its dynamic section.

pub(crate) mod maps;

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::path::PathBuf;

use crate::sys::loader;

/// A file's device and inode.
pub type Identity = (u64, u64);

/// A loaded object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Object {
    /// Where its file was when it was mapped (`/proc/self/maps`); for messages only.
    pub path: PathBuf,
    /// The file that is mapped; absent for the kernel's own object.
    pub identity: Option<Identity>,
    /// Its `DT_SONAME`.
    pub soname: Option<String>,
    /// Its `DT_NEEDED`.
    pub needed: Vec<String>,
    /// It says of itself that it is never to be unloaded (`-z nodelete`).
    pub nodelete: bool,
    /// The name under which the loader has it.
    pub name: PathBuf,
    /// The address of its dynamic section, by which the loader's handles are told apart.
    pub dynamic: usize,
}

impl Object {
    /// Its soname, else its file's name: what a person calls it.
    pub fn label(&self) -> String {
        let file = self.path.file_name().or_else(|| self.name.file_name());
        match (&self.soname, file) {
            (Some(soname), _) => soname.clone(),
            (None, Some(file)) => file.to_string_lossy().into_owned(),
            (None, None) => "the program".to_owned(),
        }
    }

    /// Whether a `DT_NEEDED` of this text means this object, as the loader would have it.
    fn answers(&self, needed: &str) -> bool {
        self.soname.as_deref() == Some(needed)
            || self.name.as_os_str() == needed
            || (!needed.contains('/') && self.name.file_name().is_some_and(|name| name == needed))
    }
}

/// Loaded objects, the program first, each with the indexes of those that it needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Graph {
    objects: Vec<Object>,
    uses: Vec<Vec<usize>>,
}

impl Graph {
    /// The graph of these objects; the first is the program.
    pub fn new(objects: Vec<Object>) -> Self {
        let answering = |needed: &String| -> Vec<usize> {
            (0..)
                .zip(&objects)
                .filter(|(_, one)| one.answers(needed))
                .map(|(at, _)| at)
                .collect()
        };
        let uses = objects
            .iter()
            .map(|one| one.needed.iter().flat_map(answering).collect())
            .collect();
        Self { objects, uses }
    }

    /// The objects, the program first.
    pub fn objects(&self) -> &[Object] {
        &self.objects
    }

    /// The object with its dynamic section at this address.
    pub fn at(&self, dynamic: usize) -> Option<usize> {
        self.objects
            .iter()
            .position(|object| object.dynamic == dynamic)
    }

    /// The object `root` and all that it needs, directly or not; what needs nothing unseen comes
    /// first, so that the list can be opened in its order.
    pub fn closure(&self, root: usize) -> Vec<usize> {
        let mut order = Vec::new();
        let mut seen = BTreeSet::from([root]);
        // Each entry: an object, and how many of its needs have been followed.
        let mut path = vec![(root, 0)];
        while let Some((at, next)) = path.pop() {
            match self.uses.get(at).and_then(|uses| uses.get(next)) {
                Some(used) => {
                    path.push((at, next + 1));
                    if seen.insert(*used) {
                        path.push((*used, 0));
                    }
                }
                None => order.push(at),
            }
        }
        order
    }

    /// The shortest chain of needs from `cause` up to the first object that `is_root` takes, cause
    /// first. Where nothing takes any, `None`.
    pub fn chain(&self, cause: usize, is_root: impl Fn(usize) -> bool) -> Option<Vec<usize>> {
        let mut came_from: Vec<Option<usize>> = vec![None; self.objects.len()];
        let mut seen = BTreeSet::from([cause]);
        let mut queue = VecDeque::from([cause]);
        while let Some(at) = queue.pop_front() {
            if is_root(at) {
                return Some(Self::back(&came_from, at));
            }
            for user in self.users(at) {
                if seen.insert(user) {
                    if let Some(slot) = came_from.get_mut(user) {
                        *slot = Some(at);
                    }
                    queue.push_back(user);
                }
            }
        }
        None
    }

    /// Those that need the object `at` themselves.
    pub fn users(&self, at: usize) -> impl Iterator<Item = usize> {
        self.uses
            .iter()
            .enumerate()
            .filter(move |(_, uses)| uses.contains(&at))
            .map(|(user, _)| user)
    }

    fn back(came_from: &[Option<usize>], end: usize) -> Vec<usize> {
        let step = |at: &usize| came_from.get(*at).copied().flatten();
        let mut chain: Vec<usize> = std::iter::successors(Some(end), step).collect();
        chain.reverse();
        chain
    }
}

/// What is loaded now.
///
/// # Errors
///
/// `/proc/self/maps` cannot be read.
pub fn snapshot() -> io::Result<Graph> {
    // The loader first: an object that is gone by the time maps are read has no file in them, and
    // one that came later is not asked for.
    let loaded = loader::loaded();
    let maps = maps::read()?;
    let object = |one: loader::Loaded| {
        let mapping = maps
            .iter()
            .find(|mapping| mapping.range.contains(&one.dynamic));
        Object {
            path: mapping
                .map(|mapping| mapping.path.clone())
                .unwrap_or_default(),
            identity: mapping.map(|mapping| mapping.identity),
            soname: one.soname,
            needed: one.needed,
            nodelete: one.nodelete,
            name: one.name,
            dynamic: one.dynamic,
        }
    };
    Ok(Graph::new(loaded.into_iter().map(object).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Objects by name, each with what it needs; the first is the program.
    pub(crate) fn graph(objects: &[(&str, &[&str])]) -> Graph {
        let object = |(at, (name, needed)): (usize, &(&str, &[&str]))| Object {
            path: format!("/usr/lib/{name}").into(),
            identity: Some((1, at as u64)),
            soname: (at > 0).then(|| (*name).to_owned()),
            needed: needed.iter().map(|needed| (*needed).to_owned()).collect(),
            dynamic: 0x1000 * (at + 1),
            ..Object::default()
        };
        Graph::new(objects.iter().enumerate().map(object).collect())
    }

    #[test]
    fn a_closure_can_be_opened_in_its_order() {
        let graph = graph(&[
            ("a", &[]),
            ("p", &["y", "x"]),
            ("y", &["x"]),
            ("x", &["y"]),
            ("z", &[]),
        ]);
        assert_eq!(graph.closure(1), [3, 2, 1]);
        assert_eq!(graph.closure(4), [4]);
    }

    #[test]
    fn a_chain_is_the_shortest_from_cause_to_root() {
        let graph = graph(&[("a", &["y"]), ("p", &["x"]), ("y", &["x"]), ("x", &[])]);
        assert_eq!(graph.chain(3, |at| at == 0), Some(vec![3, 2, 0]));
        assert_eq!(graph.chain(3, |at| at == 1), Some(vec![3, 1]));
        assert_eq!(graph.chain(1, |at| at == 0), None);
    }

    #[test]
    fn needs_are_answered_by_soname_name_or_absolute_path() {
        let named = |name: &str, soname: Option<&str>| Object {
            name: name.into(),
            soname: soname.map(str::to_owned),
            ..Object::default()
        };
        assert!(named("/v1/whatever.so", Some("libx.so.1")).answers("libx.so.1"));
        assert!(named("/v1/libx.so", None).answers("libx.so"));
        assert!(named("/v1/libx.so", None).answers("/v1/libx.so"));
        assert!(!named("/v1/libx.so", None).answers("/v2/libx.so"));
        assert!(!named("/v1/liby.so", Some("liby.so")).answers("libx.so"));
    }

    #[test]
    fn the_snapshot_knows_the_files_behind_what_is_loaded() {
        use std::os::unix::fs::MetadataExt;
        let graph = snapshot().unwrap();
        let program = fs_err::metadata("/proc/self/exe").unwrap();
        assert_eq!(
            graph.objects()[0].identity,
            Some((program.dev(), program.ino()))
        );
        let c = graph
            .objects()
            .iter()
            .find(|one| one.label() == "libc.so.6")
            .unwrap();
        let file = fs_err::metadata(&c.path).unwrap();
        assert_eq!(c.identity, Some((file.dev(), file.ino())));
        assert!(graph.closure(0).len() > 1);
    }
}
