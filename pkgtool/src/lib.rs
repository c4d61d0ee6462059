//! Changeover's command: makes packages, speaks with the node's daemons over the bus and with a
//! fleet's master over HTTPS.
//!
//! ```text
//! main ─► args (clap only) ─► commands/* (one a file) ─► build · node · fleet · sandbox ─► resolve ─► model
//!                                  └────────► show (the only printer), outcome (exit codes)
//! ```
//!
//! A command is `XArgs` and `run(&XArgs, …, &mut Show) -> Result<Outcome, CommandError>`. Only
//! [`show`] writes to the terminal; only [`outcome`] knows exit codes. Nothing about a change is
//! decided here: plans come from installd and are shown as they are.

pub mod args;
pub mod build;
pub mod commands;
pub mod drift;
pub mod fleet;
pub mod node;
pub mod outcome;
pub mod render;
pub mod sandbox;
pub mod show;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use crate::args::Cli;
use crate::outcome::{Kind, Outcome};
use crate::show::Show;

/// Runs one command line, the program's name first; all output and the exit code included.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let mut show = Show::new(&cli.global);
    let result = commands::run(&cli, &mut show);
    let code = match result {
        Ok(Outcome::Done) => 0,
        Ok(Outcome::Ended(kind)) => kind.code(),
        Ok(Outcome::Status(code)) => code,
        Err(error) => {
            show.error(&error);
            error.kind.code()
        }
    };
    ExitCode::from(code)
}

/// Help and version are no errors; everything else that clap says is.
fn usage(error: &clap::Error) -> ExitCode {
    // A closed pipe while printing help changes nothing.
    drop(error.print());
    if error.use_stderr() {
        ExitCode::from(Kind::Usage.code())
    } else {
        ExitCode::SUCCESS
    }
}
