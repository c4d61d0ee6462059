//! The store by its engine: what goes in comes out, once, and nothing half.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests: a failure here is a failed test"
)]

mod node;

use model::change::PackageRef;
use node::{Node, as_file, envelope, package};

#[tokio::test]
async fn packages_are_added_once_and_listed() {
    let node = Node::start();
    let one = package("one", "1")
        .file("/usr/share/one/a", 0o644, b"same")
        .file("/usr/bin/b", 0o755, b"b");
    let two = package("two", "1").file("/usr/share/two/a", 0o644, b"same");
    let added = node.add(&[one.clone(), two.clone()]).await;
    assert!(added.iter().all(|one| one.new));
    let objects = node.objects();
    assert_eq!(
        objects
            .iter()
            .filter(|path| path.to_string_lossy().contains("/objects/"))
            .count(),
        2
    );
    let again = node.add(&[one, two]).await;
    assert!(again.iter().all(|one| !one.new));
    assert_eq!(node.objects(), objects, "nothing is written again");
    let list = node.engine.list().await.unwrap();
    let names: Vec<_> = list
        .iter()
        .map(|one| (one.package.as_str(), one.active, one.size))
        .collect();
    assert_eq!(names, [("one=1", false, 5), ("two=1", false, 4)]);
}

#[tokio::test]
async fn a_hostile_envelope_leaves_nothing() {
    let node = Node::start();
    let before = node.objects();
    let good = package("one", "1")
        .file("/usr/a", 0o644, &[7; 9000])
        .file("/usr/b", 0o644, b"b");
    let bytes = envelope(&[good]);
    for cut in [
        0,
        100,
        512,
        bytes.len() / 2,
        bytes.len() - 1024,
        bytes.len() - 1,
    ] {
        node.engine.add(as_file(&bytes[..cut])).await.unwrap_err();
        assert_eq!(node.objects(), before, "cut at {cut}");
    }
    for at in (0..bytes.len()).step_by(97) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x10;
        if node.engine.add(as_file(&flipped)).await.is_err() {
            assert_eq!(node.objects(), before, "flipped at {at}");
        } else {
            panic!("a flipped bit at {at} was not seen");
        }
    }
    assert!(node.engine.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_manifest_that_lies_about_a_signature_is_refused() {
    let node = Node::start();
    let before = node.objects();
    let program = |name: &str| fs_err::read(format!("/usr/bin/{name}")).unwrap();
    let mut liar = package("liar", "1").file("/usr/bin/x", 0o755, &program("true"));
    let truth = package("other", "1").file("/usr/bin/x", 0o755, &program("ls"));
    let signature_of = |package: &node::Package| match &package.manifest.files[0].node {
        model::manifest::Node::File(file) => file.signature,
        model::manifest::Node::Link { .. } | model::manifest::Node::Directory => unreachable!(),
    };
    let other = signature_of(&truth);
    if let model::manifest::Node::File(file) = &mut liar.manifest.files[0].node {
        file.signature = other;
    }
    let error = node
        .engine
        .add(as_file(&envelope(&[liar])))
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("/usr/bin/x of liar=1"), "{error}");
    assert_eq!(node.objects(), before);
}

#[tokio::test]
async fn what_a_killed_add_left_is_swept_at_the_next_start() {
    let node = Node::start();
    let (dir, config) = node.kill();
    let store = config.state_dir.join("store");
    fs_err::write(store.join("tmp/object"), b"half").unwrap();
    fs_err::create_dir_all(store.join("packages/x_1_01234567")).unwrap();
    fs_err::write(store.join("packages/x_1_01234567/manifest.json"), b"{}").unwrap();
    let node = Node::over(dir, config);
    assert_eq!(node.objects(), Vec::<std::path::PathBuf>::new());
}

#[tokio::test]
async fn a_removed_package_takes_its_objects_with_it_but_not_those_of_others() {
    let node = Node::start();
    let sysmgrd = node::Sysmgrd::listen(&node.config);
    let one = package("one", "1")
        .file("/usr/a", 0o644, b"same")
        .file("/usr/b", 0o644, b"b");
    let two = package("two", "1").file("/usr/c", 0o644, b"same");
    node.add(&[one, two]).await;
    let removed = node
        .engine
        .remove(vec!["one".parse::<PackageRef>().unwrap()])
        .await
        .unwrap();
    assert_eq!(removed.len(), 1);
    let left: Vec<_> = node.objects();
    assert_eq!(left.len(), 2, "one object and one manifest: {left:?}");
    node.engine
        .remove(vec!["one".parse().unwrap()])
        .await
        .unwrap_err();
    sysmgrd.stop();
}

#[tokio::test]
async fn a_hundred_small_and_one_large_object_come_back_as_they_were() {
    let node = Node::start();
    let mut many = package("many", "1").file("/usr/large", 0o644, &vec![3; 5 << 20]);
    for i in 0..100 {
        many = many.file(
            &format!("/usr/share/{i}"),
            0o640,
            format!("content {i}").as_bytes(),
        );
    }
    node.add(&[many]).await;
    let sizes: Vec<u64> = node
        .objects()
        .iter()
        .filter(|path| path.to_string_lossy().contains("/objects/"))
        .map(|path| fs_err::metadata(path).unwrap().len())
        .collect();
    assert_eq!(sizes.len(), 101);
    assert!(sizes.contains(&(5 << 20)));
}
