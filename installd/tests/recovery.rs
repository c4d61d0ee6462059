//! Killed in the middle: the next start finishes or undoes, and the set that is to run is brought up.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests: a failure here is a failed test"
)]

mod node;

use std::sync::Arc;
use std::time::Duration;

use model::change::Outcome;
use model::{Generation, ProcessName};
use node::{Node, Package, Sysmgrd, activate, package};

fn app(version: &str) -> Package {
    package("app", version)
        .process("appd", &format!("#!/bin/sh\n{version}\n"))
        .config("/etc/app.conf", version.as_bytes())
}

fn other() -> Package {
    package("other", "1").process("otherd", "#!/bin/sh\n")
}

/// A node killed while sysmgrd was at work on the change from `app=1` to `app=2`.
async fn killed_in_transition() -> (tempfile::TempDir, installd::config::Config, Sysmgrd) {
    let node = Node::start();
    let sysmgrd = Sysmgrd::listen(&node.config);
    node.add(&[app("1"), app("2"), other()]).await;
    node.activate(&["app=1", "other"]).await;
    sysmgrd.script(|script| script.hold = true);
    let engine = node.engine.clone();
    tokio::spawn(async move { engine.apply(activate(&["app=2"]), "t".to_owned()).await });
    sysmgrd.begun().await;
    let (dir, config) = node.kill();
    // As for a killed daemon, its connections end and what it asked for goes on by itself.
    sysmgrd.stop();
    (dir, config, sysmgrd)
}

/// The end of the change with this number, when it has one.
async fn end_of(node: &Node, change: usize) -> model::change::ChangeReport {
    for _ in 0..2000 {
        let history = node
            .engine
            .history(model::change::HistoryFilter::default())
            .await
            .unwrap();
        let entry = history
            .iter()
            .find(|one| one.change.0 == change as u64)
            .unwrap();
        let busy = node.engine.status().await.unwrap().change.is_some();
        if let (Some(report), false) = (&entry.report, busy) {
            return report.clone();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("change {change} has no end");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_switch_in_the_same_boot_it_is_finished() {
    let (dir, config, old) = killed_in_transition().await;
    let sysmgrd = Sysmgrd::with(&config, Arc::clone(&old.script));
    let node = Node::over(dir, config);
    let report = end_of(&node, 2).await;
    assert_eq!(report.outcome, Outcome::Done);
    assert_eq!(
        sysmgrd.running(),
        [("appd".to_owned(), 2), ("otherd".to_owned(), 1)]
    );
    // The end stands in the history before the engine has heard of it.
    node.engine.settled(Duration::from_secs(30)).await;
    let status = node.engine.status().await.unwrap();
    assert_eq!(
        (status.generation, status.committed),
        (Generation(2), Generation(2))
    );
    assert_eq!(fs_err::read_to_string(node.etc("app.conf")).unwrap(), "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_switch_in_the_same_boot_what_fails_is_taken_back() {
    let (dir, config, old) = killed_in_transition().await;
    let name: ProcessName = "appd".parse().unwrap();
    old.script(|script| script.failing = vec![(name, Generation(2))]);
    let sysmgrd = Sysmgrd::with(&config, Arc::clone(&old.script));
    let node = Node::over(dir, config);
    let report = end_of(&node, 2).await;
    assert_eq!(report.outcome, Outcome::RolledBack);
    assert_eq!(
        sysmgrd.running(),
        [("appd".to_owned(), 1), ("otherd".to_owned(), 1)]
    );
    // The end stands in the history before the engine has heard of it.
    node.engine.settled(Duration::from_secs(30)).await;
    let status = node.engine.status().await.unwrap();
    assert_eq!(
        (status.generation, status.committed),
        (Generation(1), Generation(1))
    );
    assert_eq!(fs_err::read_to_string(node.etc("app.conf")).unwrap(), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_another_boot_what_was_not_committed_is_undone_and_the_committed_set_runs() {
    let (dir, config, _old) = killed_in_transition().await;
    fs_err::write(&config.boot_id_file, "boot-2\n").unwrap();
    let sysmgrd = Sysmgrd::listen(&config);
    let node = Node::over(dir, config);
    assert_eq!(
        fs_err::read_to_string(node.etc("app.conf")).unwrap(),
        "1",
        "before a process starts"
    );
    let report = end_of(&node, 2).await;
    assert_eq!(report.outcome, Outcome::Failed);
    assert!(report.detail.unwrap().contains("restarted"));
    sysmgrd.runs(&[("appd", 1), ("otherd", 1)]).await;
    let transitions = sysmgrd.script(|script| script.transitions.clone());
    assert_eq!(transitions.len(), 1);
    assert_eq!(transitions[0].new.len(), 2);
    assert!(!node.tree(Generation(2)).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_run_as_they_should_are_left_alone_by_a_restart() {
    let node = Node::start();
    let sysmgrd = Sysmgrd::listen(&node.config);
    node.add(&[app("1"), app("2"), other()]).await;
    node.activate(&["app=1", "other"]).await;
    node.activate(&["app=2"]).await;
    let (dir, config) = node.kill();
    let node = Node::over(dir, config);
    assert_eq!(end_of(&node, 2).await.outcome, Outcome::Done);
    // Which tree is the newest, and nothing to do.
    let sent = sysmgrd.script(|script| script.transitions.split_off(2));
    for one in sent {
        assert_eq!(one.tree.generation, Generation(2));
        let lists = [&one.new, &one.changed, &one.dependent];
        assert!(lists.iter().all(|list| list.is_empty()), "{one:?}");
        assert!(one.obsolete.is_empty() && one.told.is_empty(), "{one:?}");
    }
    sysmgrd.script(|script| script.running.clear());
    let (dir, config) = node.kill();
    let _node = Node::over(dir, config);
    sysmgrd.runs(&[("appd", 2), ("otherd", 2)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sysmgrd_that_dies_in_the_middle_and_comes_back_is_sent_what_is_left() {
    let node = Node::start();
    let first = Sysmgrd::listen(&node.config);
    node.add(&[app("1"), app("2"), other()]).await;
    node.activate(&["app=1", "other"]).await;
    first.script(|script| script.hold = true);
    let engine = node.engine.clone();
    let change =
        tokio::spawn(async move { engine.apply(activate(&["app=2"]), "t".to_owned()).await });
    first.begun().await;
    first.stop();
    let second = Sysmgrd::with(&node.config, Arc::clone(&first.script));
    let report = change.await.unwrap().unwrap();
    assert_eq!(report.outcome, Outcome::Done, "{report:?}");
    assert_eq!(
        second.running(),
        [("appd".to_owned(), 2), ("otherd".to_owned(), 1)]
    );
}
