//! Nodes come in, stay in, and go.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::{Extension, Json};
use model::wire::{Enrol, EnrolAnswer, NodeName, NodeView, Renewed};
use serde::Deserialize;

use super::{Access, Caller, Master, Named, Refused, Route, Taken};
use crate::clock;
use crate::engine;
use crate::trust::EnrolOutcome;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::post(
            "/v1/enrol",
            Access::Enrol,
            "A node asks to be let in",
            enrol,
        )
        .takes::<Enrol>()
        .gives::<EnrolAnswer>(),
        Route::post(
            "/v1/certificate",
            Access::Renew,
            "A node gets a certificate for a new key: the body is PKCS #10, PEM",
            renew,
        )
        .gives::<Renewed>(),
        Route::post(
            "/v1/nodes/{node}/accept",
            Access::Admin,
            "Lets a node that waits in",
            accept,
        )
        .takes::<Accept>(),
        Route::post(
            "/v1/nodes/{node}/revoke",
            Access::Admin,
            "A node's certificates do not count any more: somebody may have its key",
            revoke,
        )
        .takes::<Because>(),
        Route::post(
            "/v1/nodes/{node}/replace",
            Access::Admin,
            "A new machine may take a node's name; the old one is out",
            replace,
        )
        .takes::<Because>()
        .gives::<NodeView>(),
        Route::post(
            "/v1/nodes/{node}/retire",
            Access::Admin,
            "A node is gone for good",
            retire,
        )
        .takes::<Because>()
        .gives::<NodeView>(),
    ]
}

/// Why something is done to a node. The body may be empty.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(super) struct Because {
    reason: String,
}

/// Which node that waits is meant. The body may be empty.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(super) struct Accept {
    /// The beginning of its key's hash, where two use the name.
    fingerprint: Option<String>,
    reason: String,
}

async fn enrol(
    State(master): State<Arc<Master>>,
    Taken(asked): Taken<Enrol>,
) -> Result<Json<EnrolAnswer>, Refused> {
    match master.authority.enrol(asked, clock::now()).await? {
        EnrolOutcome::Waits(answer) => Ok(Json(answer)),
        EnrolOutcome::In(entered) => Ok(Json(entered.answer)),
    }
}

async fn renew(
    State(master): State<Arc<Master>>,
    Extension(caller): Extension<Caller>,
    body: Bytes,
) -> Result<Json<Renewed>, Refused> {
    let (Caller::Node { name, .. } | Caller::Lapsed { name }) = caller else {
        return Err(Refused::not_allowed("only a node may do this"));
    };
    let pem = std::str::from_utf8(&body)
        .map_err(|_| Refused::invalid("the body is not PKCS #10 in PEM"))?;
    let renewal = master.authority.renew(&name, pem, clock::now()).await?;
    Ok(Json(Renewed {
        certificate: renewal.issued.pem,
    }))
}

async fn accept(
    State(master): State<Arc<Master>>,
    Extension(caller): Extension<Caller>,
    Named(node): Named<NodeName>,
    body: Bytes,
) -> Result<Json<NodeView>, Refused> {
    let asked: Accept = optional(&body)?;
    let by = caller.operator()?.to_string();
    let fingerprint = asked.fingerprint.as_deref();
    let because = (by.as_str(), asked.reason.as_str());
    master.authority.accept(&node, fingerprint, because).await?;
    shown(&master, node).await
}

async fn revoke(
    State(master): State<Arc<Master>>,
    Extension(caller): Extension<Caller>,
    Named(node): Named<NodeName>,
    body: Bytes,
) -> Result<Json<NodeView>, Refused> {
    let asked: Because = optional(&body)?;
    let by = caller.operator()?.to_string();
    master.authority.revoke(&node, &by, &asked.reason).await?;
    master
        .engine
        .cut(node.clone(), "its certificate was revoked")
        .await?;
    shown(&master, node).await
}

async fn replace(
    State(master): State<Arc<Master>>,
    Extension(caller): Extension<Caller>,
    Named(node): Named<NodeName>,
    body: Bytes,
) -> Result<Json<NodeView>, Refused> {
    let asked: Because = optional(&body)?;
    let by = caller.operator()?.to_string();
    master.authority.replace(&node, &by, &asked.reason).await?;
    master
        .engine
        .cut(node.clone(), "another machine takes its name")
        .await?;
    shown(&master, node).await
}

async fn retire(
    State(master): State<Arc<Master>>,
    Extension(caller): Extension<Caller>,
    Named(node): Named<NodeName>,
    body: Bytes,
) -> Result<Json<NodeView>, Refused> {
    let asked: Because = optional(&body)?;
    let by = caller.operator()?.to_string();
    master.authority.retire(&node, &by, &asked.reason).await?;
    master.engine.cut(node.clone(), "it was retired").await?;
    shown(&master, node).await
}

/// The node as it is now. The engine reads identities from the store: it may be a moment behind.
async fn shown(master: &Master, node: NodeName) -> Result<Json<NodeView>, Refused> {
    let mut tries = 0;
    loop {
        match master.engine.node(node.clone()).await {
            Err(engine::Error::NotFound { .. }) if tries < 200 => tries += 1,
            answer => return Ok(Json(answer?)),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A body that may be left out.
fn optional<T: Default + serde::de::DeserializeOwned>(body: &Bytes) -> Result<T, Refused> {
    if body.is_empty() {
        return Ok(T::default());
    }
    let read = serde_json::from_slice(body);
    read.map_err(|error| Refused::invalid(format!("the body is not what is taken here: {error}")))
}
