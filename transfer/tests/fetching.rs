//! Fetching from servers that behave, die, and lie.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests"
)]

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use model::Digest;
use support::{House, Manner, Server, all_there, fetch, fetch_watched, noise, wants};
use tokio::sync::Notify;
use transfer::{Bound, Effort, Error, Pair};

/// Small ones, one of a mebibyte, one with groups, an empty one.
fn objects(seed: u64) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = (0..60)
        .map(|i| noise(seed + i, 500 * usize::try_from(i).unwrap() + 1))
        .collect();
    all.extend([
        Vec::new(),
        noise(seed + 100, 1 << 20),
        noise(seed + 101, 9_500_000),
        vec![3; 5 << 20],
    ]);
    all
}

#[tokio::test]
async fn a_whole_list_comes_over_and_then_costs_nothing() {
    let (house, all) = (House::new(), objects(1));
    let list = house.list("a", &all);
    let server = Server::start(&house.public, Manner::Honest).await;
    let spool = house.spool("node");
    let report = fetch(&[&server], (list, None), &wants(&all), (&spool, &spool))
        .await
        .unwrap();
    assert!(all_there(&spool, &all));
    assert_eq!((report.whole, report.patched), (all.len(), 0));
    assert!(report.requests < 20, "packs are fetched whole: {report:?}");
    assert_eq!(
        std::fs::read_dir(spool.join("parts")).unwrap().count(),
        0,
        "nothing is left"
    );
    let again = fetch(&[&server], (list, None), &wants(&all), (&spool, &spool))
        .await
        .unwrap();
    assert_eq!((again.fetched, again.requests), (0, 0));
}

#[tokio::test]
async fn only_what_is_wanted_crosses() {
    let (house, all) = (House::new(), objects(2));
    let list = house.list("a", &all);
    let server = Server::start(&house.public, Manner::Honest).await;
    let spool = house.spool("node");
    let one = &all[30..31];
    fetch(&[&server], (list, None), &wants(one), (&spool, &spool))
        .await
        .unwrap();
    assert!(all_there(&spool, one));
    let sent = server.sent.load(Ordering::SeqCst);
    assert!(
        sent < 40_000,
        "{sent} bytes for an object of 15,000 and the index"
    );
}

/// A list, a later one, and the offer between them; what differs in one object in each.
fn two_lists(house: &House) -> (Vec<Vec<u8>>, Vec<Vec<u8>>, Digest, Digest) {
    let old = vec![noise(7, 100_000), noise(8, 20 << 20), noise(9, 3000)];
    let mut new = old.clone();
    new[0][5000] ^= 1;
    // Shifted by 300 bytes, and over the border of two slices.
    let insert = noise(10, 300);
    new[1].splice(1000..1000, insert);
    new[2] = noise(11, 3000);
    let (from, to) = (house.list("old", &old), house.list("new", &new));
    let pairs: Vec<Pair> = old
        .iter()
        .zip(&new)
        .map(|(old, new)| Pair {
            old: Digest::of(old),
            new: Digest::of(new),
        })
        .collect();
    let effort = Effort {
        level: 3,
        threads: 2,
        ..Effort::default()
    };
    let offered = house.shelf.offer(&from, &to, &pairs, effort).unwrap();
    assert_eq!(
        (offered.patches, offered.whole, offered.out_of_time),
        (2, 1, 0)
    );
    assert!(offered.bytes < 60_000, "{offered:?}");
    (old, new, from, to)
}

fn keep(directory: &std::path::Path, objects: &[Vec<u8>]) {
    std::fs::create_dir_all(directory).unwrap();
    for object in objects {
        std::fs::write(directory.join(Digest::of(object).to_string()), object).unwrap();
    }
}

#[tokio::test]
async fn what_changed_a_little_comes_as_patches() {
    let house = House::new();
    let (old, new, from, to) = two_lists(&house);
    let (had, spool) = (house.spool("had"), house.spool("node"));
    keep(&had, &old);
    let server = Server::start(&house.public, Manner::Honest).await;
    let report = fetch(&[&server], (to, Some(from)), &wants(&new), (&spool, &had))
        .await
        .unwrap();
    assert!(all_there(&spool, &new));
    assert_eq!((report.whole, report.patched), (1, 2));
    assert!(
        report.fetched < 60_000 && report.requests <= 5,
        "{report:?}"
    );
}

#[tokio::test]
async fn a_spoilt_or_missing_base_costs_that_object_alone() {
    let house = House::new();
    let (old, new, from, to) = two_lists(&house);
    let (had, spool) = (house.spool("had"), house.spool("node"));
    keep(&had, &old[1..]);
    let mut spoilt = old[0].clone();
    spoilt[5001] ^= 1;
    std::fs::write(had.join(Digest::of(&old[0]).to_string()), spoilt).unwrap();
    let server = Server::start(&house.public, Manner::Honest).await;
    let report = fetch(&[&server], (to, Some(from)), &wants(&new), (&spool, &had))
        .await
        .unwrap();
    assert!(all_there(&spool, &new));
    assert_eq!((report.whole, report.patched), (2, 1));
    assert!(report.fetched < 170_000, "{report:?}");
}

#[tokio::test]
async fn a_fetch_that_is_killed_goes_on_at_the_byte() {
    let house = House::new();
    let all = vec![noise(1, 12 << 20), noise(2, 3 << 20), noise(3, 1 << 20)];
    let list = house.list("a", &all);
    let server = Server::start(&house.public, Manner::Honest).await;
    let spool = house.spool("node");
    let wants = wants(&all);
    let mut fetched = 0;
    let reached = std::sync::atomic::AtomicU64::new(0);
    for kill in 1..=10_u64 {
        let stop = Notify::new();
        let progress = |progress: transfer::Progress| {
            reached.store(progress.fetched, Ordering::SeqCst);
            if progress.fetched > 500_000 + kill * 100_000 {
                stop.notify_one();
            }
        };
        let servers = [&server];
        let run = fetch_watched(&servers, (list, None), &wants, (&spool, &spool), &progress);
        tokio::select! {
            biased;
            () = stop.notified() => {}
            _ = run => panic!("it was to be killed"),
        }
        fetched += reached.load(Ordering::SeqCst);
    }
    let report = fetch(&[&server], (list, None), &wants, (&spool, &spool))
        .await
        .unwrap();
    assert!(all_there(&spool, &all));
    // What a killed fetch had taken is all used; the last fetch brought only the rest.
    let total = 16 << 20;
    assert!(
        report.fetched + fetched < total + total / 200,
        "{fetched} and {report:?}"
    );
    assert!(fetched > 10_000_000, "it was killed late");
}

#[tokio::test]
async fn a_lying_mirror_is_found_out_at_once_and_the_honest_one_serves() {
    let (house, all) = (House::new(), objects(3));
    let list = house.list("a", &all);
    let honest = Server::start(&house.public, Manner::Honest).await;
    for manner in [
        Manner::WrongBytes,
        Manner::Endless,
        Manner::Truncated,
        Manner::WrongRange,
        Manner::NoRanges,
        Manner::Empty,
        Manner::Down,
    ] {
        let mirror = Server::start(&house.public, manner).await;
        let spool = house.spool(&format!("{manner:?}"));
        let report = fetch(
            &[&honest, &mirror],
            (list, None),
            &wants(&all),
            (&spool, &spool),
        )
        .await
        .unwrap();
        assert!(all_there(&spool, &all), "{manner:?}");
        // Of the mirror's bytes at most some mebibytes, one for each connection, are in vain.
        assert!(
            report.fetched < (17 << 20) + 8 * (1 << 20),
            "{manner:?}: {report:?}"
        );
    }
}

#[tokio::test]
async fn liars_alone_give_an_error_in_bounded_bytes_and_nothing_in_the_spool() {
    let (house, all) = (House::new(), objects(4));
    let list = house.list("a", &all);
    for manner in [
        Manner::WrongBytes,
        Manner::Endless,
        Manner::WrongRange,
        Manner::Empty,
    ] {
        let liar = Server::start(&house.public, manner).await;
        let spool = house.spool(&format!("{manner:?}"));
        let result = fetch(&[&liar], (list, None), &wants(&all), (&spool, &spool)).await;
        assert!(
            matches!(
                result,
                Err(Error::NotOffered { .. } | Error::Unreachable { .. })
            ) || all_there(&spool, &all),
            "{manner:?}: {result:?}"
        );
        for entry in std::fs::read_dir(&spool).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if name != "parts" {
                assert_eq!(
                    Digest::of(&std::fs::read(entry.path()).unwrap()).to_string(),
                    name
                );
            }
        }
    }
}

#[tokio::test]
async fn a_server_that_is_down_is_an_error_that_says_so() {
    let (house, all) = (House::new(), objects(5));
    let list = house.list("a", &all);
    let server = Server::start(&house.public, Manner::Down).await;
    let spool = house.spool("node");
    let error = fetch(&[&server], (list, None), &wants(&all), (&spool, &spool))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn an_object_larger_than_the_signed_list_says_is_not_fetched() {
    let house = House::new();
    let all = vec![vec![0; 1 << 20]];
    let list = house.list("a", &all);
    let server = Server::start(&house.public, Manner::Honest).await;
    let spool = house.spool("node");
    let mut wants = wants(&all);
    for bound in [Bound::Exactly(1000), Bound::Most(1000)] {
        wants[0].bound = bound;
        let error = fetch(&[&server], (list, None), &wants, (&spool, &spool))
            .await
            .unwrap_err();
        assert!(
            matches!(error, Error::NotOffered { count: 1, .. }),
            "{error:?}"
        );
    }
    wants[0].bound = Bound::Most(1 << 20);
    fetch(&[&server], (list, None), &wants, (&spool, &spool))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_rate_is_kept() {
    let house = House::new();
    let all = vec![noise(1, 600_000)];
    let list = house.list("a", &all);
    let server = Server::start(&house.public, Manner::Honest).await;
    let spool = house.spool("node");
    let settings = transfer::Settings {
        rate: 1_000_000,
        ..support::quick()
    };
    let wants = wants(&all);
    let order = transfer::Order {
        list,
        from: None,
        wants: &wants,
        have: &|_| None,
        spool: &spool,
        progress: &|_| {},
    };
    let began = std::time::Instant::now();
    transfer::Fetcher::new(vec![server.source()], settings)
        .fetch(order)
        .await
        .unwrap();
    assert!(
        began.elapsed() > Duration::from_millis(550),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn what_nobody_keeps_goes_and_what_is_published_stays() {
    let (house, old, new) = (House::new(), vec![noise(1, 3000)], vec![noise(2, 3000)]);
    let list = house.list("old", &old);
    house.list("new", &new);
    assert_eq!(house.shelf.collect(&|_| false).unwrap().objects, 0);
    house.shelf.withdraw(&list).unwrap();
    let collected = house.shelf.collect(&|_| false).unwrap();
    assert_eq!(
        (collected.objects, collected.blobs),
        (1, 2),
        "the object's pack and the index"
    );
    assert!(!house.shelf.has(&Digest::of(&old[0])).unwrap());
    assert!(house.shelf.has(&Digest::of(&new[0])).unwrap());
    assert_eq!(house.shelf.sweep().unwrap(), 0);
}

#[test]
fn an_object_that_is_not_what_it_is_called_is_refused() {
    let house = House::new();
    let mut import = house.shelf.begin();
    let (right, wrong) = (Digest::of(b"right"), b"wrong");
    for size in [4, 5, 6] {
        let error = import.put(&right, size, &wrong[..]).unwrap_err();
        assert!(matches!(error, Error::Lies { .. }), "{size}: {error:?}");
    }
}
