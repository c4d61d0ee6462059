//! How much a node may say: of each message its length, of all of them how many in a while.

use std::time::{Duration, Instant};

use model::wire::FromNode;

/// Messages of usual length at once.
const BURST: f64 = 256.0;
/// And in a second.
const PER_SECOND: f64 = 64.0;
/// Bytes of a usual message; a longer one counts as several.
const USUAL: f64 = 4096.0;

/// Whether a message of this kind may have so many bytes.
pub(super) fn fits(message: &FromNode, bytes: usize) -> bool {
    let most = match message {
        // They are kept in memory, or passed on to everybody who looks.
        FromNode::Hello(_) | FromNode::Installed(_) | FromNode::Ballot(_) => 128 << 10,
        FromNode::Progress(_) | FromNode::Waiting { .. } => 4 << 10,
        // As long as any message.
        FromNode::Have(_) | FromNode::Ended(_) => usize::MAX,
    };
    bytes <= most
}

/// What a node may still say.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowance {
    left: f64,
    at: Instant,
}

impl Allowance {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            left: BURST,
            at: now,
        }
    }

    /// Takes a message; how long the next has to wait, where it said more than it may.
    pub(super) fn spend(&mut self, bytes: usize, now: Instant) -> Option<Duration> {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        let length = u32::try_from(bytes).map_or(f64::MAX, f64::from);
        self.left = passed.mul_add(PER_SECOND, self.left).min(BURST) - 1.0 - length / USUAL;
        self.at = now;
        (self.left < 0.0).then(|| Duration::from_secs_f64((-self.left / PER_SECOND).min(60.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_says_much_at_once_is_heard_and_then_waits() {
        let start = Instant::now();
        let mut allowance = Allowance::new(start);
        let heard = (0..1000).take_while(|_| allowance.spend(100, start).is_none());
        assert_eq!(heard.count(), 249);
        let wait = allowance.spend(100, start).unwrap();
        assert!(wait > Duration::from_millis(10) && wait < Duration::from_millis(60));
        let later = start + wait + Duration::from_millis(50);
        assert_eq!(allowance.spend(100, later), None);
        // A megabyte counts as two hundred and fifty.
        let wait = allowance.spend(1 << 20, later).unwrap();
        assert!(wait > Duration::from_secs(3));
    }

    #[test]
    fn each_kind_of_message_has_its_length() {
        let waiting = FromNode::Waiting {
            rollout: model::wire::RolloutId(1),
        };
        assert!(fits(&waiting, 100) && !fits(&waiting, 5000));
        let have = FromNode::Have(model::wire::Have::default());
        assert!(fits(&have, model::wire::MOST_MESSAGE));
    }
}
