//! The only place that reads a clock.

use std::time::Instant;

use crate::process::ballot::Now;

/// Now, for measuring.
pub fn now() -> Instant {
    Instant::now()
}

/// Now, for people: RFC 3339 in UTC, to the second.
pub fn stamp() -> String {
    format!("{:.0}", jiff::Timestamp::now())
}

/// Now, for people: milliseconds since 1970 in UTC.
pub fn wall_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// Now, by both clocks.
pub fn both() -> Now {
    Now {
        at: now(),
        wall_ms: wall_ms(),
    }
}

/// When that was, for people.
pub fn wall_of(at: Instant) -> i64 {
    let ago = i64::try_from(now().saturating_duration_since(at).as_micros());
    (jiff::Timestamp::now().as_microsecond() - ago.unwrap_or_default()).div_euclid(1_000)
}

/// Whole milliseconds from `earlier` to `later`; 0 where either is missing or they are the wrong way round.
pub fn millis(earlier: Option<Instant>, later: Option<Instant>) -> u64 {
    let (Some(earlier), Some(later)) = (earlier, later) else {
        return 0;
    };
    u64::try_from(later.saturating_duration_since(earlier).as_millis()).unwrap_or(u64::MAX)
}
