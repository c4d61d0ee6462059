//! Trials: in memory, gone with the boot, or committed. Real mounts: as root.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests: a failure here is a failed test"
)]

mod node;

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use model::Generation;
use model::change::{ChangeReport, Outcome, Request};
use node::{Node, Package, Sysmgrd, activate, package};

fn app(version: &str) -> Package {
    let own = format!("/usr/share/app/only-{version}");
    package("app", version)
        .process("appd", &format!("#!/bin/sh\n{version}\n"))
        .file("/usr/share/app/same", 0o644, b"same")
        .file(&own, 0o644, version.as_bytes())
}

fn with_config(version: &str) -> Package {
    app(version).config("/etc/app.conf", version.as_bytes())
}

fn trial(packages: &[&str]) -> Request {
    Request {
        trial: true,
        ..activate(packages)
    }
}

async fn node_with(packages: &[Package]) -> (Node, Sysmgrd) {
    let node = Node::start();
    let sysmgrd = Sysmgrd::listen(&node.config);
    node.add(packages).await;
    node.activate(&["app=1"]).await;
    (node, sysmgrd)
}

async fn tried(node: &Node, packages: &[&str]) -> ChangeReport {
    let report = node.apply(trial(packages)).await.unwrap();
    assert_eq!(report.outcome, Outcome::Done, "{report:?}");
    assert!(report.trial);
    report
}

/// Names, kinds, modes and contents of all below the state directory but the database.
fn storage(node: &Node) -> BTreeMap<PathBuf, (u32, u64, Vec<u8>)> {
    let mut all = BTreeMap::new();
    let mut open = vec![node.config.state_dir.clone()];
    while let Some(directory) = open.pop() {
        for entry in fs_err::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let meta = fs_err::symlink_metadata(&path).unwrap();
            if name.starts_with("state.db") {
                continue;
            }
            let bytes = match (meta.is_dir(), meta.is_symlink()) {
                (true, _) => {
                    open.push(path.clone());
                    Vec::new()
                }
                (false, true) => Vec::new(),
                (false, false) => fs_err::read(&path).unwrap(),
            };
            all.insert(path, (meta.mode(), meta.ino(), bytes));
        }
    }
    all
}

fn read(root: &Path, name: &str) -> Option<String> {
    fs_err::read_to_string(root.join("usr/share/app").join(name)).ok()
}

fn tree(node: &Node, number: u64) -> PathBuf {
    node.config.run_dir.join(format!("trials/{number}/root"))
}

#[tokio::test]
async fn a_trial_shows_the_new_set_and_leaves_persistent_storage_as_it_was() {
    let (node, sysmgrd) = node_with(&[app("1"), app("2")]).await;
    let before = storage(&node);
    let report = tried(&node, &["app=2"]).await;
    assert_eq!(storage(&node), before);
    assert_eq!(report.generation, Generation(2));
    assert!(report.phases.iter().all(|one| one.phase != "persist"));
    let root = tree(&node, 2);
    let sent = sysmgrd.script(|script| script.transitions.last().unwrap().tree.clone());
    assert_eq!(sent.root, root);
    assert_eq!(read(&root, "same").unwrap(), "same");
    assert_eq!(read(&root, "only-2").unwrap(), "2");
    assert_eq!(read(&root, "only-1"), None, "it went");
    let program = fs_err::read_to_string(root.join("usr/sbin/appd")).unwrap();
    assert_eq!(program, "#!/bin/sh\n2\n");
    let status = node.engine.status().await.unwrap();
    assert!(status.trial);
    assert_eq!(
        (status.generation, status.committed, status.way_back),
        (Generation(2), Generation(1), Some(Generation(1)))
    );
}

#[tokio::test]
async fn what_processes_are_told_names_files_as_maps_do() {
    let (node, sysmgrd) = node_with(&[app("1"), app("2")]).await;
    tried(&node, &["app=2"]).await;
    sysmgrd.script(|script| script.registered = vec!["appd".parse().unwrap()]);
    let back = Request {
        to: Some(Generation(1)),
        ..Request::default()
    };
    let inode = |root: &Path| {
        let meta = fs_err::metadata(root.join("usr/sbin/appd")).unwrap();
        (meta.dev(), meta.ino())
    };
    let in_trial = inode(&tree(&node, 2));
    assert_eq!(node.apply(back).await.unwrap().outcome, Outcome::Done);
    let told = sysmgrd.script(|script| script.prepares.last().unwrap().announcement.clone());
    let program = told
        .files
        .iter()
        .find(|file| file.path.as_str() == "/usr/sbin/appd")
        .unwrap();
    assert_eq!(program.old, Some(in_trial));
    assert_eq!(program.new, Some(inode(&node.tree(Generation(1)))));
}

#[tokio::test]
async fn a_rollback_ends_a_trial_and_leaves_no_mount() {
    let (node, sysmgrd) = node_with(&[app("1"), app("2"), app("3")]).await;
    let before = storage(&node);
    tried(&node, &["app=2"]).await;
    // A trial on top of a trial lies over the committed set too.
    tried(&node, &["app=3"]).await;
    assert_eq!(read(&tree(&node, 3), "only-3").unwrap(), "3");
    assert_eq!(read(&tree(&node, 3), "only-2"), None);
    let refused = node.apply(activate(&["app=3"])).await.unwrap_err();
    assert!(refused.to_string().contains("pkgtool commit"), "{refused}");
    let back = Request {
        to: Some(Generation(1)),
        ..Request::default()
    };
    let report = node.apply(back).await.unwrap();
    assert_eq!(report.outcome, Outcome::Done, "{report:?}");
    assert_eq!(sysmgrd.running(), [("appd".to_owned(), 1)]);
    assert_eq!(storage(&node), before);
    let status = node.engine.status().await.unwrap();
    assert!(!status.trial);
    assert_eq!(status.generations.len(), 1);
    let left = fs_err::read_dir(node.config.run_dir.join("trials")).unwrap();
    assert_eq!(left.count(), 0);
    let mounts = fs_err::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(&*node.config.run_dir.to_string_lossy()));
}

#[tokio::test]
async fn a_commit_keeps_a_trial_and_disturbs_nobody() {
    let (node, sysmgrd) = node_with(&[app("1"), app("2")]).await;
    tried(&node, &["app=2"]).await;
    let transitions = sysmgrd.script(|script| script.transitions.len());
    let report = node.engine.commit("the test".to_owned()).await.unwrap();
    assert_eq!(report.outcome, Outcome::Done, "{report:?}");
    assert_eq!(
        sysmgrd.script(|script| script.transitions.len()),
        transitions
    );
    let status = node.engine.status().await.unwrap();
    assert_eq!((status.trial, status.committed), (false, Generation(2)));
    assert_eq!(read(&node.tree(Generation(2)), "only-2").unwrap(), "2");
    assert!(tree(&node, 2).join("usr").exists(), "somebody lives in it");
    let again = node.engine.commit("the test".to_owned()).await.unwrap();
    assert!(again.detail.unwrap().contains("committed already"));
    let (dir, config) = node.kill();
    node::unmount_trials(&config);
    fs_err::write(&config.boot_id_file, "boot-2\n").unwrap();
    sysmgrd.script(|script| script.running.clear());
    let node = Node::over(dir, config);
    sysmgrd.runs(&[("appd", 2)]).await;
    let sent = sysmgrd.script(|script| script.transitions.last().unwrap().tree.clone());
    assert_eq!(sent.root, node.tree(Generation(2)));
}

#[tokio::test]
async fn after_a_reboot_the_old_set_runs_and_etc_is_as_it_was() {
    let (node, sysmgrd) = node_with(&[with_config("1"), with_config("2")]).await;
    let refused = node.apply(trial(&["app=2"])).await.unwrap_err();
    assert!(refused.to_string().contains("--with-config"), "{refused}");
    let request = Request {
        with_config: true,
        ..trial(&["app=2"])
    };
    assert_eq!(node.apply(request).await.unwrap().outcome, Outcome::Done);
    assert_eq!(fs_err::read_to_string(node.etc("app.conf")).unwrap(), "2");
    let (dir, config) = node.kill();
    node::unmount_trials(&config);
    fs_err::write(&config.boot_id_file, "boot-2\n").unwrap();
    sysmgrd.script(|script| script.running.clear());
    let node = Node::over(dir, config);
    assert_eq!(
        fs_err::read_to_string(node.etc("app.conf")).unwrap(),
        "1",
        "before a process starts"
    );
    sysmgrd.runs(&[("appd", 1)]).await;
    let status = node.engine.status().await.unwrap();
    assert_eq!((status.trial, status.generations.len()), (false, 1));
    let history = node.engine.history(model::change::HistoryFilter::default());
    let history = history.await.unwrap();
    assert!(history[0].report.as_ref().unwrap().trial, "it stays there");
}

#[tokio::test]
async fn a_restart_of_installd_leaves_a_trial_as_it_is() {
    let (node, sysmgrd) = node_with(&[app("1"), app("2")]).await;
    tried(&node, &["app=2"]).await;
    let (dir, config) = node.kill();
    let node = Node::over(dir, config);
    let status = node.engine.status().await.unwrap();
    assert_eq!((status.trial, status.generation), (true, Generation(2)));
    assert_eq!(sysmgrd.running(), [("appd".to_owned(), 2)]);
    assert_eq!(read(&tree(&node, 2), "only-2").unwrap(), "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_a_trial_it_is_finished_in_this_boot_and_undone_in_another() {
    for reboot in [false, true] {
        let (node, old) = node_with(&[app("1"), app("2")]).await;
        let before = storage(&node);
        old.script(|script| script.hold = true);
        let engine = node.engine.clone();
        tokio::spawn(async move { engine.apply(trial(&["app=2"]), "t".to_owned()).await });
        old.begun().await;
        let (dir, config) = node.kill();
        old.stop();
        if reboot {
            node::unmount_trials(&config);
            fs_err::write(&config.boot_id_file, "boot-2\n").unwrap();
            old.script(|script| script.running.clear());
        }
        let sysmgrd = Sysmgrd::with(&config, std::sync::Arc::clone(&old.script));
        let node = Node::over(dir, config);
        let runs = if reboot { 1 } else { 2 };
        sysmgrd.runs(&[("appd", runs)]).await;
        let status = loop {
            let status = node.engine.status().await.unwrap();
            if status.change.is_none() {
                break status;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        };
        assert_eq!(
            (status.generation, status.trial),
            (Generation(runs), !reboot)
        );
        assert_eq!(status.committed, Generation(1));
        assert_eq!(tree(&node, 2).exists(), !reboot);
        assert_eq!(storage(&node).len(), before.len());
    }
}

#[tokio::test]
async fn a_trial_that_does_not_come_up_leaves_nothing() {
    let (node, sysmgrd) = node_with(&[app("1"), app("2")]).await;
    sysmgrd.script(|script| script.failing = vec![("appd".parse().unwrap(), Generation(2))]);
    let report = node.apply(trial(&["app=2"])).await.unwrap();
    assert_eq!(report.outcome, Outcome::RolledBack, "{report:?}");
    assert!(!report.trial);
    assert_eq!(sysmgrd.running(), [("appd".to_owned(), 1)]);
    assert!(!tree(&node, 2).exists());
    assert!(!node.engine.status().await.unwrap().trial);
}

#[tokio::test]
async fn a_trial_that_is_too_large_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = node::config(dir.path());
    config.trial_max = toml::from_str::<BTreeMap<String, _>>("max = '64K'").unwrap()["max"];
    let node = Node::over(dir, config);
    let _sysmgrd = Sysmgrd::listen(&node.config);
    let large = package("large", "1").file("/usr/share/large", 0o644, &vec![7; 100_000]);
    node.add(&[large]).await;
    let refused = node.apply(trial(&["large"])).await.unwrap_err();
    assert!(refused.to_string().contains("trial-max"), "{refused}");
}
