//! Updates: planned, begun, decided.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use model::wire::{ClassName, Decision, FleetPlan, RolloutId, RolloutView, Update};

use super::{Access, Caller, Master, Named, Refused, Route, Taken};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::post("/v1/plan", Access::Read, "What an update would do", plan)
            .body(1 << 20)
            .takes::<Update>()
            .gives::<FleetPlan>(),
        Route::post(
            "/v1/updates",
            Access::Operate,
            "Begins an update: nodes are asked",
            begin,
        )
        .body(1 << 20)
        .takes::<Update>()
        .gives::<RolloutView>(),
        Route::get(
            "/v1/rollouts",
            Access::Read,
            "Updates, the newest first",
            rollouts,
        )
        .gives::<Vec<RolloutView>>(),
        Route::get(
            "/v1/rollouts/{id}",
            Access::Read,
            "One update with its nodes",
            rollout,
        )
        .gives::<RolloutView>(),
        Route::post(
            "/v1/rollouts/{id}/decision",
            Access::Operate,
            "An operator decides",
            decide,
        )
        .takes::<Decision>()
        .gives::<RolloutView>(),
    ]
}

fn may_touch(caller: &Caller, nodes: &[Vec<ClassName>]) -> Result<(), Refused> {
    if caller.covers_all() || nodes.iter().all(|classes| caller.covers(classes)) {
        return Ok(());
    }
    Err(Refused::not_allowed(
        "some of these nodes are in none of your classes",
    ))
}

async fn plan(
    State(master): State<Arc<Master>>,
    Taken(update): Taken<Update>,
) -> Result<Json<FleetPlan>, Refused> {
    Ok(Json(master.engine.plan(update).await?))
}

async fn begin(
    State(master): State<Arc<Master>>,
    Extension(caller): Extension<Caller>,
    Taken(update): Taken<Update>,
) -> Result<Json<RolloutView>, Refused> {
    let by = caller.operator()?.clone();
    if !caller.covers_all() {
        if update.image.is_some() {
            return Err(Refused::not_allowed(
                "an image says what the whole fleet is assigned; your classes are only some",
            ));
        }
        may_touch(&caller, &master.engine.classes_of(update.clone()).await?)?;
    }
    Ok(Json(master.engine.update(update, by).await?))
}

async fn rollouts(State(master): State<Arc<Master>>) -> Result<Json<Vec<RolloutView>>, Refused> {
    Ok(Json(master.engine.rollouts().await?))
}

async fn rollout(
    State(master): State<Arc<Master>>,
    Named(id): Named<RolloutId>,
) -> Result<Json<RolloutView>, Refused> {
    Ok(Json(master.engine.rollout(id).await?))
}

async fn decide(
    State(master): State<Arc<Master>>,
    Extension(caller): Extension<Caller>,
    Named(id): Named<RolloutId>,
    Taken(decision): Taken<Decision>,
) -> Result<Json<RolloutView>, Refused> {
    let by = caller.operator()?.clone();
    if !caller.covers_all() {
        may_touch(&caller, &master.engine.classes_of_rollout(id).await?)?;
    }
    Ok(Json(master.engine.decide(id, decision, by).await?))
}
