//! `pkgtool exec`: a command in the view of the newest generation.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::Context;
use clap::Args;
use nix::sched::{CloneFlags, setns, unshare};

use crate::node::Address;
use crate::outcome::{CommandError, Kind, Outcome};
use crate::sandbox::init::could_not_run;
use crate::show::Show;

/// Exit status of a command that is not there, as shells have it.
const NOT_FOUND: u8 = 127;

/// Arguments of `exec`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
The command sees /usr as the node's processes see it, and everything else as the machine has it.
The exit status is the command's; 127: not found in the view, 126: cannot be run.")]
pub struct ExecArgs {
    /// The command and its arguments
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "CMD"
    )]
    command: Vec<OsString>,
}

/// Runs it; comes back only when it could not.
pub fn run(args: &ExecArgs, node: &Address, show: &mut Show) -> Result<Outcome, CommandError> {
    let Some((program, arguments)) = args.command.split_first() else {
        return Err(CommandError::usage("no command to run"));
    };
    let view = node.connect()?.open_view()?;
    let here = std::env::current_dir();
    // A file system state of our own: else other threads of ours would forbid entering.
    unshare(CloneFlags::CLONE_FS).context("could not enter the view")?;
    setns(view, CloneFlags::CLONE_NEWNS).map_err(|error| {
        let error = anyhow::Error::new(error).context("could not enter the view");
        CommandError::new(Kind::NotAllowed, error).hint("run it as root")
    })?;
    // Entering left us at the view's root; the same directory may not be there.
    if !here.is_ok_and(|here| std::env::set_current_dir(here).is_ok()) {
        std::env::set_current_dir("/").context("the view has no root directory")?;
    }
    let error = Command::new(program).args(arguments).exec();
    let (status, error) = could_not_run(program, &error);
    let error = if status == NOT_FOUND {
        error.hint("a view has no commands but those of the active packages: pkgtool list")
    } else {
        error
    };
    show.error(&error);
    Ok(Outcome::Status(status))
}
