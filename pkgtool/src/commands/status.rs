//! `pkgtool status`: the node in one document.

use clap::Args;
use model::change::StatusReport;

use crate::node::Address;
use crate::outcome::{CommandError, Outcome};
use crate::render;
use crate::show::Show;

/// Arguments of `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {}

/// Runs it.
pub fn run(_args: &StatusArgs, node: &Address, show: &mut Show) -> Result<Outcome, CommandError> {
    let answer: StatusReport = node
        .connect()?
        .ask(async |installd| installd.status().await)?;
    show.answer(&answer, |look| {
        render::lists::status(&answer, jiff::Timestamp::now(), look)
    })?;
    Ok(Outcome::Done)
}
