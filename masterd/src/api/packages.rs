//! Packages: what the master has, and what comes.

use std::io::SeekFrom;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::{Extension, Json};
use futures_util::StreamExt;
use model::PackageId;
use model::wire::{ImportedPackage, PackageView};
use tokio::io::{AsyncSeekExt, AsyncWriteExt};

use super::{Access, Caller, Master, Named, Refused, Route};
use crate::audit::Note;

/// Bytes that an envelope may have.
const MOST_ENVELOPE: u64 = 64 << 30;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get(
            "/v1/packages",
            Access::Read,
            "Every version of every package",
            packages,
        )
        .gives::<Vec<PackageView>>(),
        Route::post(
            "/v1/import",
            Access::Operate,
            "Takes an envelope: the body",
            import,
        )
        .body(usize::MAX)
        .endless()
        .gives::<Vec<ImportedPackage>>(),
        Route::delete(
            "/v1/packages/{id}",
            Access::Operate,
            "Takes a package away that no node runs, wants or may go back to",
            remove,
        ),
    ]
}

async fn packages(State(master): State<Arc<Master>>) -> Result<Json<Vec<PackageView>>, Refused> {
    Ok(Json(master.engine.packages().await?))
}

async fn remove(
    State(master): State<Arc<Master>>,
    Extension(caller): Extension<Caller>,
    Named(id): Named<PackageId>,
) -> Result<Json<()>, Refused> {
    let note = Note::new(caller.label(), "remove package").on(&id);
    master.engine.remove_package(id, note).await?;
    Ok(Json(()))
}

async fn import(
    State(master): State<Arc<Master>>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Json<Vec<ImportedPackage>>, Refused> {
    let failed = |error: std::io::Error| Refused::failed(&error);
    let file = tempfile::tempfile_in(master.engine.spool()).map_err(failed)?;
    let mut file = tokio::fs::File::from_std(file);
    let (mut body, mut size) = (body.into_data_stream(), 0_u64);
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| Refused::invalid(format!("the body ended: {error}")))?;
        size += chunk.len() as u64;
        if size > MOST_ENVELOPE {
            return Err(Refused::invalid("the envelope is too large"));
        }
        file.write_all(&chunk).await.map_err(failed)?;
    }
    file.flush().await.map_err(failed)?;
    file.seek(SeekFrom::Start(0)).await.map_err(failed)?;
    let envelope = file.into_std().await;
    let note = Note::new(caller.label(), "import");
    let imported = master.engine.import(envelope, note).await?;
    Ok(Json(imported))
}
