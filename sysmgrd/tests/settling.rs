//! What a change waits for after everything is ready: health programs, and that nothing ends.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests; helpers too")]

mod node;

use std::time::{Duration, Instant};

use model::ProcessSpec;
use model::Span;
use model::change::{Verdict, What};
use model::process::{Ready, Restart};
use model::transition::{Told, TransitionReport};
use node::{Node, name, notify, outcome, spec, starting, wanted};

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(String::from).collect()
}

/// Starts these with so many milliseconds of settling.
async fn settle(node: &Node, settling_ms: u64, specs: Vec<ProcessSpec>) -> TransitionReport {
    let mut transition = starting(node.tree(1, "one"), specs);
    transition.settling_ms = settling_ms;
    node.transition(&transition).await
}

fn reason<'a>(report: &'a TransitionReport, process: &str) -> &'a str {
    let failed = report.failed.iter();
    let one = failed.clone().find(|veto| veto.process == name(process));
    &one.unwrap_or_else(|| panic!("{report:?}")).reason
}

fn whats(report: &TransitionReport, process: &str) -> Vec<What> {
    let moments = &outcome(report, process).moments;
    assert!(moments.is_sorted_by_key(|one| one.at_ms), "{moments:?}");
    moments.iter().map(|one| one.what).collect()
}

#[tokio::test]
async fn a_started_process_that_does_not_come_up_fails_with_the_last_lines_that_it_wrote() {
    let node = Node::start();
    let mut late = spec("late", "say waiting sleep");
    late.ready = Ready::Notify;
    late.start_timeout = Span::Finite(Duration::from_millis(200));
    let mut exits = spec("exits", "say no-disk exit 3");
    exits.ready = Ready::Notify;
    let mut loops = spec("loops", "say again abort");
    loops.restart = Restart::Always;
    loops.ready = Ready::Notify;
    let report = settle(&node, 0, vec![late, exits, loops]).await;
    let expected = [
        (
            "late",
            "was not ready within its start-timeout; its last lines:\nwaiting",
        ),
        ("exits", "ended with exit code 3; its last lines:\nno-disk"),
        ("loops", "was ended by SIGABRT; its last lines:\nagain"),
    ];
    for (process, why) in expected {
        assert_eq!(reason(&report, process), why);
        assert_eq!(*whats(&report, process).last().unwrap(), What::Failed);
    }
    assert_eq!(node.status("loops").await.state, "failed");
}

#[tokio::test]
async fn all_settle_together_and_one_that_ends_meanwhile_fails_at_once() {
    let node = Node::start();
    let begin = Instant::now();
    let calm = ["a", "b", "c"].map(notify).to_vec();
    let report = settle(&node, 700, calm).await;
    assert_eq!(report.failed, []);
    let took = begin.elapsed();
    assert!(
        (Duration::from_millis(700)..Duration::from_secs(2)).contains(&took),
        "{took:?}"
    );
    let expected = [What::Started, What::Ready];
    assert_eq!(whats(&report, "a"), expected);

    let node = Node::start();
    let mut falls = spec(
        "falls",
        "notify READY=1 after /run/go say out-of-memory exit 1",
    );
    falls.ready = Ready::Notify;
    falls.restart = Restart::Always;
    let mut leaves = spec("leaves", "notify READY=1 after /run/go exit 0");
    leaves.ready = Ready::Notify;
    let go = node.dir.path().join("run/go");
    let settled = settle(&node, 600_000, vec![falls, leaves, notify("a")]);
    let ends = async {
        node.wait_for_any("a", "ready").await;
        node.wait_for_any("falls", "ready").await;
        node.wait_for_any("leaves", "ready").await;
        fs_err::write(&go, "").unwrap();
    };
    let (report, ()) = tokio::join!(settled, ends);
    let why = report.failed.iter().map(|one| one.reason.as_str());
    let known = [
        "ended with exit code 1 after it was ready; its last lines:\nout-of-memory",
        "ended by itself, with success, after it was ready; it wrote nothing",
    ];
    assert!(!report.failed.is_empty());
    for why in why {
        assert!(known.contains(&why), "{why}");
    }
    // It is not brought back behind the change's back.
    assert_eq!(report.processes.len(), 3);
}

#[tokio::test]
async fn a_oneshot_may_end_while_the_others_settle() {
    let node = Node::start();
    let mut once = spec("once", "say done exit 0");
    once.ready = Ready::Oneshot;
    let report = settle(&node, 100, vec![once, notify("a")]).await;
    assert_eq!(report.failed, []);
}

#[tokio::test]
async fn a_health_program_is_run_when_its_process_is_ready_and_decides() {
    let node = Node::start();
    let mut well = notify("well");
    well.check = words("/usr/bin/daemon read /usr/share/text exit 0");
    let mut ill = notify("ill");
    ill.user = Some("ribd".into());
    ill.check = words("/usr/bin/daemon say 3-peers-of-4 ids exit 2");
    let mut slow = notify("slow");
    slow.check = words("/usr/bin/daemon sleep");
    slow.check_timeout = Span::Finite(Duration::from_millis(200));
    let mut absent = notify("absent");
    absent.check = words("/usr/bin/absent");
    let report = settle(&node, 0, vec![well]).await;
    assert_eq!(report.failed, []);
    assert_eq!(
        whats(&report, "well"),
        [What::Started, What::Ready, What::Checked]
    );
    for (one, why) in [
        (
            ill,
            "its check ended with exit code 2; it said:\n3-peers-of-4\nids 61234 61235",
        ),
        (slow, "its check was not done within 200ms; it said nothing"),
        (
            absent,
            "its check could not be run: /usr/bin/absent in generation 1",
        ),
    ] {
        let process = one.name.to_string();
        let node = Node::start();
        let report = settle(&node, 0, vec![one]).await;
        assert!(reason(&report, &process).starts_with(why), "{report:?}");
        assert_eq!(*whats(&report, &process).last().unwrap(), What::Failed);
    }
}

#[tokio::test]
async fn a_daemon_that_is_told_to_stop_everything_does_not_settle_first() {
    let mut node = Node::start();
    let mut transition = starting(node.tree(1, "one"), [notify("a")]);
    transition.settling_ms = 600_000;
    let document = serde_json::to_string(&transition).unwrap();
    let manager = node.manager().await;
    let waiting = tokio::spawn(async move { manager.transition(&document).await });
    node.wait_for_any("a", "ready").await;
    let pid = node.status("a").await.pid.unwrap();
    node.end_daemon(nix::sys::signal::Signal::SIGINT);
    assert!(!node::is_alive(pid));
    drop(waiting.await.unwrap());
}

#[tokio::test]
async fn on_the_way_back_no_health_program_keeps_the_old_software_from_running() {
    let node = Node::start();
    let (one, two) = (node.tree(1, "one"), node.tree(2, "two"));
    let mut ill = notify("ill");
    ill.check = words("/usr/bin/daemon say 3-peers-of-4 exit 2");
    node.transition(&starting(one.clone(), [notify("ill")]))
        .await;
    let mut forward = starting(two, []);
    forward.changed = vec![wanted(ill.clone())];
    let report = node.transition(&forward).await;
    assert!(reason(&report, "ill").starts_with("its check ended"));
    let mut back = starting(one, []);
    (back.change, back.changed) = (forward.change, forward.changed.clone());
    let report = node.transition(&back).await;
    assert_eq!(report.failed, []);
    assert_eq!(whats(&report, "ill").last(), Some(&What::Ready));
}

#[tokio::test]
async fn a_failed_check_is_not_waited_out() {
    let node = Node::start();
    let mut ill = notify("ill");
    ill.check = words("/usr/bin/daemon exit 1");
    let mut slow = notify("slow");
    slow.check = words("/usr/bin/daemon sleep");
    let begin = Instant::now();
    let report = settle(&node, 600_000, vec![ill, slow]).await;
    assert!(begin.elapsed() < Duration::from_secs(20));
    assert_eq!(report.failed.len(), 1, "{report:?}");
}

#[tokio::test]
async fn a_simple_process_is_moved_and_gets_the_signal_that_it_declares() {
    let node = Node::start();
    let on = |name: &str| {
        let mut spec = spec(name, "on-hup /usr/share/text notify READY=1 sleep");
        spec.ready = Ready::Notify;
        spec.uses_files = vec!["/usr/share/*".into()];
        spec
    };
    let mut told = on("told");
    told.change_signal = Some("SIGHUP".into());
    let specs = [told, on("moved")];
    let report = settle(&node, 0, specs.to_vec()).await;
    assert_eq!(report.failed, []);
    let pids = [
        node.status("told").await.pid,
        node.status("moved").await.pid,
    ];
    let mut next = starting(node.tree(2, "two"), []);
    next.told = specs
        .map(|spec| Told {
            wanted: wanted(spec),
            reached: true,
            timeout_ms: 20_000,
        })
        .to_vec();
    let report = node.transition(&next).await;
    assert_eq!(report.failed, []);
    assert_eq!(outcome(&report, "told").verdict, Verdict::Notify);
    assert_eq!(whats(&report, "told"), [What::Changed, What::Done]);
    while !node.logs("told").await.contains(&"hup two".to_owned()) {
        tokio::task::yield_now().await;
    }
    assert_eq!(node.logs("moved").await, Vec::<String>::new());
    let after = [
        node.status("told").await.pid,
        node.status("moved").await.pid,
    ];
    assert_eq!(pids, after);
}
