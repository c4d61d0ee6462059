//! What packages use of each other without requiring it by name.

use resolve::Package;
use rustc_hash::FxHashMap;

/// Who brings what others use without requiring it by name: libraries and APIs.
#[derive(Debug)]
pub(super) struct Bringers<'a> {
    libraries: FxHashMap<&'a str, Vec<usize>>,
    apis: FxHashMap<&'a str, Vec<usize>>,
}

impl<'a> Bringers<'a> {
    pub(super) fn of(list: &'a [Package]) -> Self {
        let (mut libraries, mut apis) = (FxHashMap::default(), FxHashMap::default());
        let put = |to: &mut FxHashMap<&'a str, Vec<usize>>, what, at| {
            to.entry(what).or_default().push(at);
        };
        for (at, one) in list.iter().enumerate() {
            for library in &one.manifest.provides_libraries {
                put(&mut libraries, library.soname.as_str(), at);
            }
            for api in one.provides_apis() {
                put(&mut apis, api.as_str(), at);
            }
        }
        Self { libraries, apis }
    }

    /// The places of those that `one` uses something of.
    pub(super) fn to(&self, one: &Package) -> Vec<usize> {
        let needs = one.manifest.requires_libraries.iter();
        let libraries = needs.filter_map(|need| self.libraries.get(need.soname.as_str()));
        let consumed = one.consumed_apis().iter();
        let apis = consumed.filter_map(|(api, _)| self.apis.get(api.as_str()));
        libraries.chain(apis).flatten().copied().collect()
    }
}
