//! `pkgtool logs`: what processes wrote.

use std::time::Duration;

use clap::Args;
use model::ProcessName;

use crate::node::{Address, Node};
use crate::outcome::{CommandError, Outcome};
use crate::show::Show;

/// How often a followed log is looked at.
const PAUSE: Duration = Duration::from_millis(250);
/// Lines that are looked at when a log is followed; more in one pause are not seen.
const WINDOW: u32 = 2_000;

/// Arguments of `logs`.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// Processes
    #[arg(required = true, value_name = "PROCESS")]
    processes: Vec<ProcessName>,
    /// The last N lines of each
    #[arg(short = 'n', long, default_value_t = 50, value_name = "N")]
    lines: u32,
    /// Go on with new lines until interrupted
    #[arg(short, long)]
    follow: bool,
}

/// Runs it.
pub fn run(args: &LogsArgs, node: &Address, show: &mut Show) -> Result<Outcome, CommandError> {
    let node = node.connect()?;
    let several = args.processes.len() > 1;
    let mut seen = Vec::new();
    for process in &args.processes {
        let lines = if args.follow {
            WINDOW.max(args.lines)
        } else {
            args.lines
        };
        let all = fetch(&node, process, lines)?;
        if all.is_empty() {
            show.note(format_args!("{process} has written nothing"));
        }
        let wanted = usize::try_from(args.lines).unwrap_or(usize::MAX);
        let last = all
            .get(all.len().saturating_sub(wanted)..)
            .unwrap_or_default();
        print(process, last, several, show)?;
        seen.push(all);
    }
    if args.follow {
        follow(&node, &args.processes, seen, show)
    } else {
        Ok(Outcome::Done)
    }
}

/// Until interrupted, or nobody reads any more.
fn follow(
    node: &Node,
    processes: &[ProcessName],
    mut seen: Vec<Vec<String>>,
    show: &mut Show,
) -> Result<Outcome, CommandError> {
    loop {
        node.pause(PAUSE);
        for (process, seen) in processes.iter().zip(&mut seen) {
            let all = fetch(node, process, WINDOW)?;
            print(process, new_lines(seen, &all), processes.len() > 1, show)?;
            *seen = all;
        }
    }
}

fn fetch(node: &Node, process: &ProcessName, lines: u32) -> Result<Vec<String>, CommandError> {
    node.sysmgrd(async |sysmgrd| sysmgrd.logs(process.as_str(), lines).await)
}

fn print(
    process: &ProcessName,
    lines: &[String],
    several: bool,
    show: &mut Show,
) -> Result<(), CommandError> {
    for line in lines {
        if show.json() {
            show.document(&serde_json::json!({ "process": process, "line": line }))?;
        } else if several {
            let name = show.look().faint(format_args!("{process} |"));
            show.line(format_args!("{name} {line}"))?;
        } else {
            show.line(line)?;
        }
    }
    Ok(())
}

/// The lines of `all` after those that were seen: both are ends of one growing log.
fn new_lines<'a>(seen: &[String], all: &'a [String]) -> &'a [String] {
    let overlap = (0..=seen.len().min(all.len()))
        .rev()
        .find(|length| seen.get(seen.len() - length..) == all.get(..*length));
    all.get(overlap.unwrap_or_default()..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn following_shows_each_line_once() {
        let lines = |text: &str| {
            text.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let cases = [
            ("a b c", "a b c", ""),
            ("a b c", "b c d", "d"),
            ("", "a", "a"),
            ("a a", "a a a", "a"),
            ("a b", "c d", "c d"),
            ("a", "", ""),
        ];
        for (seen, all, new) in cases {
            assert_eq!(
                new_lines(&lines(seen), &lines(all)),
                lines(new),
                "{seen} / {all}"
            );
        }
    }
}
