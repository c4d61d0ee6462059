//! `pkgtool restart`: processes stopped and started, in order.

use clap::Args;
use model::ProcessName;
use model::transition::TransitionReport;

use crate::node::{self, Address};
use crate::outcome::{CommandError, Kind, Outcome};
use crate::render::change;
use crate::show::Show;

/// Arguments of `restart`.
#[derive(Debug, Args)]
pub struct RestartArgs {
    /// Processes
    #[arg(required = true, value_name = "PROCESS")]
    processes: Vec<ProcessName>,
}

/// Runs it.
pub fn run(args: &RestartArgs, node: &Address, show: &mut Show) -> Result<Outcome, CommandError> {
    let names = args.processes.iter().map(ToString::to_string).collect();
    let node = node.connect()?;
    let mut line = show.progress();
    line.say("restarting");
    let answer = node.sysmgrd(async |sysmgrd| sysmgrd.restart(names).await);
    line.clear();
    let report: TransitionReport = node::decode(&answer?)?;
    let text = |look| change::transition(&report, look);
    if report.failed.is_empty() {
        show.told(&report, text)?;
        Ok(Outcome::Done)
    } else {
        show.answer(&report, text)?;
        Ok(Outcome::Ended(Kind::Failed))
    }
}
