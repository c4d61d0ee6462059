//! installd: wiring and nothing more.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use installd::config::Config;
use installd::sys::incoming::Incoming;
use installd::{dbus, engine, follow};
use model::report::OneLine;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::prelude::*;

/// Stores packages, plans changes and carries them out.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The configuration; /etc/changeover/installd.toml where it is not given and there.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    log();
    let mut config = Config::load(arguments.config.as_deref())?;
    config.hold_boot = follow::holds_boot(&config);
    let (bus, incoming) = (config.bus.clone(), config.state_dir.join("incoming"));
    let incoming = Incoming::open(&incoming)?;
    let limit = config.timeouts.sysmgrd.limit().unwrap_or(Duration::MAX);
    let (handle, engine) = engine::start(config.clone())?;
    let follow = follow::start(&config, handle.clone())?;
    dbus::serve(bus, handle.clone(), follow).await?;
    tokio::spawn(engine::incoming(incoming, handle.clone()));
    tokio::spawn(async move {
        handle.settled(limit).await;
        dbus::ready();
    });
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        _ = engine => Err(anyhow::anyhow!("the engine ended by itself")),
    }
}

/// To the journal under systemd, else to standard error.
fn log() {
    let filter =
        || EnvFilter::try_from_env("CHANGEOVER_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let registry = tracing_subscriber::registry().with(filter());
    let journal = std::env::var_os("JOURNAL_STREAM").and_then(|_| tracing_journald::layer().ok());
    if let Some(journal) = journal {
        registry.with(journal).init();
        return;
    }
    let coloured = std::io::stderr().is_terminal();
    let plain = tracing_subscriber::fmt::layer().with_writer(move || OneLine {
        to: std::io::stderr(),
        coloured,
    });
    registry.with(plain.with_ansi(coloured)).init();
}
