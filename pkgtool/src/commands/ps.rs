//! `pkgtool ps`: the supervised processes.

use clap::Args;
use model::change::ProcessStatus;

use crate::node::{self, Address};
use crate::outcome::{CommandError, Outcome};
use crate::render::lists;
use crate::show::Show;

/// Arguments of `ps`.
#[derive(Debug, Args)]
pub struct PsArgs {}

/// Runs it.
pub fn run(_args: &PsArgs, node: &Address, show: &mut Show) -> Result<Outcome, CommandError> {
    let document = node
        .connect()?
        .sysmgrd(async |sysmgrd| sysmgrd.processes().await)?;
    let processes: Vec<ProcessStatus> = node::decode(&document)?;
    show.answer(&processes, |look| {
        lists::ps(&processes, jiff::Timestamp::now(), look)
    })?;
    Ok(Outcome::Done)
}
