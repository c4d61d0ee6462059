//! `pkgtool build`.

use clap::Args;

use crate::outcome::{CommandError, Outcome};
use crate::show::Show;

/// Arguments of `build`.
#[derive(Debug, Args)]
pub struct BuildArgs {}

/// Runs it.
pub fn run(_args: &BuildArgs, _show: &mut Show) -> Result<Outcome, CommandError> {
    Err(CommandError::failed(
        "build: this version of pkgtool does not have it yet",
    ))
}
