//! What a node refuses of a master, and how it comes into a fleet and stays in it.
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
use std::sync::atomic::Ordering;

use installd::follow;
use master::{Link, Master};
use model::Digest;
use model::change::Outcome;
use model::trust::{Kind, SecretKey, Signed};
use model::wire::{
    MemberState, NodeEnd, OperatorOrder, Orders, Release, Released, RolloutId, ToNode, Verdict,
    Vote, Wanted,
};
use node::{Node, Package, Sysmgrd, package};
use resolve::Characteristics;

struct Fleet {
    master: Master,
    node: Node,
    sysmgrd: Sysmgrd,
    follow: follow::Handle,
    link: Link,
}

fn web(version: &str) -> Package {
    package("web", version)
        .process("web", &format!("#!/bin/sh\n# {version}\nsleep 1000\n"))
        .config("/etc/web.conf", version.as_bytes())
}

fn here() -> Characteristics {
    Characteristics::of_arch(std::env::consts::ARCH)
}

fn now() -> u64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

fn released(key: &SecretKey, number: u64, packages: &[Package]) -> Signed {
    let one = |package: &Package| {
        let bytes = serde_json::to_vec(&package.manifest).unwrap();
        Released {
            id: package.manifest.id(&bytes),
            manifest: Digest::of(&bytes),
        }
    };
    let release = Release {
        class: "edge".parse().unwrap(),
        number,
        issued: now(),
        packages: packages.iter().map(one).collect(),
        floor: [("web".parse().unwrap(), "2".parse().unwrap())].into(),
    };
    Signed::new(Kind::Release, key, &release).unwrap()
}

impl Fleet {
    async fn start() -> Self {
        let master = Master::start().await;
        let node = Node::start();
        let sysmgrd = Sysmgrd::listen(&node.config);
        let follow = node.follow();
        follow.join(master.join("n1")).await.unwrap();
        let (link, _) = master.welcome(Verdict::Unassigned).await;
        Self {
            master,
            node,
            sysmgrd,
            follow,
            link,
        }
    }

    /// The node trusts this key: for releases, or as an operator's.
    fn trusts(&self, key: &SecretKey, operators: bool) {
        let config = &self.node.config;
        let directory = if operators {
            &config.fleet.operators
        } else {
            &config.trust.directory
        };
        fs_err::create_dir_all(directory).unwrap();
        fs_err::write(directory.join("one.pub"), key.public().to_text()).unwrap();
    }

    /// What becomes of this wanted state; one that is done is committed.
    async fn told(&mut self, wanted: &Wanted) -> NodeEnd {
        self.link.say(&self.master.sign(wanted)).await;
        let end = self.link.end().await;
        assert_eq!(end.counter, wanted.counter);
        if end.report.is_some() {
            let rollout = wanted.orders.rollout.unwrap();
            self.link.say(&ToNode::Commit { rollout }).await;
            self.link.installed().await;
        }
        end
    }

    fn wanted(&self, packages: &[Package], counter: u64) -> Wanted {
        let what = self.master.import(packages, &here());
        self.master.wanted(what, counter)
    }

    fn etc(&self) -> String {
        fs_err::read_to_string(self.node.etc("web.conf")).unwrap_or_default()
    }
}

fn is_done(end: &NodeEnd) {
    let report = end.report.as_ref().expect("a change was made");
    assert_eq!(report.outcome, Outcome::Done, "{:?}", end.detail);
}

fn is_refused(end: &NodeEnd, why: &str) {
    assert!(end.report.is_none(), "{:?}", end.report);
    let detail = end.detail.as_deref().unwrap_or_default();
    assert!(detail.contains(why), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_release_key_has_not_released_is_refused_and_an_older_release_too() {
    let mut fleet = Fleet::start().await;
    let key = SecretKey::new(&[3; 32], "release");
    fleet.trusts(&key, false);
    let edge = |wanted: &mut Wanted, releases: Vec<Digest>| {
        wanted.selected_for.classes = vec!["edge".parse().unwrap()];
        wanted.releases = releases;
    };
    let second = fleet.master.release(&released(&key, 2, &[web("2")]));
    let mut wanted = fleet.wanted(&[web("2")], 1);
    edge(&mut wanted, vec![second]);
    is_done(&fleet.told(&wanted).await);
    assert_eq!(fleet.etc(), "2");
    // Not released; whether the master shows the document again or not, or leaves the class out.
    let mut wanted = fleet.wanted(&[web("3")], 2);
    edge(&mut wanted, vec![second]);
    is_refused(&fleet.told(&wanted).await, "was not released");
    let wanted = fleet.wanted(&[web("3")], 3);
    is_refused(&fleet.told(&wanted).await, "was not released");
    let ask = Master::ask((wanted.list, wanted.software), 3);
    fleet.link.say(&ask).await;
    let ballot = fleet.link.ballot().await;
    assert!(
        matches!(&ballot.vote, Vote::Failed { reason } if reason.contains("was not released")),
        "{:?}",
        ballot.vote
    );
    let older = fleet.master.release(&released(&key, 1, &[web("3")]));
    let mut wanted = fleet.wanted(&[web("3")], 4);
    edge(&mut wanted, vec![older]);
    is_refused(
        &fleet.told(&wanted).await,
        "is older than one that was seen",
    );
    let thief = SecretKey::new(&[4; 32], "thief");
    let forged = fleet.master.release(&released(&thief, 9, &[web("3")]));
    let mut wanted = fleet.wanted(&[web("3")], 5);
    edge(&mut wanted, vec![forged]);
    is_refused(&fleet.told(&wanted).await, "not one of a release key");
    assert_eq!(fleet.etc(), "2");
    // Released, but one of them lies below the floor.
    let both = [web("3"), web("1")];
    let third = fleet.master.release(&released(&key, 3, &both));
    let mut wanted = fleet.wanted(&[web("1")], 6);
    edge(&mut wanted, vec![third]);
    is_refused(&fleet.told(&wanted).await, "is below 2");
    let mut wanted = fleet.wanted(&[web("3")], 7);
    edge(&mut wanted, vec![third]);
    is_done(&fleet.told(&wanted).await);
    assert_eq!(fleet.etc(), "3");
    assert_eq!(fleet.sysmgrd.running().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn force_and_removal_need_an_operators_signature_over_just_that() {
    let mut fleet = Fleet::start().await;
    let operator = SecretKey::new(&[5; 32], "operator");
    fleet.trusts(&operator, true);
    let tool = package("tool", "1").file("/usr/share/tool", 0o644, b"tool");
    let wanted = fleet.wanted(&[web("1"), tool.clone()], 1);
    is_done(&fleet.told(&wanted).await);
    let order = |rollout: u64, target: Digest, expires: u64| OperatorOrder {
        rollout: RolloutId(rollout),
        targets: vec![target],
        expires,
        reason: "the line is down".to_owned(),
    };
    let sign = |key: &SecretKey, order: &OperatorOrder| {
        Some(Box::new(Signed::new(Kind::Order, key, order).unwrap()))
    };
    let forced = |wanted: &mut Wanted, operator: Option<Box<Signed>>| {
        wanted.orders = Orders {
            force: true,
            operator,
            ..wanted.orders.clone()
        };
    };
    let mut wanted = fleet.wanted(&[web("2"), tool.clone()], 2);
    forced(&mut wanted, None);
    is_refused(&fleet.told(&wanted).await, "an operator has to sign");
    let mut wanted = fleet.wanted(&[web("2"), tool.clone()], 3);
    let thief = SecretKey::new(&[6; 32], "thief");
    let right = order(3, wanted.software, now() + 600);
    forced(&mut wanted, sign(&thief, &right));
    is_refused(&fleet.told(&wanted).await, "not one of an operator");
    let mut wanted = fleet.wanted(&[web("2"), tool.clone()], 4);
    let other = order(4, Digest::of(b"another set"), now() + 600);
    forced(&mut wanted, sign(&operator, &other));
    is_refused(&fleet.told(&wanted).await, "another set");
    let mut wanted = fleet.wanted(&[web("2"), tool.clone()], 5);
    let old = order(5, wanted.software, now() - 1);
    forced(&mut wanted, sign(&operator, &old));
    is_refused(&fleet.told(&wanted).await, "has expired");
    let mut wanted = fleet.wanted(&[web("2"), tool], 6);
    let right = order(6, wanted.software, now() + 600);
    forced(&mut wanted, sign(&operator, &right));
    is_done(&fleet.told(&wanted).await);
    let wanted = fleet.wanted(&[web("2")], 7);
    is_refused(&fleet.told(&wanted).await, "tool is to leave");
    let mut wanted = fleet.wanted(&[web("2")], 8);
    let right = order(8, wanted.software, now() + 600);
    wanted.orders.operator = sign(&operator, &right);
    is_done(&fleet.told(&wanted).await);
    assert_eq!(fleet.etc(), "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replayed_or_expired_wanted_state_begins_nothing_and_stops_nothing() {
    let mut fleet = Fleet::start().await;
    let first = fleet.wanted(&[web("1")], 1);
    is_done(&fleet.told(&first).await);
    let second = fleet.wanted(&[web("2")], 2);
    is_done(&fleet.told(&second).await);
    let mut expired = fleet.wanted(&[web("1")], 3);
    expired.expires = now() - 1;
    fleet.link.say(&fleet.master.sign(&expired)).await;
    let told = fleet.link.installed().await;
    assert!(
        told.discrepancies
            .iter()
            .any(|one| one.contains("has expired")),
        "the master hears why: {told:?}"
    );
    // What was seen is known after a restart, too; the epoch counts before the counter.
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
    let sysmgrd = Sysmgrd::with(&config, script);
    let node = Node::over(dir, config.clone());
    let _follow = node.follow();
    let (mut link, hello) = master.welcome(Verdict::GoOn).await;
    assert_eq!(hello.installed.counter, second.counter);
    let mut earlier = first.clone();
    earlier.epoch = model::wire::Epoch(0);
    earlier.counter = model::wire::Counter(99);
    for replayed in [&first, &earlier] {
        link.say(&master.sign(replayed)).await;
        let told = link.installed().await;
        let why = told.discrepancies.join("; ");
        assert!(why.contains("is not newer than 1.2"), "{why}");
    }
    assert_eq!(fs_err::read_to_string(node.etc("web.conf")).unwrap(), "2");
    assert_eq!(sysmgrd.running().len(), 1);
    assert_eq!(hello.installed.software, Some(second.software));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_asks_for_more_time_than_there_is_makes_the_node_say_later() {
    let mut fleet = Fleet::start().await;
    let wanted = fleet.wanted(&[web("1")], 1);
    is_done(&fleet.told(&wanted).await);
    fleet.sysmgrd.script(|script| {
        script.vetoes = vec![model::change::Veto {
            process: "web".parse().unwrap(),
            reason: "it asks for 120 s".to_owned(),
        }];
        script.later = vec![("web".parse().unwrap(), 120_000)];
    });
    let kernel = package("kernel", "6").file("/usr/lib/modules/6/vmlinuz", 0o644, b"kernel");
    let what = fleet.master.import(&[web("2"), kernel], &here());
    let before = now();
    fleet.link.say(&Master::ask(what, 2)).await;
    let ballot = fleet.link.ballot().await;
    let Vote::Later {
        objections,
        not_before,
    } = ballot.vote
    else {
        panic!("{:?}", ballot.vote);
    };
    assert_eq!(objections[0].process.as_str(), "web");
    assert!((before + 120..=now() + 120).contains(&not_before));
    let reboot = ballot.reboot.expect("it brings another kernel");
    assert!(reboot.contains("kernel=6 brings"), "{reboot}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_a_token_is_in_when_an_operator_has_accepted_it() {
    let master = Master::start().await;
    let node = Node::start();
    let _sysmgrd = Sysmgrd::listen(&node.config);
    let follow = node.follow();
    let mut join = master.join("n1");
    join.token = None;
    join.ca = Some(master.ca.clone());
    let pending = follow.join(join).await.unwrap();
    assert_eq!(pending.state, MemberState::Pending);
    let fingerprint = pending.fingerprint.expect("people compare it");
    // It asks again with the same key, also after a restart.
    drop(follow);
    let (dir, config) = node.kill();
    let node = Node::over(dir, config.clone());
    let follow = node.follow();
    let again = follow.membership();
    assert_eq!(again.state, MemberState::Pending);
    assert_eq!(
        again.fingerprint.unwrap_or(fingerprint.clone()),
        fingerprint
    );
    let asked = master.enrolled.lock().unwrap().len();
    master.accepts.store(true, Ordering::SeqCst);
    let (link, _) = master.welcome(Verdict::Unassigned).await;
    assert!(link.certified);
    let enrolled = master.enrolled.lock().unwrap();
    assert!(enrolled.len() > asked.min(1));
    let keys: Vec<&[u8]> = enrolled.iter().map(|one| one.request.as_bytes()).collect();
    assert!(!keys.is_empty());
    drop(enrolled);
    assert_eq!(follow.membership().state, MemberState::Member);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_renewed_with_a_new_key_before_it_ends_and_the_link_shows_it() {
    let master = Master::start().await;
    *master.good_for.lock().unwrap() = Some(9);
    // Nobody answers signs of life on the old link while the new one is waited for.
    master.settings.lock().unwrap().ping_ms = 60_000;
    let node = Node::start();
    let _sysmgrd = Sysmgrd::listen(&node.config);
    let follow = node.follow();
    follow.join(master.join("n1")).await.unwrap();
    let (old, _) = master.welcome(Verdict::Unassigned).await;
    let until = follow.membership().certificate_until;
    let (new, _) = master.welcome(Verdict::Unassigned).await;
    assert_ne!(old.certificate, new.certificate);
    let renewed = master.renewed.lock().unwrap().clone();
    assert_eq!(
        renewed,
        std::slice::from_ref(&old.certificate),
        "asked for with the old one"
    );
    let key = |der: &[u8]| {
        let (_, certificate) = x509_parser::parse_x509_certificate(der).unwrap();
        certificate.public_key().raw.to_vec()
    };
    assert_ne!(
        key(&old.certificate),
        key(&new.certificate),
        "with a new key"
    );
    assert!(follow.membership().certificate_until > until);
    // It is what the disk has.
    drop((follow, old, new));
    let (dir, config) = node.kill();
    let node = Node::over(dir, config.clone());
    let _follow = node.follow();
    let (link, _) = master.welcome(Verdict::Unassigned).await;
    assert_ne!(key(&link.certificate), key(&renewed[0]));
}
