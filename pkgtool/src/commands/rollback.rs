//! `pkgtool rollback`: to an earlier generation, or out of a trial.

use clap::Args;
use model::Generation;
use model::change::StatusReport;

use super::change::{ChangeArgs, carry_out_request};
use crate::node::Address;
use crate::outcome::{CommandError, Outcome};
use crate::show::Show;

/// Arguments of `rollback`.
#[derive(Debug, Args)]
pub struct RollbackArgs {
    /// The generation to go to; without it, out of a trial, or to what ran before the last change
    #[arg(value_name = "GENERATION")]
    generation: Option<u64>,
    /// How to go about it.
    #[command(flatten)]
    change: ChangeArgs,
}

/// Runs it.
pub fn run(args: &RollbackArgs, node: &Address, show: &mut Show) -> Result<Outcome, CommandError> {
    let to = match args.generation {
        Some(number) => Generation(number),
        None => way_back(node)?,
    };
    let mut request = args.change.request(Vec::new());
    request.to = Some(to);
    carry_out_request(&request, &args.change, node, show)
}

fn way_back(node: &Address) -> Result<Generation, CommandError> {
    let status: StatusReport = node
        .connect()?
        .ask(async |installd| installd.status().await)?;
    status.way_back.ok_or_else(|| {
        CommandError::failed("there is nothing to go back to")
            .hint("pkgtool status lists the generations that are kept: pkgtool rollback N")
    })
}
