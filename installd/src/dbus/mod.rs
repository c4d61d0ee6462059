//! The edge: decodes a call, asks the engine, encodes the answer. It has no opinion.

mod caller;
mod errors;
mod manager;
mod objects;
mod ready;

use std::time::Duration;

use anyhow::Context as _;
use model::bus::installd::{NAME, PATH};
use zbus::Connection;
use zbus::connection::Builder;

pub use manager::Manager;
pub use ready::ready;

use crate::engine::Handle;
use crate::follow;

/// A bus that has gone is tried again this often.
const AGAIN: Duration = Duration::from_secs(1);

/// Serves the engine on a bus: `system`, or an address. Fails where the bus is not there at first;
/// one that goes away later costs outside callers only, and is tried again.
pub async fn serve(bus: String, engine: Handle, follow: follow::Handle) -> anyhow::Result<()> {
    let mut connection = connect(&bus, &engine, &follow)
        .await
        .with_context(|| format!("could not own {NAME} on the bus {bus:?}"))?;
    tokio::spawn(async move {
        loop {
            connection.closed().await;
            tracing::warn!(bus, "the bus has gone");
            connection = loop {
                tokio::time::sleep(AGAIN).await;
                if let Ok(again) = connect(&bus, &engine, &follow).await {
                    tracing::info!(bus, "on the bus again");
                    break again;
                }
            };
        }
    });
    Ok(())
}

async fn connect(bus: &str, engine: &Handle, follow: &follow::Handle) -> zbus::Result<Connection> {
    let builder = if bus == "system" {
        Builder::system()
    } else {
        Builder::address(bus)
    };
    let connection = builder
        .serve_at(PATH, zbus::fdo::ObjectManager)
        .serve_at(PATH, Manager::new(engine.clone(), follow.clone()))
        .name(NAME)
        .build()
        .await?;
    manager::tell(&connection, engine);
    Ok(connection)
}
