//! An update of a large file crosses as the difference to what the node has.

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

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use fleet::{Master, SOON, Scripted, envelope};
use model::Digest;
use model::change::Outcome;
use model::wire::{Assignment, RolloutView, SoftwareList, Update, Vote, Wanted};
use transfer::{Bound, Fetcher, Order, Report, Settings, Source, Want};

/// Two megabytes that cannot be compressed by much: what follows from what stands before.
fn library(edits: &[usize]) -> String {
    let mut text = String::new();
    for line in 0..32_768_usize {
        let words = if edits.contains(&line) { "edited" } else { "" };
        text += &Digest::of(format!("{line}{words}").as_bytes()).to_string();
    }
    text
}

async fn decide(master: &Master, node: &mut Scripted) -> (RolloutView, Wanted) {
    let mut update = Update::default();
    update.nodes.all = true;
    let begun: RolloutView = master.post("/v1/updates", &update).await;
    let ask = node.asked().await;
    node.vote(&ask, Vote::Accept).await;
    (begun, node.wanted().await)
}

/// Fetches these objects of a list as a node does, and answers what it cost.
async fn fetch(
    master: &Master,
    (list, from): (Digest, Option<Digest>),
    wants: &[Want],
    have: &HashMap<Digest, PathBuf>,
    spool: &Path,
) -> Report {
    let client = reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(master.profile.ca.as_bytes()).unwrap()])
        .no_proxy()
        .build()
        .unwrap();
    let source = Source {
        url: master.url(""),
        client,
    };
    let order = Order {
        list,
        from,
        wants,
        have: &|digest| have.get(digest).cloned(),
        spool,
        progress: &|_| {},
    };
    let fetcher = Fetcher::new(vec![source], Settings::default());
    fetcher.fetch(order).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_that_changed_a_little_is_fetched_as_a_patch_from_the_master() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::new().await;
    let mut node = master.node("one", "edge").await;
    node.connect().await;
    let (old, new) = (library(&[]), library(&[7, 12_345, 30_000]));
    master.import(envelope("library", "1", &old)).await;
    let assignment = Assignment {
        packages: vec!["library".parse().unwrap()],
        ..Assignment::default()
    };
    drop(
        master
            .put::<Assignment>("/v1/assign/fleet", &assignment)
            .await,
    );
    let (begun, first) = decide(&master, &mut node).await;
    let want = |digest, bound| Want { digest, bound };
    let file = Digest::of(old.as_bytes());
    let exactly = Bound::Exactly(old.len() as u64);
    let spool = dir.path().join("first");
    let wants = [want(file, exactly), want(first.list, Bound::Most(1 << 20))];
    let whole = fetch(&master, (first.list, None), &wants, &HashMap::new(), &spool).await;
    assert!(whole.fetched > 1 << 20, "{whole:?}");
    assert_eq!(
        fs_err::read_to_string(spool.join(file.to_string())).unwrap(),
        old
    );
    let listed = fs_err::read(spool.join(first.list.to_string())).unwrap();
    let listed: SoftwareList = serde_json::from_slice(&listed).unwrap();
    node.become_it(&first);
    node.have.active = listed.packages.iter().map(|one| one.id.clone()).collect();
    node.end(begun.id, &first, Outcome::Done).await;
    node.is_committed(begun.id).await;

    master.import(envelope("library", "2", &new)).await;
    let (_, second) = decide(&master, &mut node).await;
    assert_ne!(first.list, second.list);
    let have = HashMap::from([(file, spool.join(file.to_string()))]);
    let file = Digest::of(new.as_bytes());
    let wants = [want(file, exactly)];
    let patched = async {
        for number in 0_u32.. {
            let spool = dir.path().join(format!("second-{number}"));
            let way = (second.list, Some(first.list));
            let report = fetch(&master, way, &wants, &have, &spool).await;
            let bytes = fs_err::read_to_string(spool.join(file.to_string())).unwrap();
            assert_eq!(bytes, new);
            // Before the patch is made it comes whole.
            if report.patched == 1 {
                return Some(report);
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        None
    };
    let report = tokio::time::timeout(SOON, patched).await.unwrap().unwrap();
    assert!(report.fetched < 20_000, "{report:?}, whole {whole:?}");
}
