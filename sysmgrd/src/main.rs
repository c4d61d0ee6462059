//! The sysmgrd program: flags, log, configuration, and the library.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use model::report::{Chain, OneLine};
use sysmgrd::config::Config;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::prelude::*;

/// Starts, watches and stops the processes of a node, each in its view.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Read this configuration instead of /etc/changeover/sysmgrd.toml.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    start_log();
    let result = Config::load(args.config.as_deref())
        .map_err(anyhow::Error::from)
        .and_then(run);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{}", Chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn run(config: Config) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(sysmgrd::daemon::run(config));
    // Blocking work that hangs in the kernel must not keep the daemon from ending.
    runtime.shutdown_background();
    Ok(result?)
}

/// To the journal where this runs as a unit, else to standard error.
fn start_log() {
    let filter = EnvFilter::try_from_env("SYSMGRD_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let registry = tracing_subscriber::registry().with(filter);
    let journal = std::env::var_os("JOURNAL_STREAM").and_then(|_| tracing_journald::layer().ok());
    let coloured = std::io::stderr().is_terminal();
    let plain = move || OneLine {
        to: std::io::stderr(),
        coloured,
    };
    match journal {
        Some(journal) => registry.with(journal).init(),
        None => registry
            .with(
                tracing_subscriber::fmt::layer()
                    .with_ansi(coloured)
                    .with_writer(plain),
            )
            .init(),
    }
}
