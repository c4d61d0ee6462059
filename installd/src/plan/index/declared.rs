//! What packages declare that files open at run time, by file.

use resolve::Package;
use rustc_hash::FxHashMap;

use super::super::program::Declared;
use super::super::set::NewSet;

/// Of the active set.
#[derive(Debug, Default)]
pub(in crate::plan) struct Declarations {
    /// By file the declaring packages' places in the active order, each with what is opened.
    by_file: FxHashMap<Box<str>, Vec<(u32, Vec<String>)>>,
}

impl Declarations {
    pub(super) fn of(order: &[Package]) -> Self {
        let mut by_file: FxHashMap<Box<str>, Vec<(u32, Vec<String>)>> = FxHashMap::default();
        for (at, package) in (0..).zip(order) {
            for one in &package.manifest.dlopen {
                let of_file = by_file.entry(one.file.as_str().into()).or_default();
                of_file.push((at, one.libraries.clone()));
            }
        }
        Self { by_file }
    }

    fn of_file(&self, file: &str) -> impl Iterator<Item = &(u32, Vec<String>)> {
        self.by_file.get(file).into_iter().flatten()
    }
}

impl Declared for Declarations {
    fn opened_by(&self, file: &str) -> Vec<String> {
        let all = self.of_file(file).flat_map(|(_, opened)| opened);
        all.cloned().collect()
    }
}

/// Of a new set.
#[derive(Debug)]
pub(in crate::plan) struct NewDeclarations<'a> {
    before: &'a Declarations,
    set: &'a NewSet,
}

impl<'a> NewDeclarations<'a> {
    pub(in crate::plan) fn new(before: &'a Declarations, set: &'a NewSet) -> Self {
        Self { before, set }
    }
}

impl Declared for NewDeclarations<'_> {
    fn opened_by(&self, file: &str) -> Vec<String> {
        let stays = |at: u32| self.set.stays.moved(at).is_some();
        let staying = self.before.of_file(file).filter(|(at, _)| stays(*at));
        let entering = self
            .set
            .entering()
            .flat_map(|(_, one)| &one.manifest.dlopen);
        let entering = entering.filter(|one| one.file.as_str() == file);
        let staying = staying.flat_map(|(_, opened)| opened);
        staying
            .chain(entering.flat_map(|one| &one.libraries))
            .cloned()
            .collect()
    }
}
