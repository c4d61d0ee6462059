//! The master as an administrator runs it: made, stopped, killed, copied, put back.

#![allow(
    clippy::unwrap_used,
    clippy::too_many_lines,
    clippy::cognitive_complexity,
    dead_code,
    reason = "a table of callers, and a house that several tests share"
)]

mod house;

use house::{House, Show};

async fn epoch(house: &House) -> u64 {
    use masterd::store::{Store, sqlite::Sqlite};
    let path = house.state().join("state.db");
    let store = Store::new(std::sync::Arc::new(Sqlite::open(&path).unwrap()));
    store.record("meta/epoch").await.unwrap().unwrap().0
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_is_there_after_the_master_was_killed() {
    let mut house = House::start("");
    let node = house.node("n1").await;
    let operator = house.operator("anna", "read").await;
    house.kill();
    house.serve();
    assert_eq!(
        house.ask(&operator, "GET", "/v1/audit", b"").await.status,
        200
    );
    assert_eq!(
        house
            .ask(&node, "POST", "/v1/certificate", b"")
            .await
            .status,
        400
    );
    assert_eq!(house.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_master_and_a_second_fleet_in_one_place_are_refused() {
    let house = House::start("");
    let second = house.run(&["serve"]);
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(
        !second.status.success() && said.contains("another masterd"),
        "{said}"
    );
    for arguments in [&["init", "--name", "a"][..], &["restore", "/nowhere"]] {
        assert!(!house.run(arguments).status.success());
    }
    drop(house);
    let mut house = House::start("");
    house.stop();
    let again = house.run(&["init", "--name", "a", "--profile", "/nowhere/x"]);
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(said.contains("there is a fleet"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_made_while_the_master_works_is_put_back_with_a_higher_epoch_each_time() {
    let mut house = House::start("");
    let before = house.node("before").await;
    let copy = house.dir.path().join("copy.tar");
    let copied = house.run(&["backup", copy.to_str().unwrap()]);
    assert!(
        copied.status.success(),
        "{}",
        String::from_utf8_lossy(&copied.stderr)
    );
    let after = house.node("after").await;
    assert_eq!(house.stop(), Some(0));
    assert_eq!(epoch(&house).await, 1);
    for expected in [2, 3] {
        let back = house.run(&["restore", copy.to_str().unwrap()]);
        assert!(
            back.status.success(),
            "{}",
            String::from_utf8_lossy(&back.stderr)
        );
        assert_eq!(epoch(&house).await, expected);
    }
    house.serve();
    assert_eq!(
        house
            .ask(&before, "POST", "/v1/certificate", b"")
            .await
            .status,
        400
    );
    let unknown = house.ask(&after, "POST", "/v1/certificate", b"").await;
    assert_eq!(
        (
            unknown.status,
            unknown.json()["error"].as_str().unwrap().to_owned()
        ),
        (403, "unknown".to_owned())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_over_the_network_has_no_key_in_it_and_a_foreign_file_is_refused() {
    let mut house = House::start("");
    let copy = house.ask(&house.admin(), "GET", "/v1/backup", b"").await;
    assert_eq!(copy.status, 200);
    assert!(!copy.body.windows(11).any(|part| part == b"PRIVATE KEY"));
    house.stop();
    for (name, bytes) in [("etc/passwd", &b"x"[..]), ("trust/../../x", b"x")] {
        let path = house.dir.path().join("foreign.tar");
        let mut tar = tar::Builder::new(fs_err::File::create(&path).unwrap());
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        let raw = &mut header.as_old_mut().name;
        raw[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        tar.append(&header, bytes).unwrap();
        tar.into_inner().unwrap();
        let back = house.run(&["restore", path.to_str().unwrap()]);
        let said = String::from_utf8_lossy(&back.stderr).into_owned();
        assert!(
            !back.status.success() && said.contains("not a backup"),
            "{said}"
        );
    }
    assert_eq!(epoch(&house).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documents_of_the_master_are_there_for_programs() {
    let house = House::start("");
    let nobody = Show::default();
    assert_eq!(
        house.ask(&nobody, "GET", "/healthz", b"").await.body,
        b"ok\n"
    );
    let document = house.ask(&nobody, "GET", "/openapi.json", b"").await;
    assert_eq!(document.status, 200);
    // The connections of the questions before are closed a moment after their answers.
    let end = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    let text = loop {
        let metrics = house.ask(&house.admin(), "GET", "/metrics", b"").await;
        let text = String::from_utf8_lossy(&metrics.body).into_owned();
        if text.contains("masterd_connections 1\n") {
            break text;
        }
        assert!(tokio::time::Instant::now() < end, "{text}");
    };
    assert!(
        text.contains("masterd_requests_total{route=\"/healthz\",status=\"200\"} 1"),
        "{text}"
    );
}
