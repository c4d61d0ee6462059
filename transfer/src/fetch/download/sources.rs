//! Which source is asked next.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::Error;
use crate::fetch::Source;

/// Why something was not had.
#[derive(Debug)]
pub(in crate::fetch) enum Failed {
    /// Trying later may help, or the node itself is in trouble: the fetch ends.
    Network(Error),
    /// All sources answered, and none had it right: other ways may lead there.
    Refused(String),
}

/// The sources, and how often each has failed.
#[derive(Debug)]
pub(in crate::fetch) struct Sources<'a> {
    all: &'a [Source],
    strikes: Vec<AtomicUsize>,
    turn: AtomicUsize,
}

impl<'a> Sources<'a> {
    pub(in crate::fetch) fn new(all: &'a [Source]) -> Self {
        Self {
            all,
            strikes: all.iter().map(|_| AtomicUsize::new(0)).collect(),
            turn: AtomicUsize::new(0),
        }
    }

    /// The least failed source that is not ruled out; equals take turns.
    pub(super) fn pick(&self, out: &[usize]) -> Option<(usize, &'a Source)> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let count = self.all.len();
        let order = (0..count).map(|number| (number + turn) % count);
        let allowed = order.filter(|number| !out.contains(number));
        let strikes = |number: &usize| {
            self.strikes
                .get(*number)
                .map_or(0, |strikes| strikes.load(Ordering::Relaxed))
        };
        let best = allowed.min_by_key(strikes)?;
        Some((best, self.all.get(best)?))
    }

    /// The sources in the order in which they were given: the master first.
    pub(super) fn in_order(&self) -> impl Iterator<Item = (usize, &'a Source)> + use<'a> {
        self.all.iter().enumerate()
    }

    pub(super) fn strike(&self, number: usize) {
        if let Some(strikes) = self.strikes.get(number) {
            strikes.fetch_add(1, Ordering::Relaxed);
        }
    }
}
