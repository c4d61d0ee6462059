//! What changes the hash and what does not.

use std::sync::Arc;

use model::manifest::{FileType, RegularFile};
use model::{Digest, Manifest};

use super::*;

fn file(path: &str, text: &str, machine: Option<&str>) -> FileEntry {
    let digest = Digest::of(text.as_bytes());
    FileEntry {
        path: path.parse().unwrap(),
        mode: 0o644,
        owner: None,
        group: None,
        node: Node::File(Box::new(RegularFile {
            digest,
            size: 1,
            signature: model::Signature::of_exact(digest),
            file_type: FileType::Data,
            function: None,
            architecture: machine.map(str::to_owned),
            capabilities: None,
            provides_apis: Vec::new(),
            consumes_apis: Vec::new(),
            elf: None,
            uses: None,
            interpreter: None,
        })),
    }
}

fn link(path: &str, target: &str) -> FileEntry {
    let target = target.to_owned();
    FileEntry {
        node: Node::Link { target },
        mode: 0,
        ..file(path, "", None)
    }
}

fn package(name: &str, files: Vec<FileEntry>) -> Package {
    let mut manifest = Manifest::new(name.parse().unwrap(), "1".parse().unwrap());
    manifest.files = files;
    let id = manifest.id(&manifest.to_bytes().unwrap());
    Package::new(id, Arc::new(manifest))
}

fn x86() -> Characteristics {
    Characteristics::of_arch("x86_64")
}

#[test]
fn the_hash_is_the_same_wherever_and_whenever_it_is_computed() {
    let set = [package(
        "a",
        vec![
            file("/usr/bin/a", "a", Some("x86_64")),
            link("/usr/bin/b", "a"),
        ],
    )];
    assert_eq!(
        software_hash(&set, &x86()).to_string(),
        software_hash(&set, &x86()).to_string()
    );
    let empty = software_hash(&[], &x86());
    assert_eq!(
        empty,
        software_hash(&[], &Characteristics::of_arch("aarch64"))
    );
}

#[test]
fn order_version_file_mode_owner_and_link_text_each_change_the_hash() {
    let plain = || vec![file("/usr/bin/a", "a", None), link("/usr/bin/b", "a")];
    let base = package("base", vec![file("/usr/bin/c", "c", None)]);
    let hash = |files: Vec<FileEntry>| software_hash(&[package("a", files), base.clone()], &x86());
    let mut seen = vec![hash(plain())];
    seen.push(software_hash(
        &[base.clone(), package("a", plain())],
        &x86(),
    ));
    let edits: [fn(&mut Vec<FileEntry>); 5] = [
        |files| files[0] = file("/usr/bin/a", "other", None),
        |files| files[0].mode = 0o755,
        |files| files[0].owner = Some("www".into()),
        |files| files[0].group = Some("www".into()),
        |files| files[1] = link("/usr/bin/b", "c"),
    ];
    for edit in edits {
        let mut files = plain();
        edit(&mut files);
        seen.push(hash(files));
    }
    let count = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), count, "two different sets have one hash");
}

#[test]
fn nodes_of_two_architectures_have_different_hashes_for_one_list_where_files_differ() {
    let both = package(
        "a",
        vec![
            file("/usr/lib/x.so", "x86", Some("x86_64")),
            file("/usr/lib/y.so", "arm", Some("aarch64")),
        ],
    );
    let neutral = package("n", vec![file("/usr/share/n", "n", None)]);
    let arm = Characteristics::of_arch("aarch64");
    let set = [both];
    assert_ne!(software_hash(&set, &x86()), software_hash(&set, &arm));
    let set = [neutral];
    assert_eq!(software_hash(&set, &x86()), software_hash(&set, &arm));
}
