//! `pkgtool man`: manual pages; hidden, used when packages are made.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, CommandFactory};

use crate::args::Cli;
use crate::outcome::{CommandError, Outcome};
use crate::show::Show;

/// Arguments of `man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Where to write them
    dir: PathBuf,
}

/// Runs it.
pub fn run(args: &ManArgs, show: &mut Show) -> Result<Outcome, CommandError> {
    fs_err::create_dir_all(&args.dir)?;
    let what = || format!("could not write manual pages into {}", args.dir.display());
    clap_mangen::generate_to(Cli::command(), &args.dir).with_context(what)?;
    show.note(format_args!("manual pages are in {}", args.dir.display()));
    Ok(Outcome::Done)
}
