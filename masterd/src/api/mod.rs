//! The ways in: one port, HTTPS.
//!
//! ```text
//! sys::listen ──(Connection: address, certificate)──► identify ──► gate ──► handler ──► engine, trust
//!                                                     Caller       table: who may what
//! ```
//!
//! Handlers decode, ask, encode; they have no opinion. Whoever they are called for has been let
//! through by the table, but for what depends on the thing asked for (an operator's classes).

pub mod auth;
mod classes;
mod enrol;
mod errors;
mod events;
mod extract;
mod goback;
mod images;
mod link;
pub mod metrics;
mod nodes;
mod objects;
mod openapi;
mod packages;
mod people;
pub mod rates;
mod system;
pub mod table;
mod updates;

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};

pub use auth::{Caller, Connection, Why};
pub use errors::Refused;
pub use extract::{Named, Taken};
pub use table::{Access, Route};

use crate::audit::Audit;
use crate::engine;
use crate::store::Store;
use crate::trust::Authority;
use metrics::Metrics;
use rates::Rates;

/// What the handlers work with.
#[derive(Debug)]
pub struct Master {
    /// What must not be forgotten.
    pub store: Store,
    /// Who did what.
    pub audit: Audit,
    /// Who is who.
    pub authority: Authority,
    /// What the fleet is doing.
    pub engine: engine::Handle,
    /// Files that everybody may have: `objects/`, `lists/`.
    pub public: PathBuf,
    /// The store's file, for backups.
    pub store_file: PathBuf,
    /// What is counted.
    pub metrics: Metrics,
    /// How often somebody may ask.
    pub rates: Rates,
}

/// Everything that can be asked for.
pub fn router(master: Arc<Master>) -> Router {
    let mut router = Router::new();
    for route in table::all() {
        let gate = auth::Gate {
            master: Arc::clone(&master),
            path: route.path,
            access: route.access,
            seconds: route.seconds,
        };
        let handler = route.handler.layer(DefaultBodyLimit::max(route.body));
        let handler = handler.layer(from_fn_with_state(gate, auth::gate));
        router = router.route(route.path, handler);
    }
    router
        .layer(from_fn_with_state(Arc::clone(&master), auth::identify))
        .fallback(errors::no_such_path)
        .method_not_allowed_fallback(errors::no_such_path)
        .layer(from_fn(errors::readable))
        .with_state(master)
}
