//! What each node is to run, and in which order nodes come to it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    reason = "tests"
)]

mod fleet;

use fleet::{Master, Scripted, envelope, envelope_with};
use model::PackageId;
use model::manifest::{Manifest, RequiresRemote, RequiresWhen};
use model::wire::{
    Assignment, FleetPlan, IssuedOperator, NodeView, Phase, RolloutView, Update, Vote, Waves,
};
use serde_json::json;

fn everybody() -> Update {
    let mut update = Update::default();
    update.nodes.all = true;
    update
}

async fn assign(master: &Master, scope: &str, packages: &[&str]) {
    let assignment = Assignment {
        packages: packages.iter().map(|one| one.parse().unwrap()).collect(),
        ..Assignment::default()
    };
    let path = format!("/v1/assign/{scope}");
    drop(master.put::<Assignment>(&path, &assignment).await);
}

async fn imported(master: &Master, envelope: Vec<u8>) -> PackageId {
    master.import(envelope).await.remove(0).id
}

/// A package that needs another one on all nodes of a class.
fn needing(name: &str, version: &str, (needs, class): (&str, &str)) -> Vec<u8> {
    let remote = RequiresRemote {
        class: class.to_owned(),
        quantity: "all".to_owned(),
        scope: "fleet".to_owned(),
        packages: vec![needs.parse().unwrap()],
    };
    envelope_with((name, version), |one: &mut Manifest| {
        one.requires_remote.push(remote);
    })
}

fn comes<'a>(plan: &'a FleetPlan, node: &str) -> &'a [String] {
    let found = plan.nodes.iter().find(|one| one.node.as_str() == node);
    found.map(|one| &*one.comes).unwrap_or_default()
}

fn wave(plan: &FleetPlan, node: &str) -> u32 {
    let found = plan.nodes.iter().find(|one| one.node.as_str() == node);
    found.unwrap().wave
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_of_one_type_with_other_features_get_other_packages() {
    let master = Master::new().await;
    let mut nodes = Vec::new();
    for (name, features) in [("with", vec!["gpu"]), ("without", vec![])] {
        let mut node = master.node(name, "edge").await;
        node.facts.node_type = Some("server".parse().unwrap());
        node.facts.features = features.iter().map(|one| one.parse().unwrap()).collect();
        node.connect().await;
        nodes.push(node);
    }
    let when = |feature: &str, package: &str| RequiresWhen {
        arch: None,
        node_type: Some("server".to_owned()),
        class: None,
        feature: Some(feature.to_owned()),
        location: None,
        packages: vec![package.parse().unwrap()],
    };
    master.import(envelope("driver", "1", "driver")).await;
    master.import(envelope("elector", "1", "elector")).await;
    let app = envelope_with(("app", "1"), |one| {
        one.requires_when.push(when("gpu", "driver"));
        one.requires_when.push(when("primary", "elector"));
    });
    master.import(app).await;
    assign(&master, "type/server", &["app"]).await;
    let plan: FleetPlan = master.post("/v1/plan", &everybody()).await;
    assert_eq!(comes(&plan, "without"), ["app=1"]);
    assert_eq!(comes(&plan, "with").len(), 2, "{plan:?}");
    assert!(comes(&plan, "with").contains(&"driver=1".to_owned()));

    // A role is a feature that the master gives; a recorded type counts over the reported one.
    let role = json!({"features": ["primary"]});
    drop(
        master
            .put::<Assignment>("/v1/assign/node/without", &role)
            .await,
    );
    let other = json!({"type": "desk"});
    let edited: NodeView = master.put("/v1/nodes/with", &other).await;
    assert!(edited.discrepancies[0].contains("desk"), "{edited:?}");
    let plan: FleetPlan = master.post("/v1/plan", &everybody()).await;
    assert!(comes(&plan, "without").contains(&"elector=1".to_owned()));
    assert!(comes(&plan, "with").is_empty(), "{plan:?}");
    let begun: RolloutView = master.post("/v1/updates", &everybody()).await;
    let ask = nodes.last_mut().unwrap().asked().await;
    assert_eq!(ask.rollout, begun.id);
    let added = ask.selected_for;
    assert_eq!(added.features.len(), 1);
    assert!(
        added.arch.is_empty(),
        "only what the master adds: {added:?}"
    );
}

/// A database and a web server, both running their first version.
async fn pair(master: &Master) -> [(Scripted, PackageId); 2] {
    let db = imported(master, envelope("db", "1", "db 1")).await;
    let web = imported(master, envelope("web", "1", "web 1")).await;
    let mut both = Vec::new();
    for (name, class, id) in [("db-1", "db", db), ("web-1", "web", web)] {
        assign(master, &format!("class/{class}"), &[class]).await;
        let mut node = master.node(name, class).await;
        node.connect().await;
        both.push((node, id));
    }
    let begun: RolloutView = master.post("/v1/updates", &everybody()).await;
    for (node, _) in &mut both {
        let ask = node.asked().await;
        node.vote(&ask, Vote::Accept).await;
    }
    for (node, id) in &mut both {
        node.follows(begun.id, std::slice::from_ref(id)).await;
    }
    let done = |view: &RolloutView| view.phase == Phase::Done;
    master.until(begun.id, done).await;
    both.try_into().ok().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn providers_change_before_those_that_need_them() {
    let master = Master::new().await;
    let [(mut db, _), (mut web, _)] = pair(&master).await;
    let db_2 = imported(&master, envelope("db", "2", "db 2")).await;
    let web_2 = imported(&master, needing("web", "2", ("db >= 2", "db"))).await;
    let plan: FleetPlan = master.post("/v1/plan", &everybody()).await;
    assert_eq!((wave(&plan, "db-1"), wave(&plan, "web-1")), (0, 1));
    assert!(plan.discrepancies.is_empty(), "{plan:?}");
    let begun: RolloutView = master.post("/v1/updates", &everybody()).await;
    for node in [&mut db, &mut web] {
        let ask = node.asked().await;
        node.vote(&ask, Vote::Accept).await;
    }
    db.follows(begun.id, &[db_2]).await;
    // It is asked again just before its wave, and that came when the other was done.
    let again = web.asked().await;
    let view = master.rollout(begun.id).await;
    assert_eq!(view.wave, (1, 2));
    web.vote(&again, Vote::Accept).await;
    web.follows(begun.id, &[web_2]).await;
    master
        .until(begun.id, |view| view.phase == Phase::Done)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_on_the_way_that_breaks_a_dependency_between_nodes_is_refused_with_both_ends() {
    let master = Master::new().await;
    let [_db, (mut web, _)] = pair(&master).await;
    let mut second = master.node("db-2", "db").await;
    second.connect().await;
    master.import(envelope("db", "2", "db 2")).await;
    master.import(needing("web", "2", ("db >= 2", "db"))).await;
    // The consumer alone: its provider does not have it.
    let mut alone = everybody();
    alone.nodes = serde_json::from_value(json!({"nodes": ["web-1"]})).unwrap();
    let (status, text) = master.refused("/v1/updates", &alone).await;
    assert_eq!(status, 422, "{text}");
    assert!(text.contains("web-1") && text.contains("db-1"), "{text}");
    // All of them in the right order is well, and only that.
    let by_percent = |together| {
        let mut update = everybody();
        update.strategy.together = together;
        update.strategy.waves = Waves::Percent {
            canary: 1,
            steps: vec![100],
        };
        update
    };
    for together in [false, true] {
        let plan: FleetPlan = master.post("/v1/plan", &by_percent(together)).await;
        assert!(plan.discrepancies.is_empty(), "{plan:?}");
        assert_eq!(plan.waves == 1, together);
    }
    // A provider that keeps no older consumer: one after the other cannot be.
    let both = needing("web", "3", ("db < 2", "db"));
    let web_3 = imported(&master, both).await;
    web.have.active = vec![web_3];
    assign(&master, "class/web", &["web=3"]).await;
    let (status, text) = master.refused("/v1/updates", &everybody()).await;
    assert_eq!(status, 422, "{text}");
    assert!(text.contains("web-1") && text.contains("db-"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn classes_that_need_each_others_new_software_change_together_or_not_at_all() {
    let master = Master::new().await;
    let [_db, _web] = pair(&master).await;
    master.import(needing("db", "2", ("web >= 2", "web"))).await;
    master.import(needing("web", "2", ("db >= 2", "db"))).await;
    let (status, text) = master.refused("/v1/updates", &everybody()).await;
    assert_eq!(status, 422, "{text}");
    for word in ["web-1", "db-1", "--together"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let plan: FleetPlan = master.post("/v1/plan", &everybody()).await;
    assert!(!plan.discrepancies.is_empty(), "{plan:?}");
    let mut together = everybody();
    together.strategy.together = true;
    let plan: FleetPlan = master.post("/v1/plan", &together).await;
    assert!(plan.discrepancies.is_empty(), "{plan:?}");
    let begun: RolloutView = master.post("/v1/updates", &together).await;
    assert_eq!(begun.nodes.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_runs_nothing_and_is_assigned_nothing_has_no_part_and_is_named() {
    let master = Master::new().await;
    let id = imported(&master, envelope("app", "1", "app")).await;
    assign(&master, "class/edge", &["app"]).await;
    let mut edge = master.node("edge", "edge").await;
    edge.connect().await;
    let mut bare = master.node("bare", "other").await;
    bare.connect().await;
    let plan: FleetPlan = master.post("/v1/plan", &everybody()).await;
    assert_eq!(plan.nodes.len(), 1, "{plan:?}");
    let begun: RolloutView = master.post("/v1/updates", &everybody()).await;
    assert!(begun.notes[0].contains("bare"), "{begun:?}");
    let ask = edge.asked().await;
    edge.vote(&ask, Vote::Accept).await;
    edge.follows(begun.id, &[id]).await;
    let ended = |view: &RolloutView| view.phase.is_end();
    let view = master.until(begun.id, ended).await;
    assert_eq!(view.phase, Phase::Done, "{view:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_by_an_image_is_not_taken_for_one_of_everything() {
    let master = Master::new().await;
    let mut node = master.node("a", "edge").await;
    node.connect().await;
    let update = Update {
        image: Some("site".to_owned()),
        ..everybody()
    };
    for path in ["/v1/plan", "/v1/updates"] {
        let (status, text) = master.refused(path, &update).await;
        assert_eq!(status, 404, "{text}");
        assert!(text.contains("image"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_of_some_classes_begins_no_update_by_an_image() {
    let master = Master::new().await;
    let new = json!({"name": "edgy", "role": "operate", "classes": ["edge"]});
    let limited: IssuedOperator = master.post("/v1/operators", &new).await;
    let edge = json!({"classes": ["edge"]});
    let by_image = json!({"image": "site", "nodes": edge});
    let (status, text) = master
        .post_as(&limited.token, "/v1/updates", &by_image)
        .await;
    assert_eq!(status, 403, "{text}");
    assert!(
        text.contains("not-allowed") && text.contains("an image says"),
        "{text}"
    );
    // Without one the classes are theirs; whoever may change everything only lacks the image.
    let (status, text) =
        (master.post_as(&limited.token, "/v1/updates", &json!({"nodes": edge}))).await;
    assert_ne!(status, 403, "{text}");
    let (status, text) = master.refused("/v1/updates", &by_image).await;
    assert_eq!(status, 404, "{text}");
}
