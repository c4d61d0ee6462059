//! From hello to commit, with a real masterd that is killed on the way.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    reason = "tests"
)]

mod fleet;

use fleet::{Master, envelope};
use model::change::Outcome;
use model::wire::{
    Assignment, ModuleVerdict, NodeView, Objection, Phase, RolloutView, ToNode, Update, Verdict,
    Vote,
};
use serde_json::json;

fn everybody() -> Update {
    let mut update = Update::default();
    update.nodes.all = true;
    update
}

async fn assign(master: &Master, scope: &str, package: &str) {
    let assignment = Assignment {
        packages: vec![package.parse().unwrap()],
        ..Assignment::default()
    };
    let stored: Assignment = master
        .put(&format!("/v1/assign/{scope}"), &assignment)
        .await;
    assert_eq!(stored, assignment);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_is_asked_for_decided_wanted_ended_and_committed() {
    let master = Master::new().await;
    let mut node = master.node("edge-1", "edge").await;
    assert_eq!(node.connect().await, Verdict::Unassigned);
    let imported = master.import(envelope("tool", "1", "one")).await;
    assert!(imported[0].new);
    assert_eq!(imported[0].files[0].verdict, ModuleVerdict::New);
    let again = master.import(envelope("tool", "1", "one")).await;
    assert!(!again[0].new);
    assign(&master, "class/edge", "tool").await;

    let begun: RolloutView = master.post("/v1/updates", &everybody()).await;
    assert_eq!(begun.phase, Phase::Asking);
    let ask = node.asked().await;
    assert_eq!(ask.selected_for.classes.len(), 1);
    let (status, text) = master.refused("/v1/updates", &everybody()).await;
    assert_eq!(status, 409, "{text}");
    node.vote(&ask, Vote::Accept).await;
    let wanted = node.wanted().await;
    assert_eq!((wanted.software, wanted.list), (ask.target, ask.list));
    node.become_it(&wanted);
    node.end(begun.id, &wanted, Outcome::Done).await;
    node.is_committed(begun.id).await;
    let done = master
        .until(begun.id, |view| view.phase == Phase::Done)
        .await;
    assert_eq!(done.tally.accept, 1);
    node.disconnect();
    assert_eq!(node.connect().await, Verdict::GoOn);
    let view: NodeView = master.get("/v1/nodes/edge-1").await;
    assert_eq!(view.wanted_set, ["tool=1"]);
    assert!(view.discrepancies.is_empty(), "{:?}", view.discrepancies);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_veto_and_no_node_is_touched_until_an_operator_decides() {
    let master = Master::new().await;
    let (mut one, mut other) = (
        master.node("one", "edge").await,
        master.node("other", "edge").await,
    );
    one.connect().await;
    other.connect().await;
    master.import(envelope("tool", "1", "one")).await;
    assign(&master, "fleet", "tool").await;
    let begun: RolloutView = master.post("/v1/updates", &everybody()).await;
    let (asked, asked_too) = (one.asked().await, other.asked().await);
    one.vote(&asked, Vote::Accept).await;
    let objections = vec![Objection {
        process: "phone".parse().unwrap(),
        reason: "call in progress".to_owned(),
    }];
    other.vote(&asked_too, Vote::Veto { objections }).await;
    let held = master
        .until(begun.id, |view| view.phase == Phase::Held)
        .await;
    assert_eq!(held.tally.reasons[0].reason, "call in progress");
    let decision = json!({"choice": "accepting", "reason": "the other later"});
    let path = format!("/v1/rollouts/{}/decision", begun.id);
    drop(master.post::<RolloutView>(&path, &decision).await);
    let wanted = one.wanted().await;
    one.become_it(&wanted);
    one.end(begun.id, &wanted, Outcome::Done).await;
    one.is_committed(begun.id).await;
    assert!(matches!(other.next().await, ToNode::Withdraw { .. }));
    let end = master.until(begun.id, |view| view.phase.is_end()).await;
    assert_eq!(end.phase, Phase::Partial);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_is_killed_goes_on_where_it_was() {
    let mut master = Master::new().await;
    let mut node = master.node("edge-1", "edge").await;
    node.connect().await;
    master.import(envelope("tool", "1", "one")).await;
    assign(&master, "fleet", "tool").await;
    let update = Update {
        idempotency_key: Some("job 7".to_owned()),
        ..everybody()
    };
    let begun: RolloutView = master.post("/v1/updates", &update).await;
    node.asked().await;
    master.killed().await;
    let again: RolloutView = master.post("/v1/updates", &update).await;
    assert_eq!(again.id, begun.id);
    node.connect().await;
    let ask = node.asked().await;
    node.vote(&ask, Vote::Accept).await;
    let wanted = node.wanted().await;
    // Decided, and not done: what was decided is sent again, and nothing else.
    master.killed().await;
    assert_eq!(node.connect().await, Verdict::Differs);
    let same = node.wanted().await;
    assert_eq!(same, wanted);
    node.become_it(&wanted);
    master.killed().await;
    assert_eq!(node.connect().await, Verdict::GoOn);
    node.end(begun.id, &wanted, Outcome::Done).await;
    node.is_committed(begun.id).await;
    master
        .until(begun.id, |view| view.phase == Phase::Done)
        .await;
    master.killed().await;
    assert_eq!(node.connect().await, Verdict::GoOn);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_live_links_of_one_identity_are_quarantined_and_a_dead_one_is_not() {
    let master = Master::new().await;
    let mut node = master.node("edge-1", "edge").await;
    node.connect().await;
    let mut copy = node.clone_of("second");
    let (verdict, answered) = tokio::join!(copy.connect(), node.heard());
    assert_eq!(verdict, Verdict::Quarantined);
    let quarantined = |message: Option<ToNode>| {
        matches!(
            message,
            Some(ToNode::Welcome {
                verdict: Verdict::Quarantined,
                ..
            })
        )
    };
    assert!(quarantined(answered));
    assert_eq!(node.heard().await, None);
    assert_eq!(node.connect().await, Verdict::Quarantined);
    let path = "/v1/nodes/edge-1/unquarantine";
    drop(master.post::<NodeView>(path, &json!({})).await);
    assert_eq!(node.connect().await, Verdict::Unassigned);
    // The same boot again is only a link that was lost.
    let mut back = node.clone_of("first");
    assert_eq!(back.connect().await, Verdict::Unassigned);
}
