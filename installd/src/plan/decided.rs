//! The verdicts of all processes, compact; written out when they are read.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::ProcessName;
use model::change::{ProcessImpact, Verdict};
use model::process::Kind;

use super::ProcessPlan;
use super::asked::Asked;
use super::evidence::{Chain, Evidence};
use super::index::Exported;

/// Chains that a process is shown with.
pub(super) const MAX_CHAINS: usize = 3;

/// What was found out about a process of the active set without looking at it by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Mark {
    /// Nothing happens to it.
    #[default]
    None,
    /// Only its package is concerned.
    Ask,
    /// A library of it changed.
    Reached,
    /// It was looked at by itself.
    Looked,
}

/// How a process will run.
#[derive(Debug)]
pub(super) enum Next {
    /// As it does.
    Same,
    /// Otherwise.
    Other(Box<Exported>),
    /// Not at all.
    Gone,
}

/// A process that was looked at by itself.
#[derive(Debug)]
pub(super) struct Looked {
    /// Its number, where the active set exports it.
    pub(super) old: Option<u32>,
    pub(super) new: Next,
    pub(super) verdict: Verdict,
    pub(super) direct: bool,
    pub(super) reached: bool,
    /// Without the chain of one that is asked.
    pub(super) because: Vec<Chain>,
}

/// All verdicts.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) evidence: Evidence,
    pub(super) asked: Asked,
    /// By number.
    pub(super) marks: Vec<Mark>,
    pub(super) looked: BTreeMap<ProcessName, Looked>,
}

impl Decided {
    /// How a process of the active set runs.
    pub(super) fn active(&self, number: u32) -> Option<&Exported> {
        self.evidence.index().processes.at(number)
    }

    /// The verdict of a process of either set.
    pub(super) fn verdict(&self, name: &ProcessName) -> Verdict {
        if let Some(looked) = self.looked.get(name) {
            return looked.verdict;
        }
        let number = self.evidence.index().processes.number(name);
        number.map_or(Verdict::None, |number| self.verdict_of(number))
    }

    /// The verdict of a process of the active set.
    pub(super) fn verdict_of(&self, number: u32) -> Verdict {
        let processes = &self.evidence.index().processes;
        match self.marks.get(number as usize).copied().unwrap_or_default() {
            Mark::None => Verdict::None,
            Mark::Ask => Verdict::Ask,
            Mark::Reached if processes.kind(number) == Kind::Simple => Verdict::Restart,
            Mark::Reached => Verdict::Notify,
            Mark::Looked => {
                let name = self.active(number).map(|one| &one.spec.name);
                let looked = name.and_then(|name| self.looked.get(name));
                looked.map_or(Verdict::None, |one| one.verdict)
            }
        }
    }

    /// Processes that were looked at and are in both sets: how they run, and how they will.
    pub(super) fn both(&self) -> impl Iterator<Item = (&Exported, &Exported)> {
        self.looked.values().filter_map(|one| match &one.new {
            Next::Other(new) => Some((self.active(one.old?)?, &**new)),
            Next::Same | Next::Gone => None,
        })
    }

    /// Whether nothing can come after each other in a circle that did not before.
    pub(super) fn keeps_its_order(&self) -> bool {
        let same = |one: &Looked| match (&one.new, one.old.and_then(|old| self.active(old))) {
            (Next::Other(new), Some(old)) => old.spec.after == new.spec.after,
            (Next::Other(_), None) => false,
            (Next::Same | Next::Gone, _) => true,
        };
        !self.evidence.index().processes.circular && self.looked.values().all(same)
    }

    /// Every process of either set as it is carried out, sorted by name.
    pub(super) fn plans(&self) -> Vec<ProcessPlan> {
        let side = |one: &Exported| (one.package.clone(), Arc::clone(&one.spec));
        self.all(|one| {
            let found = matches!(one.verdict, Verdict::Restart | Verdict::Notify);
            ProcessPlan {
                name: one.exported.spec.name.clone(),
                verdict: one.verdict,
                direct: one.looked.is_some_and(|looked| looked.direct),
                reached: one.looked.map_or(found, |looked| looked.reached),
                old: one.old.map(|(_, old)| side(old)),
                new: one.new.map(side),
            }
        })
    }

    /// Every process of either set as it is shown, sorted by name.
    pub(super) fn impacts(&self) -> Vec<ProcessImpact> {
        self.all(|one| ProcessImpact {
            name: one.exported.spec.name.clone(),
            package: one.exported.package.clone(),
            kind: one.exported.spec.kind,
            verdict: one.verdict,
            because: self.because(&one),
        })
    }

    fn because(&self, one: &Row<'_>) -> Vec<Chain> {
        match (one.verdict, one.looked, one.old) {
            (Verdict::None, ..) => Vec::new(),
            (Verdict::Ask, ..) => {
                let (package, name) = (&one.exported.package, &one.exported.spec.name);
                let mut chain = self.asked.chain(package, self.evidence.index());
                chain.push(format!("{package} exports {name}"));
                vec![chain]
            }
            (_, Some(looked), _) => looked.because.clone(),
            (_, None, Some((number, old))) => shortest(self.evidence.libraries(number, old)),
            (_, None, None) => Vec::new(),
        }
    }

    /// Each process, through `make`, sorted by name.
    fn all<T>(&self, make: impl Fn(Row<'_>) -> T) -> Vec<T> {
        let brand_new = self.looked.iter().filter(|(_, one)| one.old.is_none());
        let mut brand_new = brand_new
            .filter_map(|(name, looked)| match &looked.new {
                Next::Other(new) => Some((name, looked, &**new)),
                Next::Same | Next::Gone => None,
            })
            .peekable();
        let mut all = Vec::with_capacity(self.marks.len());
        for (number, old) in (0..).zip(self.evidence.index().processes.iter()) {
            let before = |(name, ..): &(&ProcessName, _, _)| **name < old.spec.name;
            while let Some((_, looked, new)) = brand_new.next_if(before) {
                all.push(make(Row::started(looked, new)));
            }
            all.push(make(self.row(number, old)));
        }
        all.extend(brand_new.map(|(_, looked, new)| make(Row::started(looked, new))));
        all
    }

    fn row<'a>(&'a self, number: u32, old: &'a Exported) -> Row<'a> {
        let is_looked = self.marks.get(number as usize) == Some(&Mark::Looked);
        let looked = is_looked.then(|| self.looked.get(&old.spec.name)).flatten();
        let new = match looked.map(|one| &one.new) {
            None | Some(Next::Same) => Some(old),
            Some(Next::Other(new)) => Some(&**new),
            Some(Next::Gone) => None,
        };
        Row {
            exported: new.unwrap_or(old),
            old: Some((number, old)),
            new,
            looked,
            verdict: looked.map_or_else(|| self.verdict_of(number), |one| one.verdict),
        }
    }
}

/// One process, about to be written out.
struct Row<'a> {
    /// As it will run, or ran.
    exported: &'a Exported,
    old: Option<(u32, &'a Exported)>,
    new: Option<&'a Exported>,
    looked: Option<&'a Looked>,
    verdict: Verdict,
}

impl<'a> Row<'a> {
    fn started(looked: &'a Looked, new: &'a Exported) -> Self {
        Self {
            exported: new,
            old: None,
            new: Some(new),
            looked: Some(looked),
            verdict: looked.verdict,
        }
    }
}

/// The shortest chains, as many as are shown.
pub(super) fn shortest(mut chains: Vec<Chain>) -> Vec<Chain> {
    chains.sort_by_key(Vec::len);
    chains.truncate(MAX_CHAINS);
    chains
}
