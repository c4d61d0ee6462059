//! Who hears of what the master does: programs, web servers, lookers-on, the audit log; and what a
//! node hears that only asks.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    unreachable_pub,
    dead_code,
    reason = "tests, and a fleet that several of them share"
)]

mod fleet;

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fleet::{Master, SOON, Scripted, envelope};
use futures_util::StreamExt;
use model::change::Outcome;
use model::wire::{
    Assignment, AuditEntry, FleetEvent, IssuedOperator, NodePhase, NodeView, Objection, Phase,
    Presence, RolloutId, RolloutView, Update, Verdict, Vote,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;

fn everybody() -> Update {
    let mut update = Update::default();
    update.nodes.all = true;
    "as usual".clone_into(&mut update.reason);
    update
}

async fn begin(master: &Master) -> RolloutView {
    master.import(envelope("tool", "1", "one")).await;
    let assignment = Assignment {
        packages: vec!["tool".parse().unwrap()],
        ..Assignment::default()
    };
    let stored: Assignment = master.put("/v1/assign/fleet", &assignment).await;
    assert_eq!(stored, assignment);
    master.post("/v1/updates", &everybody()).await
}

async fn veto(node: &mut Scripted) {
    let ask = node.asked().await;
    let objections = vec![Objection {
        process: "phone".parse().unwrap(),
        reason: "call in progress".to_owned(),
    }];
    node.vote(&ask, Vote::Veto { objections }).await;
}

/// Waits until it is so.
async fn until<T>(mut seen: impl FnMut() -> Option<T>) -> T {
    let wait = async {
        loop {
            if let Some(value) = seen() {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, wait)
        .await
        .expect("it comes to be so")
}

fn told(file: &Path) -> Vec<Value> {
    let text = fs_err::read_to_string(file).unwrap_or_default();
    let lines = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    lines.collect()
}

/// A web server that answers 200 and passes on the first line of each request and its body.
async fn listener() -> (u16, tokio::sync::mpsc::UnboundedReceiver<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (send, receive) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let send = send.clone();
            tokio::spawn(async move {
                let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
                while let Ok(count @ 1..) = stream.read(&mut chunk).await {
                    bytes.extend_from_slice(&chunk[..count]);
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    let Some((head, body)) = text.split_once("\r\n\r\n") else {
                        continue;
                    };
                    if let Ok(body) = serde_json::from_str(body) {
                        let line = head.lines().next().unwrap_or_default().to_owned();
                        send.send((line, body)).unwrap();
                        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                        stream.write_all(answer).await.unwrap();
                        bytes.clear();
                    }
                }
            });
        }
    });
    (port, receive)
}

/// A program that adds what it is told to a file; both.
fn hook(dir: &Path) -> (PathBuf, PathBuf) {
    let (script, file) = (dir.join("hook"), dir.join("told"));
    let text = format!("#!/bin/sh\ncat >>{0}\necho >>{0}\n", file.display());
    fs_err::write(&script, text).unwrap();
    let mode = std::fs::Permissions::from_mode(0o755);
    fs_err::set_permissions(&script, mode).unwrap();
    (script, file)
}

/// An update that one node vetoes and the other, decided for, takes back; how it ends.
async fn vetoed_failed_and_ended(
    master: &Master,
    one: &mut Scripted,
    other: &mut Scripted,
) -> (RolloutId, RolloutView) {
    let begun = begin(master).await;
    let ask = one.asked().await;
    one.vote(&ask, Vote::Accept).await;
    veto(other).await;
    master
        .until(begun.id, |view| view.phase == Phase::Held)
        .await;
    let path = format!("/v1/rollouts/{}/decision", begun.id);
    let decision = json!({"choice": "accepting", "reason": "the other later"});
    drop(master.post::<RolloutView>(&path, &decision).await);
    let wanted = one.wanted().await;
    one.end(begun.id, &wanted, Outcome::RolledBack).await;
    let view = master
        .until(begun.id, |view| {
            matches!(view.phase, Phase::Stopped) || view.phase.is_end()
        })
        .await;
    if !view.phase.is_end() {
        let decision = json!({"choice": "abort", "reason": "enough"});
        drop(master.post::<RolloutView>(&path, &decision).await);
    }
    let end = master.until(begun.id, |view| view.phase.is_end()).await;
    (begun.id, end)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_and_a_web_server_are_told_of_vetoes_holds_failures_and_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let (script, file) = hook(dir.path());
    let (port, mut posted) = listener().await;
    let more = format!(
        "[hooks]\nprogram = [\"{}\"]\nwebhook = \"http://127.0.0.1:{port}/fleet?a=b\"\n",
        script.display()
    );
    let master = Master::with(&more, &[]).await;
    let (mut one, mut other) = (
        master.node("one", "edge").await,
        master.node("other", "edge").await,
    );
    one.connect().await;
    other.connect().await;
    let (id, end) = vetoed_failed_and_ended(&master, &mut one, &mut other).await;

    let said = until(|| {
        let said = told(&file);
        said.iter()
            .any(|one| one["event"] == "done")
            .then_some(said)
    })
    .await;
    let events: BTreeSet<&str> = said
        .iter()
        .map(|one| one["event"].as_str().unwrap())
        .collect();
    let expected = ["done", "failed", "held", "vetoed"];
    assert!(expected.iter().all(|one| events.contains(one)), "{said:#?}");
    let find = |event: &str| said.iter().find(|one| one["event"] == event).unwrap();
    assert_eq!(find("vetoed")["node"], "other");
    assert_eq!(find("vetoed")["reason"], "phone: call in progress");
    assert_eq!(find("failed")["node"], "one");
    assert_eq!(find("held")["by"], "admin");
    assert_eq!(find("held")["rollout"], id.0);
    assert_eq!(find("held")["tally"]["veto"], 1);
    let phase = serde_json::to_value(end.phase).unwrap();
    assert_eq!(find("done")["phase"], phase);
    for one in &said {
        let got = tokio::time::timeout(SOON, posted.recv())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(got.0, "POST /fleet?a=b HTTP/1.1");
        assert_eq!(&got.1, one);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_server_is_reached_by_the_proxy_that_the_environment_names() {
    let (port, mut posted) = listener().await;
    let proxy = ("HTTP_PROXY".to_owned(), format!("http://127.0.0.1:{port}"));
    let more = "[hooks]\nwebhook = \"http://hook.invalid/x\"\n";
    let master = Master::with(more, &[proxy]).await;
    let mut node = master.node("one", "edge").await;
    node.connect().await;
    begin(&master).await;
    veto(&mut node).await;
    let (line, body) = tokio::time::timeout(SOON, posted.recv())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(line, "POST http://hook.invalid/x HTTP/1.1");
    assert_eq!(body["event"], "vetoed");
}

/// Processes whose command line has this word.
fn running(word: &str) -> Vec<String> {
    let all = fs_err::read_dir("/proc").unwrap().filter_map(Result::ok);
    let lines = all.filter_map(|one| fs_err::read(one.path().join("cmdline")).ok());
    let texts = lines.map(|line| String::from_utf8_lossy(&line).into_owned());
    texts.filter(|text| text.contains(word)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_hangs_holds_nothing_up_and_is_ended_with_all_that_it_began() {
    let length = format!("9{}.5", std::process::id());
    let more = format!(
        "[hooks]\nprogram = [\"/bin/sh\", \"-c\", \"sleep {length} & sleep {length}\"]\n\
         webhook = \"http://127.0.0.1:1/nobody\"\ntimeout = \"3s\"\n"
    );
    let master = Master::with(&more, &[]).await;
    let (mut one, mut other) = (
        master.node("one", "edge").await,
        master.node("other", "edge").await,
    );
    one.connect().await;
    other.connect().await;
    let begun = begin(&master).await;
    let asked = one.asked().await;
    veto(&mut other).await;
    until(|| (running(&length).len() >= 3).then_some(())).await;
    // While it hangs the engine goes on: the second vote is counted, and an operator decides.
    one.vote(&asked, Vote::Accept).await;
    master
        .until(begun.id, |view| view.phase == Phase::Held)
        .await;
    assert!(!running(&length).is_empty());
    let path = format!("/v1/rollouts/{}/decision", begun.id);
    let decision = json!({"choice": "abort", "reason": "enough"});
    drop(master.post::<RolloutView>(&path, &decision).await);
    master
        .until(begun.id, |view| view.phase == Phase::Aborted)
        .await;
    until(|| running(&length).is_empty().then_some(())).await;
}

async fn lines(master: &Master) -> Vec<(String, String, Option<String>, String)> {
    let lines: Vec<AuditEntry> = master.get("/v1/audit?most=100").await;
    let numbers: Vec<u64> = lines.iter().map(|line| line.seq).collect();
    let first = numbers[0];
    let last = first + numbers.len() as u64;
    assert_eq!(numbers, (first..last).collect::<Vec<_>>());
    let one = |line: AuditEntry| (line.by, line.what, line.on, line.reason);
    lines.into_iter().map(one).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_deed_stands_once_in_the_audit_log_also_after_a_kill() {
    let mut master = Master::new().await;
    let mut node = master.node("one", "edge").await;
    node.connect().await;
    begin(&master).await;
    let update = Update {
        idempotency_key: Some("job 7".to_owned()),
        supersede: Some(RolloutId(1)),
        ..everybody()
    };
    for _ in 0..2 {
        let same: RolloutView = master.post("/v1/updates", &update).await;
        assert_eq!(same.id.0, 2);
    }
    let decision = json!({"choice": "abort", "reason": "no"});
    drop(
        master
            .post::<RolloutView>("/v1/rollouts/2/decision", &decision)
            .await,
    );
    drop(
        master
            .put::<NodeView>("/v1/nodes/one", &json!({"labels": {"rack": "7"}}))
            .await,
    );
    // The same once more changes nothing, and was done all the same.
    drop(
        master
            .put::<NodeView>("/v1/nodes/one", &json!({"labels": {"rack": "7"}}))
            .await,
    );
    master.killed().await;
    let all = lines(&master).await;
    let of = |what: &str| all.iter().filter(|line| line.1 == what).collect::<Vec<_>>();
    for line in of("update").iter().chain(&of("edit node")) {
        assert_eq!(line.0, "admin");
    }
    let on = |what: &str| {
        let lines = of(what).into_iter();
        lines
            .map(|line| line.2.clone().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(on("update"), ["update 1", "update 2"]);
    assert_eq!(on("decide abort"), ["update 2"]);
    assert_eq!(of("decide abort")[0].3, "no");
    assert_eq!(on("assign"), ["fleet"]);
    assert_eq!(on("import"), ["tool=1"]);
    assert_eq!(on("edit node"), ["one", "one"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_looks_on_hears_of_each_part_until_they_may_not_any_more() {
    let master = Master::new().await;
    let mut node = master.node("one", "edge").await;
    node.connect().await;
    let new = json!({"name": "viewer", "role": "read"});
    let viewer: IssuedOperator = master.post("/v1/operators", &new).await;
    let mut events = master.events(&viewer.token).await;
    let begun = begin(&master).await;
    let ask = node.asked().await;
    node.vote(&ask, Vote::Accept).await;
    let wanted = node.wanted().await;
    node.become_it(&wanted);
    node.end(begun.id, &wanted, Outcome::Done).await;
    node.is_committed(begun.id).await;
    let mut phases = Vec::new();
    while phases.last() != Some(&NodePhase::Done) {
        let next = tokio::time::timeout(SOON, events.next()).await.unwrap();
        let Message::Text(text) = next.unwrap().unwrap() else {
            panic!("no text");
        };
        if let FleetEvent::Part { rollout, part } = serde_json::from_str(&text).unwrap() {
            assert_eq!((rollout, part.node.as_str()), (begun.id, "one"));
            if phases.last() != Some(&part.phase) {
                phases.push(part.phase);
            }
        }
    }
    assert_eq!(phases.first(), Some(&NodePhase::Asked));
    assert!(phases.contains(&NodePhase::Changing), "{phases:?}");
    // A new token for the same name: the old one's stream ends, though nothing happens.
    let again: IssuedOperator = master.post("/v1/operators", &new).await;
    let end = async {
        loop {
            match events.next().await {
                Some(Ok(Message::Text(_))) => {}
                other => return other,
            }
        }
    };
    let end = tokio::time::timeout(SOON, end).await.unwrap();
    let Some(Ok(Message::Close(Some(frame)))) = end else {
        panic!("{end:?}");
    };
    assert_eq!(frame.reason.as_str(), "you may not look on any more");
    drop(master.events(&again.token).await);
}

async fn check(node: &Scripted, software: Option<model::Digest>) -> String {
    let body = json!({ "software": software }).to_string();
    let (status, body) = node.request("POST", "/v1/check", &body).await;
    assert_eq!(status, 200, "{body}");
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_only_asks_hears_in_a_few_bytes_whether_it_runs_what_was_decided() {
    let mut master = Master::new().await;
    let mut node = master.node("one", "edge").await;
    assert_eq!(check(&node, None).await, r#"{"verdict":"unassigned"}"#);
    node.connect().await;
    let begun = begin(&master).await;
    let ask = node.asked().await;
    assert_eq!(check(&node, None).await, r#"{"verdict":"unassigned"}"#);
    node.vote(&ask, Vote::Accept).await;
    let wanted = node.wanted().await;
    assert_eq!(check(&node, None).await, r#"{"verdict":"differs"}"#);
    let runs = Some(wanted.software);
    assert_eq!(check(&node, runs).await, r#"{"verdict":"go-on"}"#);
    node.become_it(&wanted);
    node.end(begun.id, &wanted, Outcome::Done).await;
    node.is_committed(begun.id).await;
    master.killed().await;
    assert_eq!(check(&node, runs).await, r#"{"verdict":"go-on"}"#);
    let (status, _) = node.request("POST", "/v1/check", r#"{"software":7}"#).await;
    assert_eq!(status, 400);
    let (status, _) = node.request("POST", "/v1/check", &" ".repeat(2000)).await;
    assert_eq!(status, 413);
    // Two live links of one identity: neither is believed.
    assert_eq!(node.connect().await, Verdict::GoOn);
    let mut copy = node.clone_of("second");
    let (verdict, _) = tokio::join!(copy.connect(), node.heard());
    assert_eq!(verdict, Verdict::Quarantined);
    assert_eq!(check(&node, runs).await, r#"{"verdict":"quarantined"}"#);
}

fn pkgtool(master: &Master, arguments: &[&str]) -> (bool, String) {
    let program = Path::new(env!("CARGO_BIN_EXE_masterd")).with_file_name("pkgtool");
    assert!(program.exists(), "cargo build --workspace --bins first");
    let ran = std::process::Command::new(program)
        .args(["fleet", "--profile"])
        .arg(master.profile_file())
        .args(arguments)
        .output()
        .unwrap();
    let text = [ran.stdout, ran.stderr].concat();
    (ran.status.success(), String::from_utf8(text).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_waits_is_shown_and_comes_in_when_an_operator_accepts_it() {
    let master = Master::new().await;
    let waiting = master.waits("edge-9").await;
    let view: NodeView = master.get("/v1/nodes/edge-9").await;
    let Presence::Pending { fingerprint } = view.presence else {
        panic!("{view:?}");
    };
    assert_eq!(Some(fingerprint.as_str()), waiting.fingerprint.as_deref());
    let all: Vec<NodeView> = master.get("/v1/nodes").await;
    assert_eq!(all.len(), 1);
    let (done, text) = pkgtool(&master, &["nodes"]);
    assert!(
        done && text.contains("edge-9") && text.contains(&fingerprint),
        "{text}"
    );
    // Another key may ask for the name, too; nobody is let in by mistake.
    let twin = master.waits("edge-9").await;
    let (done, text) = pkgtool(&master, &["nodes", "accept", "edge-9"]);
    assert!(!done, "{text}");
    let body = json!({ "fingerprint": &fingerprint[..8] });
    let accepted: NodeView = master.post("/v1/nodes/edge-9/accept", &body).await;
    assert!(
        matches!(accepted.presence, Presence::Away { .. }),
        "{accepted:?}"
    );
    let (status, _) = master.refused("/v1/enrol", &twin.enrol).await;
    assert_eq!(status, 409);
    let mut node = master.comes_in(waiting).await.unwrap();
    assert_eq!(node.connect().await, Verdict::Unassigned);
    let other = master.waits("edge-10").await;
    let (done, text) = pkgtool(&master, &["nodes", "accept", "edge-10"]);
    assert!(done, "{text}");
    let mut node = master.comes_in(other).await.unwrap();
    assert_eq!(node.connect().await, Verdict::Unassigned);
    let all: Vec<NodeView> = master.get("/v1/nodes").await;
    let connected = |node: &NodeView| matches!(node.presence, Presence::Connected { .. });
    assert_eq!(
        all.iter().filter(|node| connected(node)).count(),
        2,
        "{all:?}"
    );
}
