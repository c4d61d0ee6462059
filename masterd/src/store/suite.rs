//! What every backend must do. [`run!`] makes a test of each case for a backend: an expression that
//! gives a fresh, empty [`Store`] and something that keeps it alive.

use std::time::Duration;

use super::{
    Entry, Error, Followed, Listing, MOST_OPERATIONS, MOST_VALUE, Outcome, Revision, Seen, Store,
    Txn, Watch,
};

macro_rules! run {
    ($fresh:expr) => {
        $crate::store::suite::cases! { $fresh;
            what_is_put_is_read_back_with_the_revision_of_its_transaction
            a_comparison_that_does_not_hold_writes_nothing
            of_many_who_make_one_key_exactly_one_succeeds
            counting_together_loses_no_step
            a_list_gives_one_beginning_in_order_and_in_parts
            a_watch_sees_each_transaction_once_whole_and_in_order
            a_watch_sees_the_past_behind_its_revision_and_then_what_comes
            a_watch_that_nobody_reads_loses_the_thread_and_a_follower_takes_it_up_again
            keys_under_a_lease_go_when_it_is_not_kept
            keys_under_a_lease_go_when_it_is_revoked_and_others_stay
            a_lease_that_is_kept_keeps_its_keys
            what_no_store_takes_is_refused_before_it_is_tried
        }
    };
}

macro_rules! cases {
    ($fresh:expr; $($case:ident)*) => {
        $(
            #[tokio::test]
            async fn $case() {
                let (store, _kept) = ($fresh)();
                $crate::store::suite::$case(store).await;
            }
        )*
    };
}

pub(crate) use {cases, run};

async fn put(store: &Store, key: &str, value: &str) -> Revision {
    let txn = Txn::new().put_bytes(key, value.as_bytes().to_vec());
    committed(store.commit(txn).await.unwrap())
}

fn committed(outcome: Outcome) -> Revision {
    match outcome {
        Outcome::Committed(revision) => revision,
        Outcome::Conflict => panic!("a conflict"),
    }
}

fn keys(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.key.as_str()).collect()
}

async fn changes(watch: &mut Watch) -> Vec<(String, Option<String>, u64)> {
    let seen = tokio::time::timeout(Duration::from_secs(10), watch.next());
    match seen.await.unwrap() {
        Some(Seen::Changed(changes)) => changes
            .into_iter()
            .map(|it| {
                let value = it.value.map(|value| String::from_utf8(value).unwrap());
                (it.key, value, it.revision.0)
            })
            .collect(),
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn what_is_put_is_read_back_with_the_revision_of_its_transaction(store: Store) {
    assert_eq!(store.get("a").await.unwrap(), None);
    let first = put(&store, "a", "1").await;
    let both = Txn::new().put("a", &2).unwrap().put("b", &"text").unwrap();
    let second = committed(store.commit(both).await.unwrap());
    assert!(second > first);
    for key in ["a", "b"] {
        assert_eq!(store.get(key).await.unwrap().unwrap().revision, second);
    }
    assert_eq!(store.record::<u8>("a").await.unwrap(), Some((2, second)));
    deleted_and_unreadable(&store, second).await;
}

async fn deleted_and_unreadable(store: &Store, second: Revision) {
    let third = committed(
        store
            .commit(Txn::new().delete("a").delete("c"))
            .await
            .unwrap(),
    );
    assert!(third > second);
    assert_eq!(store.get("a").await.unwrap(), None);
    assert!(store.record::<u8>("b").await.is_err());
}

pub(crate) async fn a_comparison_that_does_not_hold_writes_nothing(store: Store) {
    let first = put(&store, "a", "1").await;
    let second = put(&store, "a", "2").await;
    for compare in [
        Txn::new().when("a", first),
        Txn::new().when("a", Revision::ABSENT),
        Txn::new().when("a", second).when("b", second),
    ] {
        let txn = compare.put_bytes("a", b"3".to_vec()).delete("b");
        assert_eq!(store.commit(txn).await.unwrap(), Outcome::Conflict);
    }
    assert_eq!(store.get("a").await.unwrap().unwrap().value, b"2");
    let holds = Txn::new().when("a", second).when("b", Revision::ABSENT);
    committed(store.commit(holds.clone()).await.unwrap());
    committed(store.commit(holds.delete("a")).await.unwrap());
    assert_eq!(store.get("a").await.unwrap(), None);
}

pub(crate) async fn of_many_who_make_one_key_exactly_one_succeeds(store: Store) {
    let tries = (0..50).map(|number| {
        let store = store.clone();
        tokio::spawn(async move {
            let txn = Txn::new().when("a", Revision::ABSENT);
            store.commit(txn.put("a", &number).unwrap()).await.unwrap()
        })
    });
    let outcomes = futures_util::future::join_all(tries).await;
    let won = outcomes
        .into_iter()
        .filter(|it| it.as_ref().unwrap() != &Outcome::Conflict);
    assert_eq!(won.count(), 1);
}

pub(crate) async fn counting_together_loses_no_step(store: Store) {
    put(&store, "count", "0").await;
    let counters = (0..8).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut done = 0;
            while done < 20 {
                let (count, at): (u32, _) = store.record("count").await.unwrap().unwrap();
                let txn = Txn::new().when("count", at).put("count", &(count + 1));
                if store.commit(txn.unwrap()).await.unwrap() != Outcome::Conflict {
                    done += 1;
                }
            }
        })
    });
    for counter in futures_util::future::join_all(counters).await {
        counter.unwrap();
    }
    let (count, _): (u32, _) = store.record("count").await.unwrap().unwrap();
    assert_eq!(count, 160);
}

pub(crate) async fn a_list_gives_one_beginning_in_order_and_in_parts(store: Store) {
    for key in [
        "node/b", "node/a", "node/c", "node0", "nodes/a", "node", "zz", "nodé/a",
    ] {
        put(&store, key, "1").await;
    }
    let (entries, revision) = store.range("node/").await.unwrap();
    assert_eq!(keys(&entries), ["node/a", "node/b", "node/c"]);
    assert_eq!(revision, Revision(8));
    assert_eq!(store.range("nope").await.unwrap().0, []);
    assert_eq!(store.range("").await.unwrap().0.len(), 8);
    let part = Listing {
        after: Some("node/a".to_owned()),
        most: Some(1),
        ..Listing::all("node/")
    };
    assert_eq!(keys(&store.list(part).await.unwrap().0), ["node/b"]);
    let newest = Listing {
        most: Some(2),
        newest_first: true,
        ..Listing::all("node/")
    };
    assert_eq!(
        keys(&store.list(newest).await.unwrap().0),
        ["node/c", "node/b"]
    );
}

pub(crate) async fn a_watch_sees_each_transaction_once_whole_and_in_order(store: Store) {
    let mut watch = store.watch("n/", Revision(0)).await.unwrap();
    let one = put(&store, "n/a", "1").await.0;
    put(&store, "other", "1").await;
    let txn = Txn::new()
        .put_bytes("n/b", b"2".to_vec())
        .put_bytes("m", Vec::new())
        .delete("n/a")
        .delete("n/z");
    let two = committed(store.commit(txn).await.unwrap()).0;
    assert_eq!(
        changes(&mut watch).await,
        [("n/a".to_owned(), Some("1".to_owned()), one)]
    );
    assert_eq!(
        changes(&mut watch).await,
        [
            ("n/b".to_owned(), Some("2".to_owned()), two),
            ("n/a".to_owned(), None, two)
        ]
    );
}

pub(crate) async fn a_watch_sees_the_past_behind_its_revision_and_then_what_comes(store: Store) {
    let mut from = Vec::new();
    for number in 0..5 {
        from.push(put(&store, "a", &number.to_string()).await);
    }
    let mut watch = store.watch("a", from[2]).await.unwrap();
    put(&store, "a", "5").await;
    let mut values = Vec::new();
    while values.len() < 3 {
        values.extend(
            changes(&mut watch)
                .await
                .into_iter()
                .map(|it| it.1.unwrap()),
        );
    }
    assert_eq!(values, ["3", "4", "5"]);
}

pub(crate) async fn a_watch_that_nobody_reads_loses_the_thread_and_a_follower_takes_it_up_again(
    store: Store,
) {
    let mut follow = store.follow("a/");
    assert_eq!(
        follow.next().await.unwrap(),
        Followed::All(Vec::new(), Revision(0))
    );
    // More than is remembered of the past and on the way together, by transactions large enough.
    let large = vec![b'x'; 100_000];
    for number in 0..400 {
        let txn = Txn::new().put_bytes(format!("a/{}", number % 7), large.clone());
        committed(store.commit(txn).await.unwrap());
    }
    let last = put(&store, "a/last", "1").await;
    let mut old = store.watch("a/", Revision(1)).await.unwrap();
    assert_eq!(old.next().await, Some(Seen::Compacted));
    assert_eq!(old.next().await, None);
    let mut seen = Revision(0);
    while seen < last {
        seen = match follow.next().await.unwrap() {
            Followed::All(_, revision) => revision,
            Followed::Changed(changes) => changes.iter().map(|it| it.revision).max().unwrap(),
        };
    }
    assert_eq!(seen, last);
}

async fn leased(store: &Store, ttl: Duration) -> (super::Lease, Watch) {
    let lease = store.grant(ttl).await.unwrap();
    let txn = Txn::new().put_bytes("leased", b"1".to_vec()).under(lease);
    let at = committed(store.commit(txn).await.unwrap());
    put(store, "other", "1").await;
    let watch = store.watch("leased", at).await.unwrap();
    (lease, watch)
}

pub(crate) async fn keys_under_a_lease_go_when_it_is_not_kept(store: Store) {
    let (lease, mut watch) = leased(&store, Duration::from_millis(50)).await;
    assert_eq!(changes(&mut watch).await.first().unwrap().1, None);
    assert_eq!(store.get("leased").await.unwrap(), None);
    assert!(store.get("other").await.unwrap().is_some());
    assert!(matches!(
        store.keep_alive(lease).await,
        Err(Error::LeaseGone)
    ));
    let txn = Txn::new().put_bytes("leased", Vec::new()).under(lease);
    assert!(matches!(store.commit(txn).await, Err(Error::LeaseGone)));
}

pub(crate) async fn keys_under_a_lease_go_when_it_is_revoked_and_others_stay(store: Store) {
    let (lease, mut watch) = leased(&store, Duration::from_mins(10)).await;
    store.revoke(lease).await.unwrap();
    assert_eq!(store.get("leased").await.unwrap(), None);
    assert!(store.get("other").await.unwrap().is_some());
    assert_eq!(changes(&mut watch).await.first().unwrap().1, None);
    assert!(matches!(store.revoke(lease).await, Err(Error::LeaseGone)));
}

pub(crate) async fn a_lease_that_is_kept_keeps_its_keys(store: Store) {
    let ttl = Duration::from_millis(400);
    let (lease, _watch) = leased(&store, ttl).await;
    let (began, mut tick) = (tokio::time::Instant::now(), tokio::time::interval(ttl / 8));
    while began.elapsed() < ttl * 3 {
        tick.tick().await;
        store.keep_alive(lease).await.unwrap();
    }
    assert!(store.get("leased").await.unwrap().is_some());
}

pub(crate) async fn what_no_store_takes_is_refused_before_it_is_tried(store: Store) {
    let put_key = |key: String| Txn::new().put_bytes(key, Vec::new());
    for key in [String::new(), "a\nb".to_owned(), "k".repeat(513)] {
        assert!(matches!(store.get(&key).await, Err(Error::Key { .. })));
        let refused = store.commit(put_key(key)).await;
        assert!(matches!(refused, Err(Error::Key { .. })));
    }
    what_is_too_large_is_refused(&store).await;
    the_largest_is_taken(&store).await;
}

async fn what_is_too_large_is_refused(store: &Store) {
    let put_key = |key: String| Txn::new().put_bytes(key, Vec::new());
    let value = Txn::new().put_bytes("a", vec![0; MOST_VALUE]);
    assert!(matches!(
        store.commit(value).await,
        Err(Error::Value { .. })
    ));
    let half = vec![0; MOST_VALUE / 2];
    let together = Txn::new().put_bytes("a", half.clone()).put_bytes("b", half);
    let twice = put_key("a".to_owned()).delete("a");
    let many = (0..=MOST_OPERATIONS).fold(Txn::new(), |txn, it| txn.delete(it.to_string()));
    for txn in [together, twice, many] {
        let refused = store.commit(txn).await;
        assert!(matches!(refused, Err(Error::Transaction { .. })));
    }
}

async fn the_largest_is_taken(store: &Store) {
    let put_key = |key: String| Txn::new().put_bytes(key, Vec::new());
    let most = (1..MOST_OPERATIONS).fold(put_key("x".to_owned()), |txn, it| {
        txn.delete(it.to_string())
    });
    committed(store.commit(most).await.unwrap());
    committed(store.commit(put_key("k".repeat(512))).await.unwrap());
}
