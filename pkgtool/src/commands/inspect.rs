//! `pkgtool inspect`.

use clap::Args;

use crate::outcome::{CommandError, Outcome};
use crate::show::Show;

/// Arguments of `inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {}

/// Runs it.
pub fn run(_args: &InspectArgs, _show: &mut Show) -> Result<Outcome, CommandError> {
    Err(CommandError::failed(
        "inspect: this version of pkgtool does not have it yet",
    ))
}
