//! `pkgtool history`: changes of the past, one of them in full, or as a picture.

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use model::bus;
use model::change::{self, ChangeRecord, HistoryEntry, HistoryFilter};
use model::{PackageName, ProcessName};

use crate::node::{Address, Node};
use crate::outcome::{CommandError, Outcome};
use crate::render::{self, record::FIGURES};
use crate::show::Show;

/// Arguments of `history`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, after_long_help = FIGURES)]
pub struct HistoryArgs {
    /// Show this change in full, as `history show` does
    #[arg(value_name = "CHANGE", conflicts_with_all = ["process", "package", "outcome"])]
    change: Option<u64>,
    /// How many, the newest first; 0: all
    #[arg(short = 'n', long, default_value_t = 20, value_name = "N")]
    lines: u32,
    /// Only changes that did something to this process, or asked it
    #[arg(long, value_name = "NAME")]
    process: Option<ProcessName>,
    /// Only changes in which this package came, went or took another version
    #[arg(long, value_name = "NAME")]
    package: Option<PackageName>,
    /// Only changes that ended so
    #[arg(
        long,
        value_parser = PossibleValuesParser::new(["done", "rolled-back", "vetoed", "failed"])
    )]
    outcome: Option<String>,
    /// One change
    #[command(subcommand)]
    one: Option<OneChange>,
}

/// What to show of one change.
#[derive(Debug, Subcommand)]
enum OneChange {
    /// Show a change in full: plan, votes, phases, each process, the journal
    #[command(after_long_help = FIGURES)]
    Show {
        /// Its number, as `history` lists it; the newest where absent
        change: Option<u64>,
    },
    /// Draw a change as an SVG picture: a bar for each process, as systemd-analyze plot does
    Plot {
        /// Its number, as `history` lists it; the newest where absent
        change: Option<u64>,
    },
}

/// Runs it.
pub fn run(args: &HistoryArgs, node: &Address, show: &mut Show) -> Result<Outcome, CommandError> {
    let change = match (&args.one, args.change) {
        (Some(OneChange::Plot { change }), _) => {
            let record = ask(node, *change)?;
            show.answer(&record, |_| render::timeline::draw(&record))?;
            return Ok(Outcome::Done);
        }
        (Some(OneChange::Show { change }), _) => *change,
        (None, Some(change)) => Some(change),
        (None, None) => {
            list(args, node, show)?;
            return Ok(Outcome::Done);
        }
    };
    let record = ask(node, change)?;
    show.answer(&record, |look| render::record::record(&record, look))?;
    Ok(Outcome::Done)
}

/// This change, or the newest.
fn ask(node: &Address, change: Option<u64>) -> Result<ChangeRecord, CommandError> {
    let node = node.connect()?;
    let change = match change {
        Some(change) => change,
        None => newest(&node)?,
    };
    node.ask(async |installd| installd.change(change).await)
}

fn newest(node: &Node) -> Result<u64, CommandError> {
    let filter = bus::encode(&HistoryFilter {
        limit: 1,
        ..HistoryFilter::default()
    })?;
    let found: Vec<HistoryEntry> = node.ask(async |installd| installd.history(&filter).await)?;
    let newest = found.first().map(|one| one.change.0);
    newest.ok_or_else(|| CommandError::failed("nothing has been changed on this node yet"))
}

fn list(args: &HistoryArgs, node: &Address, show: &mut Show) -> Result<(), CommandError> {
    let outcome = args.outcome.as_deref().map(|word| match word {
        "rolled-back" => change::Outcome::RolledBack,
        "vetoed" => change::Outcome::Vetoed,
        "failed" => change::Outcome::Failed,
        _ => change::Outcome::Done,
    });
    let filter = HistoryFilter {
        limit: args.lines,
        process: args.process.clone(),
        package: args.package.clone(),
        outcome,
    };
    let picks = filter.process.is_some() || filter.package.is_some() || outcome.is_some();
    let filter = bus::encode(&filter)?;
    let answer: Vec<HistoryEntry> = node
        .connect()?
        .ask(async |installd| installd.history(&filter).await)?;
    show.answer(&answer, |look| {
        if answer.is_empty() && picks {
            format!("{}\n", look.faint("no change was like that"))
        } else {
            render::history::history(&answer, look)
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::args::Cli;

    #[test]
    fn a_number_means_one_change_and_filters_mean_the_list() {
        let takes = |line: &str| Cli::try_parse_from(line.split(' ')).is_ok();
        for line in [
            "pkgtool history",
            "pkgtool history 7",
            "pkgtool history show",
            "pkgtool history show 7",
            "pkgtool history plot 7",
            "pkgtool history show 7 --json",
            "pkgtool history -n 0 --process nginx --package libssl3 --outcome rolled-back",
        ] {
            assert!(takes(line), "{line}");
        }
        for line in [
            "pkgtool history show seven",
            "pkgtool history seven",
            "pkgtool history 7 --process nginx",
            "pkgtool history --process nginx show 7",
            "pkgtool history --outcome good",
        ] {
            assert!(!takes(line), "{line}");
        }
    }
}
