//! A list of packages that is another one with a few in the place of others: sets are large, and
//! most changes small.

use std::sync::Arc;

use resolve::Package;

/// A list, perhaps shared with the active set.
#[derive(Debug, Clone, Default)]
pub(super) struct Listed {
    base: Arc<Vec<Package>>,
    /// By place, sorted.
    swaps: Vec<(u32, Package)>,
}

impl Listed {
    /// `base`, with these in their places.
    pub(super) fn swapped(base: &Arc<Vec<Package>>, mut swaps: Vec<(u32, Package)>) -> Self {
        swaps.sort_unstable_by_key(|(at, _)| *at);
        Self {
            base: Arc::clone(base),
            swaps,
        }
    }

    pub(super) fn get(&self, at: u32) -> Option<&Package> {
        match self.swaps.binary_search_by_key(&at, |(at, _)| *at) {
            Ok(found) => self.swaps.get(found).map(|(_, one)| one),
            Err(_) => self.base.get(at as usize),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Package> + Clone {
        let mut swaps = self.swaps.iter().peekable();
        (0..).zip(self.base.iter()).map(move |(at, one)| {
            let swap = swaps.next_if(|(to, _)| *to == at);
            swap.map_or(one, |(_, new)| new)
        })
    }

    pub(super) fn to_vec(&self) -> Vec<Package> {
        self.iter().cloned().collect()
    }

    /// Whether it is `base` in another representation.
    pub(super) fn is(&self, base: &Arc<Vec<Package>>) -> bool {
        if Arc::ptr_eq(&self.base, base) {
            return self.swaps.is_empty();
        }
        self.base.len() == base.len() && self.iter().eq(base.iter())
    }
}

impl From<Vec<Package>> for Listed {
    fn from(list: Vec<Package>) -> Self {
        Self {
            base: Arc::new(list),
            swaps: Vec::new(),
        }
    }
}

/// Which packages of the active order stay, and where.
#[derive(Debug, Clone)]
pub(super) enum Stays {
    /// All in their places, but for these, sorted.
    AllBut(Vec<u32>),
    /// For each package of the new order its place in the active one, where it stays, and the
    /// reverse.
    Some {
        stays: Vec<Option<u32>>,
        moved: Vec<Option<u32>>,
    },
}

impl Default for Stays {
    fn default() -> Self {
        Self::AllBut(Vec::new())
    }
}

impl Stays {
    /// The place in the active order of what stands at this place of the new one.
    pub(super) fn old(&self, new: u32) -> Option<u32> {
        match self {
            Self::AllBut(except) => except.binary_search(&new).is_err().then_some(new),
            Self::Some { stays, .. } => stays.get(new as usize).copied().flatten(),
        }
    }

    /// The place in the new order of what stands at this place of the active one.
    pub(super) fn moved(&self, old: u32) -> Option<u32> {
        match self {
            Self::AllBut(except) => except.binary_search(&old).is_err().then_some(old),
            Self::Some { moved, .. } => moved.get(old as usize).copied().flatten(),
        }
    }

    /// Whether versions only took the places of others that answered the same.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self, Self::AllBut(_))
    }

    /// Whether those that stay have changed places among themselves.
    pub(super) fn are_turned(&self) -> bool {
        match self {
            Self::AllBut(_) => false,
            Self::Some { moved, .. } => !moved.iter().flatten().is_sorted(),
        }
    }

    /// Places of the new order whose packages the active set has not.
    pub(super) fn entering(&self) -> Box<dyn Iterator<Item = u32> + '_> {
        match self {
            Self::AllBut(except) => Box::new(except.iter().copied()),
            Self::Some { stays, .. } => {
                let all = (0..).zip(stays);
                Box::new(all.filter(|(_, old)| old.is_none()).map(|(at, _)| at))
            }
        }
    }
}
