//! Short lists by number, one behind the other in one piece of memory.

/// For each number a list.
#[derive(Debug, Clone, Default)]
pub(super) struct Rows<T> {
    /// Where each list begins; one more at the end.
    starts: Vec<u32>,
    all: Vec<T>,
}

impl<T: Copy + Default> Rows<T> {
    /// Of `count` lists; each value is put into the list of its number, in the order given.
    pub(super) fn of(count: usize, values: impl Iterator<Item = (u32, T)> + Clone) -> Self {
        let mut starts = vec![0_u32; count + 1];
        for (to, _) in values.clone() {
            starts[to as usize + 1] += 1;
        }
        for at in 0..count {
            starts[at + 1] += starts[at];
        }
        let mut next = starts.clone();
        let mut all = vec![T::default(); starts[count] as usize];
        for (to, value) in values {
            let at = &mut next[to as usize];
            all[*at as usize] = value;
            *at += 1;
        }
        Self { starts, all }
    }

    /// The list of a number; empty where there is none.
    pub(super) fn row(&self, at: u32) -> &[T] {
        let at = at as usize;
        let bounds = self.starts.get(at).zip(self.starts.get(at + 1));
        bounds
            .and_then(|(from, to)| self.all.get(*from as usize..*to as usize))
            .unwrap_or_default()
    }
}
