//! How often somebody may ask: buckets that fill by the second.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Buckets that are kept; beyond them full ones are forgotten, and then all.
const MOST: usize = 65_536;

/// What is limited, and for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum What {
    /// Requests to rows that are not public.
    Requests,
    /// Requests that were refused because nobody knows who asks.
    Refused,
}

/// How much, and how fast it comes back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// At once.
    pub burst: f64,
    /// In a second.
    pub per_second: f64,
}

/// Everybody's buckets.
#[derive(Debug)]
pub struct Rates {
    requests: Rate,
    refused: Rate,
    buckets: Mutex<HashMap<(What, String), Bucket>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    fn filled(self, rate: Rate, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        passed.mul_add(rate.per_second, self.left).min(rate.burst)
    }
}

impl Rates {
    /// So much of each.
    pub fn new(requests: Rate, refused: Rate) -> Self {
        Self {
            requests,
            refused,
            buckets: Mutex::default(),
        }
    }

    fn rate(&self, what: What) -> Rate {
        match what {
            What::Requests => self.requests,
            What::Refused => self.refused,
        }
    }

    /// Takes one, where there is one.
    pub fn take(&self, what: What, who: &str, now: Instant) -> bool {
        let rate = self.rate(what);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MOST {
            buckets.retain(|(what, _), bucket| {
                let rate = self.rate(*what);
                bucket.filled(rate, now) < rate.burst
            });
            if buckets.len() >= MOST {
                buckets.clear();
            }
        }
        let bucket = buckets.entry((what, who.to_owned())).or_insert(Bucket {
            left: rate.burst,
            at: now,
        });
        let left = bucket.filled(rate, now);
        let is_there = left >= 1.0;
        *bucket = Bucket {
            left: if is_there { left - 1.0 } else { left },
            at: now,
        };
        is_there
    }

    /// Whether one is there.
    pub fn has(&self, what: What, who: &str, now: Instant) -> bool {
        let buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets.get(&(what, who.to_owned()));
        bucket.is_none_or(|bucket| bucket.filled(self.rate(what), now) >= 1.0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_what_comes_back_to_each_by_themselves() {
        let rate = Rate {
            burst: 3.0,
            per_second: 2.0,
        };
        let (rates, now) = (Rates::new(rate, rate), Instant::now());
        let take = |who, now| rates.take(What::Requests, who, now);
        assert_eq!([(); 4].map(|()| take("a", now)), [true, true, true, false]);
        assert!(!rates.has(What::Requests, "a", now));
        assert!(take("b", now));
        assert!(rates.has(What::Refused, "a", now));
        let later = now + Duration::from_secs(1);
        assert_eq!([(); 3].map(|()| take("a", later)), [true, true, false]);
        // A clock that stands still, or goes back, gives nothing.
        assert!(!take("a", now));
    }

    #[test]
    fn more_people_than_are_kept_do_not_take_more_memory() {
        let rate = Rate {
            burst: 1.0,
            per_second: 0.001,
        };
        let (rates, now) = (Rates::new(rate, rate), Instant::now());
        for number in 0..MOST + 100 {
            rates.take(What::Refused, &number.to_string(), now);
        }
        assert!(rates.buckets.lock().unwrap().len() <= MOST);
    }
}
