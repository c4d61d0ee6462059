//! `pkgtool history`: changes of the past.

use clap::Args;
use model::bus;
use model::change::{HistoryEntry, HistoryFilter};

use crate::node::Address;
use crate::outcome::{CommandError, Outcome};
use crate::render;
use crate::show::Show;

/// Arguments of `history`.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// How many, the newest first
    #[arg(short = 'n', long, default_value_t = 20, value_name = "N")]
    lines: u32,
}

/// Runs it.
pub fn run(args: &HistoryArgs, node: &Address, show: &mut Show) -> Result<Outcome, CommandError> {
    let filter = bus::encode(&HistoryFilter {
        limit: args.lines,
        ..HistoryFilter::default()
    })?;
    let answer: Vec<HistoryEntry> = node
        .connect()?
        .ask(async |installd| installd.history(&filter).await)?;
    show.answer(&answer, |look| render::history::history(&answer, look))?;
    Ok(Outcome::Done)
}
