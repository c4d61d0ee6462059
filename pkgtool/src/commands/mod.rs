//! The commands, one a file.

pub mod build;
pub mod import_deb;
pub mod inspect;

use clap::Subcommand;

use crate::args::Cli;
use crate::outcome::{CommandError, Outcome};
use crate::show::Show;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build a package from a package.toml
    Build(build::BuildArgs),
    /// Show what is in a package, or what differs between two
    Inspect(inspect::InspectArgs),
    /// Make packages of Debian packages
    ImportDeb(import_deb::ImportDebArgs),
}

/// Runs the command.
pub fn run(cli: &Cli, show: &mut Show) -> Result<Outcome, CommandError> {
    match &cli.command {
        Command::Build(args) => build::run(args, show),
        Command::Inspect(args) => inspect::run(args, show),
        Command::ImportDeb(args) => import_deb::run(args, show),
    }
}
