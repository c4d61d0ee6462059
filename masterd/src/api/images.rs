//! Composite images, and what nobody needs any more.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use model::wire::{Collected, ImageView};

use super::{Access, Caller, Master, Named, Refused, Route};
use crate::audit::Note;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get(
            "/v1/images",
            Access::Read,
            "Every version of every composite image",
            images,
        )
        .gives::<Vec<ImageView>>(),
        Route::delete(
            "/v1/images/{id}",
            Access::Operate,
            "Takes a composite image away, NAME=VERSION, that is not in use; its packages stay",
            remove,
        ),
        Route::post(
            "/v1/collect",
            Access::Operate,
            "Frees what no package, image or update names any more",
            collect,
        )
        .gives::<Collected>(),
    ]
}

async fn images(State(master): State<Arc<Master>>) -> Result<Json<Vec<ImageView>>, Refused> {
    Ok(Json(master.engine.images().await?))
}

async fn remove(
    State(master): State<Arc<Master>>,
    Extension(caller): Extension<Caller>,
    Named(id): Named<String>,
) -> Result<Json<()>, Refused> {
    let note = Note::new(caller.label(), "remove image").on(&id);
    master.engine.remove_image(id, note).await?;
    Ok(Json(()))
}

async fn collect(
    State(master): State<Arc<Master>>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Collected>, Refused> {
    let note = Note::new(caller.label(), "collect");
    Ok(Json(master.engine.collect(note).await?))
}
