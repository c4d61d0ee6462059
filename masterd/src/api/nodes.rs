//! Nodes and the fleet, as people see and edit them.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use model::wire::{
    FleetName, FleetView, NodeEdit, NodeName, NodeView, NodeWhy, Presence, Selector,
};
use std::collections::BTreeMap;

use super::{Access, Caller, Master, Named, Refused, Route, Taken};
use crate::audit::Note;
use crate::engine;
use crate::trust::Pending;

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
    let mut nodes = master.engine.nodes().await?;
    let waiting = master.authority.pending().await?;
    nodes.extend(waiting.into_iter().map(|one| waiting_view(one, &[])));
    nodes.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(Json(nodes))
}

/// A node that asks to be let in, as people see it.
fn waiting_view((fingerprint, node): (String, Pending), also: &[String]) -> NodeView {
    NodeView {
        name: node.name,
        presence: Presence::Pending { fingerprint },
        facts: node.facts,
        labels: BTreeMap::new(),
        assigned: Vec::new(),
        wanted: None,
        wanted_set: Vec::new(),
        installed: None,
        rollout: None,
        certificate_until: None,
        discrepancies: also
            .iter()
            .map(|other| format!("another key asks for the same name: {other}"))
            .collect(),
    }
}

/// The node, or where there is none of that name the one that waits to have it.
async fn find(master: &Master, name: NodeName) -> Result<NodeView, Refused> {
    let missing = match master.engine.node(name.clone()).await {
        Ok(node) => return Ok(node),
        Err(missing @ engine::Error::NotFound { .. }) => missing,
        Err(error) => return Err(error.into()),
    };
    let mut waiting = master.authority.pending().await?;
    waiting.retain(|(_, one)| one.name == name);
    let one = waiting.pop().ok_or(missing)?;
    let also: Vec<String> = waiting.into_iter().map(|(print, _)| print).collect();
    Ok(waiting_view(one, &also))
}

async fn node(
    State(master): State<Arc<Master>>,
    Named(name): Named<NodeName>,
) -> Result<Json<NodeView>, Refused> {
    Ok(Json(find(&master, name).await?))
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
    let note = Note::new(caller.label(), "edit node").on(&name);
    Ok(Json(master.engine.edit_node(name, edit, note).await?))
}

async fn unquarantine(
    State(master): State<Arc<Master>>,
    Extension(caller): Extension<Caller>,
    Named(name): Named<NodeName>,
) -> Result<Json<NodeView>, Refused> {
    may_touch(&master, &caller, &name).await?;
    let note = Note::new(caller.label(), "unquarantine").on(&name);
    Ok(Json(master.engine.unquarantine(name, note).await?))
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
    let note = Note::new(caller.label(), "save group").on(&name);
    master.engine.save_group(name, selector, note).await?;
    Ok(Json(()))
}
