//! Processes that are asked and told: votes, getting ready, moving a view, *done*.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests; helpers too")]
#![expect(unsafe_code, reason = "an inherited descriptor comes as a number")]

mod node;

use std::collections::BTreeSet;
use std::os::fd::FromRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt;
use model::ChangeId;
use model::bus::session::{FD_VARIABLE, SessionProxy};
use model::change::{Verdict, What};
use model::process::Kind;
use model::transition::{
    Announcement, Ask, Asked, ChangedFile, Ended, Prepare, Prepared, Told, Transition, Tree, Votes,
};
use node::{Node, is_alive, name, notify, outcome, spec, starting, wanted};
use zbus::connection::Builder;

/// The process of these tests: this very program, started by sysmgrd. It does as `/run/do` says
/// and writes what it sees.
#[tokio::test]
#[expect(clippy::print_stdout, reason = "its output is what the tests read")]
async fn the_other_end() {
    let Ok(number) = std::env::var(FD_VARIABLE) else {
        return;
    };
    // SAFETY: sysmgrd passes this descriptor, and nobody else in this program uses it.
    let stream = unsafe { UnixStream::from_raw_fd(number.parse().unwrap()) };
    let connection = Builder::unix_stream(stream).p2p().build().await.unwrap();
    let session = SessionProxy::new(&connection, "org.changeover.SysMgr1")
        .await
        .unwrap();
    let mut evaluate = session.receive_evaluate().await.unwrap();
    let mut prepare = session.receive_prepare().await.unwrap();
    let mut changed = session.receive_changed().await.unwrap();
    let mut ended = session.receive_ended().await.unwrap();
    println!("registered as {}", session.register().await.unwrap());
    loop {
        let text = || fs_err::read_to_string("/usr/share/text").unwrap();
        let manner = || fs_err::read_to_string("/run/do").unwrap_or_default();
        tokio::select! {
            Some(signal) = evaluate.next() => {
                let asked: Asked = serde_json::from_str(signal.args().unwrap().asked()).unwrap();
                println!("asked {}", asked.verdict);
                if manner() == "die" {
                    return;
                }
                vote(&session, &manner()).await;
            }
            Some(_) = prepare.next() => {
                println!("prepare {}", text());
                let reason = if manner() == "unready" { "disk busy" } else { "" };
                session.prepared(7, reason).await.unwrap();
            }
            Some(signal) = changed.next() => {
                println!("changed {}", text());
                let change = *signal.args().unwrap().change();
                match manner().as_str() {
                    "mute" => {}
                    "restart" => session.done(change, "librib.so.1 stays mapped").await.unwrap(),
                    _ => session.done(change, "").await.unwrap(),
                }
            }
            Some(signal) = ended.next() => {
                println!("ended {}", text());
                let ended: Ended = serde_json::from_str(signal.args().unwrap().document()).unwrap();
                if manner() != "deaf" {
                    session.heard(ended.change.0).await.unwrap();
                }
            }
            // The session was closed.
            else => std::future::pending().await,
        }
    }
}

/// Votes as `manner` says.
#[expect(clippy::print_stdout, reason = "its output is what the tests read")]
async fn vote(session: &SessionProxy<'_>, manner: &str) {
    match manner {
        "mute" => {}
        "veto" => session.vote(7, false, "in a call", false).await.unwrap(),
        "reached" => session.vote(7, true, "", true).await.unwrap(),
        "unregister" => session.unregister().await.unwrap(),
        "slow" => {
            println!("granted {}", session.more_time(7, 60_000).await.unwrap());
            println!("refused {}", session.more_time(7, 1).await.unwrap_err());
            tokio::time::sleep(Duration::from_millis(600)).await;
            session.vote(7, true, "", false).await.unwrap();
        }
        "late" => {
            tokio::time::sleep(Duration::from_millis(600)).await;
            println!(
                "refused {}",
                session.vote(7, true, "", false).await.unwrap_err()
            );
        }
        "mistaken" => {
            println!(
                "refused {}",
                session.vote(6, true, "", false).await.unwrap_err()
            );
            session.vote(7, true, "", false).await.unwrap();
            println!(
                "refused {}",
                session.vote(7, false, "no", false).await.unwrap_err()
            );
        }
        _ => session.vote(7, true, "", false).await.unwrap(),
    }
}

/// A tree that holds this program with the libraries that it needs.
fn tree(node: &Node, generation: u64, text: &str) -> Tree {
    node.own_tree(generation, text)
}

fn told_spec(name: &str) -> model::ProcessSpec {
    let mut told = spec(name, "");
    told.kind = Kind::SelfManaging;
    told.exec = ["/usr/bin/told", "--exact", "the_other_end", "--nocapture"]
        .map(String::from)
        .to_vec();
    told
}

async fn registered(node: &Node, name: &str) {
    while !node.status(name).await.registered {
        tokio::task::yield_now().await;
    }
}

async fn with_told(node: &Node) -> u32 {
    let mut ribd = told_spec("ribd");
    ribd.user = Some("ribd".into());
    let report = node
        .transition(&starting(tree(node, 1, "one"), [ribd, notify("simple")]))
        .await;
    assert_eq!(report.failed, []);
    registered(node, "ribd").await;
    node.status("ribd").await.pid.unwrap()
}

fn announcement(files: Vec<ChangedFile>) -> Announcement {
    Announcement {
        change: ChangeId(7),
        entering: vec!["rib=2".into()],
        leaving: vec![],
        files,
    }
}

async fn ask(node: &Node, asked: &[(&str, Verdict)], timeout_ms: u64) -> Votes {
    ask_with(node, asked, (timeout_ms, 0)).await
}

/// Asks with a limit, and so much more for those who ask for it.
async fn ask_with(
    node: &Node,
    asked: &[(&str, Verdict)],
    (timeout_ms, more_time_ms): (u64, u64),
) -> Votes {
    let one = |(process, verdict): &(&str, Verdict)| Asked {
        process: name(process),
        verdict: *verdict,
        because: vec![],
    };
    let ask = Ask {
        announcement: announcement(vec![]),
        timeout_ms,
        more_time_ms,
        asked: asked.iter().map(one).collect(),
    };
    let votes = node
        .manager()
        .await
        .ask(&serde_json::to_string(&ask).unwrap())
        .await
        .unwrap();
    serde_json::from_str(&votes).unwrap()
}

async fn prepare(node: &Node, files: Vec<ChangedFile>) -> Prepared {
    let levels = vec![vec![name("ribd")]];
    let prepare = Prepare {
        announcement: announcement(files),
        timeout_ms: 5_000,
        levels,
    };
    let answer = node
        .manager()
        .await
        .prepare(&serde_json::to_string(&prepare).unwrap())
        .await
        .unwrap();
    serde_json::from_str(&answer).unwrap()
}

fn behave(node: &Node, manner: &str) {
    fs_err::write(node.dir.path().join("run/do"), manner).unwrap();
}

fn telling(tree: Tree, reached: bool, timeout_ms: u64) -> Transition {
    let mut ribd = told_spec("ribd");
    ribd.user = Some("ribd".into());
    let mut transition = starting(tree, []);
    transition.change = ChangeId(7);
    transition.told = vec![Told {
        wanted: wanted(ribd),
        reached,
        timeout_ms,
    }];
    transition
}

#[tokio::test]
async fn votes_are_what_processes_say_and_silence_is_a_veto() {
    let node = Node::start();
    with_told(&node).await;
    let reached = [
        ("ribd", Verdict::Notify),
        ("simple", Verdict::Restart),
        ("nobody", Verdict::Start),
    ];
    let votes = ask(&node, &reached, 5_000).await;
    assert_eq!((votes.vetoes, votes.accepted), (vec![], vec![name("ribd")]));
    behave(&node, "veto");
    let votes = ask(&node, &reached, 5_000).await;
    assert_eq!(
        (
            votes.vetoes[0].process.as_str(),
            votes.vetoes[0].reason.as_str()
        ),
        ("ribd", "in a call")
    );
    // One whom the change does not reach has no vote, but may say that it is reached.
    assert_eq!(ask(&node, &[], 5_000).await, Votes::default());
    behave(&node, "reached");
    assert_eq!(ask(&node, &[], 5_000).await.also_reached, [name("ribd")]);
    behave(&node, "mute");
    let votes = ask(&node, &reached, 700).await;
    assert!(
        votes.vetoes[0]
            .reason
            .contains("no answer: nothing within 700 ms"),
        "{votes:?}"
    );
    behave(&node, "die");
    let votes = ask(&node, &reached, 5_000).await;
    assert!(
        votes.vetoes[0].reason.contains("left while it was asked"),
        "{votes:?}"
    );
}

/// What `ribd` was refused, once that is so many times.
async fn refusals(node: &Node, count: usize) -> Vec<String> {
    loop {
        let lines = node.logs("ribd").await;
        let said = lines
            .iter()
            .filter_map(|line| line.strip_prefix("refused "));
        let said: Vec<String> = said.map(str::to_owned).collect();
        if said.len() >= count {
            return said;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_vote_is_a_lease_and_what_does_not_count_is_refused_with_the_reason() {
    let node = Node::start();
    with_told(&node).await;
    let reached = [("ribd", Verdict::Notify)];
    behave(&node, "slow");
    let votes = ask_with(&node, &reached, (300, 20_000)).await;
    assert_eq!((votes.vetoes, votes.accepted), (vec![], vec![name("ribd")]));
    let moments: Vec<What> = votes.moments.iter().map(|(_, one)| one.what).collect();
    assert_eq!(moments, [What::Asked, What::Accepted]);
    let took = votes.moments[1].1.at_ms - votes.moments[0].1.at_ms;
    assert!((600..5_000).contains(&took), "{took}");
    let lines = node.logs("ribd").await;
    assert!(lines.contains(&"granted 20000".to_owned()), "{lines:?}");
    behave(&node, "late");
    let votes = ask(&node, &reached, 300).await;
    assert!(votes.vetoes[0].reason.contains("nothing within 300 ms"));
    refusals(&node, 2).await;
    behave(&node, "mistaken");
    assert_eq!(ask(&node, &reached, 5_000).await.vetoes, []);
    // None of it may be taken for an answer to the next question.
    refusals(&node, 4).await;
    behave(&node, "unregister");
    let votes = ask(&node, &reached, 5_000).await;
    assert!(
        votes.vetoes[0].reason.contains("left while it was asked"),
        "{votes:?}"
    );
    let refused = [
        "org.changeover.Error.Invalid: more time is granted once, and this process has had it",
        "org.changeover.Error.Invalid: change 7 is not asked about: the vote on it is over, or there was none",
        "org.changeover.Error.Invalid: the answer is for change 6, and change 7 is asked about",
        "org.changeover.Error.Invalid: change 7 is not asked about: the vote on it is over, or there was none",
    ];
    assert_eq!(refusals(&node, 4).await, refused);
}

#[tokio::test]
async fn the_end_is_told_until_it_is_acknowledged_and_then_the_session_is_closed() {
    let node = Node::start();
    with_told(&node).await;
    behave(&node, "deaf");
    let ended = r#"{"change":7,"completed":false,"detail":"a veto"}"#;
    node.manager().await.end(ended).await.unwrap();
    let ends = |lines: Vec<String>| {
        lines
            .iter()
            .filter(|line| line.starts_with("ended"))
            .count()
    };
    while ends(node.logs("ribd").await) < 2 {
        tokio::task::yield_now().await;
    }
    behave(&node, "");
    // What is told again after it was acknowledged would be seen before this answer.
    let asked = [("ribd", Verdict::Notify)];
    assert_eq!(ask(&node, &asked, 5_000).await.accepted, [name("ribd")]);
    behave(&node, "deaf");
    node.manager().await.end(ended).await.unwrap();
    while node.status("ribd").await.registered {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let status = node.status("ribd").await;
    let why = "session closed: it never acknowledged the end of change 7";
    assert_eq!(
        (status.state.as_str(), status.status.as_deref()),
        ("ready", Some(why))
    );
    let votes = ask(&node, &asked, 5_000).await;
    assert!(votes.vetoes[0].reason.contains("no answer"), "{votes:?}");
}

#[tokio::test]
async fn an_evaluate_program_may_ask_for_more_time_and_does_not_outlive_the_question() {
    let node = Node::start();
    let words = |text: &str| text.split(' ').map(String::from).collect::<Vec<_>>();
    let go = node.dir.path().join("run/go");
    let mut slow = notify("slow");
    slow.evaluate = words("/usr/bin/daemon say MORE_TIME=20s after /run/go exit 0");
    let mut hung = notify("hung");
    hung.evaluate = words("/usr/bin/daemon write /run/asked yes sleep");
    node.transition(&starting(node.tree(1, "one"), [slow, hung]))
        .await;
    let answered = async {
        // The other one's time is over; this one's goes on.
        tokio::time::sleep(Duration::from_millis(900)).await;
        fs_err::write(&go, "").unwrap();
    };
    let all = ["slow", "hung"].map(|name| (name, Verdict::Restart));
    let (votes, ()) = tokio::join!(ask_with(&node, &all, (500, 20_000)), answered);
    assert_eq!(votes.accepted, [name("slow")]);
    assert!(votes.vetoes[0].reason.contains("nothing within 500 ms"));
    assert!(node.dir.path().join("run/asked").exists());
    // Only the daemons themselves are left in the groups.
    for process in ["slow", "hung"] {
        let main = node.status(process).await.pid.unwrap();
        let own = fs_err::read_to_string(format!("/proc/{main}/cgroup")).unwrap();
        let group = own.rsplit_once('/').unwrap().1.trim();
        let procs = node.cgroup().join(group).join("cgroup.procs");
        wait_until_alone(&procs, main).await;
    }
}

async fn wait_until_alone(procs: &Path, main: u32) {
    for _ in 0..500 {
        let text = fs_err::read_to_string(procs).unwrap();
        if text.trim() == main.to_string() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{}: {:?}", procs.display(), fs_err::read_to_string(procs));
}

#[tokio::test]
async fn an_evaluate_program_votes_by_its_exit_and_its_last_line() {
    let node = Node::start();
    let words = |text: &str| text.split(' ').map(String::from).collect::<Vec<_>>();
    let mut yes = notify("yes");
    yes.evaluate = words("/usr/bin/daemon read /run/changeover/x exit 0");
    yes.evaluate = words("/usr/bin/daemon env CHANGEOVER_VERDICT exit 0");
    let mut no = notify("no");
    no.evaluate = words("/usr/bin/daemon say first say busy-with-7-calls exit 1");
    let mut broken = notify("broken");
    broken.evaluate = words("/usr/bin/absent");
    let mut crashed = notify("crashed");
    crashed.evaluate = words("/usr/bin/daemon abort");
    node.transition(&starting(node.tree(1, "one"), [yes, no, broken, crashed]))
        .await;
    let all = ["yes", "no", "broken", "crashed"].map(|name| (name, Verdict::Restart));
    let votes = ask(&node, &all, 10_000).await;
    assert_eq!(votes.accepted, [name("yes")]);
    let reason = |name: &str| {
        &votes
            .vetoes
            .iter()
            .find(|veto| veto.process.as_str() == name)
            .unwrap()
            .reason
    };
    assert_eq!(reason("no"), "busy-with-7-calls");
    assert!(
        reason("broken").contains("/usr/bin/absent"),
        "{}",
        reason("broken")
    );
    assert!(
        reason("crashed").contains("no answer"),
        "{}",
        reason("crashed")
    );
}

#[tokio::test]
async fn a_told_process_keeps_its_pid_and_sees_the_new_files_only_between_ready_and_done() {
    let node = Node::start();
    let pid = with_told(&node).await;
    for (generation, text) in [(2, "two"), (3, "three"), (4, "four")] {
        assert_eq!(prepare(&node, vec![]).await.not_ready, []);
        let report = node
            .transition(&telling(tree(&node, generation, text), true, 20_000))
            .await;
        assert_eq!(report.failed, []);
        let outcome = outcome(&report, "ribd");
        assert_eq!(
            (outcome.verdict, outcome.down_ms, outcome.detail.as_deref()),
            (Verdict::Notify, 0, None)
        );
        let ended = r#"{"change":7,"completed":true,"detail":"done"}"#;
        node.manager().await.end(ended).await.unwrap();
        // It hears each kind of news by another stream: one at a time keeps them in order.
        while !node.logs("ribd").await.contains(&format!("ended {text}")) {
            tokio::task::yield_now().await;
        }
    }
    let status = node.status("ribd").await;
    assert_eq!((status.pid, status.generation.0), (Some(pid), 4));
    let lines = node.logs("ribd").await;
    // On a machine that is busy the end is told again before the answer to it is there: once counts.
    let mut said = BTreeSet::new();
    let told: Vec<&str> = lines
        .iter()
        .map(String::as_str)
        .filter(|line| !line.is_empty() && !line.starts_with("running"))
        .filter(|line| said.insert(*line))
        .collect();
    let expected = [
        "registered as ribd",
        "prepare one",
        "changed two",
        "ended two",
        "prepare two",
        "changed three",
        "ended three",
        "prepare three",
        "changed four",
        "ended four",
    ];
    assert_eq!(
        told.iter()
            .map(|line| line.trim_start_matches("test the_other_end ... "))
            .collect::<Vec<_>>(),
        expected
    );
    // Nobody else has moved.
    let other = node.status("simple").await;
    assert_eq!(other.generation.0, 1);
    let text = fs_err::read_to_string(format!("/proc/{}/root/usr/share/text", other.pid.unwrap()))
        .unwrap();
    assert_eq!(text, "one");
    // Never more than its first tree and the newest.
    let mounts = fs_err::read_to_string(format!("/proc/{pid}/mounts")).unwrap();
    let stacked = mounts
        .lines()
        .filter(|line| line.split(' ').nth(1) == Some("/usr"))
        .count();
    assert_eq!(stacked, 2, "{mounts}");
}

#[tokio::test]
async fn without_done_it_is_restarted_and_the_report_says_why() {
    let cases = [
        ("mute", 300, "no done within 300 ms"),
        (
            "restart",
            20_000,
            "asked for a restart: librib.so.1 stays mapped",
        ),
    ];
    for (manner, timeout, why) in cases {
        let node = Node::start();
        let pid = with_told(&node).await;
        behave(&node, manner);
        let report = node
            .transition(&telling(tree(&node, 2, "two"), true, timeout))
            .await;
        assert_eq!(report.failed, []);
        let outcome = outcome(&report, "ribd");
        assert_eq!(
            (outcome.verdict, outcome.detail.as_deref()),
            (Verdict::Restart, Some(why))
        );
        assert!(!is_alive(pid));
        let status = node.status("ribd").await;
        assert_eq!((status.state.as_str(), status.generation.0), ("ready", 2));
    }
}

#[tokio::test]
async fn an_unreached_process_is_told_and_not_waited_for() {
    let node = Node::start();
    let pid = with_told(&node).await;
    behave(&node, "mute");
    let report = node
        .transition(&telling(tree(&node, 2, "two"), false, 60_000))
        .await;
    assert_eq!(
        (report.failed.len(), outcome(&report, "ribd").verdict),
        (0, Verdict::Notify)
    );
    assert_eq!(
        (
            node.status("ribd").await.pid,
            node.status("ribd").await.generation.0
        ),
        (Some(pid), 2)
    );
}

#[tokio::test]
async fn one_that_says_done_but_still_maps_the_old_file_is_restarted() {
    use std::os::unix::fs::MetadataExt;
    let node = Node::start();
    let pid = with_told(&node).await;
    // Its own program stands for the library that it did not let go.
    let program: PathBuf = format!("/proc/{pid}/exe").into();
    let old = fs_err::metadata(&program).unwrap();
    let file = ChangedFile {
        path: "/usr/bin/told".parse().unwrap(),
        old: Some((old.dev(), old.ino())),
        new: Some((old.dev(), 1)),
        library: true,
    };
    prepare(&node, vec![file]).await;
    let two = tree(&node, 2, "two");
    with_a_program_of_its_own(&two);
    let report = node.transition(&telling(two, true, 20_000)).await;
    let detail = outcome(&report, "ribd").detail.clone().unwrap();
    assert!(detail.contains("still maps /usr/bin/told"), "{detail}");
}

/// The tree that a node has made before.
fn standing(node: &Node, generation: u64) -> Tree {
    let root = format!("generations/{generation}/root");
    Tree {
        generation: model::Generation(generation),
        root: node.dir.path().join(root),
    }
}

/// Another inode with the same content.
fn with_a_program_of_its_own(tree: &Tree) {
    let program = tree.root.join("usr/bin/told");
    fs_err::remove_file(&program).unwrap();
    fs_err::copy(std::env::current_exe().unwrap(), &program).unwrap();
}

#[tokio::test]
async fn one_that_maps_the_old_files_again_after_a_change_was_taken_back_stays() {
    use std::os::unix::fs::MetadataExt;
    let node = Node::start();
    let pid = with_told(&node).await;
    let (one, two) = (standing(&node, 1), tree(&node, 2, "two"));
    with_a_program_of_its_own(&two);
    let inode = |tree: &Tree| {
        let data = fs_err::metadata(tree.root.join("usr/bin/told")).unwrap();
        Some((data.dev(), data.ino()))
    };
    // Its own program stands for the library: it has never mapped another.
    let file = ChangedFile {
        path: "/usr/bin/told".parse().unwrap(),
        old: inode(&one),
        new: inode(&two),
        library: true,
    };
    prepare(&node, vec![file]).await;
    let report = node.transition(&telling(one, true, 20_000)).await;
    let outcome = outcome(&report, "ribd");
    assert_eq!(
        (outcome.verdict, outcome.detail.as_deref()),
        (Verdict::Notify, None)
    );
    assert_eq!(node.status("ribd").await.pid, Some(pid));
}

#[tokio::test]
async fn a_transition_that_comes_while_another_goes_on_joins_it_or_waits_for_its_turn() {
    let node = Node::start();
    let pid = with_told(&node).await;
    behave(&node, "mute");
    let two = telling(tree(&node, 2, "two"), true, 20_000);
    let mut back = telling(standing(&node, 1), true, 20_000);
    back.told.clear();
    back.changed = two.told.iter().map(|told| told.wanted.clone()).collect();
    // Told and silent, it holds the change up until it is ended.
    let moved = async {
        while node.status("ribd").await.generation.0 != 2 {
            tokio::task::yield_now().await;
        }
    };
    let others = async {
        moved.await;
        let end = async {
            for _ in 0..50 {
                node.status("ribd").await;
            }
            let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
        };
        // Whoever was killed asks again; somebody else wants it back.
        tokio::join!(node.transition(&two), node.transition(&back), end)
    };
    let (first, (again, back, ())) = tokio::join!(node.transition(&two), others);
    assert_eq!(first, again);
    assert_eq!((first.failed, back.failed), (vec![], vec![]));
    let status = node.status("ribd").await;
    assert_eq!((status.state.as_str(), status.generation.0), ("ready", 1));
}

#[tokio::test]
async fn the_end_of_a_change_ends_the_question_about_it() {
    let node = Node::start();
    with_told(&node).await;
    behave(&node, "mute");
    let asked = [("ribd", Verdict::Notify)];
    let asking = async {
        let manager = node.manager().await;
        let ask = Ask {
            announcement: announcement(vec![]),
            timeout_ms: 60_000,
            more_time_ms: 0,
            asked: vec![Asked {
                process: name("ribd"),
                verdict: Verdict::Notify,
                because: vec![],
            }],
        };
        manager.ask(&serde_json::to_string(&ask).unwrap()).await
    };
    let ending = async {
        while !node.logs("ribd").await.contains(&"asked notify".to_owned()) {
            tokio::task::yield_now().await;
        }
        let ended = r#"{"change":7,"completed":false,"detail":"whoever asked was killed"}"#;
        node.manager().await.end(ended).await.unwrap();
    };
    let (unanswered, ()) = tokio::join!(asking, ending);
    assert!(unanswered.is_err());
    behave(&node, "accept");
    let votes = ask(&node, &asked, 5_000).await;
    assert_eq!((votes.vetoes, votes.accepted), (vec![], vec![name("ribd")]));
}

#[tokio::test]
async fn one_that_is_not_ready_says_why() {
    let node = Node::start();
    with_told(&node).await;
    behave(&node, "unready");
    let prepared = prepare(&node, vec![]).await;
    assert_eq!(prepared.not_ready[0].reason, "disk busy");
}

#[tokio::test]
async fn in_a_user_namespace_views_are_made_and_moved_all_the_same() {
    let mut node = Node::with(node::Groups::None, "");
    node.end_daemon(nix::sys::signal::Signal::SIGTERM);
    node.wrapper = ["unshare", "--user", "--map-root-user", "--mount"]
        .map(String::from)
        .to_vec();
    node.start_daemon();
    let specs = [told_spec("ribd"), notify("simple")];
    let report = node
        .transition(&starting(tree(&node, 1, "one"), specs))
        .await;
    assert_eq!(report.failed, []);
    registered(&node, "ribd").await;
    let pid = node.status("ribd").await.pid.unwrap();
    let mut told = telling(tree(&node, 2, "two"), true, 20_000);
    told.told[0].wanted = wanted(told_spec("ribd"));
    let report = node.transition(&told).await;
    assert_eq!(
        (
            report.failed.len(),
            outcome(&report, "ribd").detail.as_deref()
        ),
        (0, None)
    );
    assert_eq!(node.status("ribd").await.pid, Some(pid));
    assert!(node.logs("ribd").await.contains(&"changed two".to_owned()));
    let usr = format!(
        "/proc/{}/root/usr",
        node.status("simple").await.pid.unwrap()
    );
    let refused = fs_err::write(Path::new(&usr).join("x"), "x").unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    let stop = nix::sys::signal::Signal::SIGINT;
    node.end_daemon(stop);
    assert!(!is_alive(pid));
}
