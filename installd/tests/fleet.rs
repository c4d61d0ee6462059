//! A node and a master that says what the test says, over real TLS and a real link.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod master;
mod node;

use std::sync::Arc;

use installd::follow;
use master::Master;
use model::Generation;
use model::change::{Outcome, Veto};
use model::trust::Kind;
use model::wire::{FromNode, MemberState, ToNode, Verdict, Vote};
use node::{Node, Package, Sysmgrd, package};
use resolve::Characteristics;

/// A node in the fleet of a master, with its link open.
struct Fleet {
    master: Master,
    node: Node,
    sysmgrd: Sysmgrd,
    follow: follow::Handle,
    link: master::Link,
}

fn web(version: &str) -> Package {
    package("web", version)
        .process("web", &format!("#!/bin/sh\n# {version}\nsleep 1000\n"))
        .file("/usr/share/web/page", 0o644, version.as_bytes())
        .config("/etc/web.conf", version.as_bytes())
}

fn here() -> Characteristics {
    Characteristics::of_arch(std::env::consts::ARCH)
}

impl Fleet {
    async fn start() -> Self {
        let master = Master::start().await;
        let node = Node::start();
        let sysmgrd = Sysmgrd::listen(&node.config);
        let follow = node.follow();
        let joined = follow.join(master.join("n1")).await.unwrap();
        assert_eq!(joined.state, MemberState::Member);
        let (link, hello) = master.welcome(Verdict::Unassigned).await;
        assert!(link.certified, "the link shows the node's certificate");
        assert_eq!(hello.installed.software, None);
        Self {
            master,
            node,
            sysmgrd,
            follow,
            link,
        }
    }

    /// Has these packages run and committed.
    async fn runs(&mut self, packages: &[Package], counter: u64) {
        let what = self.master.import(packages, &here());
        let wanted = self.master.wanted(what, counter);
        self.link.say(&self.master.sign(&wanted)).await;
        let end = self.link.end().await;
        assert_eq!(
            end.report.unwrap().outcome,
            Outcome::Done,
            "{:?}",
            end.detail
        );
        let rollout = wanted.orders.rollout.unwrap();
        self.link.say(&ToNode::Commit { rollout }).await;
        let installed = self.link.installed().await;
        assert_eq!(installed.committed, Some(what.1));
    }

    fn etc(&self, name: &str) -> String {
        fs_err::read_to_string(self.node.etc(name)).unwrap_or_default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_joins_is_asked_votes_changes_over_and_keeps_it_when_it_was_heard() {
    let mut fleet = Fleet::start().await;
    let what = fleet.master.import(&[web("1")], &here());
    fleet.link.say(&Master::ask(what, 1)).await;
    let ballot = fleet.link.ballot().await;
    assert_eq!(ballot.vote, Vote::Accept);
    assert_eq!(ballot.target, what.1);
    assert!(ballot.bytes > 0, "the objects would have to be fetched");
    assert!(
        fleet.node.objects().is_empty(),
        "a question fetches nothing"
    );
    let wanted = fleet.master.wanted(what, 1);
    fleet.link.say(&fleet.master.sign(&wanted)).await;
    let end = fleet.link.end().await;
    let report = end.report.unwrap();
    assert_eq!(report.outcome, Outcome::Done, "{:?}", report.detail);
    assert!(report.trial, "it is not what the next boot runs");
    assert_eq!(end.installed.software, Some(what.1));
    assert_eq!(end.installed.committed, None);
    assert_eq!(fleet.etc("web.conf"), "1");
    let rollout = wanted.orders.rollout.unwrap();
    fleet.link.say(&ToNode::Commit { rollout }).await;
    let installed = fleet.link.installed().await;
    assert_eq!(installed.committed, Some(what.1));
    assert!(!installed.trial);
    assert_eq!(fleet.sysmgrd.running().len(), 1);
    // The master hears it first.
    let mut seen = fleet.follow.watch();
    let done = seen.wait_for(|seen| seen.change.is_none()).await.unwrap();
    assert_eq!(done.wanted, Some(what.1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_veto_is_told_with_its_reason_and_the_processes_hear_that_nothing_comes_of_it() {
    let mut fleet = Fleet::start().await;
    fleet.runs(&[web("1")], 1).await;
    let veto = Veto {
        process: "web".parse().unwrap(),
        reason: "call in progress".to_owned(),
    };
    fleet.sysmgrd.script(|script| {
        script.vetoes = vec![veto];
        script.ended.clear();
    });
    let what = fleet.master.import(&[web("2")], &here());
    let objects = fleet.node.objects();
    fleet.link.say(&Master::ask(what, 2)).await;
    let ballot = fleet.link.ballot().await;
    let Vote::Veto { objections } = ballot.vote else {
        panic!("{:?}", ballot.vote);
    };
    assert_eq!(objections[0].reason, "call in progress");
    assert_eq!(ballot.restarts, 1);
    let ended = fleet.sysmgrd.script(|script| script.ended.clone());
    assert_eq!(ended.len(), 1);
    assert!(!ended[0].completed);
    assert_eq!(fleet.node.objects(), objects, "nothing was fetched");
    let history = fleet
        .node
        .engine
        .history(model::change::HistoryFilter::default());
    let asked = history.await.unwrap().len();
    assert_eq!(asked, 2, "a question is no change: {asked}");
    // Decided all the same: the veto is overridden.
    let mut wanted = fleet.master.wanted(what, 2);
    wanted.orders.force = true;
    fleet.link.say(&fleet.master.sign(&wanted)).await;
    let report = fleet.link.end().await.report.unwrap();
    assert_eq!(report.outcome, Outcome::Done, "{:?}", report.detail);
    assert_eq!(report.overridden.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_master_does_not_answer_goes_back_by_itself() {
    let mut fleet = Fleet::start().await;
    fleet.runs(&[web("1")], 1).await;
    let before = fleet.follow.membership().installed.software;
    let what = fleet.master.import(&[web("2")], &here());
    let mut wanted = fleet.master.wanted(what, 2);
    wanted.orders.contact_timeout_ms = 1000;
    fleet.link.say(&fleet.master.sign(&wanted)).await;
    let end = fleet.link.end().await;
    assert_eq!(end.installed.software, Some(what.1));
    assert_eq!(fleet.etc("web.conf"), "2");
    let end = fleet.link.end().await;
    let report = end.report.unwrap();
    assert_eq!(report.outcome, Outcome::RolledBack, "{report:?}");
    assert!(end.detail.unwrap().contains("not in contact"));
    assert_eq!(end.installed.software, before);
    assert_eq!(end.installed.committed, before);
    assert!(!end.installed.trial);
    assert_eq!(fleet.etc("web.conf"), "1");
    fleet
        .sysmgrd
        .runs(&[("web", fleet.node.engine.view().borrow().generation.0)])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_runs_after_the_switch_and_one_that_fails_takes_the_node_back_by_itself() {
    let mut fleet = Fleet::start().await;
    fleet.runs(&[web("1")], 1).await;
    let before = fleet.follow.membership().installed.software;
    let seen = fleet.node.etc("web.conf").display().to_string();
    let script = format!("cat {seen}; echo; echo is bad >&2; exit 3");
    let what = fleet.master.import(&[web("2")], &here());
    let mut wanted = fleet.master.wanted(what, 2);
    wanted.orders.check = vec!["sh".to_owned(), "-c".to_owned(), script];
    fleet.link.say(&fleet.master.sign(&wanted)).await;
    let end = fleet.link.end().await;
    assert_eq!(
        end.check,
        Some((3, "2\nis bad".to_owned())),
        "it saw the new set"
    );
    assert_eq!(end.report.unwrap().outcome, Outcome::RolledBack);
    assert!(end.detail.unwrap().contains("exit status 3"));
    assert_eq!(end.installed.software, before);
    assert_eq!(end.installed.committed, before);
    assert_eq!(fleet.etc("web.conf"), "1");
    // The same with one that is content, and which did not know what the other one has learned.
    let mut wanted = fleet.master.wanted(what, 3);
    wanted.orders.check = vec!["sh".to_owned(), "-c".to_owned(), "echo well".to_owned()];
    fleet.link.say(&fleet.master.sign(&wanted)).await;
    let end = fleet.link.end().await;
    assert_eq!(end.check, Some((0, "well".to_owned())));
    assert_eq!(end.report.unwrap().outcome, Outcome::Done);
    let rollout = wanted.orders.rollout.unwrap();
    fleet.link.say(&ToNode::Commit { rollout }).await;
    assert_eq!(fleet.link.installed().await.committed, Some(what.1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_goes_on_is_ended_by_an_abort_and_run_again_after_a_kill() {
    let mut fleet = Fleet::start().await;
    fleet.runs(&[web("1")], 1).await;
    let dir = tempfile::tempdir().unwrap();
    let mark = dir.path().join("runs");
    let script = format!("echo run >> {}; exec sleep 1000", mark.display());
    let runs = async |times: usize| {
        let lines = || fs_err::read_to_string(&mark).unwrap_or_default();
        let all = async {
            while lines().lines().count() < times {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        let within = std::time::Duration::from_secs(30);
        tokio::time::timeout(within, all).await.unwrap();
    };
    let what = fleet.master.import(&[web("2")], &here());
    let mut wanted = fleet.master.wanted(what, 2);
    wanted.orders.check = vec!["sh".to_owned(), "-c".to_owned(), script];
    fleet.link.say(&fleet.master.sign(&wanted)).await;
    runs(1).await;
    let Fleet {
        master,
        node,
        sysmgrd,
        follow,
        link,
    } = fleet;
    drop((follow, link));
    let script = Arc::clone(&sysmgrd.script);
    sysmgrd.stop();
    let (dir, config) = node.kill();
    let _sysmgrd = Sysmgrd::with(&config, script);
    let node = Node::over(dir, config.clone());
    let _follow = node.follow();
    let (mut link, hello) = master.welcome(Verdict::Differs).await;
    assert_eq!(hello.installed.software, Some(what.1));
    runs(2).await;
    let abort = ToNode::Abort {
        rollout: wanted.orders.rollout.unwrap(),
        reason: "enough".to_owned(),
    };
    link.say(&abort).await;
    let end = link.end().await;
    assert!(end.detail.unwrap().ends_with("takes it back: enough"));
    assert_eq!(end.report.unwrap().outcome, Outcome::RolledBack);
    assert_eq!(fs_err::read_to_string(node.etc("web.conf")).unwrap(), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_the_new_set_cuts_off_goes_back_by_itself_and_says_so_when_it_is_back() {
    let mut fleet = Fleet::start().await;
    fleet.runs(&[web("1")], 1).await;
    let before = fleet.follow.membership().installed.software;
    let what = fleet.master.import(&[web("2")], &here());
    let mut wanted = fleet.master.wanted(what, 2);
    wanted.orders.contact_timeout_ms = 2000;
    fleet.sysmgrd.script(|script| script.hold = true);
    fleet.link.say(&fleet.master.sign(&wanted)).await;
    fleet.sysmgrd.begun().await;
    // The switch takes the network with it.
    let Fleet {
        master,
        node,
        sysmgrd,
        follow,
        link,
    } = fleet;
    master.away(true);
    drop(link);
    sysmgrd.let_go();
    let etc = || fs_err::read_to_string(node.etc("web.conf")).unwrap();
    let mut seen = follow.watch();
    let phase = |phase: &'static str| {
        move |seen: &model::wire::Membership| {
            seen.change.as_ref().is_some_and(|one| one.phase == phase)
        }
    };
    seen.wait_for(phase("contact")).await.unwrap();
    assert_eq!(etc(), "2");
    assert!(!follow.membership().connected);
    seen.wait_for(|seen| seen.change.is_none()).await.unwrap();
    assert_eq!(etc(), "1");
    let now = follow.membership();
    assert_eq!(now.installed.software, before);
    assert!(!now.connected, "nobody helped it");
    master.away(false);
    let (mut link, hello) = master.welcome(Verdict::Differs).await;
    assert_eq!(hello.installed.software, before);
    let end = link.end().await;
    assert!(end.detail.unwrap().contains("not in contact"));
    assert_eq!(end.report.unwrap().outcome, Outcome::RolledBack);
    // The decision is not carried out once more by itself.
    link.say(&master.sign(&wanted)).await;
    assert_eq!(link.end().await.counter, wanted.counter);
    assert_eq!(etc(), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_cut_off_goes_back_though_installd_was_killed_meanwhile() {
    let mut fleet = Fleet::start().await;
    fleet.runs(&[web("1")], 1).await;
    let before = fleet.follow.membership().installed.software;
    let what = fleet.master.import(&[web("2")], &here());
    let mut wanted = fleet.master.wanted(what, 2);
    wanted.orders.contact_timeout_ms = 2000;
    fleet.link.say(&fleet.master.sign(&wanted)).await;
    assert_eq!(fleet.link.end().await.installed.software, Some(what.1));
    let Fleet {
        master,
        node,
        sysmgrd,
        follow,
        link,
    } = fleet;
    master.away(true);
    drop((follow, link));
    let script = Arc::clone(&sysmgrd.script);
    sysmgrd.stop();
    let (dir, config) = node.kill();
    let sysmgrd = Sysmgrd::with(&config, script);
    let node = Node::over(dir, config.clone());
    let follow = node.follow();
    let mut seen = follow.watch();
    let is_back =
        |seen: &model::wire::Membership| seen.change.is_none() && seen.installed.software == before;
    seen.wait_for(is_back).await.unwrap();
    assert_eq!(fs_err::read_to_string(node.etc("web.conf")).unwrap(), "1");
    assert_eq!(sysmgrd.running().len(), 1);
    master.away(false);
    let (mut link, _) = master.welcome(Verdict::Differs).await;
    let end = link.end().await;
    assert_eq!(end.report.unwrap().outcome, Outcome::RolledBack);
    assert!(end.detail.unwrap().contains("not in contact"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_off_node_that_is_rebooted_runs_what_it_ran_before_without_the_master() {
    let mut fleet = Fleet::start().await;
    fleet.runs(&[web("1")], 1).await;
    let before = fleet.follow.membership().installed.software;
    let what = fleet.master.import(&[web("2")], &here());
    let wanted = fleet.master.wanted(what, 2);
    fleet.link.say(&fleet.master.sign(&wanted)).await;
    assert_eq!(fleet.link.end().await.installed.software, Some(what.1));
    let Fleet {
        master,
        node,
        sysmgrd,
        follow,
        link,
    } = fleet;
    master.away(true);
    drop((follow, link));
    let script = Arc::clone(&sysmgrd.script);
    sysmgrd.stop();
    let (dir, config) = node.kill();
    fs_err::write(&config.boot_id_file, "boot-2\n").unwrap();
    script.lock().unwrap().running.clear();
    let sysmgrd = Sysmgrd::with(&config, script);
    let node = Node::over(dir, config.clone());
    let _follow = node.follow();
    sysmgrd.runs(&[("web", 1)]).await;
    assert_eq!(fs_err::read_to_string(node.etc("web.conf")).unwrap(), "1");
    master.away(false);
    let (mut link, hello) = master.welcome(Verdict::Differs).await;
    assert_eq!(hello.installed.software, before);
    let end = link.end().await;
    assert_eq!(end.report.unwrap().outcome, Outcome::RolledBack);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_set_that_is_not_answered_leaves_the_node_as_empty_as_it_was() {
    let mut fleet = Fleet::start().await;
    let what = fleet.master.import(&[web("1")], &here());
    let mut wanted = fleet.master.wanted(what, 1);
    wanted.orders.contact_timeout_ms = 1000;
    fleet.link.say(&fleet.master.sign(&wanted)).await;
    assert_eq!(fleet.link.end().await.installed.software, Some(what.1));
    let end = fleet.link.end().await;
    assert_eq!(end.report.unwrap().outcome, Outcome::RolledBack);
    assert_eq!(end.installed.software, None);
    assert_eq!(fleet.etc("web.conf"), "");
    fleet.sysmgrd.runs(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_go_together_wait_for_go_and_one_that_does_not_hear_it_has_touched_nothing() {
    let mut fleet = Fleet::start().await;
    fleet.runs(&[web("1")], 1).await;
    let waiting = |message| match message {
        FromNode::Waiting { rollout } => Some(rollout),
        _ => None,
    };
    let what = fleet.master.import(&[web("2")], &here());
    let mut wanted = fleet.master.wanted(what, 2);
    wanted.orders.together = true;
    wanted.orders.go_timeout_ms = 500;
    fleet.link.say(&fleet.master.sign(&wanted)).await;
    fleet.link.until(waiting).await;
    let report = fleet.link.end().await.report.unwrap();
    assert_eq!(report.outcome, Outcome::Failed);
    assert_eq!(report.failure, Some(model::change::Failure::Unchanged));
    assert_eq!(fleet.etc("web.conf"), "1");
    let mut wanted = fleet.master.wanted(what, 3);
    wanted.orders.together = true;
    wanted.orders.go_timeout_ms = 30_000;
    fleet.link.say(&fleet.master.sign(&wanted)).await;
    let rollout = fleet.link.until(waiting).await;
    assert_eq!(fleet.etc("web.conf"), "1", "nothing is touched before go");
    let (epoch, counter) = (wanted.epoch, wanted.counter);
    let go = ToNode::Go {
        rollout,
        epoch,
        counter,
    };
    fleet.link.say(&go).await;
    let end = fleet.link.end().await;
    assert_eq!(end.report.unwrap().outcome, Outcome::Done);
    assert_eq!(fleet.etc("web.conf"), "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_has_signed_or_is_older_or_chooses_otherwise_touches_nothing() {
    let mut fleet = Fleet::start().await;
    fleet.runs(&[web("1")], 5).await;
    let what = fleet.master.import(&[web("2")], &here());
    let thief = model::trust::SecretKey::new(&[9; 32], "thief");
    let forged = fleet.master.wanted(what, 6);
    let forged = model::trust::Signed::new(Kind::Wanted, &thief, &forged).unwrap();
    fleet.link.say(&ToNode::Wanted(forged)).await;
    let older = fleet.master.wanted(what, 4);
    fleet.link.say(&fleet.master.sign(&older)).await;
    // Another hash than the one that the node makes of the list.
    let other = model::Digest::of(b"something else");
    let lies = fleet.master.wanted((what.0, other), 7);
    fleet.link.say(&fleet.master.sign(&lies)).await;
    let end = fleet.link.end().await;
    assert_eq!(
        end.counter, lies.counter,
        "the others are not even answered"
    );
    assert!(end.report.is_none());
    assert!(end.detail.unwrap().contains("do not choose alike"));
    let mut base = fleet.master.wanted(what, 8);
    base.orders.base = Some(other);
    fleet.link.say(&fleet.master.sign(&base)).await;
    let end = fleet.link.end().await;
    assert!(end.detail.unwrap().contains("ask again"));
    assert_eq!(fleet.etc("web.conf"), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_was_not_heard_is_told_again_and_a_lost_link_is_opened_again() {
    let mut fleet = Fleet::start().await;
    let what = fleet.master.import(&[web("1")], &here());
    let wanted = fleet.master.wanted(what, 1);
    fleet.link.say(&fleet.master.sign(&wanted)).await;
    let first = fleet.link.end().await;
    drop(fleet.link);
    let (mut link, hello) = fleet.master.welcome(Verdict::GoOn).await;
    assert_eq!(hello.installed.software, Some(what.1));
    assert_eq!(hello.installed.rollout, wanted.orders.rollout);
    let again = link.end().await;
    assert_eq!(again.report, first.report);
    let rollout = wanted.orders.rollout.unwrap();
    link.say(&ToNode::Commit { rollout }).await;
    assert_eq!(link.installed().await.committed, Some(what.1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_installd_goes_on_and_a_reboot_ends_what_was_not_committed() {
    let mut fleet = Fleet::start().await;
    fleet.runs(&[web("1")], 1).await;
    let before = fleet.follow.membership().installed.software;
    let what = fleet.master.import(&[web("2")], &here());
    let wanted = fleet.master.wanted(what, 2);
    fleet.link.say(&fleet.master.sign(&wanted)).await;
    assert_eq!(fleet.link.end().await.installed.software, Some(what.1));
    let Fleet {
        master,
        node,
        sysmgrd,
        follow,
        link,
    } = fleet;
    drop((follow, link));
    let script = Arc::clone(&sysmgrd.script);
    sysmgrd.stop();
    let (dir, config) = node.kill();
    let _sysmgrd = Sysmgrd::with(&config, Arc::clone(&script));
    let node = Node::over(dir, config.clone());
    let follow = node.follow();
    let (mut link, hello) = master.welcome(Verdict::GoOn).await;
    assert_eq!(hello.installed.software, Some(what.1), "it runs on");
    assert!(hello.installed.trial);
    assert_eq!(link.end().await.installed.software, Some(what.1));
    drop((follow, link));
    // The machine goes down and comes back.
    let (dir, config) = node.kill();
    fs_err::write(&config.boot_id_file, "boot-2\n").unwrap();
    script.lock().unwrap().running.clear();
    let sysmgrd = Sysmgrd::with(&config, script);
    let node = Node::over(dir, config.clone());
    let _follow = node.follow();
    let (mut link, hello) = master.welcome(Verdict::Differs).await;
    assert_eq!(hello.installed.software, before, "the committed set runs");
    assert!(!hello.installed.trial);
    let end = link.end().await;
    assert!(end.detail.unwrap().contains("restarted"));
    assert_eq!(fs_err::read_to_string(node.etc("web.conf")).unwrap(), "1");
    sysmgrd.runs(&[("web", 1)]).await;
    assert_eq!(node.engine.view().borrow().generation, Generation(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_does_not_show_the_tokens_ca_is_told_nothing() {
    let master = Master::start().await;
    let node = Node::start();
    let _sysmgrd = Sysmgrd::listen(&node.config);
    let follow = node.follow();
    let mut join = master.join("n1");
    let other = "0".repeat(64);
    join.token = Some(model::wire::TokenText(format!("co1.t1.s3cret.{other}")));
    let error = follow.join(join).await.unwrap_err();
    let text = model::report::Chain(&error).to_string();
    assert!(text.contains("does not show the CA"), "{text}");
    assert!(
        master.enrolled.lock().unwrap().is_empty(),
        "nothing was said"
    );
    assert_eq!(follow.membership().state, MemberState::Alone);
    let mut join = master.join("n1");
    let text = master.token.replace("s3cret", "wrong");
    join.token = Some(model::wire::TokenText(text));
    let error = follow.join(join).await.unwrap_err();
    assert!(error.to_string().contains("no such token"), "{error}");
    assert!(follow.join(master.join("n1")).await.is_ok());
    let (_link, _) = master.welcome(Verdict::Unassigned).await;
    assert!(follow.refuses_local_change().is_some());
    let until = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() + 600;
    follow.hold("repair".to_owned(), until).await.unwrap();
    assert_eq!(follow.refuses_local_change(), None);
    assert!(follow.leave().await.unwrap());
    assert_eq!(follow.membership().state, MemberState::Alone);
    assert!(!node.config.state_dir.join("fleet/identity.pem").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_boot_that_is_to_wait_starts_nothing_before_the_master_was_heard() {
    let mut fleet = Fleet::start().await;
    let what = fleet.master.import(&[web("1")], &here());
    let mut wanted = fleet.master.wanted(what, 1);
    wanted.boot_gate = model::wire::BootGate::Wait { timeout_ms: None };
    fleet.link.say(&fleet.master.sign(&wanted)).await;
    fleet.link.end().await;
    let rollout = wanted.orders.rollout.unwrap();
    fleet.link.say(&ToNode::Commit { rollout }).await;
    fleet.link.installed().await;
    let Fleet {
        master,
        node,
        sysmgrd,
        follow,
        link,
    } = fleet;
    drop((follow, link));
    let script = Arc::clone(&sysmgrd.script);
    sysmgrd.stop();
    let (dir, mut config) = node.kill();
    fs_err::write(&config.boot_id_file, "boot-2\n").unwrap();
    script.lock().unwrap().running.clear();
    config.hold_boot = follow::holds_boot(&config);
    assert!(config.hold_boot);
    let sysmgrd = Sysmgrd::with(&config, script);
    let node = Node::over(dir, config.clone());
    let _follow = node.follow();
    let mut link = master.link().await;
    let FromNode::Hello(hello) = link.hear().await else {
        panic!("a hello comes first");
    };
    assert!(hello.boot_gate);
    assert_eq!(hello.installed.committed, Some(what.1));
    assert_eq!(sysmgrd.running(), [], "nothing is started yet");
    let welcome = ToNode::Welcome {
        verdict: Verdict::GoOn,
        settings: *master.settings.lock().unwrap(),
    };
    link.say(&welcome).await;
    sysmgrd.runs(&[("web", 1)]).await;
    assert!(!follow::holds_boot(&config), "once for each boot");
}
