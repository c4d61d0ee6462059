//! Which bytes to fetch: a decision.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use model::Digest;

use super::{Bound, Want};
use crate::index::{Blob, Index, Part};

/// A part that is to be fetched, and what it starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) part: Part,
    /// The older object, where it is a patch.
    pub(super) base: Option<PathBuf>,
}

/// A blob with the parts of it that are to be fetched.
pub(super) type Planned = (Blob, Vec<Choice>);

/// For each wanted object that the index offers, the smallest part that the node can use.
pub(super) fn plan(
    index: &Index,
    wants: &[Want],
    have: &dyn Fn(&Digest) -> Option<PathBuf>,
) -> Vec<Planned> {
    let bounds: HashMap<Digest, Bound> =
        wants.iter().map(|want| (want.digest, want.bound)).collect();
    let fits = |part: &&Part| match bounds.get(&part.object) {
        None => false,
        Some(Bound::Exactly(size)) => part.size == *size,
        Some(Bound::Most(most)) => part.size <= *most,
    };
    let mut best: HashMap<Digest, Choice> = HashMap::new();
    for part in index.parts.iter().filter(fits) {
        let base = part.from.as_ref().and_then(have);
        let usable = part.from.is_none() || base.is_some();
        let smaller = best
            .get(&part.object)
            .is_none_or(|best| part.length < best.part.length);
        if usable && smaller {
            let part = part.clone();
            best.insert(part.object, Choice { part, base });
        }
    }
    let mut blobs: BTreeMap<usize, Vec<Choice>> = BTreeMap::new();
    for choice in best.into_values() {
        blobs.entry(choice.part.blob).or_default().push(choice);
    }
    let planned = |(number, choices)| Some((index.blobs.get(&number)?.clone(), choices));
    blobs.into_iter().filter_map(planned).collect()
}
