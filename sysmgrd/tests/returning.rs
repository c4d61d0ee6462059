//! Sessions over the daemon's end: a process that links the library comes back to the next daemon.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests; helpers too")]

mod node;

use std::io::{ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use model::bus::session::FD_VARIABLE;
use model::change::Verdict;
use model::process::Kind;
use model::transition::{Announcement, Ask, Asked, Prepare, Told, Transition, Votes};
use model::{ChangeId, ProcessName};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use node::{Node, is_alive, name, outcome, spec, starting, wanted};
use selfmanage::{Event, Session};

/// The process of these tests: this very program, started by sysmgrd. It answers when `/run/go` is
/// there, and says what became of the answer.
#[test]
#[expect(clippy::print_stdout, reason = "its output is what the tests read")]
fn the_other_end() {
    if std::env::var_os(FD_VARIABLE).is_none() {
        return;
    }
    await_file("/run/begin");
    let session = Session::from_env().unwrap().unwrap();
    println!("begun");
    println!("registered as {}", session.register().unwrap());
    loop {
        let event = session.next_event().unwrap();
        let said = match &event {
            Event::Evaluate(announcement, asked) => {
                println!("asked {}", asked.verdict);
                await_file("/run/go");
                session.accept(announcement.change)
            }
            Event::Prepare(announcement) => {
                println!("prepare");
                session.ready_and_waiting(announcement.change)
            }
            Event::Changed(change) => {
                println!("changed");
                await_file("/run/go");
                session.done(*change)
            }
            Event::Ended(_) => {
                println!("ended");
                continue;
            }
            Event::Disconnected | _ => {
                println!("disconnected");
                loop {
                    std::thread::park();
                }
            }
        };
        println!("answered {}", said.is_ok());
    }
}

fn await_file(path: &str) {
    while !Path::new(path).exists() {
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

fn put(node: &Node, file: &str) {
    fs_err::write(node.dir.path().join("run").join(file), "").unwrap();
}

fn take_away(node: &Node, file: &str) {
    fs_err::remove_file(node.dir.path().join("run").join(file)).unwrap();
}

/// A node with that process, which has registered, and with its number.
async fn with_ribd() -> (Node, u32) {
    let node = Node::start();
    for file in ["begin", "go"] {
        put(&node, file);
    }
    let pid = start_ribd(&node).await;
    await_line(&node, "registered as ribd", 1).await;
    (node, pid)
}

fn ribd() -> model::ProcessSpec {
    let mut ribd = spec("ribd", "");
    ribd.kind = Kind::SelfManaging;
    ribd.user = Some("ribd".into());
    ribd.exec = ["/usr/bin/told", "--exact", "the_other_end", "--nocapture"]
        .map(String::from)
        .to_vec();
    ribd
}

async fn start_ribd(node: &Node) -> u32 {
    let begin = starting(node.own_tree(1, "one"), [ribd()]);
    assert_eq!(node.transition(&begin).await.failed, []);
    node.status("ribd").await.pid.unwrap()
}

/// Waits until the process, over all daemons' lives, has written `line` so often.
async fn await_line(node: &Node, line: &str, times: usize) {
    let begin = Instant::now();
    while lines(node, line) < times {
        assert!(begin.elapsed() < Duration::from_secs(20), "{line} {times}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn lines(node: &Node, line: &str) -> usize {
    let file = node.run_dir().join("log/ribd");
    let said = fs_err::read_to_string(file).unwrap_or_default();
    // The harness writes the name of the test before the first line.
    said.lines().filter(|said| said.ends_with(line)).count()
}

fn announcement() -> Announcement {
    Announcement {
        change: ChangeId(7),
        entering: vec!["rib=2".into()],
        leaving: vec![],
        files: vec![],
    }
}

fn question() -> String {
    let ask = Ask {
        announcement: announcement(),
        timeout_ms: 20_000,
        more_time_ms: 0,
        asked: vec![Asked {
            process: name("ribd"),
            verdict: Verdict::Notify,
            because: vec![],
        }],
    };
    serde_json::to_string(&ask).unwrap()
}

async fn ask(node: &Node) -> Votes {
    let votes = node.manager().await.ask(&question()).await.unwrap();
    serde_json::from_str(&votes).unwrap()
}

/// What is asked of the daemon and not awaited here.
async fn meanwhile_ask(node: &Node) -> tokio::task::JoinHandle<bool> {
    let manager = node.manager().await;
    tokio::spawn(async move { manager.ask(&question()).await.is_ok() })
}

fn once(votes: &Votes) {
    let ribd: [ProcessName; 1] = [name("ribd")];
    assert_eq!(
        (&votes.accepted[..], &votes.vetoes[..]),
        (&ribd[..], &[][..])
    );
}

#[tokio::test]
async fn a_session_goes_on_when_the_daemon_was_killed() {
    let (mut node, pid) = with_ribd().await;
    for round in 1..=3 {
        node.kill_daemon();
        node.start_daemon();
        let status = node.status("ribd").await;
        assert!(status.registered, "{status:?}");
        assert_eq!(status.pid, Some(pid));
        // The daemon may be killed before it has said that it has the vote.
        once(&ask(&node).await);
        await_line(&node, "asked notify", round).await;
    }
    assert!(is_alive(pid));
    assert_eq!(lines(&node, "answered false"), 0);
    // Told to end, the daemon leaves its processes, and they come back as well.
    node.end_daemon(Signal::SIGTERM);
    node.start_daemon();
    once(&ask(&node).await);
}

#[tokio::test]
async fn a_question_that_was_under_way_is_asked_again_and_answered_once() {
    for answered_before in [true, false] {
        let (mut node, _) = with_ribd().await;
        take_away(&node, "go");
        let asked = meanwhile_ask(&node).await;
        await_line(&node, "asked notify", 1).await;
        node.kill_daemon();
        assert!(!asked.await.unwrap());
        if answered_before {
            put(&node, "go");
        }
        node.start_daemon();
        let again = meanwhile_ask(&node).await;
        if !answered_before {
            // It may still think about the question of the daemon that is gone: that is its answer.
            put(&node, "go");
        }
        assert!(again.await.unwrap());
        await_line(&node, "answered true", 1).await;
        once(&ask(&node).await);
    }
}

#[tokio::test]
async fn a_done_that_was_lost_is_asked_for_again() {
    let (mut node, pid) = with_ribd().await;
    once(&ask(&node).await);
    let prepare = Prepare {
        announcement: announcement(),
        timeout_ms: 20_000,
        levels: vec![vec![name("ribd")]],
    };
    let prepare = serde_json::to_string(&prepare).unwrap();
    node.manager().await.prepare(&prepare).await.unwrap();
    take_away(&node, "go");
    let mut change = starting(node.own_tree(2, "two"), []);
    change.change = ChangeId(7);
    change.told = vec![Told {
        wanted: wanted(ribd()),
        reached: true,
        timeout_ms: 20_000,
    }];
    let (manager, document) = (
        node.manager().await,
        serde_json::to_string(&change).unwrap(),
    );
    let going_on = tokio::spawn(async move { manager.transition(&document).await.is_ok() });
    await_line(&node, "changed", 1).await;
    node.kill_daemon();
    assert!(!going_on.await.unwrap());
    put(&node, "go");
    node.start_daemon();
    let report = node.transition(&change).await;
    assert_eq!(report.failed, []);
    await_line(&node, "changed", 2).await;
    let outcome = outcome(&report, "ribd");
    assert_eq!(outcome.verdict, Verdict::Notify, "{outcome:?}");
    assert_eq!(node.status("ribd").await.pid, Some(pid));
}

#[tokio::test]
async fn one_that_begins_or_registers_while_no_daemon_runs_is_registered_by_the_next() {
    let mut node = Node::start();
    put(&node, "go");
    let pid = start_ribd(&node).await;
    assert!(!node.status("ribd").await.registered);
    node.kill_daemon();
    put(&node, "begin");
    // Nobody reads its output while no daemon runs: what it does is seen afterwards.
    node.start_daemon();
    await_line(&node, "registered as ribd", 1).await;
    let status = node.status("ribd").await;
    assert!(status.registered, "{status:?}");
    assert_eq!(status.pid, Some(pid));
    once(&ask(&node).await);
}

fn is_stopped(pid: Pid) -> bool {
    let threads = fs_err::read_dir(format!("/proc/{pid}/task")).unwrap();
    let stat = |thread: fs_err::DirEntry| fs_err::read_to_string(thread.path().join("stat"));
    threads
        .flatten()
        .all(|thread| stat(thread).is_ok_and(|stat| stat.contains(") T ")))
}

#[tokio::test]
async fn only_the_process_itself_is_let_back() {
    let (mut node, pid) = with_ribd().await;
    let pid = Pid::from_raw(i32::try_from(pid).unwrap());
    let path = node.run_dir().join("session/ribd");
    node.kill_daemon();
    let refused = UnixStream::connect(&path).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    kill(pid, Signal::SIGSTOP).unwrap();
    // Each thread stops in its own time.
    while !is_stopped(pid) {
        tokio::task::yield_now().await;
    }
    node.start_daemon();
    assert!(node.status("ribd").await.registered);
    for _ in 0..5 {
        let mut stranger = UnixStream::connect(&path).unwrap();
        let closed = stranger.read(&mut [0; 16]);
        assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
    }
    kill(pid, Signal::SIGCONT).unwrap();
    once(&ask(&node).await);
    // It has come back: nobody else is let in.
    let refused = UnixStream::connect(&path).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    // What belongs to nobody any more has no way back.
    let stop = Transition {
        obsolete: vec![name("ribd")],
        ..starting(node.tree(1, "one"), [])
    };
    assert_eq!(node.transition(&stop).await.failed, []);
    assert!(!path.exists());
}
