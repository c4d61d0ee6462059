//! The edge: decodes a call, asks the engine, encodes the answer. It has no opinion.

mod caller;
mod errors;
mod manager;
mod ready;

use anyhow::Context as _;
use model::bus::installd::{NAME, PATH};
use zbus::connection::Builder;

pub use manager::Manager;
pub use ready::ready;

use crate::engine::Handle;

/// Serves the engine on a bus until the connection is dropped: `system`, or an address.
pub async fn serve(bus: &str, engine: Handle) -> anyhow::Result<zbus::Connection> {
    let builder = if bus == "system" {
        Builder::system()
    } else {
        Builder::address(bus)
    };
    let connection = builder
        .serve_at(PATH, Manager::new(engine.clone()))
        .name(NAME)
        .build()
        .await
        .with_context(|| format!("could not own {NAME} on the bus {bus:?}"))?;
    manager::tell(&connection, &engine);
    Ok(connection)
}
