//! Changeover's command.

use std::process::ExitCode;

fn main() -> ExitCode {
    pkgtool::run(std::env::args_os())
}
