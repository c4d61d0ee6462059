//! `pkgtool commit`: the trial that runs becomes what the next boot runs.

use clap::Args;

use super::change::finish;
use super::locally::LocallyArgs;
use crate::node::Address;
use crate::outcome::{CommandError, Outcome};
use crate::show::Show;

/// Arguments of `commit`.
#[derive(Debug, Args)]
pub struct CommitArgs {
    /// On a node that a fleet manages.
    #[command(flatten)]
    locally: LocallyArgs,
}

/// Runs it. Nothing that runs is disturbed; where no trial runs, it says so and that is well.
pub fn run(args: &CommitArgs, node: &Address, show: &mut Show) -> Result<Outcome, CommandError> {
    let node = node.connect()?;
    args.locally.hold(&node, show)?;
    let mut line = show.progress();
    let report = node.ask_showing(async |installd| installd.commit().await, &mut line)?;
    finish(&report, show)
}
