//! The processes of the new set, each with its program in the new tree.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::ProcessName;
use model::change::Unmet;
use model::process::ProcessSpec;
use resolve::{Package, order};
use rustc_hash::FxHashSet;

use super::diff::NewTree;
use super::graph::Builder;
use super::index::{Exported, NewDeclarations};
use super::program::ProgramOf;
use super::set::NewSet;

/// The processes of the new set that are not exactly as in the active one.
#[derive(Debug, Default)]
pub(super) struct NewExports {
    /// Processes whose exporter or program may differ; `None`: no longer exported.
    pub(super) differ: BTreeMap<ProcessName, Option<Exported>>,
    pub(super) unmet: Vec<Unmet>,
}

impl NewExports {
    pub(super) fn new<'a>(
        tree: &'a NewTree<'a>,
        set: &NewSet,
        builder: &mut Builder<'a, NewTree<'a>>,
    ) -> Self {
        let mut exports = Self::default();
        let entering = set.entering().map(|(_, one)| one);
        let moving = entering
            .chain(&set.leaving)
            .flat_map(|one| &one.manifest.processes);
        let names: FxHashSet<&ProcessName> = moving.map(|spec| &spec.name).collect();
        exports.differ = names.iter().map(|name| ((*name).clone(), None)).collect();
        if !names.is_empty() {
            exports.gather(tree, set, builder, &names);
        }
        for name in may_differ(tree) {
            if let Some(old) = tree
                .index
                .processes
                .get(name)
                .filter(|_| !names.contains(name))
            {
                let declared = NewDeclarations::new(&tree.index.declared, set);
                let program = ProgramOf::new(builder, &declared).find(&old.spec);
                exports.check(&old.spec, program.lacks.as_ref());
                exports.differ.insert(
                    name.clone(),
                    Some(Exported {
                        program,
                        ..old.clone()
                    }),
                );
            }
        }
        exports
    }

    fn gather<'a>(
        &mut self,
        tree: &'a NewTree<'a>,
        set: &NewSet,
        builder: &mut Builder<'a, NewTree<'a>>,
        names: &FxHashSet<&ProcessName>,
    ) {
        let declared = NewDeclarations::new(&tree.index.declared, set);
        for package in set.order.iter() {
            for spec in package
                .manifest
                .processes
                .iter()
                .filter(|one| names.contains(&one.name))
            {
                if let Some(Some(first)) = self.differ.get(&spec.name) {
                    let first = set.order.iter().find(|one| one.id.name == first.package);
                    self.unmet
                        .extend(first.and_then(|first| twice(first, package, spec)));
                    continue;
                }
                let mut programs = ProgramOf::new(builder, &declared);
                let program = programs.find(spec);
                self.check(spec, program.lacks.as_ref());
                self.check(spec, programs.preparations_lack(spec).as_ref());
                // An equal declaration stays the same one, so that it is compared in no time.
                let old = tree
                    .index
                    .processes
                    .get(&spec.name)
                    .filter(|old| *old.spec == *spec);
                let spec = old.map_or_else(|| Arc::new(spec.clone()), |old| Arc::clone(&old.spec));
                let name = spec.name.clone();
                let exported = Exported {
                    package: package.id.name.clone(),
                    spec,
                    program,
                };
                self.differ.insert(name, Some(exported));
            }
        }
    }

    fn check(&mut self, spec: &ProcessSpec, lack: Option<&(String, String)>) {
        if let Some((needs, hint)) = lack.cloned() {
            self.unmet.push(Unmet {
                by: format!("process {}", spec.name),
                needs,
                hint,
            });
        }
    }
}

/// The processes of the active set whose program may be another one in the new tree.
fn may_differ<'a>(tree: &NewTree<'a>) -> BTreeSet<&'a ProcessName> {
    if tree.is_rearranged() {
        let all = tree.index.processes.iter();
        return all.map(|one| &one.spec.name).collect();
    }
    let runners = tree
        .differences
        .iter()
        .filter_map(|one| tree.index.run_by.get(one.path.as_str()));
    runners.flatten().collect()
}

/// Two packages that export one process name; an upgrade may, for the package that it upgrades.
fn twice(first: &Package, second: &Package, spec: &ProcessSpec) -> Option<Unmet> {
    if order::upgrades(&first.manifest, &second.manifest) {
        return None;
    }
    let (first, second) = (first.id.name_version(), second.id.name_version());
    Some(Unmet {
        by: format!("process {}", spec.name),
        needs: format!("one package that exports it, but {first} and {second} do"),
        hint: "leave one of them out, or rename the process in one".to_owned(),
    })
}
