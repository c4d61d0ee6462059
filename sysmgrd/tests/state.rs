//! A process's state between its old program and its new one.
#![allow(clippy::unwrap_used, reason = "tests; helpers too")]

mod node;

use std::path::PathBuf;

use model::process::{OwnDirectory, Ready};
use model::transition::{StateAct, Transition, Tree};
use node::{Node, name, spec, starting, wanted};

/// A process whose state directory is `/var/lib/db`.
fn database(words: &str) -> model::ProcessSpec {
    let mut spec = spec("db", words);
    spec.state_directory = vec![OwnDirectory {
        name: "db".into(),
        mode: None,
    }];
    spec
}

fn rows(node: &Node) -> String {
    fs_err::read_to_string(node.dir.path().join("root/var/lib/db/rows")).unwrap()
}

fn kept(node: &Node) -> PathBuf {
    node.dir.path().join("kept/1-db")
}

fn act(tree: Tree, command: &str) -> StateAct {
    let words = command.split_whitespace().map(str::to_owned);
    StateAct {
        from: 1,
        to: 2,
        snapshot: None,
        restore: None,
        take_back: None,
        command: words.collect(),
        tree,
        timeout_ms: 20_000,
    }
}

/// The tree that it runs in.
async fn with_old_rows(node: &Node) -> Tree {
    let tree = node.tree(1, "one");
    let words = "write /var/lib/db/rows old notify READY=1 sleep";
    let mut old = database(words);
    old.ready = Ready::Notify;
    let report = node.transition(&starting(tree.clone(), [old])).await;
    assert_eq!(report.failed, []);
    tree
}

fn restarting(tree: Tree, words: &str, act: StateAct) -> Transition {
    let mut next = starting(tree, []);
    next.changed = vec![wanted(database(words))];
    next.state.insert(name("db"), act);
    next
}

#[tokio::test]
async fn state_is_copied_then_migrated_before_the_new_program_starts_and_can_be_put_back() {
    let node = Node::start();
    let older = with_old_rows(&node).await;
    let tree = node.tree(2, "two");
    let mut forward = act(
        tree.clone(),
        "/usr/bin/daemon write /var/lib/db/rows migrated exit 0",
    );
    forward.snapshot = Some(kept(&node));
    let report = node
        .transition(&restarting(tree.clone(), "sleep", forward))
        .await;
    assert_eq!(report.failed, []);
    assert_eq!(rows(&node), "migrated");
    assert_eq!(
        fs_err::read_to_string(kept(&node).join("0/rows")).unwrap(),
        "old"
    );

    let mut back = act(older.clone(), "");
    back.restore = Some(kept(&node));
    let report = node.transition(&restarting(older, "sleep", back)).await;
    assert_eq!(report.failed, []);
    assert_eq!(rows(&node), "old");
    assert_eq!(node.status("db").await.generation.0, 1);
}

#[tokio::test]
async fn a_process_whose_state_could_not_be_migrated_is_not_started_and_its_program_is_quoted() {
    let node = Node::start();
    with_old_rows(&node).await;
    let tree = node.tree(2, "two");
    let failing = act(tree.clone(), "/usr/bin/daemon say cannot-read-rows exit 3");
    let report = node
        .transition(&restarting(tree.clone(), "sleep", failing))
        .await;
    let reason = &report.failed[0].reason;
    assert!(
        reason.contains("was not started: /usr/bin/daemon ended with exit code 3")
            && reason.contains("cannot-read-rows"),
        "{reason}"
    );
    assert_eq!(node.status("db").await.pid, None);

    let mut slow = act(tree.clone(), "/usr/bin/daemon sleep");
    slow.timeout_ms = 100;
    let report = node.transition(&restarting(tree, "sleep", slow)).await;
    let reason = &report.failed[0].reason;
    assert!(reason.contains("was not done after 100ms"), "{reason}");
    let group = node.cgroup().join("db.process");
    let left = fs_err::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    assert_eq!(left, "", "nobody writes the state any more");
}

#[tokio::test]
async fn the_program_runs_in_the_view_that_was_named_and_knows_both_versions() {
    let node = Node::start();
    let older = with_old_rows(&node).await;
    let newer = node.tree(2, "two");
    // Back: the newer program, in the newer view, then the older process in the older one.
    let mut back = act(
        newer,
        "/usr/bin/daemon write /var/lib/db/rows ${STATE_FROM}-${STATE_TO} exit 0",
    );
    (back.from, back.to) = (2, 1);
    let report = node.transition(&restarting(older, "sleep", back)).await;
    assert_eq!(report.failed, []);
    assert_eq!(rows(&node), "2-1");
}
