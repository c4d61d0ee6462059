//! What nobody needs leaves the disk; what anybody runs, wants or may go back to does not.

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

use std::io::Read;

use fleet::{Master, Scripted, envelope, manifest};
use model::wire::{Assignment, Collected, FleetPlan, RolloutView, SoftwareList, Update, Vote};
use model::{Digest, PackageId};
use serde_json::json;
use transfer::Shelf;

fn everybody() -> Update {
    let mut update = Update::default();
    update.nodes.all = true;
    update
}

async fn assign(master: &Master, package: &str) {
    let assignment = Assignment {
        packages: vec![package.parse().unwrap()],
        ..Assignment::default()
    };
    drop(
        master
            .put::<Assignment>("/v1/assign/fleet", &assignment)
            .await,
    );
}

async fn change(master: &Master, node: &mut Scripted, id: &PackageId) -> RolloutView {
    let begun: RolloutView = master.post("/v1/updates", &everybody()).await;
    let ask = node.asked().await;
    node.vote(&ask, Vote::Accept).await;
    node.follows(begun.id, std::slice::from_ref(id)).await;
    master.until(begun.id, |view| view.phase.is_end()).await
}

/// The running master's shelf, to be looked at: its records, with a place of our own for what is
/// being written, since whoever opens a shelf sweeps that.
fn shelf(master: &Master) -> (tempfile::TempDir, Shelf) {
    let private = tempfile::tempdir().unwrap();
    let records = master.state().join("private/shelf.db");
    assert!(records.exists(), "{}", records.display());
    std::os::unix::fs::symlink(records, private.path().join("shelf.db")).unwrap();
    let shelf = Shelf::open(&master.state().join("public"), private.path()).unwrap();
    (private, shelf)
}

fn has(master: &Master, digest: &Digest) -> bool {
    let (_private, shelf) = shelf(master);
    shelf.has(digest).unwrap()
}

/// The file of a package that [`envelope`] makes, and its manifest.
fn objects(version: &str) -> [Digest; 2] {
    let text = format!("app {version}");
    let manifest = manifest("app", version, &text);
    [
        Digest::of(text.as_bytes()),
        Digest::of(&manifest.to_bytes().unwrap()),
    ]
}

async fn remove(master: &Master, id: &PackageId) -> (u16, String) {
    let path = format!("/v1/packages/{id}");
    master.ask(reqwest::Method::DELETE, &path, Vec::new()).await
}

async fn collect(master: &Master) -> Collected {
    master.post("/v1/collect", &json!({})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_is_wanted_or_may_come_back_stays_and_the_rest_goes() {
    let mut master = Master::new().await;
    let mut ids = Vec::new();
    for version in ["1", "2", "3"] {
        let imported = envelope("app", version, &format!("app {version}"));
        ids.push(master.import(imported).await.remove(0).id);
    }
    assign(&master, "app=1").await;
    let mut node = master.node("edge", "edge").await;
    node.connect().await;
    change(&master, &mut node, &ids[0]).await;
    assign(&master, "app=2").await;
    let second = change(&master, &mut node, &ids[1]).await;
    // Looked at, and thought better of: its list was offered already.
    assign(&master, "app=3").await;
    let plan: FleetPlan = master.post("/v1/plan", &everybody()).await;
    assert_eq!(plan.nodes.len(), 1);
    assign(&master, "app=2").await;
    let all = collect(&master).await;
    assert_eq!(
        (all.lists, all.objects),
        (1, 1),
        "only the plan's list: {all:?}"
    );

    // The package that it ran before stays, as a package and as objects; the third one may go.
    let (status, text) = remove(&master, &ids[0]).await;
    assert_eq!(status, 409, "{text}");
    let (status, text) = remove(&master, &ids[2]).await;
    assert_eq!(status, 200, "{text}");
    assert!(objects("3").iter().all(|one| has(&master, one)));
    let freed = collect(&master).await;
    assert_eq!(freed.objects, 2, "{freed:?}");
    assert!(!objects("3").iter().any(|one| has(&master, one)));
    for kept in ["1", "2"] {
        assert!(objects(kept).iter().all(|one| has(&master, one)), "{kept}");
    }
    for part in &second.nodes {
        assert!(has(&master, &part.list) && has(&master, &part.base_list.unwrap()));
    }
    assert_eq!(collect(&master).await, Collected::default());

    // A master that is started again finds all that it needs, and the node can go back.
    master.killed().await;
    node.connect().await;
    let mut back = everybody();
    back.back_from = Some(second.id);
    let begun: RolloutView = master.post("/v1/updates", &back).await;
    let ask = node.asked().await;
    let list = list_of(&master, &ask.list);
    assert_eq!(list.packages[0].id, ids[0]);
    node.vote(&ask, Vote::Accept).await;
    node.follows(begun.id, &ids[..1]).await;
    master.until(begun.id, |view| view.phase.is_end()).await;
}

fn list_of(master: &Master, digest: &Digest) -> SoftwareList {
    let mut bytes = Vec::new();
    let (_private, shelf) = shelf(master);
    shelf.read(digest).unwrap().read_to_end(&mut bytes).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}
