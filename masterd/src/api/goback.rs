//! Can these go back to that version now?

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use model::wire::{GoBack, GoBackQuestion};

use super::{Access, Master, Refused, Route, Taken};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::post(
            "/v1/goback",
            Access::Read,
            "Whether nodes can go back to a version now; nobody is asked",
            go_back,
        )
        .takes::<GoBackQuestion>()
        .gives::<GoBack>(),
    ]
}

async fn go_back(
    State(master): State<Arc<Master>>,
    Taken(question): Taken<GoBackQuestion>,
) -> Result<Json<GoBack>, Refused> {
    Ok(Json(master.engine.go_back(question).await?))
}
