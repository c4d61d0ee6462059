//! Maintenance windows: `HH:MM-HH:MM` in the node's own time.

use std::str::FromStr;

const DAY: u64 = 24 * 60;
const MINUTE_MS: u64 = 60_000;

/// A time of the day in which a change may begin; its end may lie after midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Minute of the day.
    from: u64,
    /// Minute of the day, not in it.
    until: u64,
}

/// Why a text is not a window.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a maintenance window: HH:MM-HH:MM, with two different times")]
pub struct WindowError(pub String);

impl FromStr for Window {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Self, WindowError> {
        let refuse = || WindowError(text.chars().take(40).collect());
        let (from, until) = text.split_once('-').ok_or_else(refuse)?;
        let from = minute_of_day(from).ok_or_else(refuse)?;
        let until = minute_of_day(until).ok_or_else(refuse)?;
        if from == until {
            return Err(refuse());
        }
        Ok(Self { from, until })
    }
}

fn minute_of_day(text: &str) -> Option<u64> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |text: &str, below: u64| {
        let digits = text.len() == 2 && text.bytes().all(|c| c.is_ascii_digit());
        let number = text.parse::<u64>().ok().filter(|_| digits)?;
        (number < below).then_some(number)
    };
    Some(number(hours, 24)? * 60 + number(minutes, 60)?)
}

impl Window {
    /// When it opens next for a node whose time is so many minutes east of UTC; `None`: it is open.
    pub fn opens_ms(&self, now_ms: u64, utc_offset: i32) -> Option<u64> {
        let minute = now_ms / MINUTE_MS;
        let local = (i128::from(minute) + i128::from(utc_offset)).rem_euclid(i128::from(DAY));
        let local = u64::try_from(local).unwrap_or(0);
        let length = (self.until + DAY - self.from) % DAY;
        if (local + DAY - self.from) % DAY < length {
            return None;
        }
        let wait = (self.from + DAY - local) % DAY;
        Some((minute + wait) * MINUTE_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: u64, minutes: u64) -> u64 {
        (20_000 * DAY + hours * 60 + minutes) * MINUTE_MS
    }

    #[test]
    fn a_window_is_read_or_refused() {
        for bad in [
            "",
            "1:00-2:00",
            "24:00-01:00",
            "10:60-11:00",
            "10:00",
            "10:00-10:00",
            "+1:00-02:00",
        ] {
            bad.parse::<Window>().unwrap_err();
        }
        "22:30-04:15".parse::<Window>().unwrap();
    }

    #[test]
    fn it_is_open_from_its_beginning_to_its_end_in_the_nodes_own_time() {
        let night: Window = "22:00-04:00".parse().unwrap();
        assert_eq!(night.opens_ms(at(22, 0), 0), None);
        assert_eq!(night.opens_ms(at(3, 59), 0), None);
        assert_eq!(night.opens_ms(at(4, 0), 0), Some(at(22, 0)));
        assert_eq!(night.opens_ms(at(21, 59) + 59_999, 0), Some(at(22, 0)));
        // Two hours east it is midnight already; five hours west it is afternoon.
        assert_eq!(night.opens_ms(at(22, 0), 120), None);
        assert_eq!(night.opens_ms(at(22, 0), -300), Some(at(27, 0)));
        let day: Window = "09:00-17:00".parse().unwrap();
        assert_eq!(day.opens_ms(at(18, 0), 0), Some(at(33, 0)));
        assert_eq!(day.opens_ms(at(18, 0), -120), None);
    }
}
