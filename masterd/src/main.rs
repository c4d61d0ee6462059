//! masterd: wiring and nothing more.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};
use masterd::config::Config;
use masterd::sys::init::{Init, init};
use masterd::sys::lock::Lock;
use masterd::sys::{backup, serve};
use model::Span;
use model::report::OneLine;
use model::wire::FleetName;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::prelude::*;

/// The master of a fleet.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The configuration; /etc/changeover/masterd.toml where it is not given and there.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes a fleet: its CA, its keys, and the first operator's profile
    Init {
        /// A host name or address that nodes and people reach the master by; the first one is used
        #[arg(long = "name", value_name = "HOST", required = true)]
        names: Vec<String>,
        /// What the fleet is called
        #[arg(long, value_name = "NAME", default_value = "fleet")]
        fleet: FleetName,
        /// What the first operator is called
        #[arg(long, value_name = "NAME", default_value = "admin")]
        operator: FleetName,
        /// Where the first operator's profile is written
        #[arg(long, value_name = "FILE", default_value = "operator.toml")]
        profile: PathBuf,
        /// A composite image to begin with: its packages, nodes and assignments
        #[arg(long, value_name = "FILE")]
        image: Option<PathBuf>,
        /// Every node of the image stores its software, then all start it together
        #[arg(long, requires = "image")]
        prepare_all: bool,
        /// How long nodes have, to come and then to store it, before the missing ones are left to a person
        #[arg(
            long,
            value_name = "TIME",
            default_value = "1h",
            requires = "prepare_all"
        )]
        within: Span,
    },
    /// Serves the fleet; the same as without a command
    Serve,
    /// Writes a copy of the store and the keys, while the master works or not
    Backup {
        /// The copy: who has it has the fleet
        file: PathBuf,
    },
    /// Puts a copy in the place of the state; the master must be stopped
    Restore {
        /// Made by masterd backup
        file: PathBuf,
    },
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    log();
    let config = Config::load(arguments.config.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(run(arguments.command.unwrap_or(Command::Serve), config))
}

async fn run(command: Command, config: Config) -> anyhow::Result<()> {
    match command {
        Command::Serve => serve::serve(config).await,
        Command::Init {
            names,
            fleet,
            operator,
            profile,
            image,
            prepare_all,
            within,
        } => {
            let within = within.limit().unwrap_or(Duration::from_hours(24 * 365));
            let new = Init {
                image,
                prepare_all: prepare_all.then_some(within),
                fleet,
                names,
                operator,
                profile,
            };
            let made = init(&config, &new).await?;
            say(&format!(
                "{}: {} is ready: masterd serve; then pkgtool fleet --profile {}",
                made.master,
                new.fleet,
                new.profile.display()
            ))
        }
        Command::Backup { file } => {
            let state_dir = config.state_dir;
            backup::backup(&state_dir, &file)?;
            say(&format!(
                "{}: store and keys of {}; objects are not in it: copy {} beside it, or import again",
                file.display(),
                state_dir.display(),
                state_dir.join("public").display()
            ))
        }
        Command::Restore { file } => {
            backup::make_private(&config.state_dir)?;
            let _lock = Lock::take(&config.state_dir)?;
            let epoch = backup::restore(&config.state_dir, &file).await?;
            say(&format!(
                "restored from {}; the epoch is {epoch}",
                file.display()
            ))
        }
    }
}

fn say(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{text}").context("could not say what was done")
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
