//! The processes that run, and by file who has it mapped: a plan asks who has one of the few files
//! that differ, so that is what is kept, from when the mappings come in.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{Generation, ProcessName};
use rustc_hash::FxHashMap;

use super::index::ActiveIndex;

/// A supervised process that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// The process.
    pub name: ProcessName,
    /// The generation that it runs in.
    pub generation: Generation,
    /// Whether it has registered for changes.
    pub registered: bool,
}

/// All of them. A process's place is where it stands in the list.
#[derive(Debug, Clone, Default)]
pub struct RunningSet {
    all: Vec<Running>,
    /// By path, as in its view, the places of those who have the file mapped, sorted.
    holders: FxHashMap<String, Vec<u32>>,
    /// By place whether anybody could look at what the process has mapped.
    known: Vec<bool>,
    numbers: Numbers,
}

/// Which process of an active set each is.
#[derive(Debug, Clone, Default)]
struct Numbers {
    /// Whose processes are meant.
    index: Option<Arc<ActiveIndex>>,
    /// By place the process's number.
    of_places: Vec<Option<u32>>,
    /// By number the process's place.
    places: Vec<Option<u32>>,
}

impl RunningSet {
    /// These processes on a node with this active set. `mapped` has absolute paths, as in the view,
    /// with the places of those who have the file mapped.
    pub fn new(
        index: &Arc<ActiveIndex>,
        all: Vec<Running>,
        mapped: impl IntoIterator<Item = (String, Vec<u32>)>,
    ) -> Self {
        let mut holders: FxHashMap<String, Vec<u32>> = FxHashMap::default();
        let mut known = vec![false; all.len()];
        for (path, by) in mapped {
            for at in &by {
                if let Some(known) = known.get_mut(*at as usize) {
                    *known = true;
                }
            }
            // The same path is another file in another generation.
            holders.entry(path).or_default().extend(by);
        }
        for by in holders.values_mut() {
            by.sort_unstable();
            by.dedup();
        }
        Self {
            numbers: Numbers::of(index, &all),
            all,
            holders,
            known,
        }
    }

    /// The same processes as those of this active set.
    pub(super) fn of(self: &Arc<Self>, index: &Arc<ActiveIndex>) -> Arc<Self> {
        let own = self.numbers.index.as_ref();
        if self.all.is_empty() || own.is_some_and(|own| Arc::ptr_eq(own, index)) {
            return Arc::clone(self);
        }
        let numbers = Numbers::of(index, &self.all);
        Arc::new(Self {
            numbers,
            ..Self::clone(self)
        })
    }

    /// Every process.
    pub fn iter(&self) -> std::slice::Iter<'_, Running> {
        self.all.iter()
    }

    /// Whether none runs, or nobody could look.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether it is known of some process what it has mapped.
    pub(super) fn knows_some(&self) -> bool {
        !self.holders.is_empty()
    }

    /// Whether it is known what the process at this place has mapped.
    pub(super) fn knows(&self, place: u32) -> bool {
        self.known.get(place as usize).copied().unwrap_or(false)
    }

    /// The places of those who have a path mapped.
    pub(super) fn holders(&self, path: &str) -> &[u32] {
        self.holders.get(path).map_or(&[], Vec::as_slice)
    }

    /// Where a process of the active set stands, if it runs.
    pub(super) fn place(&self, number: u32) -> Option<u32> {
        *self.numbers.places.get(number as usize)?
    }

    /// The number of the process at this place in the active set, if that exports it.
    pub(super) fn number(&self, place: u32) -> Option<u32> {
        *self.numbers.of_places.get(place as usize)?
    }
}

impl<'a> IntoIterator for &'a RunningSet {
    type Item = &'a Running;
    type IntoIter = std::slice::Iter<'a, Running>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl Numbers {
    fn of(index: &Arc<ActiveIndex>, all: &[Running]) -> Self {
        let processes = &index.processes;
        let mut places = vec![None; processes.len()];
        let mut next = 0;
        let mut number = |name: &ProcessName| {
            // Both are mostly sorted by name: then each stands behind the one before.
            let expected = processes.at(next).filter(|one| one.spec.name == *name);
            let number = match expected {
                Some(_) => Some(next),
                None => processes.number(name),
            };
            next = number.map_or(next, |number| number + 1);
            number
        };
        let of_places: Vec<Option<u32>> = all.iter().map(|one| number(&one.name)).collect();
        for (place, number) in (0..).zip(&of_places) {
            let at = number.and_then(|number| places.get_mut(number as usize));
            if let Some(at) = at {
                *at = Some(place);
            }
        }
        Self {
            index: Some(Arc::clone(index)),
            of_places,
            places,
        }
    }
}

/// The paths of `files` by path, for whoever has mappings by process.
pub fn by_path<'a>(
    mapped: impl IntoIterator<Item = &'a Vec<String>>,
) -> BTreeMap<String, Vec<u32>> {
    let mut files: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for (place, paths) in (0..).zip(mapped) {
        for path in paths {
            files.entry(path.clone()).or_default().push(place);
        }
    }
    files
}
