//! `pkgtool import-deb`.

use clap::Args;

use crate::outcome::{CommandError, Outcome};
use crate::show::Show;

/// Arguments of `import-deb`.
#[derive(Debug, Args)]
pub struct ImportDebArgs {}

/// Runs it.
pub fn run(_args: &ImportDebArgs, _show: &mut Show) -> Result<Outcome, CommandError> {
    Err(CommandError::failed(
        "import-deb: this version of pkgtool does not have it yet",
    ))
}
