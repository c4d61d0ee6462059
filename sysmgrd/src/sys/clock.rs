//! The only place that reads a clock.

use std::time::Instant;

/// Now, for measuring.
pub fn now() -> Instant {
    Instant::now()
}

/// Now, for people: RFC 3339 in UTC, to the second.
pub fn stamp() -> String {
    format!("{:.0}", jiff::Timestamp::now())
}

/// Whole milliseconds from `earlier` to `later`; 0 where either is missing or they are the wrong way round.
pub fn millis(earlier: Option<Instant>, later: Option<Instant>) -> u64 {
    let (Some(earlier), Some(later)) = (earlier, later) else {
        return 0;
    };
    u64::try_from(later.saturating_duration_since(earlier).as_millis()).unwrap_or(u64::MAX)
}
