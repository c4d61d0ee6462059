//! `pkgtool deactivate`: packages out of the software set.

use clap::Args;
use model::change::{Action, PackageRef};

use super::change::{ChangeArgs, actions, carry_out};
use crate::node::Address;
use crate::outcome::{CommandError, Outcome};
use crate::show::Show;

/// Arguments of `deactivate`.
#[derive(Debug, Args)]
pub struct DeactivateArgs {
    /// Packages, all in one change
    #[arg(required = true, value_name = "NAME[=VERSION]")]
    packages: Vec<PackageRef>,
    /// How to go about it.
    #[command(flatten)]
    change: ChangeArgs,
}

/// Runs it.
pub fn run(
    args: &DeactivateArgs,
    node: &Address,
    show: &mut Show,
) -> Result<Outcome, CommandError> {
    carry_out(
        actions(&args.packages, Action::Deactivate),
        &args.change,
        node,
        show,
    )
}
