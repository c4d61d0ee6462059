//! Lengths of time as systemd writes them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::NameError;

/// A length of time: `5s`, `1min 30s`, `250ms`, `90` (seconds) or `infinity`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Span {
    /// A bounded time.
    Finite(Duration),
    /// No bound.
    Infinite,
}

impl Span {
    /// A bounded number of seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self::Finite(Duration::from_secs(seconds))
    }

    /// The bound, if there is one.
    pub fn limit(self) -> Option<Duration> {
        match self {
            Self::Finite(duration) => Some(duration),
            Self::Infinite => None,
        }
    }
}

impl FromStr for Span {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text == "infinity" {
            return Ok(Self::Infinite);
        }
        if let Ok(seconds) = text.parse::<u64>() {
            return Ok(Self::seconds(seconds));
        }
        humantime::parse_duration(text)
            .map(Self::Finite)
            .map_err(|_| {
                NameError::new(
                    "length of time",
                    "like 5s, 1min 30s, 250ms or infinity",
                    text,
                )
            })
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finite(duration) => humantime::format_duration(*duration).fmt(f),
            Self::Infinite => f.write_str("infinity"),
        }
    }
}

impl TryFrom<String> for Span {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_as_systemd_writes_them() {
        let cases = [
            ("5s", 5_000),
            ("1min 30s", 90_000),
            ("250ms", 250),
            ("90", 90_000),
            ("0", 0),
        ];
        for (text, millis) in cases {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.limit(), Some(Duration::from_millis(millis)), "{text}");
            assert_eq!(span.to_string().parse::<Span>().unwrap(), span);
        }
        assert_eq!("infinity".parse::<Span>().unwrap(), Span::Infinite);
        "soon".parse::<Span>().unwrap_err();
    }
}
