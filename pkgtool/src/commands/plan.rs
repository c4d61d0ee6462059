//! `pkgtool plan`: what a change would do, and why; nothing is done.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use model::Generation;
use model::change::{Action, PackageRef, Request};

use super::apply;
use super::change::{self, HowArgs, actions};
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
        /// How it would be carried out.
        #[command(flatten)]
        how: HowArgs,
    },
    /// Back to a generation that is kept
    Rollback {
        /// The generation
        #[arg(value_name = "GENERATION")]
        generation: u64,
        /// How it would be carried out.
        #[command(flatten)]
        how: HowArgs,
    },
}

/// The packages of a planned change.
#[derive(Debug, Args)]
struct PlannedPackages {
    /// Packages, all in one change
    #[arg(required = true, value_name = "NAME[=VERSION]")]
    packages: Vec<PackageRef>,
    /// How it would be carried out.
    #[command(flatten)]
    how: HowArgs,
}

/// Runs it.
pub fn run(args: &PlanArgs, node: &Address, show: &mut Show) -> Result<Outcome, CommandError> {
    let request = match &args.change {
        PlannedChange::Activate(named) => named.request(Action::Activate),
        PlannedChange::Deactivate(named) => named.request(Action::Deactivate),
        PlannedChange::Apply { file, how } => how.request(apply::read(file)?),
        PlannedChange::Rollback { generation, how } => Request {
            to: Some(Generation(*generation)),
            ..how.request(Vec::new())
        },
    };
    change::plan(&request, node, show)
}

impl PlannedPackages {
    fn request(&self, action: fn(PackageRef) -> Action) -> Request {
        self.how.request(actions(&self.packages, action))
    }
}
