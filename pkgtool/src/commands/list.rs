//! `pkgtool list`: the packages in the store.

use clap::Args;
use model::change::StoredPackage;

use crate::node::Address;
use crate::outcome::{CommandError, Outcome};
use crate::render;
use crate::show::Show;

/// Arguments of `list`.
#[derive(Debug, Args)]
pub struct ListArgs {}

/// Runs it.
pub fn run(_args: &ListArgs, node: &Address, show: &mut Show) -> Result<Outcome, CommandError> {
    let answer: Vec<StoredPackage> = node
        .connect()?
        .ask(async |installd| installd.list().await)?;
    show.answer(&answer, |look| render::lists::list(&answer, look))?;
    Ok(Outcome::Done)
}
