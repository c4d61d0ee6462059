//! The time of day and the boot that it is in.

use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::{Doing, Error};

/// Milliseconds since 1970, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub i64);

impl Time {
    /// Now.
    pub fn now() -> Self {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    /// Whole days since 1970, as `/etc/shadow` counts.
    pub fn days(self) -> i64 {
        self.0.div_euclid(86_400_000)
    }

    /// As RFC 3339 has it, in UTC: `2026-11-23T14:00:00.123Z`.
    pub fn rfc3339(self) -> String {
        let time = jiff::Timestamp::from_millisecond(self.0).unwrap_or_default();
        format!("{time:.3}")
    }
}

/// Seconds since the machine was started, asleep or not: nobody can set it, and it counts within one
/// boot alone.
pub fn uptime() -> u64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME);
    now.map_or(0, |now| u64::try_from(now.tv_sec()).unwrap_or(0))
}

/// Measures how long something takes.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// From now on.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Microseconds until now.
    pub fn micros(self) -> u64 {
        u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// The kernel's name for this boot.
pub fn boot_id(file: &Path) -> Result<String, Error> {
    let text = fs_err::read_to_string(file).doing(|| "tell which boot this is".to_owned())?;
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_rfc_3339_has_them() {
        let cases = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_001, "2000-02-29T00:00:00.001Z"),
            (1_795_444_496_000, "2026-11-23T14:34:56.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
        ];
        for (millis, text) in cases {
            assert_eq!(Time(millis).rfc3339(), text);
        }
    }
}
