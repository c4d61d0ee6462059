//! `--override`: somebody takes a node out of its fleet's hands for a while, and changes it here.

use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use model::Span;
use model::wire::Membership;

use crate::node::Node;
use crate::outcome::CommandError;
use crate::show::Show;

/// Options of every command that changes what runs.
#[derive(Debug, Clone, Default, Args)]
pub struct LocallyArgs {
    /// On a node of a fleet: change it here all the same; the fleet shows why, and holds off
    #[arg(long = "override", requires = "until", value_name = "REASON")]
    reason: Option<String>,
    /// With --override: for how long (2h), or until when (2026-11-24T18:00:00Z)
    #[arg(long, requires = "reason", value_name = "TIME")]
    until: Option<Until>,
}

/// An end: some time from now, or a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    Span(Duration),
    Moment(Timestamp),
}

impl FromStr for Until {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(moment) = text.parse::<Timestamp>() {
            return Ok(Self::Moment(moment));
        }
        let span: Span = text.parse().map_err(|_| {
            format!("{text:?} is neither a time (2026-11-24T18:00:00Z) nor a span (2h)")
        })?;
        let limit = span.limit().filter(|limit| !limit.is_zero());
        limit
            .map(Self::Span)
            .ok_or_else(|| "it ends some time".to_owned())
    }
}

impl Until {
    /// Seconds since 1970.
    fn seconds(self, now: Timestamp) -> u64 {
        let seconds = match self {
            Self::Moment(moment) => moment.as_second(),
            Self::Span(span) => {
                let span = i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
                now.as_second().saturating_add(span)
            }
        };
        u64::try_from(seconds).unwrap_or(0)
    }
}

impl LocallyArgs {
    /// Takes the node out of its fleet's hands, where that was asked for.
    pub fn hold(&self, node: &Node, show: &mut Show) -> Result<(), CommandError> {
        let (Some(reason), Some(until)) = (&self.reason, self.until) else {
            return Ok(());
        };
        let until = until.seconds(Timestamp::now());
        let held: Membership = node.ask(async |installd| installd.hold(reason, until).await)?;
        if let Some(hold) = held.installed.hold {
            let until = Timestamp::from_second(i64::try_from(hold.until).unwrap_or(i64::MAX));
            let until = until.map_or_else(|_| String::new(), |until| until.to_string());
            show.note(format!(
                "the fleet changes nothing here until {until}; it shows: {}",
                hold.reason
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_a_span_or_a_moment() {
        let now: Timestamp = "2026-11-24T10:00:00Z".parse().unwrap();
        let two = "2026-11-24T12:00:00Z".parse::<Timestamp>().unwrap();
        for text in ["2h", "2026-11-24T12:00:00Z", "2026-11-24T14:00:00+02:00"] {
            let until: Until = text.parse().unwrap();
            let seconds = u64::try_from(two.as_second()).unwrap();
            assert_eq!(until.seconds(now), seconds, "{text}");
        }
        for text in ["tomorrow", "0", "infinity", ""] {
            assert!(text.parse::<Until>().is_err(), "{text}");
        }
    }
}
