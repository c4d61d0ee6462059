//! Which package wins a path, and what cannot stand together.

use std::sync::Arc;

use model::manifest::{FileType, RegularFile};
use model::{Digest, Manifest};
use proptest::prelude::*;

use super::*;

fn file(path: &str, architecture: Option<&str>) -> FileEntry {
    let digest = Digest::of(path.as_bytes());
    let file = RegularFile {
        digest,
        size: 1,
        signature: digest.to_string().parse().unwrap(),
        file_type: FileType::Data,
        function: None,
        architecture: architecture.map(str::to_owned),
        capabilities: None,
        provides_apis: Vec::new(),
        consumes_apis: Vec::new(),
        elf: None,
        uses: None,
        interpreter: None,
    };
    let node = Node::File(Box::new(file));
    FileEntry {
        path: path.parse().unwrap(),
        mode: 0o644,
        owner: None,
        group: None,
        node,
    }
}

fn package(name: &str, files: Vec<FileEntry>) -> Package {
    let mut manifest = Manifest::new(name.parse().unwrap(), "1".parse().unwrap());
    manifest.files = files;
    Package::new(
        manifest.id(&manifest.to_bytes().unwrap()),
        Arc::new(manifest),
    )
}

fn node() -> Characteristics {
    Characteristics::of_arch("aarch64")
}

proptest! {
    #[test]
    fn the_first_package_that_has_a_path_wins_it(
        sets in proptest::collection::vec(proptest::collection::btree_set(0..12, 0..8), 1..6),
    ) {
        let path = |i: &i32| format!("/usr/share/f{i}");
        let of = |(i, set): (usize, &std::collections::BTreeSet<i32>)| {
            package(&format!("p{i}"), set.iter().map(|i| file(&path(i), None)).collect())
        };
        let order: Vec<Package> = sets.iter().enumerate().map(of).collect();
        let node = node();
        let tree = compose(&order, &node);
        for i in 0..12 {
            let first = sets.iter().position(|set| set.contains(&i));
            let won = tree.place(&path(&i)).map(|place| place.package as usize);
            prop_assert_eq!(won, first);
        }
        prop_assert!(tree.conflicts().is_empty());
    }
}

#[test]
fn files_for_other_architectures_are_passed_over() {
    let order = [
        package("a", vec![file("/usr/bin/x", Some("x86_64"))]),
        package("b", vec![file("/usr/bin/x", Some("aarch64"))]),
        package("c", vec![file("/usr/bin/x", None)]),
    ];
    let node = node();
    let tree = compose(&order, &node);
    assert_eq!(tree.entries()[0].0.id.name.as_str(), "b");
    assert_eq!(tree.entries().len(), 1);
}

#[test]
fn a_file_where_another_package_needs_a_directory_is_a_conflict() {
    let directory = FileEntry {
        node: Node::Directory,
        ..file("/usr/share/d", None)
    };
    let order = [
        package("a", vec![file("/usr/share/x/y", None), directory.clone()]),
        package("b", vec![file("/usr/share/x", None), directory]),
    ];
    let conflicts = compose(&order, &node()).conflicts();
    assert_eq!(conflicts.len(), 1);
    let text = conflicts[0].to_string();
    assert_eq!(
        text,
        "/usr/share/x of b=1 stands where /usr/share/x/y of a=1 needs a directory"
    );
}
