//! `pkgtool completions`: for shells; hidden, used when packages are made.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::args::Cli;
use crate::outcome::{CommandError, Outcome};
use crate::show::Show;

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Runs it.
pub fn run(args: &CompletionsArgs, show: &mut Show) -> Result<Outcome, CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "pkgtool", &mut script);
    show.text(&String::from_utf8_lossy(&script))?;
    Ok(Outcome::Done)
}
