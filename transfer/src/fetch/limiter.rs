//! Bytes per second of a node, over all its connections.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Lets so many bytes pass in a second.
#[derive(Debug)]
pub(super) struct Limiter {
    rate: u64,
    /// When the next byte may pass.
    free: Mutex<Instant>,
}

impl Limiter {
    pub(super) fn new(rate: u64) -> Self {
        Self {
            rate,
            free: Mutex::new(Instant::now()),
        }
    }

    /// Returns when `bytes` more may have passed.
    pub(super) async fn pass(&self, bytes: usize) {
        if self.rate == 0 {
            return;
        }
        let until = {
            let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
            let nanos = u128::from(bytes as u64) * 1_000_000_000 / u128::from(self.rate);
            let takes = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
            *free = (*free).max(Instant::now()) + takes;
            *free
        };
        sleep_until(until).await;
    }
}
