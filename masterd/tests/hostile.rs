//! Whoever means ill: garbage at every door, a node that lies or shouts, messages that were changed
//! or sent twice on their way, a key that was stolen.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    clippy::too_many_lines,
    unreachable_pub,
    dead_code,
    reason = "tests, and a fleet that several of them share"
)]

mod fleet;

use std::time::{Duration, Instant};

use fleet::{Master, SOON, envelope};
use futures_util::SinkExt;
use masterd::api::table;
use model::Digest;
use model::change::Outcome;
use model::wire::{
    Assignment, Ballot, Facts, FromNode, Hello, Installed, NodePhase, NodeProgress, NodeView,
    Objection, Phase, RolloutId, RolloutView, ToNode, Update, Verdict, Vote, Wanted,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Nobody is kept waiting.
const WIDE: &str = "[limits]\nrefused-per-minute = 1000000\nrequests-per-second = 1000000\n";

/// The same garbage in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, most: usize) -> usize {
        usize::try_from(self.next() % most.max(1) as u64).unwrap()
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next().to_le_bytes()[0]).collect()
    }

    /// Something that nobody expects.
    fn oddity(&mut self) -> Value {
        match self.below(12) {
            0 => Value::Null,
            1 => json!(true),
            2 => json!(u64::MAX),
            3 => json!(-1),
            4 => json!(1e308),
            5 => json!(""),
            6 => json!("x".repeat(self.below(5000))),
            7 => json!("../../etc/passwd\0"),
            8 => (0..100).fold(json!([]), |inner, _| json!([inner])),
            9 => json!({}),
            10 => json!("\u{202e}\u{0}\u{feff}ü"),
            _ => json!(["a", {"b": 1}]),
        }
    }

    /// Puts an oddity somewhere into it, or takes something away.
    fn bend(&mut self, value: &mut Value) {
        let go_on = self.below(4) > 0;
        match value {
            Value::Object(map) if go_on && !map.is_empty() => {
                let at = self.below(map.len());
                let key = map.keys().nth(at).unwrap().clone();
                match self.below(6) {
                    0 => drop(map.remove(&key)),
                    1 => drop(map.insert(format!("{key}x"), json!(1))),
                    _ => self.bend(map.get_mut(&key).unwrap()),
                }
            }
            Value::Array(list) if go_on && !list.is_empty() => {
                let at = self.below(list.len());
                self.bend(&mut list[at]);
            }
            other => *other = self.oddity(),
        }
    }

    /// The value bent, or its text broken.
    fn text(&mut self, value: &Value) -> String {
        let mut value = value.clone();
        for _ in 0..=self.below(3) {
            self.bend(&mut value);
        }
        let mut bytes = value.to_string().into_bytes();
        match self.below(5) {
            0 => bytes.truncate(self.below(bytes.len())),
            1 => {
                let at = self.below(bytes.len());
                bytes[at] = self.next().to_le_bytes()[0];
            }
            2 => {
                let at = self.below(bytes.len());
                let more = self.bytes(8);
                drop(bytes.splice(at..at, more));
            }
            _ => {}
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

fn everybody() -> Update {
    let mut update = Update::default();
    update.nodes.all = true;
    update
}

async fn assigned(master: &Master) {
    master.import(envelope("tool", "1", "one")).await;
    let assignment = Assignment {
        packages: vec!["tool".parse().unwrap()],
        ..Assignment::default()
    };
    drop(
        master
            .put::<Assignment>("/v1/assign/fleet", &assignment)
            .await,
    );
}

fn ballot(ask: &model::wire::Ask, vote: Vote) -> FromNode {
    FromNode::Ballot(Box::new(Ballot {
        rollout: ask.rollout,
        round: ask.round,
        base: Digest::of(b""),
        target: ask.target,
        expires: 4_000_000_000,
        vote,
        reached: 1,
        restarts: 1,
        bytes: 0,
        reboot: None,
    }))
}

fn veto() -> Vote {
    let objections = vec![Objection {
        process: "phone".parse().unwrap(),
        reason: "call in progress".to_owned(),
    }];
    Vote::Veto { objections }
}

/// Every kind of message that a node sends, as one would.
fn messages() -> Vec<Value> {
    let software = Digest::of(b"a");
    let installed = json!({"software": software, "committed": software, "epoch": 1, "counter": 1});
    let facts = serde_json::to_value(Facts::default()).unwrap();
    vec![
        json!({"kind": "hello", "protocol": 1, "facts": facts, "installed": installed, "boot": "b"}),
        json!({"kind": "installed", "software": software, "committed": null,
            "hold": {"reason": "x", "until": 4_000_000_000_u64}, "discrepancies": ["a", "b"]}),
        json!({"kind": "have", "active": [format!("tool=1@{software}")], "kept": []}),
        json!({"kind": "ballot", "rollout": 1, "round": 1, "base": software, "target": software,
            "expires": 4_000_000_000_u64, "vote": "accept", "reached": 1, "restarts": 1, "bytes": 7}),
        serde_json::to_value(FromNode::Ballot(Box::new(Ballot {
            rollout: RolloutId(1),
            round: 1,
            base: software,
            target: software,
            expires: u64::MAX,
            vote: veto(),
            reached: u32::MAX,
            restarts: u32::MAX,
            bytes: u64::MAX,
            reboot: Some("kernel".to_owned()),
        })))
        .unwrap(),
        json!({"kind": "progress", "rollout": 1, "phase": "fetch", "what": "a", "count": [1, 2]}),
        json!({"kind": "waiting", "rollout": 1}),
        json!({"kind": "ended", "rollout": 1, "epoch": 1, "counter": 1, "report": null,
            "detail": "no", "check": [1, "no"], "installed": installed}),
    ]
}

/// Kilobytes that a process has in memory.
fn memory(process: u32) -> u64 {
    let text = fs_err::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_a_link_ends_the_link_and_nothing_else() {
    let mut master = Master::with(WIDE, &[]).await;
    let mut node = master.node("liar", "edge").await;
    let mut good = master.node("good", "edge").await;
    good.connect().await;
    assigned(&master).await;
    let update = json!({"nodes": {"nodes": ["good"]}});
    let begun: RolloutView = master.post("/v1/updates", &update).await;
    let ask = good.asked().await;
    let messages = messages();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut ended, mut heard, mut size) = (0, 0, 0);
    for number in 0..1500 {
        if number % 40 == 0 || !node.is_open() {
            node.connect().await;
        }
        if number == 300 {
            size = memory(master.process());
        }
        let at = random.below(messages.len());
        let text = if number % 50 == 49 {
            String::from_utf8_lossy(&random.bytes(300)).into_owned()
        } else {
            random.text(&messages[at])
        };
        node.say_text(&text).await;
        if node.is_heard().await {
            heard += 1;
        } else {
            ended += 1;
            node.disconnect();
        }
    }
    assert!(
        ended > 300,
        "{ended} links ended, {heard} messages were heard"
    );
    let grown = memory(master.process()).saturating_sub(size);
    assert!(grown < 32 << 10, "{grown} kB more");
    assert!(master.is_alive());
    // Nobody else's affairs have changed, and the master goes on as ever.
    let view = master.rollout(begun.id).await;
    assert_eq!((view.phase, view.nodes.len()), (Phase::Asking, 1));
    assert_eq!(view.nodes[0].phase, NodePhase::Asked);
    good.say(&ballot(&ask, Vote::Accept)).await;
    good.wanted().await;
    // What was written of the liar can be read again.
    master.killed().await;
    let nodes: Vec<NodeView> = master.get("/v1/nodes").await;
    assert_eq!(nodes.len(), 2);
    assert_eq!(good.connect().await, Verdict::Differs);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_words_of_a_link_may_be_anything_too() {
    let mut master = Master::new().await;
    let node = master.node("liar", "edge").await;
    let mut random = Random(77);
    let hello = &messages()[0];
    for number in 0..150 {
        let mut stream = node.raw().await;
        if number % 3 == 0 {
            // Behind the upgrade no frame at all.
            stream.get_mut().write_all(&random.bytes(200)).await.ok();
        } else {
            let text = random.text(hello);
            let message = tokio_tungstenite::tungstenite::Message::text(text);
            stream.send(message).await.ok();
        }
        drop(stream);
    }
    let mut node = node.clone_of("first");
    assert_eq!(node.connect().await, Verdict::Unassigned);
    assert!(master.is_alive());
}

/// Bodies as one would send them.
fn bodies() -> Vec<Value> {
    vec![
        json!({"uses": 1, "seconds": 600, "classes": ["edge"]}),
        json!({"name": "anna", "role": "read", "classes": ["edge"]}),
        json!({"nodes": {"nodes": ["n1"], "labels": {"a": "b"}}, "packages": ["tool=1"],
            "strategy": {"waves": {"percent": {"canary": 1, "steps": [10, 50]}},
            "window": "02:00-04:00", "soak-ms": 10, "most-failed-percent": 3}, "reason": "x"}),
        json!({"choice": "accepting", "reason": "x"}),
        json!({"choice": {"force": ["n1"]}, "reason": "x"}),
        json!({"packages": ["tool=1"], "without": ["a"], "features": ["gateway"],
            "store": true, "boot-gate": "run"}),
        json!({"labels": {"rack": "7"}, "type": "router", "location": "lab"}),
        json!({"nodes": ["n1"], "classes": ["edge"], "all": true}),
        json!({"name": "n7", "request": "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n",
            "token": "a.b", "facts": Facts::default()}),
        json!({"software": Digest::of(b"a")}),
        json!({"reason": "because"}),
        json!({"fingerprint": "0123456789abcdef", "reason": "because"}),
    ]
}

fn named(path: &str, random: &mut Random) -> String {
    let names = [
        "n1",
        "fleet",
        "class/edge",
        "1",
        "99999999999999999999",
        "..",
        "%00",
        "%2e%2e%2fa",
        "%ff",
        "tool=1",
        "ü",
        "A",
        "node/n1",
    ];
    let part = |part: &str, random: &mut Random| match part.starts_with('{') {
        true if random.below(8) == 0 => "x".repeat(random.below(3000)),
        true => names[random.below(names.len())].replace('ü', "%c3%bc"),
        false => part.to_owned(),
    };
    let parts: Vec<String> = path.split('/').map(|one| part(one, random)).collect();
    parts.join("/")
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_at_every_route_is_refused_with_a_reason_and_costs_nothing() {
    let mut master = Master::with(WIDE, &[]).await;
    let mut node = master.node("n1", "edge").await;
    node.connect().await;
    assigned(&master).await;
    let bodies = bodies();
    let mut random = Random(0xdead_beef);
    let mut wrong = Vec::new();
    let mut size = 0;
    for round in 0..14 {
        if round == 4 {
            size = memory(master.process());
        }
        for route in table::all() {
            // A copy of the store is no small thing, and takes nothing.
            if route.path == "/v1/backup" {
                continue;
            }
            let path = named(route.path, &mut random);
            let body = match random.below(6) {
                0 => {
                    let length = random.below(3000);
                    random.bytes(length)
                }
                1 => Vec::new(),
                _ => {
                    let at = random.below(bodies.len());
                    random.text(&bodies[at]).into_bytes()
                }
            };
            let method = route.method.clone();
            let (status, text) = master.ask(method, &path, body).await;
            let is_said = || {
                let said: Value = serde_json::from_str(&text).unwrap_or_default();
                said["error"].is_string() && said["message"].is_string()
            };
            if status >= 500 || (status >= 400 && status != 416 && !is_said()) {
                wrong.push(format!("{} {path}: {status} {text}", route.method));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let grown = memory(master.process()).saturating_sub(size);
    assert!(grown < 32 << 10, "{grown} kB more");
    // Beside HTTP, and beside TLS.
    for number in 0..60 {
        let bytes = random.bytes(400);
        if number % 2 == 0 {
            let mut plain = TcpStream::connect(("127.0.0.1", master.port()))
                .await
                .unwrap();
            plain.write_all(&bytes).await.ok();
            drop(
                tokio::time::timeout(SOON, plain.read_to_end(&mut Vec::new()))
                    .await
                    .unwrap(),
            );
        } else {
            let (status, _) = node.garbage(&bytes).await;
            assert!(status == 0 || status == 400, "{status}");
        }
    }
    assert!(master.is_alive());
    let nodes: Vec<NodeView> = master.get("/v1/nodes").await;
    assert!(nodes.iter().any(|node| node.name.as_str() == "n1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_too_long_ends_the_link() {
    let master = Master::new().await;
    let mut node = master.node("liar", "edge").await;
    let progress = |length: usize| {
        FromNode::Progress(NodeProgress {
            rollout: RolloutId(1),
            phase: "fetch".to_owned(),
            what: "x".repeat(length),
            count: None,
        })
    };
    let installed = |length: usize| {
        FromNode::Installed(Box::new(Installed {
            discrepancies: vec!["x".repeat(length)],
            ..Installed::default()
        }))
    };
    for (message, passes) in [
        (progress(3000), true),
        (progress(5000), false),
        (installed(100 << 10), true),
        (installed(200 << 10), false),
        (installed(2 << 20), false),
    ] {
        node.connect().await;
        let text = serde_json::to_string(&message).unwrap();
        node.say_text(&text).await;
        assert_eq!(node.is_heard().await, passes, "{}", text.len());
    }
    let hello = Hello {
        protocol: 1,
        facts: Facts {
            arch: "x".repeat(200 << 10),
            ..Facts::default()
        },
        installed: Installed::default(),
        boot: "first".to_owned(),
        boot_gate: false,
    };
    let text = serde_json::to_string(&FromNode::Hello(Box::new(hello))).unwrap();
    node.open_silently().await;
    node.say_text(&text).await;
    assert_eq!(node.heard().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_shouts_is_heard_slowly_and_others_as_ever() {
    let master = Master::new().await;
    let mut loud = master.node("loud", "edge").await;
    let mut quiet = master.node("quiet", "edge").await;
    loud.connect().await;
    let message = FromNode::Waiting {
        rollout: RolloutId(7),
    };
    let text = serde_json::to_string(&message).unwrap();
    let start = Instant::now();
    for _ in 0..500 {
        loud.say_text(&text).await;
    }
    let before = Instant::now();
    assert_eq!(quiet.connect().await, Verdict::Unassigned);
    let quiet_took = before.elapsed();
    assert!(loud.is_heard().await);
    let took = start.elapsed();
    // 500 messages, of which some 250 at once and 64 a second after.
    assert!(took > Duration::from_secs(3), "{took:?}");
    assert!(quiet_took < took / 2, "{quiet_took:?} of {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_key_speaks_for_its_own_node_only() {
    let master = Master::new().await;
    let (mut thief, mut other) = (
        master.node("thief", "edge").await,
        master.node("other", "edge").await,
    );
    thief.connect().await;
    other.connect().await;
    assigned(&master).await;
    let update = json!({"nodes": {"nodes": ["other"]}});
    let begun: RolloutView = master.post("/v1/updates", &update).await;
    let ask = other.asked().await;
    let wanted_of = |ask: &model::wire::Ask| {
        json!({
            "kind": "ended", "rollout": ask.rollout, "epoch": 1, "counter": 1, "report": null,
            "installed": {"software": ask.target, "committed": ask.target}
        })
    };
    thief.say(&ballot(&ask, veto())).await;
    thief.say(&ballot(&ask, Vote::Accept)).await;
    let waiting = FromNode::Waiting { rollout: begun.id };
    thief.say(&waiting).await;
    thief.say_text(&wanted_of(&ask).to_string()).await;
    let progress = FromNode::Progress(NodeProgress {
        rollout: begun.id,
        phase: "fetch".to_owned(),
        what: "mine".to_owned(),
        count: None,
    });
    thief.say(&progress).await;
    assert!(thief.is_heard().await);
    let view = master.rollout(begun.id).await;
    assert_eq!((view.phase, view.nodes.len()), (Phase::Asking, 1));
    assert_eq!(view.nodes[0].phase, NodePhase::Asked);
    assert_eq!(view.nodes[0].progress, None);
    assert_eq!((view.tally.veto, view.tally.accept), (0, 0));
    // Nothing of others is to be read, or changed.
    for (method, path) in [
        ("GET", "/v1/nodes/other"),
        ("GET", "/v1/nodes/thief"),
        ("GET", "/v1/rollouts/1"),
        ("GET", "/v1/events"),
        ("PUT", "/v1/nodes/other"),
        ("POST", "/v1/nodes/other/retire"),
        ("POST", "/v1/rollouts/1/decision"),
        ("PUT", "/v1/assign/node/other"),
    ] {
        let (status, _) = thief.request(method, path, "{}").await;
        assert_eq!(status, 403, "{method} {path}");
    }
    // A new certificate is for the name that the old one has, whatever the request says.
    let key = rcgen::KeyPair::generate().unwrap();
    let mut request = rcgen::CertificateParams::new(vec!["other".to_owned()]).unwrap();
    let uri = "changeover:node:other:0".try_into().unwrap();
    request.subject_alt_names.push(rcgen::SanType::URI(uri));
    let common = rcgen::DnType::CommonName;
    request.distinguished_name.push(common, "other");
    let request = request.serialize_request(&key).unwrap().pem().unwrap();
    let (status, answer) = thief.request("POST", "/v1/certificate", &request).await;
    if status == 200 {
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let pem = answer["certificate"].as_str().unwrap();
        let peer = fleet::peer(pem).unwrap();
        assert_eq!(peer.subject.to_string(), "changeover:node:thief");
    } else {
        assert_eq!(status, 400, "{answer}");
    }
    // The name of another is taken.
    let (status, _) = master
        .refused("/v1/enrol", &master.newcomer_with_token("other").await)
        .await;
    assert_eq!(status, 409);
    other.say(&ballot(&ask, Vote::Accept)).await;
    let wanted = other.wanted().await;
    other.become_it(&wanted);
    other.end(begun.id, &wanted, Outcome::Done).await;
    other.is_committed(begun.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vote_of_another_round_or_update_and_an_older_end_do_not_count() {
    let master = Master::new().await;
    let mut node = master.node("one", "edge").await;
    node.connect().await;
    assigned(&master).await;
    let begun: RolloutView = master.post("/v1/updates", &everybody()).await;
    let first = node.asked().await;
    node.say(&ballot(&first, veto())).await;
    master
        .until(begun.id, |view| view.phase == Phase::Held)
        .await;
    let path = format!("/v1/rollouts/{}/decision", begun.id);
    let again = json!({"choice": "ask-again", "reason": "now"});
    drop(master.post::<RolloutView>(&path, &again).await);
    let second = node.asked().await;
    assert_ne!(first.round, second.round);
    // The old question's answer, sent again, and answers to what was not asked.
    node.say(&ballot(&first, Vote::Accept)).await;
    let mut other = second.clone();
    other.rollout = RolloutId(99);
    node.say(&ballot(&other, Vote::Accept)).await;
    assert!(node.is_heard().await);
    let view = master.rollout(begun.id).await;
    assert_eq!(view.phase, Phase::Asking, "{view:?}");
    assert_eq!(view.tally.accept, 0, "{view:?}");
    node.say(&ballot(&second, Vote::Accept)).await;
    // An end of an earlier decision does not end this one.
    let wanted: Wanted = node.wanted().await;
    let mut old = wanted.clone();
    old.counter = model::wire::Counter(0);
    node.end(begun.id, &old, Outcome::Done).await;
    assert!(node.is_heard().await);
    let view = master.rollout(begun.id).await;
    assert!(!view.phase.is_end(), "{view:?}");
}

/// What is done to the first long enough piece that goes to the master once it is armed.
#[derive(Clone, Copy, PartialEq)]
enum Mischief {
    Change,
    Repeat,
}

/// A way to the master with somebody on it.
async fn way(
    port: u16,
    mischief: Mischief,
) -> (u16, std::sync::Arc<std::sync::atomic::AtomicBool>) {
    use std::sync::atomic::Ordering;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = listener.local_addr().unwrap().port();
    let armed = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let trigger = std::sync::Arc::clone(&armed);
    tokio::spawn(async move {
        let (near, _) = listener.accept().await.unwrap();
        let far = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let (mut from_near, mut to_near) = near.into_split();
        let (mut from_far, mut to_far) = far.into_split();
        tokio::spawn(async move { tokio::io::copy(&mut from_far, &mut to_near).await });
        let mut chunk = vec![0; 64 << 10];
        while let Ok(count @ 1..) = from_near.read(&mut chunk).await {
            let mut piece = chunk[..count].to_vec();
            let now = trigger.swap(false, Ordering::SeqCst);
            if now && mischief == Mischief::Change {
                *piece.last_mut().unwrap() ^= 1;
            }
            to_far.write_all(&piece).await.ok();
            if now && mischief == Mischief::Repeat {
                to_far.write_all(&piece).await.ok();
            }
        }
    });
    (own, armed)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_changed_or_repeated_on_its_way_ends_the_link_and_counts_for_nothing() {
    let master = Master::new().await;
    let node = master.node("one", "edge").await;
    assigned(&master).await;
    let begun: RolloutView = master.post("/v1/updates", &everybody()).await;
    for mischief in [Mischief::Change, Mischief::Repeat] {
        let (port, armed) = way(master.port(), mischief).await;
        let mut watched = node.clone_of("first").through(port);
        watched.connect().await;
        assert!(matches!(watched.next().await, ToNode::Ask(_)));
        armed.store(true, std::sync::atomic::Ordering::SeqCst);
        let progress = FromNode::Progress(NodeProgress {
            rollout: begun.id,
            phase: "fetch".to_owned(),
            what: "half".to_owned(),
            count: None,
        });
        watched.say(&progress).await;
        assert_eq!(watched.heard().await, None, "the link ends");
        let view = master.rollout(begun.id).await;
        if mischief == Mischief::Change {
            assert_eq!(view.nodes[0].progress, None, "{view:?}");
        }
        assert_eq!(view.tally.accept, 0);
    }
    let mut straight = node.clone_of("first");
    straight.connect().await;
    let ask = straight.asked().await;
    straight.say(&ballot(&ask, Vote::Accept)).await;
    straight.wanted().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_ends_with_the_rights_of_its_certificate() {
    let master = Master::new().await;
    for deed in ["revoke", "retire", "replace"] {
        let name = format!("node-{deed}");
        let mut node = master.node(&name, "edge").await;
        node.connect().await;
        let path = format!("/v1/nodes/{name}/{deed}");
        let body = json!({"reason": "stolen"});
        drop(master.post::<Value>(&path, &body).await);
        assert_eq!(node.heard().await, None, "{deed}");
        let (status, text) = node.request("GET", "/v1/link", "").await;
        assert_eq!(status, 403, "{text}");
        let (status, _) = node
            .request("POST", "/v1/check", r#"{"software":null}"#)
            .await;
        assert_eq!(status, 403);
        let (status, _) = node.request("POST", "/v1/certificate", "").await;
        assert_eq!(status, 403);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_ends_when_its_certificate_does_and_the_node_may_renew_and_come_back() {
    let master = Master::with_link("ping = \"1s\"").await;
    let mut node = master.node("one", "edge").await;
    node.wear(&master.minted("changeover:node:one:0", 3));
    node.connect().await;
    let start = Instant::now();
    assert_eq!(node.heard().await, None);
    assert!(start.elapsed() < SOON);
    let (status, text) = node
        .request("POST", "/v1/check", r#"{"software":null}"#)
        .await;
    assert_eq!(status, 403);
    assert!(
        text.contains("lapsed") || text.contains("out of date"),
        "{text}"
    );
    let key = rcgen::KeyPair::generate().unwrap();
    let request = rcgen::CertificateParams::new(Vec::new()).unwrap();
    let request = request.serialize_request(&key).unwrap().pem().unwrap();
    let (status, answer) = node.request("POST", "/v1/certificate", &request).await;
    assert_eq!(status, 200, "{answer}");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let pem = answer["certificate"].as_str().unwrap().to_owned();
    node.wear(&(pem, key.serialize_pem()));
    assert_eq!(node.connect().await, Verdict::Unassigned);
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_may_wait_to_be_let_in_and_no_more() {
    let master = Master::with("[limits]\npending = 3\n", &[]).await;
    for number in 0..3 {
        master.waits(&format!("w{number}")).await;
    }
    let fourth = fleet::Newcomer::new("w4");
    let (status, text) = master.refused("/v1/enrol", &fourth.enrol).await;
    assert_eq!(status, 429, "{text}");
    let nodes: Vec<NodeView> = master.get("/v1/nodes").await;
    assert_eq!(nodes.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_is_none_is_refused_when_the_update_is_asked_for() {
    let master = Master::new().await;
    for path in ["/v1/updates", "/v1/plan"] {
        let update = json!({"nodes": {"all": true}, "strategy": {"window": "2-4"}});
        let (status, text) = master.refused(path, &update).await;
        assert_eq!(status, 400, "{text}");
        assert!(text.contains("HH:MM-HH:MM"), "{text}");
    }
}
