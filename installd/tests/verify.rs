//! What `verify` finds: files that are not as their objects say, what does not belong, what the
//! administrator changed, and processes with other files mapped.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests: a failure here is a failed test"
)]

mod node;

use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use model::Generation;
use model::change::{Thoroughness, VerifyReport};
use model::mappings::{MappedFile, Mapper, Mappings};
use node::{Node, Sysmgrd, package};

async fn a_node() -> (Node, Sysmgrd) {
    let node = Node::start();
    let sysmgrd = Sysmgrd::listen(&node.config);
    let app = package("app", "1")
        .process("appd", "#!/bin/sh\none\n")
        .config("/etc/app.conf", b"shipped")
        .config("/etc/other.conf", b"shipped too")
        .file("/usr/share/app/data", 0o644, b"data of some length")
        .file("/usr/share/app/same", 0o644, b"data of some length")
        .file("/usr/share/app/more", 0o640, b"more")
        .link("/usr/share/app/link", "data");
    node.add(&[app]).await;
    node.activate(&["app"]).await;
    (node, sysmgrd)
}

async fn verify(node: &Node, thoroughness: Thoroughness) -> VerifyReport {
    node.engine.verify(thoroughness).await.unwrap()
}

/// `path: how` of each.
fn told(list: &[model::change::DifferingFile]) -> Vec<String> {
    list.iter()
        .map(|one| format!("{}: {}", one.path, one.how))
        .collect()
}

/// Changes one byte and leaves length and times as they were.
fn flip(path: &Path) {
    let before = fs_err::metadata(path).unwrap();
    let mut file = fs_err::OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0];
    file.read_exact(&mut byte).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.write_all(&[byte[0] ^ 1]).unwrap();
    file.file()
        .set_modified(before.modified().unwrap())
        .unwrap();
    let after = fs_err::metadata(path).unwrap();
    assert_eq!(after.mtime_nsec(), before.mtime_nsec());
}

#[tokio::test]
async fn a_node_as_it_should_be_has_nothing_to_tell() {
    let (node, _sysmgrd) = a_node().await;
    let quick = verify(&node, Thoroughness::Metadata).await;
    assert_eq!(quick.generation, Generation(1));
    assert_eq!((quick.files, quick.bytes), (7, 0));
    assert!(quick.differing.is_empty(), "{quick:?}");
    assert!(
        quick.config.is_empty() && quick.mapped.is_empty(),
        "{quick:?}"
    );
    let full = verify(&node, Thoroughness::Content).await;
    assert!(
        full.differing.is_empty() && full.config.is_empty(),
        "{full:?}"
    );
    // One object stands at two paths and is read once.
    let read = "data of some length".len() + "more".len() + "#!/bin/sh\none\n".len();
    let config = "shipped".len() + "shipped too".len();
    assert_eq!(full.bytes, (read + config) as u64);
}

#[tokio::test]
async fn a_flipped_byte_is_found_by_reading_only_and_at_every_path_of_its_object() {
    let (node, _sysmgrd) = a_node().await;
    flip(&node.tree(Generation(1)).join("usr/share/app/data"));
    let quick = verify(&node, Thoroughness::Metadata).await;
    assert!(quick.differing.is_empty(), "{quick:?}");
    let full = verify(&node, Thoroughness::Content).await;
    let both = [
        "/usr/share/app/data: content",
        "/usr/share/app/same: content",
    ];
    assert_eq!(told(&full.differing), both);
    assert_eq!(full.differing[0].package, "app=1");
}

#[tokio::test]
async fn modes_missing_and_replaced_and_foreign_files_are_found_by_metadata() {
    let (node, _sysmgrd) = a_node().await;
    let app = node.tree(Generation(1)).join("usr/share/app");
    let mode = PermissionsExt::from_mode(0o4755);
    fs_err::set_permissions(app.join("more"), mode).unwrap();
    fs_err::remove_file(app.join("link")).unwrap();
    std::os::unix::fs::symlink("/etc/shadow", app.join("link")).unwrap();
    fs_err::remove_file(app.join("same")).unwrap();
    fs_err::write(app.join("same"), b"data of some length").unwrap();
    fs_err::remove_file(node.tree(Generation(1)).join("usr/sbin/appd")).unwrap();
    fs_err::create_dir(app.join("foreign")).unwrap();
    fs_err::write(app.join("foreign/file"), b"x").unwrap();
    fs_err::write(app.join("two\nlines"), b"x").unwrap();
    let found = verify(&node, Thoroughness::Metadata).await;
    let expected = [
        "/usr/sbin/appd: missing",
        "/usr/share/app: a file that no package brings: usr/share/app/two\\nlines",
        "/usr/share/app/foreign: a directory that no package brings",
        "/usr/share/app/link: leads to /etc/shadow, should lead to data",
        "/usr/share/app/more: mode 4755, should be 0640",
        "/usr/share/app/same: another file stands in its place",
    ];
    assert_eq!(told(&found.differing), expected);
}

#[tokio::test]
async fn a_file_that_was_written_to_later_is_found_by_its_time() {
    let (node, _sysmgrd) = a_node().await;
    let path = node.tree(Generation(1)).join("usr/share/app/more");
    let file = fs_err::OpenOptions::new().write(true).open(path).unwrap();
    let later = std::time::SystemTime::now() + std::time::Duration::from_hours(1);
    file.file().set_modified(later).unwrap();
    let found = verify(&node, Thoroughness::Metadata).await;
    let expected = ["/usr/share/app/more: written to after it was stored"];
    assert_eq!(told(&found.differing), expected);
}

#[tokio::test]
async fn what_the_administrator_changed_is_listed_apart() {
    let (node, _sysmgrd) = a_node().await;
    fs_err::write(node.etc("app.conf"), b"my own").unwrap();
    fs_err::remove_file(node.etc("other.conf")).unwrap();
    let found = verify(&node, Thoroughness::Metadata).await;
    assert!(found.differing.is_empty(), "{found:?}");
    let expected = ["/etc/app.conf: content", "/etc/other.conf: missing"];
    assert_eq!(told(&found.config), expected);
}

#[tokio::test]
async fn a_process_with_other_files_than_its_generation_s_is_named() {
    let (node, sysmgrd) = a_node().await;
    let program = node.tree(Generation(1)).join("usr/sbin/appd");
    let data = fs_err::metadata(program).unwrap();
    let file = |path: &str, dev: u64, inode: u64| MappedFile {
        path: path.to_owned(),
        dev,
        inode,
        by: vec![0],
    };
    let files = [
        file("/usr/sbin/appd", data.dev(), data.ino()),
        file("/usr/share/app/data", data.dev(), data.ino()),
        file("/usr/lib/gone.so (deleted)", data.dev(), 1),
        file("/var/lib/app/db", 1, 1),
    ];
    let mapper = Mapper {
        process: "appd".parse().unwrap(),
        pid: 77,
        generation: Generation(1),
    };
    let mapped = Mappings {
        processes: vec![mapper],
        files: files.into(),
    };
    sysmgrd.script(|script| script.mapped = mapped);
    let found = verify(&node, Thoroughness::Metadata).await;
    let told: Vec<_> = found
        .mapped
        .iter()
        .map(|one| format!("{} {}: {}", one.pid, one.path, one.how))
        .collect();
    let expected = [
        "77 /usr/lib/gone.so (deleted): a file that was deleted and is not of its generation",
        "77 /usr/share/app/data: another file than that of its generation",
    ];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn a_node_without_a_set_is_verified_too() {
    let node = Node::start();
    let found = verify(&node, Thoroughness::Content).await;
    assert_eq!(found, VerifyReport::default());
}
