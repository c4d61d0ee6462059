//! What those who run the master ask: is it well, what does it count, what can be asked for, a copy.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures_util::stream;
use tokio::io::AsyncReadExt;

use super::{Access, Caller, Master, Refused, Route, openapi};
use crate::audit::Note;
use crate::store::Txn;
use crate::sys::backup;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get(
            "/healthz",
            Access::Public,
            "Whether the master and its store answer",
            health,
        ),
        Route::get(
            "/openapi.json",
            Access::Public,
            "This list, for programs: OpenAPI 3.1",
            document,
        ),
        Route::get(
            "/metrics",
            Access::Read,
            "What is counted, for Prometheus",
            metrics,
        ),
        Route::get(
            "/v1/backup",
            Access::Admin,
            "A copy of the store, without keys: restore it beside a trust directory that was kept",
            copy,
        )
        .endless(),
    ]
}

async fn health(State(master): State<Arc<Master>>) -> Result<&'static str, Refused> {
    master.store.get("meta/epoch").await?;
    Ok("ok\n")
}

async fn document() -> Json<serde_json::Value> {
    Json(openapi::document(&super::table::all()))
}

async fn metrics(State(master): State<Arc<Master>>) -> Result<Response, Refused> {
    let fleet = master.engine.fleet().await?;
    let gauges = [
        ("nodes", "Nodes of the fleet", i64::from(fleet.nodes)),
        (
            "nodes_connected",
            "Nodes whose link is open",
            i64::from(fleet.connected),
        ),
        (
            "nodes_as_wanted",
            "Nodes that run what is wanted",
            i64::from(fleet.as_wanted),
        ),
        (
            "rollouts",
            "Updates that have not ended",
            count(fleet.rollouts.len()),
        ),
        (
            "trials",
            "Nodes that run a trial",
            count(fleet.trials.len()),
        ),
        (
            "discrepancies",
            "What is true and should not be",
            count(fleet.discrepancies.len()),
        ),
    ];
    let text = master
        .metrics
        .text(&gauges)
        .map_err(|error| Refused::failed(&error))?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

fn count(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

async fn copy(
    State(master): State<Arc<Master>>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Refused> {
    if !caller.covers_all() {
        return Err(Refused::not_allowed(
            "an operator who is limited to classes may not copy the store",
        ));
    }
    let note = Note::new(caller.operator()?, "backup");
    master.audit.commit(Txn::new(), note).await?;
    let store = master.store_file.clone();
    let made = tokio::task::spawn_blocking(move || backup::store_alone(&store)).await;
    let file = made
        .map_err(|error| Refused::failed(&error))?
        .map_err(|error| Refused::failed(&error))?;
    let chunks = stream::try_unfold(tokio::fs::File::from_std(file), |mut file| async move {
        let mut chunk = vec![0; 64 << 10];
        let count = file.read(&mut chunk).await?;
        chunk.truncate(count);
        let next = (count > 0).then(|| (Bytes::from(chunk), file));
        Ok::<_, std::io::Error>(next)
    });
    let kind = [(header::CONTENT_TYPE, "application/x-tar")];
    Ok((kind, Body::from_stream(chunks)).into_response())
}
