//! Which bytes of a blob are there.

use std::collections::BTreeMap;

/// Ranges of bytes, none touching another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// Adds the bytes from `start` up to `end`.
    pub(super) fn add(&mut self, mut start: u64, mut end: u64) {
        if start >= end {
            return;
        }
        let touching: Vec<(u64, u64)> = self
            .0
            .range(..=end)
            .rev()
            .take_while(|&(_, &e)| e >= start)
            .map(|(&s, &e)| (s, e))
            .collect();
        for (s, e) in touching {
            self.0.remove(&s);
            start = start.min(s);
            end = end.max(e);
        }
        self.0.insert(start, end);
    }

    /// Takes these bytes out.
    pub(super) fn remove(&mut self, start: u64, end: u64) {
        if start >= end {
            return;
        }
        let cut: Vec<(u64, u64)> = self
            .0
            .range(..end)
            .rev()
            .take_while(|&(_, &e)| e > start)
            .map(|(&s, &e)| (s, e))
            .collect();
        for (s, e) in cut {
            self.0.remove(&s);
            if s < start {
                self.0.insert(s, start);
            }
            if e > end {
                self.0.insert(end, e);
            }
        }
    }

    /// Whether all bytes from `start` up to `end` are there.
    pub(super) fn has(&self, start: u64, end: u64) -> bool {
        start >= end || self.reach(start) >= end
    }

    /// How far the bytes go on from `start` without a hole.
    pub(super) fn reach(&self, start: u64) -> u64 {
        let found = self.0.range(..=start).next_back();
        found.map_or(start, |(_, &end)| end.max(start))
    }

    /// The first hole between `start` and `end`.
    pub(super) fn hole(&self, start: u64, end: u64) -> Option<(u64, u64)> {
        let from = self.reach(start);
        let next = self.0.range(from..).next().map_or(end, |(&next, _)| next);
        (from < end).then_some((from, next.min(end)))
    }

    /// Bytes that are there between `start` and `end`.
    pub(super) fn count(&self, start: u64, end: u64) -> u64 {
        let part = |(&s, &e): (&u64, &u64)| e.min(end).saturating_sub(s.max(start));
        self.0.range(..end).map(part).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_agree_with_a_row_of_flags(steps in prop::collection::vec((0..64_u64, 0..64_u64, any::<bool>()), 0..40)) {
            let mut flags = [false; 64];
            let mut ranges = Ranges::default();
            for (a, b, add) in steps {
                let (start, end) = (a.min(b), a.max(b));
                for flag in &mut flags[usize::try_from(start).unwrap()..usize::try_from(end).unwrap()] {
                    *flag = add;
                }
                if add { ranges.add(start, end) } else { ranges.remove(start, end) }
            }
            for start in 0..64_usize {
                let run = flags[start..].iter().take_while(|&&f| f).count();
                prop_assert_eq!(ranges.reach(start as u64), (start + run) as u64);
            }
            let all = flags.iter().filter(|&&f| f).count() as u64;
            prop_assert_eq!(ranges.count(0, 64), all);
        }
    }
}
