//! Back to generations that are kept, pins, and what is given up.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests: a failure here is a failed test"
)]

mod node;

use model::Generation;
use model::change::{Outcome, Request, Verdict, What};
use node::{Node, Package, Sysmgrd, activate, package};

fn app(version: &str) -> Package {
    package("app", version)
        .process("appd", &format!("#!/bin/sh\n{version}\n"))
        .config("/etc/app.conf", version.as_bytes())
}

fn back_to(generation: u64) -> Request {
    Request {
        to: Some(Generation(generation)),
        ..Request::default()
    }
}

async fn three() -> (Node, Sysmgrd) {
    let node = Node::start();
    let sysmgrd = Sysmgrd::listen(&node.config);
    node.add(&[app("1"), app("2"), app("3")]).await;
    for version in ["app=1", "app=2", "app=3"] {
        node.activate(&[version]).await;
    }
    (node, sysmgrd)
}

#[tokio::test]
async fn any_kept_generation_runs_again_with_its_own_files_and_configuration() {
    let (node, sysmgrd) = three().await;
    let report = node.apply(back_to(1)).await.unwrap();
    assert_eq!(report.outcome, Outcome::Done, "{report:?}");
    assert_eq!(report.generation, Generation(1));
    assert_eq!(sysmgrd.running(), [("appd".to_owned(), 1)]);
    assert_eq!(fs_err::read_to_string(node.etc("app.conf")).unwrap(), "1");
    let status = node.engine.status().await.unwrap();
    assert_eq!(status.committed, Generation(1));
    assert_eq!(status.generations.len(), 3, "no tree was built");
    assert_eq!(status.way_back, Some(Generation(3)));
    let again = node.apply(back_to(3)).await.unwrap();
    assert_eq!(again.outcome, Outcome::Done, "{again:?}");
    assert_eq!(sysmgrd.running(), [("appd".to_owned(), 3)]);
    let next = node.activate(&["app=2"]).await;
    assert_eq!(next.generation, Generation(4), "no number is used twice");
}

#[tokio::test]
async fn a_way_back_that_fails_leaves_what_ran() {
    let (node, sysmgrd) = three().await;
    sysmgrd.script(|script| script.failing = vec![("appd".parse().unwrap(), Generation(1))]);
    let report = node.apply(back_to(1)).await.unwrap();
    assert_eq!(report.outcome, Outcome::RolledBack, "{report:?}");
    assert_eq!(sysmgrd.running(), [("appd".to_owned(), 3)]);
    let status = node.engine.status().await.unwrap();
    assert_eq!(status.committed, Generation(3));
    assert!(node.tree(Generation(1)).exists(), "it is kept");
    assert_eq!(fs_err::read_to_string(node.etc("app.conf")).unwrap(), "3");
}

#[tokio::test]
async fn a_rollback_that_fails_too_is_never_silent() {
    let (node, sysmgrd) = three().await;
    let name: model::ProcessName = "appd".parse().unwrap();
    sysmgrd.script(|script| {
        script.failing = vec![(name.clone(), Generation(4)), (name, Generation(3))];
    });
    let report = node.apply(activate(&["app=2"])).await.unwrap();
    assert_eq!(report.outcome, Outcome::Failed);
    assert_eq!(report.failure, Some(model::change::Failure::RollbackFailed));
    let told = |all: &[String]| {
        all.iter()
            .any(|one| one.contains("was not taken back wholly"))
    };
    let status = node.engine.status().await.unwrap();
    assert!(told(&status.discrepancies), "{:?}", status.discrepancies);
    let (dir, config) = node.kill();
    let node = Node::over(dir, config);
    let status = node.engine.status().await.unwrap();
    assert!(told(&status.discrepancies), "{:?}", status.discrepancies);
}

#[tokio::test]
async fn pinned_generations_stay_and_others_go() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = node::config(dir.path());
    config.keep_generations = 2;
    let node = Node::over(dir, config);
    let _sysmgrd = Sysmgrd::listen(&node.config);
    node.add(&[app("1"), app("2"), app("3"), app("4")]).await;
    node.activate(&["app=1"]).await;
    assert!(node.engine.pin(Generation(1), true).await.unwrap());
    assert!(!node.engine.pin(Generation(1), true).await.unwrap());
    node.engine.pin(Generation(9), true).await.unwrap_err();
    for version in ["app=2", "app=3", "app=4"] {
        node.activate(&[version]).await;
    }
    let numbers = async || {
        let status = node.engine.status().await.unwrap();
        let all = status.generations.iter();
        all.map(|one| (one.generation.0, one.pinned))
            .collect::<Vec<_>>()
    };
    assert_eq!(numbers().await, [(4, false), (3, false), (1, true)]);
    node.engine.forget(vec![Generation(1)]).await.unwrap_err();
    assert!(node.engine.pin(Generation(1), false).await.unwrap());
    node.engine.forget(vec![Generation(4)]).await.unwrap_err();
    node.engine
        .forget(vec![Generation(1), Generation(3)])
        .await
        .unwrap();
    assert_eq!(numbers().await, [(4, false)]);
    node.engine
        .remove(vec!["app=3".parse().unwrap()])
        .await
        .unwrap();
}

#[tokio::test]
async fn what_is_given_up_and_removed_during_the_start_waits_for_the_end_of_it() {
    let (node, sysmgrd) = three().await;
    sysmgrd.stop();
    let (dir, config) = node.kill();
    let node = Node::over(dir, config);
    let sysmgrd = Sysmgrd::listen(&node.config);
    sysmgrd.script(|script| script.hold = true);
    sysmgrd.begun().await;
    let forgotten = node.engine.forget(vec![Generation(1)]);
    let removed = node.engine.remove(vec!["app=1".parse().unwrap()]);
    let going_on = async {
        // The mailbox is in order: both came before this was answered.
        let status = node.engine.status().await.unwrap();
        assert!(status.change.is_some(), "{status:?}");
        sysmgrd.let_go();
    };
    let (forgotten, removed, ()) = tokio::join!(forgotten, removed, going_on);
    assert_eq!(forgotten.unwrap(), [Generation(1)]);
    assert_eq!(removed.unwrap().len(), 1);
}

#[tokio::test]
async fn a_missing_tree_is_built_again_at_start() {
    let (node, _sysmgrd) = three().await;
    fs_err::remove_dir_all(node.config.state_dir.join("generations/3")).unwrap();
    let (dir, config) = node.kill();
    let node = Node::over(dir, config);
    let program = node.tree(Generation(3)).join("usr/sbin/appd");
    assert_eq!(fs_err::read_to_string(program).unwrap(), "#!/bin/sh\n3\n");
}

#[tokio::test]
async fn a_report_tells_its_phases_and_who_was_asked() {
    let (node, sysmgrd) = three().await;
    let other = package("other", "1").process("otherd", "#!/bin/sh\n");
    let mut other = other;
    other.manifest.requires = vec!["app".parse().unwrap()];
    node.add(&[other]).await;
    node.activate(&["other"]).await;
    sysmgrd.script(|script| script.asked_at = Some(7));
    let report = node.activate(&["app=1"]).await;
    let phases: Vec<_> = report.phases.iter().map(|one| one.phase.as_str()).collect();
    let all = [
        "ask", "stage", "prepare", "switch", "process", "verify", "persist",
    ];
    assert_eq!(phases, all);
    let asked = report
        .processes
        .iter()
        .find(|one| one.name.as_str() == "otherd")
        .unwrap();
    assert_eq!(asked.verdict, Verdict::Ask);
    assert_eq!(asked.moments[0].what, What::Asked);
    assert_eq!(asked.moments[0].at_ms, 7);
}
