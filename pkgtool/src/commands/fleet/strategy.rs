//! How an update is to go.

use std::time::Duration;

use clap::{Args, ValueEnum};
use model::Span;
use model::wire::{Absent, Strategy, Waves};

use super::assign::StoreText;
use crate::outcome::CommandError;

/// Options that say how an update is to go.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "How it goes")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent switches of a command line"
)]
pub struct StrategyArgs {
    /// How long nodes have to vote [default: 1min]
    #[arg(long, value_name = "SPAN")]
    vote_timeout: Option<Span>,
    /// What to do about nodes that are away [default: hold]
    #[arg(long, value_enum, value_name = "WHAT")]
    absent: Option<AbsentArg>,
    /// So many nodes first
    #[arg(long, value_name = "NODES")]
    canary: Option<u32>,
    /// Then up to these percentages of all nodes, by a shuffle: 10,50,100
    #[arg(long, value_name = "PERCENT,…", value_delimiter = ',', value_parser = clap::value_parser!(u8).range(1..=100))]
    waves: Vec<u8>,
    /// One location after another
    #[arg(long, conflicts_with_all = ["canary", "waves"])]
    by_location: bool,
    /// How long to wait between waves
    #[arg(long, value_name = "SPAN")]
    soak: Option<Span>,
    /// Stop when more nodes than this have failed [default: 0]
    #[arg(long, value_name = "NODES")]
    max_failed: Option<u32>,
    /// Stop when more than this many of a hundred have failed
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    max_failed_percent: Option<u8>,
    /// Nodes that must have ended before a percentage counts [default: 5]
    #[arg(long, value_name = "NODES")]
    sample: Option<u32>,
    /// When it stops, take back what was done
    #[arg(long)]
    take_back: bool,
    /// All nodes at one moment: all are ready before any switches
    #[arg(long)]
    together: bool,
    /// How long a ready node waits for the others [default: 30s]
    #[arg(long, value_name = "SPAN")]
    go_timeout: Option<Span>,
    /// A node that is not back in contact by then goes back by itself [default: 1min]
    #[arg(long, value_name = "SPAN")]
    contact_timeout: Option<Span>,
    /// Nodes run it as a trial until `fleet commit`
    #[arg(long)]
    trial: bool,
    /// With --trial: a program of the new set that is run once; its exit status decides
    #[arg(long, requires = "trial", value_name = "PROGRAM")]
    check: Option<String>,
    /// Nodes fetch before they vote
    #[arg(long)]
    prefetch: bool,
    /// Only between these times, in each node's own time: 02:00-04:30
    #[arg(long, value_name = "HH:MM-HH:MM", value_parser = window)]
    window: Option<String>,
    /// Another operator has to agree first
    #[arg(long)]
    second_person: bool,
    /// Go on though a process's state cannot be taken back
    #[arg(long)]
    one_way: bool,
    /// What nodes keep of it: keep, or memory (loaded at each boot) [default: as assigned]
    #[arg(long, value_name = "WHAT")]
    store: Option<StoreText>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum AbsentArg {
    /// Wait for them until the votes are due; then somebody decides.
    Hold,
    /// Leave them out; they are asked when they return.
    Skip,
    /// Do nothing.
    Abort,
}

impl StrategyArgs {
    /// The strategy that they mean; what was not said is as the master has it.
    pub fn strategy(&self) -> Result<Strategy, CommandError> {
        let default = Strategy::default();
        let span = |given: Option<Span>, else_ms| given.map_or(else_ms, millis);
        let failed = (self.max_failed, self.max_failed_percent);
        Ok(Strategy {
            vote_timeout_ms: span(self.vote_timeout, default.vote_timeout_ms),
            absent: self.absent.map_or(default.absent, AbsentArg::word),
            waves: self.waves()?,
            soak_ms: span(self.soak, default.soak_ms),
            // A percentage alone is not to be undone by the default count.
            most_failed: match failed {
                (None, Some(_)) => None,
                (None, None) => default.most_failed,
                (count, _) => count,
            },
            most_failed_percent: self.max_failed_percent,
            sample: self.sample.unwrap_or(default.sample),
            take_back: self.take_back,
            together: self.together,
            go_timeout_ms: span(self.go_timeout, default.go_timeout_ms),
            contact_timeout_ms: span(self.contact_timeout, default.contact_timeout_ms),
            trial: self.trial,
            check: self
                .check
                .iter()
                .flat_map(|line| line.split_whitespace().map(str::to_owned))
                .collect(),
            prefetch: self.prefetch,
            window: self.window.clone(),
            second_person: self.second_person,
            one_way: self.one_way,
            store: self.store.map(StoreText::policy),
        })
    }

    fn waves(&self) -> Result<Waves, CommandError> {
        if self.by_location {
            return Ok(Waves::Locations);
        }
        if self.canary.is_none() && self.waves.is_empty() {
            return Ok(Waves::One);
        }
        if !self.waves.is_sorted_by(|a, b| a < b) {
            let words = "--waves counts up, each number with those before: 10,50,100";
            return Err(CommandError::usage(words));
        }
        let mut steps = self.waves.clone();
        if steps.last() != Some(&100) {
            steps.push(100);
        }
        Ok(Waves::Percent {
            canary: self.canary.unwrap_or(0),
            steps,
        })
    }
}

impl AbsentArg {
    fn word(self) -> Absent {
        match self {
            Self::Hold => Absent::Hold,
            Self::Skip => Absent::Skip,
            Self::Abort => Absent::Abort,
        }
    }
}

/// Milliseconds of a span; an endless one is as long as anybody may wait.
pub fn millis(span: Span) -> u64 {
    let limit = span.limit().unwrap_or(Duration::from_hours(24 * 365));
    u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)
}

fn window(text: &str) -> Result<String, String> {
    let time = |text: &str| {
        let (hours, minutes) = text.split_once(':')?;
        let fits = |part: &str, below: u8| {
            part.len() == 2 && part.parse::<u8>().is_ok_and(|number| number < below)
        };
        (fits(hours, 24) && fits(minutes, 60)).then_some(())
    };
    let both = text
        .split_once('-')
        .and_then(|(from, to)| time(from).and(time(to)));
    match both {
        Some(()) => Ok(text.to_owned()),
        None => Err(format!("{text:?} is not HH:MM-HH:MM")),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        strategy: StrategyArgs,
    }

    fn strategy(line: &str) -> Strategy {
        let words = std::iter::once("x").chain(line.split_whitespace());
        Line::parse_from(words).strategy.strategy().unwrap()
    }

    #[test]
    fn what_is_not_said_is_as_the_master_has_it() {
        assert_eq!(strategy(""), Strategy::default());
    }

    #[test]
    fn waves_end_with_all() {
        let waves = strategy("--canary 2 --waves 10,50").waves;
        let steps = vec![10, 50, 100];
        assert_eq!(waves, Waves::Percent { canary: 2, steps });
        let alone = strategy("--canary 1").waves;
        let steps = vec![100];
        assert_eq!(alone, Waves::Percent { canary: 1, steps });
        assert_eq!(strategy("--by-location").waves, Waves::Locations);
        let back = Line::parse_from(["x", "--waves", "50,10"]);
        assert!(back.strategy.strategy().is_err());
    }

    #[test]
    fn a_percentage_alone_is_not_undone_by_the_default_count() {
        let percent = strategy("--max-failed-percent 5");
        assert_eq!(
            (percent.most_failed, percent.most_failed_percent),
            (None, Some(5))
        );
        let both = strategy("--max-failed-percent 5 --max-failed 3");
        assert_eq!(both.most_failed, Some(3));
    }

    #[test]
    fn windows_are_times_of_day() {
        assert!(window("22:00-04:30").is_ok());
        for bad in ["22:00", "24:00-01:00", "1:00-2:00", "10:60-11:00", ""] {
            assert!(window(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn spans_are_milliseconds() {
        let spoken = strategy("--soak 5min --vote-timeout 10s --together --go-timeout 2s");
        assert_eq!(
            (spoken.soak_ms, spoken.vote_timeout_ms, spoken.go_timeout_ms),
            (300_000, 10_000, 2_000)
        );
        assert!(spoken.together);
    }
}
