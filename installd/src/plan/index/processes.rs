//! The processes of the active set, by number, and who has what of them.

use std::sync::Arc;

use model::process::{Disruption, Kind, ProcessSpec};
use model::{PackageName, ProcessName};
use resolve::steps::{Member, graph};
use rustc_hash::FxHashMap;

use super::super::program::Program;
use super::super::rows::Rows;

/// A process that the set exports.
#[derive(Debug, Clone)]
pub(in crate::plan) struct Exported {
    pub(in crate::plan) package: PackageName,
    pub(in crate::plan) spec: Arc<ProcessSpec>,
    pub(in crate::plan) program: Program,
}

/// All of them; a process's number is its place by name.
#[derive(Debug, Default)]
pub(in crate::plan) struct Processes {
    all: Vec<Exported>,
    /// By number.
    kinds: Vec<Kind>,
    /// By node of the graph those whose program it is, or into which it is loaded from outside.
    pub(in crate::plan) rooted: Rows<u32>,
    /// By place of the exporting package.
    pub(in crate::plan) of_package: Rows<u32>,
    /// Those that use other files.
    pub(in crate::plan) fond: Vec<u32>,
    /// Those whose restart is declared disruptive.
    pub(in crate::plan) disruptive: Vec<u32>,
    /// Whether some come after each other in a circle.
    pub(in crate::plan) circular: bool,
}

impl Processes {
    /// `all` are sorted by name.
    pub(super) fn of(
        all: Vec<Exported>,
        nodes: usize,
        position: &FxHashMap<PackageName, u32>,
    ) -> Self {
        let numbered = || (0..).zip(&all);
        let roots = numbered()
            .flat_map(|(number, one)| one.program.roots.iter().map(move |root| (*root, number)));
        let packages =
            numbered().filter_map(|(number, one)| Some((*position.get(&one.package)?, number)));
        let which = |is: &dyn Fn(&ProcessSpec) -> bool| -> Vec<u32> {
            let those = numbered().filter(|(_, one)| is(&one.spec));
            those.map(|(number, _)| number).collect()
        };
        let started = |one: &Exported| Member {
            name: one.spec.name.clone(),
            after: one.spec.after.clone(),
            stop: false,
            start: true,
            tell: false,
        };
        Self {
            kinds: all.iter().map(|one| one.spec.kind).collect(),
            rooted: Rows::of(nodes, roots.collect::<Vec<_>>().into_iter()),
            of_package: Rows::of(position.len(), packages.collect::<Vec<_>>().into_iter()),
            fond: which(&|spec| !spec.uses_files.is_empty()),
            disruptive: which(&|spec| spec.disruption == Disruption::Veto),
            circular: graph(&all.iter().map(started).collect::<Vec<_>>()).is_err(),
            all,
        }
    }

    pub(in crate::plan) fn len(&self) -> usize {
        self.all.len()
    }

    /// Sorted by name.
    pub(in crate::plan) fn iter(&self) -> std::slice::Iter<'_, Exported> {
        self.all.iter()
    }

    pub(in crate::plan) fn at(&self, number: u32) -> Option<&Exported> {
        self.all.get(number as usize)
    }

    pub(in crate::plan) fn kind(&self, number: u32) -> Kind {
        self.kinds.get(number as usize).copied().unwrap_or_default()
    }

    pub(in crate::plan) fn number(&self, name: &ProcessName) -> Option<u32> {
        let found = self.all.binary_search_by(|one| one.spec.name.cmp(name));
        found.ok().and_then(|at| u32::try_from(at).ok())
    }

    pub(in crate::plan) fn get(&self, name: &ProcessName) -> Option<&Exported> {
        self.at(self.number(name)?)
    }
}
