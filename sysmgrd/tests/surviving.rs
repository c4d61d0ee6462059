//! Ends that nobody asked for: of processes, and of the daemon.
#![allow(clippy::unwrap_used, reason = "tests; helpers too")]

mod node;

use std::time::Duration;

use model::Span;
use model::process::{KillMode, OwnDirectory, Ready, Restart};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use node::{Groups, Node, is_alive, name, notify, outcome, spec, starting, wanted};

fn end(pid: u32, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), signal).unwrap();
}

#[tokio::test]
async fn a_crashed_process_is_started_again_and_a_stopped_one_is_not() {
    let node = Node::start();
    let mut always = notify("always");
    always.restart = Restart::OnFailure;
    let mut never = notify("never");
    never.restart = Restart::No;
    node.transition(&starting(node.tree(1, "one"), [always, never]))
        .await;
    let first = node.status("always").await.pid.unwrap();
    end(first, Signal::SIGKILL);
    end(node.status("never").await.pid.unwrap(), Signal::SIGKILL);
    let failed = node.wait_for("never", "failed").await;
    assert_eq!(failed.status.as_deref(), Some("was ended by SIGKILL"));
    let mut again = node.wait_for("always", "ready").await;
    while again.restarts == 0 {
        again = node.wait_for("always", "ready").await;
    }
    assert_ne!(again.pid.unwrap(), first);
    assert_eq!(again.restarts, 1);
    end(again.pid.unwrap(), Signal::SIGTERM);
    assert_eq!(node.wait_for("always", "done").await.pid, None);
}

#[tokio::test]
async fn one_that_dies_again_and_again_is_given_up_after_five_starts() {
    let node = Node::start();
    let mut dies = spec("dies", "say started after /run/go exit 1");
    dies.restart = Restart::Always;
    dies.restart_delay = Span::Finite(Duration::from_millis(1));
    let report = node
        .transition(&starting(node.tree(1, "one"), [dies]))
        .await;
    assert_eq!(report.failed, []);
    // Only now, so that no death falls into the transition, which would hold its restart back.
    fs_err::write(node.dir.path().join("run/go"), "").unwrap();
    let status = node.wait_for("dies", "failed").await;
    let why = "ended too often: 5 starts within 10 s";
    assert_eq!((status.pid, status.status.as_deref()), (None, Some(why)));
    assert_eq!(status.restarts, 4);
    assert_eq!(node.logs("dies").await, ["started"; 5]);
}

#[tokio::test]
async fn a_killed_daemon_finds_its_processes_again() {
    for groups in [Groups::Two, Groups::One, Groups::None] {
        let mut node = Node::with(groups, "");
        let tree = node.tree(1, "one");
        let mut forking = spec("forking", "fork /run/f.pid sleep");
        forking.ready = Ready::Forking;
        forking.pid_file = Some("/run/f.pid".into());
        let mut crashes = notify("crashes");
        crashes.restart = Restart::Always;
        let mut once = spec("once", "say once");
        once.ready = Ready::Oneshot;
        once.remain_after_exit = true;
        let specs = [notify("stays"), forking, crashes, once];
        node.transition(&starting(tree.clone(), specs)).await;
        let before = [
            node.status("stays").await,
            node.status("forking").await,
            node.status("once").await,
        ];
        let crashed = node.status("crashes").await.pid.unwrap();
        node.kill_daemon();
        end(crashed, Signal::SIGKILL);
        while is_alive(crashed) {
            tokio::task::yield_now().await;
        }
        node.start_daemon();
        let after = [
            node.status("stays").await,
            node.status("forking").await,
            node.status("once").await,
        ];
        assert_eq!(after, before, "{groups:?}");
        // What died while nobody watched is started again by its policy.
        let again = node.wait_for("crashes", "ready").await;
        assert_ne!(again.pid, Some(crashed), "{groups:?}");
        // And what was found again can be stopped.
        let mut stop = starting(tree, []);
        stop.obsolete = ["stays", "forking", "crashes", "once"].map(name).to_vec();
        let report = node.transition(&stop).await;
        assert_eq!(report.failed, [], "{groups:?}");
        for status in &before[..2] {
            assert!(!is_alive(status.pid.unwrap()), "{groups:?}");
        }
        assert_eq!(node.manager().await.processes().await.unwrap(), "[]");
    }
}

#[tokio::test]
async fn a_daemon_that_is_told_to_end_leaves_its_processes_and_an_interrupted_one_does_not() {
    let mut node = Node::start();
    let mut ribd = notify("ribd");
    ribd.runtime_directory = vec![OwnDirectory {
        name: "rib".into(),
        mode: None,
    }];
    node.transition(&starting(node.tree(1, "one"), [ribd]))
        .await;
    let before = node.status("ribd").await;
    node.end_daemon(Signal::SIGTERM);
    assert!(is_alive(before.pid.unwrap()));
    assert!(!node.run_dir().join("sysmgrd.sock").exists());
    node.start_daemon();
    assert_eq!(node.status("ribd").await, before);
    node.end_daemon(Signal::SIGINT);
    assert!(!is_alive(before.pid.unwrap()));
    assert!(!node.dir.path().join("run/rib").exists());
    assert!(!node.cgroup().exists());
}

#[tokio::test]
async fn output_written_while_no_daemon_runs_is_not_lost() {
    let mut node = Node::start();
    let mut talker = spec("talker", "");
    talker.exec = [
        "/usr/bin/daemon",
        "say",
        "first",
        "after",
        "/run/go",
        "say",
        "second",
        "write",
        "/run/gone",
        "x",
        "sleep",
    ]
    .map(String::from)
    .to_vec();
    node.transition(&starting(node.tree(1, "one"), [talker]))
        .await;
    let pid = node.status("talker").await.pid.unwrap();
    while node.logs("talker").await.is_empty() {
        tokio::task::yield_now().await;
    }
    node.kill_daemon();
    fs_err::write(node.dir.path().join("run/go"), "").unwrap();
    while !node.dir.path().join("run/gone").exists() {
        tokio::task::yield_now().await;
    }
    assert!(is_alive(pid));
    node.start_daemon();
    assert_eq!(node.logs("talker").await, ["second"]);
    let file = fs_err::read_to_string(node.run_dir().join("log/talker")).unwrap();
    assert_eq!(file, "first\nsecond\n");
}

#[tokio::test]
async fn what_is_said_while_no_daemon_runs_is_heard_by_the_next() {
    let mut node = Node::start();
    let mut slow = spec(
        "slow",
        "after /run/go notify READY=1 write /run/said x sleep",
    );
    slow.ready = Ready::Notify;
    let tree = node.tree(1, "one");
    let begin = starting(tree.clone(), [slow]);
    let manager = node.manager().await;
    let document = serde_json::to_string(&begin).unwrap();
    let asked = tokio::spawn(async move { manager.transition(&document).await });
    node.wait_for_any("slow", "starting").await;
    while node.status("slow").await.pid.is_none() {
        tokio::task::yield_now().await;
    }
    let pid = node.status("slow").await.pid;
    node.kill_daemon();
    assert!(asked.await.unwrap().is_err());
    assert!(node.kept.contains_key("notify.slow"), "{:?}", node.kept);
    fs_err::write(node.dir.path().join("run/go"), "").unwrap();
    while !node.dir.path().join("run/said").exists() {
        tokio::task::yield_now().await;
    }
    node.start_daemon();
    assert_eq!(node.wait_for("slow", "ready").await.pid, pid);
    // What belongs to nobody any more is not kept.
    let mut stop = starting(tree, []);
    stop.obsolete = vec![name("slow")];
    assert_eq!(node.transition(&stop).await.failed, []);
    node.kill_daemon();
    assert!(node.kept.is_empty(), "{:?}", node.kept);
}

#[tokio::test]
async fn kill_modes_reach_whom_they_say() {
    let node = Node::start();
    let tree = node.tree(1, "one");
    let mut only_main = spec("only-main", "child notify READY=1 sleep");
    only_main.ready = Ready::Notify;
    only_main.kill_mode = KillMode::Process;
    let mut mixed = spec("mixed", "child notify READY=1 sleep");
    mixed.ready = Ready::Notify;
    mixed.kill_mode = KillMode::Mixed;
    node.transition(&starting(tree.clone(), [only_main, mixed]))
        .await;
    let members = |group: &str| {
        let procs = node.cgroup().join(format!("{group}.process/cgroup.procs"));
        let text = fs_err::read_to_string(procs).unwrap_or_default();
        text.lines()
            .map(|pid| pid.parse::<u32>().unwrap())
            .collect::<Vec<u32>>()
    };
    let main = node.status("only-main").await.pid.unwrap();
    let (ours, theirs) = (members("only-main"), members("mixed"));
    assert_eq!((ours.len(), theirs.len()), (2, 2));
    let mut stop = starting(tree, []);
    stop.obsolete = vec![name("only-main"), name("mixed")];
    let report = node.transition(&stop).await;
    assert_eq!(report.failed, []);
    assert!(!is_alive(main));
    assert_eq!(ours.into_iter().filter(|pid| is_alive(*pid)).count(), 1);
    assert!(!theirs.into_iter().any(is_alive));
}

#[tokio::test]
async fn a_restart_reports_how_long_it_was_down_and_moves_to_the_new_generation() {
    let node = Node::start();
    let tree = node.tree(1, "one");
    let mut reads = spec("reads", "read /usr/share/text notify READY=1 sleep");
    reads.ready = Ready::Notify;
    let mut other = notify("other");
    other.exec_stop = vec![];
    node.transition(&starting(tree, [reads.clone(), other]))
        .await;
    let before = node.status("other").await;
    let mut next = starting(node.tree(2, "two"), []);
    next.dependent = vec![wanted(reads)];
    let report = node.transition(&next).await;
    assert_eq!(report.failed, []);
    assert_eq!(
        outcome(&report, "reads").verdict,
        model::change::Verdict::Restart
    );
    assert_eq!(node.logs("reads").await, ["read one", "read two"]);
    assert_eq!(node.status("reads").await.generation.0, 2);
    // Nothing happens to one that was not named.
    assert_eq!(node.status("other").await, before);
    let reply = node
        .manager()
        .await
        .restart(vec!["other".into()])
        .await
        .unwrap();
    assert!(reply.contains("\"verdict\":\"restart\""), "{reply}");
    assert_ne!(node.status("other").await.pid, before.pid);
    let unknown = node
        .manager()
        .await
        .restart(vec!["nobody".into()])
        .await
        .unwrap_err();
    assert!(
        unknown.to_string().contains("no process nobody"),
        "{unknown}"
    );
}
