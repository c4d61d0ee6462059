//! Nodes and the fleet, as people see and edit them.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use model::wire::{FleetName, FleetView, NodeEdit, NodeName, NodeView, NodeWhy, Selector};
use std::collections::BTreeMap;

use super::{Access, Caller, Master, Named, Refused, Route, Taken};
use crate::audit::Note;
use crate::store::Txn;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get(
            "/v1/fleet",
            Access::Read,
            "The fleet in one document",
            fleet,
        )
        .gives::<FleetView>(),
        Route::get("/v1/nodes", Access::Read, "Every node", nodes).gives::<Vec<NodeView>>(),
        Route::get("/v1/nodes/{node}", Access::Read, "One node", node).gives::<NodeView>(),
        Route::get(
            "/v1/nodes/{node}/why",
            Access::Read,
            "Why a node runs what it runs",
            why,
        )
        .gives::<NodeWhy>(),
        Route::put(
            "/v1/nodes/{node}",
            Access::Operate,
            "Labels; a recorded type, location",
            edit,
        )
        .takes::<NodeEdit>()
        .gives::<NodeView>(),
        Route::post(
            "/v1/nodes/{node}/unquarantine",
            Access::Operate,
            "The node that connects next is the right one",
            unquarantine,
        )
        .gives::<NodeView>(),
        Route::get("/v1/groups", Access::Read, "Saved groups of nodes", groups)
            .gives::<BTreeMap<FleetName, Selector>>(),
        Route::put(
            "/v1/groups/{name}",
            Access::Operate,
            "Saves a group of nodes",
            save_group,
        )
        .takes::<Selector>(),
    ]
}

/// A line of the audit log about what was done just now.
pub(super) async fn note_down(
    master: &Master,
    caller: &Caller,
    (what, on): (&str, String),
    reason: &str,
) -> Result<(), Refused> {
    let note = Note::new(caller.label(), what).on(on).because(reason);
    master.audit.commit(Txn::new(), note).await?;
    Ok(())
}

/// Refuses an operator who may not touch this node.
pub(super) async fn may_touch(
    master: &Master,
    caller: &Caller,
    name: &NodeName,
) -> Result<(), Refused> {
    if caller.covers_all() {
        return Ok(());
    }
    let node = master.engine.node(name.clone()).await?;
    if caller.covers(&node.facts.classes) {
        return Ok(());
    }
    Err(Refused::not_allowed(format!(
        "{name} is in none of your classes"
    )))
}

async fn fleet(State(master): State<Arc<Master>>) -> Result<Json<FleetView>, Refused> {
    Ok(Json(master.engine.fleet().await?))
}

async fn nodes(State(master): State<Arc<Master>>) -> Result<Json<Vec<NodeView>>, Refused> {
    Ok(Json(master.engine.nodes().await?))
}

async fn node(
    State(master): State<Arc<Master>>,
    Named(name): Named<NodeName>,
) -> Result<Json<NodeView>, Refused> {
    Ok(Json(master.engine.node(name).await?))
}

async fn why(
    State(master): State<Arc<Master>>,
    Named(name): Named<NodeName>,
) -> Result<Json<NodeWhy>, Refused> {
    Ok(Json(master.engine.why(name).await?))
}

async fn edit(
    State(master): State<Arc<Master>>,
    Extension(caller): Extension<Caller>,
    Named(name): Named<NodeName>,
    Taken(edit): Taken<NodeEdit>,
) -> Result<Json<NodeView>, Refused> {
    may_touch(&master, &caller, &name).await?;
    let view = master.engine.edit_node(name.clone(), edit).await?;
    note_down(&master, &caller, ("edit node", name.to_string()), "").await?;
    Ok(Json(view))
}

async fn unquarantine(
    State(master): State<Arc<Master>>,
    Extension(caller): Extension<Caller>,
    Named(name): Named<NodeName>,
) -> Result<Json<NodeView>, Refused> {
    may_touch(&master, &caller, &name).await?;
    let view = master.engine.unquarantine(name.clone()).await?;
    note_down(&master, &caller, ("unquarantine", name.to_string()), "").await?;
    Ok(Json(view))
}

async fn groups(
    State(master): State<Arc<Master>>,
) -> Result<Json<BTreeMap<FleetName, Selector>>, Refused> {
    Ok(Json(master.engine.groups().await?))
}

async fn save_group(
    State(master): State<Arc<Master>>,
    Extension(caller): Extension<Caller>,
    Named(name): Named<FleetName>,
    Taken(selector): Taken<Selector>,
) -> Result<Json<()>, Refused> {
    if !caller.covers_all() {
        return Err(Refused::not_allowed("you may change some classes only"));
    }
    master.engine.save_group(name.clone(), selector).await?;
    note_down(&master, &caller, ("save group", name.to_string()), "").await?;
    Ok(Json(()))
}
