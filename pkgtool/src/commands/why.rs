//! `pkgtool why`: why a process, path or package is as it is.

use clap::Args;
use model::change::WhyReport;

use crate::node::Address;
use crate::outcome::{CommandError, Outcome};
use crate::render;
use crate::show::Show;

/// Arguments of `why`.
#[derive(Debug, Args)]
pub struct WhyArgs {
    /// A process, a path, the file name or soname of a library, or a package
    #[arg(value_name = "PROCESS|PATH|PACKAGE")]
    what: String,
}

/// Runs it.
pub fn run(args: &WhyArgs, node: &Address, show: &mut Show) -> Result<Outcome, CommandError> {
    let answer: WhyReport = node
        .connect()?
        .ask(async |installd| installd.why(&args.what).await)?;
    show.answer(&answer, |look| render::why::why(&answer, look))?;
    Ok(Outcome::Done)
}
