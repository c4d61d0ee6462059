//! Whole changeovers: store, plan, votes, tree, `/etc`, history; only sysmgrd is a steered one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests: a failure here is a failed test"
)]

mod node;

use model::change::{Failure, Outcome, Veto};
use model::mappings::{MappedFile, Mapper, Mappings};
use model::transition::StillMapped;
use model::{Generation, ProcessName};
use node::{Node, Package, Sysmgrd, activate, deactivate, package};

fn name(text: &str) -> ProcessName {
    text.parse().unwrap()
}

fn veto(process: &str, reason: &str) -> Veto {
    Veto {
        process: name(process),
        reason: reason.to_owned(),
    }
}

fn app(version: &str, text: &str) -> Package {
    package("app", version)
        .process("appd", text)
        .config("/etc/app.conf", format!("config of {version}").as_bytes())
        .file("/usr/share/app/data", 0o644, b"data")
        .link("/usr/share/app/link", "data")
}

#[tokio::test]
async fn a_set_is_activated_changed_and_taken_back_to_what_it_was() {
    let node = Node::start();
    let sysmgrd = Sysmgrd::listen(&node.config);
    node.add(&[app("1", "#!/bin/sh\none\n"), app("2", "#!/bin/sh\ntwo\n")])
        .await;
    let first = node.activate(&["app=1"]).await;
    assert_eq!(first.generation, Generation(1));
    assert_eq!(sysmgrd.running(), [("appd".to_owned(), 1)]);
    let tree = node.tree(Generation(1));
    assert_eq!(
        fs_err::read_to_string(tree.join("usr/share/app/link")).unwrap(),
        "data"
    );
    assert_eq!(
        fs_err::read_to_string(node.etc("app.conf")).unwrap(),
        "config of 1"
    );
    let second = node.activate(&["app=2"]).await;
    assert_eq!(second.generation, Generation(2));
    assert_eq!(sysmgrd.running(), [("appd".to_owned(), 2)]);
    assert_eq!(
        fs_err::read_to_string(node.etc("app.conf")).unwrap(),
        "config of 2"
    );
    let status = node.engine.status().await.unwrap();
    assert_eq!(
        (status.generation, status.committed),
        (Generation(2), Generation(2))
    );
    assert_eq!(status.active, ["app=2"]);
    let back = node.apply(deactivate(&["app=2"])).await.unwrap();
    assert_eq!(back.outcome, Outcome::Done);
    assert_eq!(node.engine.status().await.unwrap().active, ["app=1"]);
    let third = node.apply(deactivate(&["app"])).await.unwrap();
    assert_eq!(third.outcome, Outcome::Done, "{third:?}");
    assert!(sysmgrd.running().is_empty());
    assert!(!node.etc("app.conf").exists());
    let history = node
        .engine
        .history(model::change::HistoryFilter::default())
        .await
        .unwrap();
    assert_eq!(history.len(), 4);
    assert_eq!(history[0].set.before, ["app=1"]);
    assert!(
        history
            .iter()
            .all(|one| one.by == "the test" && one.report.is_some())
    );
}

#[tokio::test]
async fn a_tree_is_what_the_plan_says_and_unchanged_files_keep_their_inode() {
    let node = Node::start();
    let _sysmgrd = Sysmgrd::listen(&node.config);
    node.add(&[app("1", "#!/bin/sh\none\n"), app("2", "#!/bin/sh\ntwo\n")])
        .await;
    node.activate(&["app=1"]).await;
    node.activate(&["app=2"]).await;
    let inode = |generation, path: &str| {
        use std::os::unix::fs::MetadataExt;
        fs_err::symlink_metadata(node.tree(Generation(generation)).join(path))
            .unwrap()
            .ino()
    };
    assert_eq!(
        inode(1, "usr/share/app/data"),
        inode(2, "usr/share/app/data")
    );
    assert_ne!(inode(1, "usr/sbin/appd"), inode(2, "usr/sbin/appd"));
}

#[tokio::test]
async fn a_veto_stops_the_change_unless_it_is_forced_and_stands_in_the_history() {
    let node = Node::start();
    let sysmgrd = Sysmgrd::listen(&node.config);
    node.add(&[app("1", "#!/bin/sh\none\n"), app("2", "#!/bin/sh\ntwo\n")])
        .await;
    node.activate(&["app=1"]).await;
    sysmgrd.script(|script| script.vetoes = vec![veto("appd", "a backup runs")]);
    let report = node.apply(activate(&["app=2"])).await.unwrap();
    assert_eq!(report.outcome, Outcome::Vetoed);
    assert_eq!(report.vetoes, [veto("appd", "a backup runs")]);
    assert_eq!(sysmgrd.running(), [("appd".to_owned(), 1)]);
    assert!(!node.tree(Generation(2)).exists());
    sysmgrd.script(|script| {
        assert!(!script.ended.last().unwrap().completed);
        // The start may send what runs anyway a second time.
        let mut sent = script.transitions.iter();
        assert!(sent.all(|one| one.tree.generation == Generation(1)));
    });
    let mut forced = activate(&["app=2"]);
    forced.force = true;
    let report = node.apply(forced).await.unwrap();
    assert_eq!(report.outcome, Outcome::Done);
    let history = node
        .engine
        .history(model::change::HistoryFilter::default())
        .await
        .unwrap();
    assert_eq!(
        history[0].report.as_ref().unwrap().vetoes,
        [veto("appd", "a backup runs")]
    );
}

#[tokio::test]
async fn what_does_not_come_up_is_taken_back_by_itself_with_its_configuration() {
    let node = Node::start();
    let sysmgrd = Sysmgrd::listen(&node.config);
    node.add(&[app("1", "#!/bin/sh\none\n"), app("2", "#!/bin/sh\ntwo\n")])
        .await;
    node.activate(&["app=1"]).await;
    sysmgrd.script(|script| script.failing = vec![(name("appd"), Generation(2))]);
    let report = node.apply(activate(&["app=2"])).await.unwrap();
    assert_eq!(report.outcome, Outcome::RolledBack);
    assert_eq!(report.generation, Generation(1));
    assert!(report.detail.unwrap().contains("appd: it does not come up"));
    assert_eq!(sysmgrd.running(), [("appd".to_owned(), 1)]);
    assert_eq!(
        fs_err::read_to_string(node.etc("app.conf")).unwrap(),
        "config of 1"
    );
    let status = node.engine.status().await.unwrap();
    assert_eq!(
        (status.generation, status.committed),
        (Generation(1), Generation(1))
    );
    assert_eq!(status.active, ["app=1"]);
    assert!(!node.tree(Generation(2)).exists(), "nobody lives there");
}

#[tokio::test]
async fn a_failure_is_kept_where_it_was_asked_for_and_a_failed_way_back_is_said() {
    let node = Node::start();
    let sysmgrd = Sysmgrd::listen(&node.config);
    node.add(&[app("1", "#!/bin/sh\none\n"), app("2", "#!/bin/sh\ntwo\n")])
        .await;
    node.activate(&["app=1"]).await;
    let both = vec![(name("appd"), Generation(2)), (name("appd"), Generation(1))];
    sysmgrd.script(|script| script.failing = both);
    let report = node.apply(activate(&["app=2"])).await.unwrap();
    assert_eq!(
        (report.outcome, report.failure),
        (Outcome::Failed, Some(Failure::RollbackFailed))
    );
    sysmgrd.script(|script| script.failing = vec![(name("appd"), Generation(3))]);
    let mut keep = activate(&["app=2"]);
    keep.keep_on_failure = true;
    let report = node.apply(keep).await.unwrap();
    assert_eq!(
        (report.outcome, report.failure),
        (Outcome::Failed, Some(Failure::Kept))
    );
    assert_eq!(node.engine.status().await.unwrap().active, ["app=2"]);
}

#[tokio::test]
async fn a_plan_that_was_shown_is_made_again_once_anything_else_came_between() {
    let node = Node::start();
    let sysmgrd = Sysmgrd::listen(&node.config);
    node.add(&[app("1", "#!/bin/sh\none\n"), app("2", "#!/bin/sh\ntwo\n")])
        .await;
    node.activate(&["app=1"]).await;
    let request = activate(&["app=2"]);
    node.engine.plan(request.clone()).await.unwrap();
    let seen = sysmgrd.script(|script| {
        script.still_mapped = Some(Vec::new());
        script.looks
    });
    node.engine.status().await.unwrap();
    let report = node.apply(request).await.unwrap();
    assert_eq!(report.outcome, Outcome::Done);
    assert_eq!(sysmgrd.script(|script| script.looks), seen + 1);
}

#[tokio::test]
async fn a_second_change_is_refused_with_who_holds_the_node() {
    let node = Node::start();
    let sysmgrd = Sysmgrd::listen(&node.config);
    node.add(&[app("1", "#!/bin/sh\none\n")]).await;
    sysmgrd.script(|script| script.hold = true);
    let engine = node.engine.clone();
    let first = tokio::spawn(async move {
        engine
            .apply(activate(&["app"]), "somebody".to_owned())
            .await
    });
    sysmgrd.begun().await;
    let error = node.apply(deactivate(&["app"])).await.unwrap_err();
    assert!(matches!(error, installd::engine::Error::Busy(_)), "{error}");
    assert!(error.to_string().contains("somebody"), "{error}");
    assert_eq!(
        node.engine.status().await.unwrap().change.unwrap().by,
        "somebody"
    );
    sysmgrd.let_go();
    assert_eq!(first.await.unwrap().unwrap().outcome, Outcome::Done);
}

#[tokio::test]
async fn a_batch_is_one_change_or_none() {
    let node = Node::start();
    let sysmgrd = Sysmgrd::listen(&node.config);
    let other = package("other", "1").process("otherd", "#!/bin/sh\n");
    let mut needy = package("needy", "1").file("/usr/share/needy", 0o644, b"n");
    needy.manifest.requires = vec!["absent".parse().unwrap()];
    node.add(&[app("1", "#!/bin/sh\none\n"), other, needy])
        .await;
    let error = node.apply(activate(&["app", "needy"])).await.unwrap_err();
    assert!(
        matches!(error, installd::engine::Error::Unmet(_)),
        "{error}"
    );
    node.apply(activate(&["app", "unknown"])).await.unwrap_err();
    assert!(sysmgrd.running().is_empty());
    let report = node.activate(&["app", "other"]).await;
    assert_eq!(report.change.0, 1);
    assert_eq!(sysmgrd.script(|script| script.transitions.len()), 1);
    assert_eq!(
        sysmgrd.running(),
        [("appd".to_owned(), 1), ("otherd".to_owned(), 1)]
    );
    let again = node.activate(&["app"]).await;
    assert_eq!(again.generation, Generation(1), "it is so already");
}

#[tokio::test]
async fn without_sysmgrd_nothing_is_changed() {
    let node = Node::start();
    node.add(&[app("1", "#!/bin/sh\none\n")]).await;
    let report = node.apply(activate(&["app"])).await.unwrap();
    assert_eq!(
        (report.outcome, report.failure),
        (Outcome::Failed, Some(Failure::Unchanged))
    );
    assert!(report.detail.unwrap().contains("sysmgrd does not answer"));
    let status = node.engine.status().await.unwrap();
    assert_eq!((status.generation, status.sysmgrd), (Generation(0), false));
    assert!(!node.etc("app.conf").exists());
}

#[tokio::test]
async fn what_is_still_mapped_is_told_by_sysmgrd_s_answer_or_looked_at_where_that_lacks_it() {
    use std::os::unix::fs::MetadataExt;
    let node = Node::start();
    let sysmgrd = Sysmgrd::listen(&node.config);
    let versions =
        ["1", "2", "3", "4"].map(|version| app(version, &format!("#!/bin/sh\n{version}\n")));
    node.add(&versions).await;
    node.activate(&["app=1"]).await;
    let program = |generation| {
        let path = node.tree(Generation(generation)).join("usr/sbin/appd");
        let data = fs_err::metadata(path).unwrap();
        (data.dev(), data.ino())
    };
    let told = |report: &model::change::ChangeReport| {
        let mut all = report.discrepancies.clone();
        all.retain(|one| one.contains("still maps"));
        all
    };
    let expected = ["appd (pid 7) still maps the old /usr/sbin/appd"];
    // sysmgrd has looked, and is not asked again.
    let still = |process: &str, file| StillMapped {
        process: name(process),
        pid: 7,
        file,
    };
    let old = program(1);
    sysmgrd.script(|script| {
        script.looks = 0;
        script.still_mapped = Some(vec![still("appd", old), still("other", old)]);
    });
    assert_eq!(told(&node.activate(&["app=2"]).await), expected);
    assert_eq!(
        sysmgrd.script(|script| script.looks),
        1,
        "only for the plan"
    );
    sysmgrd.script(|script| {
        let last = script.transitions.last().unwrap();
        assert!(last.stale.contains(&old), "{:?}", last.stale);
        script.still_mapped = Some(Vec::new());
    });
    assert!(told(&node.activate(&["app=3"]).await).is_empty());
    // It has not looked.
    let (dev, inode) = program(3);
    let file = MappedFile {
        path: "/usr/sbin/appd".to_owned(),
        dev,
        inode,
        by: vec![0],
    };
    let mapper = Mapper {
        process: name("appd"),
        pid: 7,
        generation: Generation(3),
    };
    sysmgrd.script(|script| {
        script.still_mapped = None;
        script.mapped = Mappings {
            processes: vec![mapper],
            files: vec![file],
        };
    });
    assert_eq!(told(&node.activate(&["app=4"]).await), expected);
}
