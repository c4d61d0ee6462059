//! Upgrade packages of which nothing is left to do \[0095\].

use model::manifest::{FileEntry, Node};
use resolve::{Package, order};
use rustc_hash::FxHashMap;

use super::diff::is_equal;

/// `NAME=VERSION` of upgrade packages in the order whose base has all of their files, the same.
pub(super) fn superseded(order: &[Package]) -> Vec<String> {
    let upgrades = order.iter().filter(|one| one.manifest.upgrades.is_some());
    let superseded = upgrades.filter(|upgrade| {
        let mut bases = order.iter();
        bases
            .find(|base| order::upgrades(&upgrade.manifest, &base.manifest))
            .is_some_and(|base| has_all(base, upgrade))
    });
    superseded.map(|one| one.id.name_version()).collect()
}

fn has_all(base: &Package, upgrade: &Package) -> bool {
    let files = base.manifest.files.iter();
    let files: FxHashMap<&str, &FileEntry> = files.map(|one| (one.path.as_str(), one)).collect();
    let same = |one: &FileEntry| {
        let base = files.get(one.path.as_str());
        base.is_some_and(|base| match (&base.node, &one.node) {
            (Node::Link { target: before }, Node::Link { target: after }) => before == after,
            (Node::Directory, Node::Directory) => true,
            _ => is_equal(base, one),
        })
    };
    let declared = |spec| base.manifest.processes.contains(spec);
    !upgrade.manifest.files.is_empty()
        && upgrade.manifest.files.iter().all(same)
        && upgrade.manifest.processes.iter().all(declared)
}
