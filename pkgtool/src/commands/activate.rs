//! `pkgtool activate`: packages into the software set.

use clap::Args;
use model::change::{Action, PackageRef};

use super::change::{ChangeArgs, actions, carry_out};
use crate::node::Address;
use crate::outcome::{CommandError, Outcome};
use crate::show::Show;

/// Arguments of `activate`.
#[derive(Debug, Args)]
pub struct ActivateArgs {
    /// Packages, all in one change; without a version, the newest in the store
    #[arg(required = true, value_name = "NAME[=VERSION]")]
    packages: Vec<PackageRef>,
    /// How to go about it.
    #[command(flatten)]
    change: ChangeArgs,
}

/// Runs it.
pub fn run(args: &ActivateArgs, node: &Address, show: &mut Show) -> Result<Outcome, CommandError> {
    carry_out(
        actions(&args.packages, Action::Activate),
        &args.change,
        node,
        show,
    )
}
