//! Operators, enrolment tokens, and what everybody did.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use model::wire::{
    AuditEntry, FleetName, IssuedOperator, IssuedToken, NewOperator, NewToken, OperatorView,
    Renewed, TokenView,
};
use serde::Deserialize;

use super::{Access, Caller, Master, Named, Refused, Route, Taken};
use crate::clock;

/// Lines of the audit log in one answer.
const MOST_LINES: u32 = 1000;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/v1/tokens", Access::Admin, "Enrolment tokens", tokens)
            .gives::<Vec<TokenView>>(),
        Route::post(
            "/v1/tokens",
            Access::Admin,
            "Makes an enrolment token",
            make_token,
        )
        .takes::<NewToken>()
        .gives::<IssuedToken>(),
        Route::delete(
            "/v1/tokens/{id}",
            Access::Admin,
            "An enrolment token is not good any more",
            remove_token,
        ),
        Route::get("/v1/operators", Access::Admin, "Operators", operators)
            .gives::<Vec<OperatorView>>(),
        Route::post(
            "/v1/operators",
            Access::Admin,
            "Makes an operator, or a new token for one",
            make_operator,
        )
        .takes::<NewOperator>()
        .gives::<IssuedOperator>(),
        Route::delete(
            "/v1/operators/{name}",
            Access::Admin,
            "An operator is none any more",
            remove_operator,
        ),
        Route::post(
            "/v1/operators/{name}/certificate",
            Access::Admin,
            "A certificate for an operator's key: the body is PKCS #10, PEM",
            certify,
        )
        .gives::<Renewed>(),
        Route::get("/v1/audit", Access::Read, "Who did what, and why", audit)
            .gives::<Vec<AuditEntry>>(),
    ]
}

/// Only whoever is limited to nothing may change who may what.
fn whole(caller: &Caller) -> Result<&FleetName, Refused> {
    if !caller.covers_all() {
        return Err(Refused::not_allowed(
            "an operator who is limited to classes may not change who may what",
        ));
    }
    caller.operator()
}

async fn tokens(State(master): State<Arc<Master>>) -> Result<Json<Vec<TokenView>>, Refused> {
    Ok(Json(master.authority.tokens().await?))
}

async fn make_token(
    State(master): State<Arc<Master>>,
    Extension(caller): Extension<Caller>,
    Taken(new): Taken<NewToken>,
) -> Result<Json<IssuedToken>, Refused> {
    if !caller.covers_all()
        && (new.classes.is_empty()
            || !new
                .classes
                .iter()
                .all(|class| caller.covers(std::slice::from_ref(class))))
    {
        return Err(Refused::not_allowed(
            "an operator who is limited to classes may let nodes into those only",
        )
        .hint("name the classes: --class"));
    }
    let by = caller.operator()?;
    Ok(Json(
        master.authority.make_token(new, by, clock::now()).await?,
    ))
}

async fn remove_token(
    State(master): State<Arc<Master>>,
    Extension(caller): Extension<Caller>,
    Named(id): Named<String>,
) -> Result<StatusCode, Refused> {
    master
        .authority
        .remove_token(&id, caller.operator()?)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn operators(State(master): State<Arc<Master>>) -> Json<Vec<OperatorView>> {
    Json(master.authority.operators())
}

async fn make_operator(
    State(master): State<Arc<Master>>,
    Extension(caller): Extension<Caller>,
    Taken(new): Taken<NewOperator>,
) -> Result<Json<IssuedOperator>, Refused> {
    let by = whole(&caller)?.to_string();
    let made = master
        .authority
        .make_operator(new, &by, clock::now())
        .await?;
    Ok(Json(made))
}

async fn remove_operator(
    State(master): State<Arc<Master>>,
    Extension(caller): Extension<Caller>,
    Named(name): Named<FleetName>,
) -> Result<StatusCode, Refused> {
    master
        .authority
        .remove_operator(&name, whole(&caller)?)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn certify(
    State(master): State<Arc<Master>>,
    Extension(caller): Extension<Caller>,
    Named(name): Named<FleetName>,
    body: Bytes,
) -> Result<Json<Renewed>, Refused> {
    let pem = std::str::from_utf8(&body)
        .map_err(|_| Refused::invalid("the body is not PKCS #10 in PEM"))?;
    let by = (whole(&caller)?, clock::now());
    let issued = master.authority.certify_operator(&name, pem, by).await?;
    Ok(Json(Renewed {
        certificate: issued.pem,
    }))
}

/// Which lines.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lines {
    after: Option<u64>,
    most: Option<u32>,
}

async fn audit(
    State(master): State<Arc<Master>>,
    Query(lines): Query<Lines>,
) -> Result<Json<Vec<AuditEntry>>, Refused> {
    let most = lines.most.unwrap_or(100).clamp(1, MOST_LINES);
    Ok(Json(master.audit.lines(lines.after, most).await?))
}
