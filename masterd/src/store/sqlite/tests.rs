//! The suite on SQLite, and what only a file can show.

use std::sync::Arc;

use super::*;
use crate::store::{Store, suite};

fn store(dir: &Path) -> Store {
    Store::new(Arc::new(Sqlite::open(&dir.join("state.db")).unwrap()))
}

suite::run!(|| {
    let dir = tempfile::tempdir().unwrap();
    (store(dir.path()), dir)
});

#[tokio::test]
async fn what_was_committed_is_there_when_the_file_is_opened_again_at_its_revision() {
    let dir = tempfile::tempdir().unwrap();
    let first = store(dir.path());
    let put = Txn::new().put_bytes("node/a", b"1".to_vec());
    let outcome = first.commit(put).await.unwrap();
    drop(first);
    let second = store(dir.path());
    let entry = second.get("node/a").await.unwrap().unwrap();
    assert_eq!(outcome, Outcome::Committed(entry.revision));
    let again = Txn::new().when("node/a", entry.revision).delete("node/a");
    assert_eq!(
        second.commit(again).await.unwrap(),
        Outcome::Committed(Revision(entry.revision.0 + 1))
    );
}

#[tokio::test]
async fn a_watch_from_before_a_restart_is_told_to_list_again() {
    let dir = tempfile::tempdir().unwrap();
    let first = store(dir.path());
    for value in [b"1", b"2"] {
        let put = Txn::new().put_bytes("a", value.to_vec());
        first.commit(put).await.unwrap();
    }
    drop(first);
    let second = store(dir.path());
    let mut watch = second.watch("a", Revision(1)).await.unwrap();
    assert_eq!(watch.next().await, Some(crate::store::Seen::Compacted));
}

#[tokio::test]
async fn a_copy_is_made_while_the_store_is_written_and_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let live = store(dir.path());
    let writing = tokio::spawn(async move {
        for number in 0..200_u32 {
            let text = number.to_string().into_bytes();
            let both = Txn::new()
                .put_bytes("left", text.clone())
                .put_bytes("right", text);
            live.commit(both).await.unwrap();
        }
    });
    let (from, to) = (dir.path().join("state.db"), dir.path().join("copy.db"));
    let copied = tokio::task::spawn_blocking(move || Sqlite::copy(&from, &to));
    copied.await.unwrap().unwrap();
    writing.await.unwrap();
    let copy = Store::new(Arc::new(Sqlite::open(&dir.path().join("copy.db")).unwrap()));
    let value = |entry: Option<Entry>| entry.map(|entry| entry.value);
    let left = value(copy.get("left").await.unwrap());
    assert_eq!(left, value(copy.get("right").await.unwrap()));
}

#[test]
fn a_file_of_a_newer_masterd_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    drop(Sqlite::open(&path).unwrap());
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 9).unwrap();
    drop(connection);
    assert!(matches!(
        Sqlite::open(&path),
        Err(Error::Newer { found: 9, .. })
    ));
}
