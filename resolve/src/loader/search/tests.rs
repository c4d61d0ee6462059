//! The search, rule by rule.

use std::collections::BTreeMap;

use model::Digest;
use model::manifest::{FileEntry, FileType, RegularFile};

use super::*;
use crate::loader::Cache;

#[derive(Default)]
struct Tree(BTreeMap<String, FileEntry>);

impl View for Tree {
    fn entry(&self, path: &str) -> Option<&FileEntry> {
        self.0.get(path)
    }
}

impl Tree {
    /// `PATH`, `PATH@machine` for another machine, or `PATH -> TARGET`.
    fn of(lines: &[&str]) -> Self {
        let mut tree = Self::default();
        for line in lines {
            let (path, node) = if let Some((path, target)) = line.split_once(" -> ") {
                (
                    path,
                    Node::Link {
                        target: target.to_owned(),
                    },
                )
            } else {
                let (path, machine) = line.split_once('@').unwrap_or((line, "x86_64"));
                (path, Node::File(Box::new(library(machine))))
            };
            let entry = FileEntry {
                path: path.parse().unwrap(),
                mode: 0,
                owner: None,
                group: None,
                node,
            };
            tree.0.insert(path.to_owned(), entry);
        }
        tree
    }
}

fn library(machine: &str) -> RegularFile {
    let digest = Digest::of(b"");
    RegularFile {
        digest,
        size: 0,
        signature: digest.to_string().parse().unwrap(),
        file_type: FileType::SharedLibrary,
        function: None,
        architecture: None,
        capabilities: None,
        provides_apis: Vec::new(),
        consumes_apis: Vec::new(),
        elf: Some(Box::new(facts(machine))),
        uses: None,
        interpreter: None,
    }
}

fn facts(machine: &str) -> ElfFacts {
    ElfFacts {
        machine: machine.to_owned(),
        ..ElfFacts::default()
    }
}

fn strings(items: &[&str]) -> Vec<String> {
    items.iter().map(|&one| one.to_owned()).collect()
}

const ALL: [&str; 9] = [
    "/usr/lib/x86_64-linux-gnu/l.so",
    "/usr/lib64/l.so",
    "/usr/lib/l.so",
    "/opt/run/l.so",
    "/opt/r/l.so",
    "/opt/env/l.so",
    "/opt/up/l.so",
    "/opt/cached/l.so",
    "/usr/lib/x86_64-linux-gnu/glibc-hwcaps/x86-64-v2/l.so",
];

/// What is found when these paths are missing, one after the other.
#[test]
fn each_place_is_searched_in_its_turn() {
    let rules = Rules {
        cache: Cache::of("x86_64", [("l.so", "/opt/cached/l.so")]),
        hwcaps: strings(&["x86-64-v2"]),
    };
    let context = Context {
        rpath: strings(&["/opt/up"]),
        library_path: strings(&["/opt/env"]),
    };
    let with_rpath = ElfFacts {
        rpath: strings(&["/opt/r"]),
        ..facts("x86_64")
    };
    let with_runpath = ElfFacts {
        runpath: strings(&["$ORIGIN/../run"]),
        ..facts("x86_64")
    };
    let defaults = [ALL[8], ALL[0], ALL[1], ALL[2]];
    let rpath = [
        "/opt/r/l.so",
        "/opt/up/l.so",
        "/opt/env/l.so",
        "/opt/cached/l.so",
    ];
    let runpath = ["/opt/env/l.so", "/opt/run/l.so", "/opt/cached/l.so"];
    for (facts, first) in [(&with_rpath, &rpath[..]), (&with_runpath, &runpath[..])] {
        let mut paths = ALL.to_vec();
        for expected in first.iter().chain(&defaults) {
            let tree = Tree::of(&paths);
            let found = Finder::new(&tree, &rules).find("l.so", "/opt/bin/app", facts, &context);
            assert_eq!(found.unwrap().opened, *expected);
            paths.retain(|one| one != expected);
        }
        let tree = Tree::of(&paths);
        assert_eq!(
            Finder::new(&tree, &rules).find("l.so", "/opt/bin/app", facts, &context),
            None
        );
    }
}

#[test]
fn rpath_is_inherited_and_runpath_is_not() {
    let rpath = ElfFacts {
        rpath: strings(&["${ORIGIN}/lib", "/opt/$LIB"]),
        ..facts("x86_64")
    };
    let below = Context::default().below("/opt/app/bin", &rpath);
    assert_eq!(below.rpath, ["/opt/app/lib", "/opt/lib/x86_64-linux-gnu"]);
    let again = below.below(
        "/opt/other/x.so",
        &ElfFacts {
            rpath: strings(&["/opt/q"]),
            ..facts("x86_64")
        },
    );
    assert_eq!(again.rpath[0], "/opt/q");
    assert_eq!(again.rpath.len(), 3);
    let runpath = ElfFacts {
        runpath: strings(&["/opt/r"]),
        ..facts("x86_64")
    };
    assert_eq!(
        Context::default().below("/opt/x", &runpath),
        Context::default()
    );
}

#[test]
fn links_are_followed_inside_the_tree_and_other_machines_passed_over() {
    let tree = Tree::of(&[
        "/usr/lib/x86_64-linux-gnu/l.so.1@i386",
        "/usr/lib/l.so.1 -> real/l.so.1.2",
        "/usr/lib/real -> ../../opt/real",
        "/opt/real/l.so.1.2",
        "/usr/lib/loop.so -> loop.so",
        "/usr/lib/out.so -> /var/lib/out.so",
    ]);
    let rules = Rules::default();
    let mut finder = Finder::new(&tree, &rules);
    let (facts, context) = (facts("x86_64"), Context::default());
    let found = finder
        .find("l.so.1", "/usr/bin/a", &facts, &context)
        .unwrap();
    assert_eq!(
        found,
        Found {
            opened: "/usr/lib/l.so.1".into(),
            file: "/opt/real/l.so.1.2".into()
        }
    );
    for lost in ["loop.so", "out.so", "none.so"] {
        assert_eq!(
            finder.find(lost, "/usr/bin/a", &facts, &context),
            None,
            "{lost}"
        );
    }
    let absolute = finder.find("/lib/l.so.1", "/usr/bin/a", &facts, &context);
    assert_eq!(absolute.unwrap().file, "/opt/real/l.so.1.2");
}

#[test]
fn a_cached_path_that_the_tree_lacks_is_passed_over() {
    let tree = Tree::of(&["/usr/lib/l.so"]);
    let cache = Cache::of(
        "x86_64",
        [("l.so", "/usr/local/lib/l.so"), ("l.so", "/opt/l.so")],
    );
    let rules = Rules {
        cache,
        hwcaps: Vec::new(),
    };
    let found = Finder::new(&tree, &rules).find(
        "l.so",
        "/usr/bin/a",
        &facts("x86_64"),
        &Context::default(),
    );
    assert_eq!(found.unwrap().opened, "/usr/lib/l.so");
}
