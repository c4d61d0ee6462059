//! `pkgtool plan`: what a change would do, and why; nothing is done.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use model::change::{Action, PackageRef, Request};

use super::apply;
use super::change::{self, actions};
use crate::node::Address;
use crate::outcome::{CommandError, Outcome};
use crate::show::Show;

/// Arguments of `plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// The change to plan
    #[command(subcommand)]
    change: PlannedChange,
}

/// What is planned.
#[derive(Debug, Subcommand)]
enum PlannedChange {
    /// Packages into the software set
    Activate(PlannedPackages),
    /// Packages out of the software set
    Deactivate(PlannedPackages),
    /// A batch from a file
    Apply {
        /// The batch; `-` reads it from standard input
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// The packages of a planned change.
#[derive(Debug, Args)]
struct PlannedPackages {
    /// Packages, all in one change
    #[arg(required = true, value_name = "NAME[=VERSION]")]
    packages: Vec<PackageRef>,
}

/// Runs it.
pub fn run(args: &PlanArgs, node: &Address, show: &mut Show) -> Result<Outcome, CommandError> {
    let actions = match &args.change {
        PlannedChange::Activate(named) => actions(&named.packages, Action::Activate),
        PlannedChange::Deactivate(named) => actions(&named.packages, Action::Deactivate),
        PlannedChange::Apply { file } => apply::read(file)?,
    };
    change::plan(
        &Request {
            actions,
            ..Request::default()
        },
        node,
        show,
    )
}
