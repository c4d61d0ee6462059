//! `pkgtool sandbox-init`: the inner init of a sandbox; hidden, started by `sandbox` only.

use std::ffi::OsString;

use clap::Args;

use crate::outcome::{CommandError, Outcome};
use crate::sandbox::init;
use crate::show::Show;

/// Arguments of `sandbox-init`.
#[derive(Debug, Args)]
pub struct SandboxInitArgs {
    /// What to make
    plan: String,
    /// What to run in it
    #[arg(last = true)]
    command: Vec<OsString>,
}

/// Runs it.
pub fn run(args: &SandboxInitArgs, show: &mut Show) -> Result<Outcome, CommandError> {
    let plan = init::parse_plan(&args.plan)?;
    init::run(&plan, &args.command, show)
}
