//! One verdict per process, with the reason chains from the cause to the process.
//!
//! Most processes are not looked at by themselves: what is reached is found from the files that
//! changed, and what nothing leads to is left as it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::ProcessName;
use model::change::Verdict;
use model::process::{Kind, ProcessSpec};
use resolve::loader::View;
use rustc_hash::FxHashMap;

use super::How;
use super::asked::Asked;
use super::decided::{Decided, Looked, MAX_CHAINS, Mark, Next, shortest};
use super::diff::{Difference, NewTree, is_equal};
use super::evidence::{Chain, Evidence, has_left, opened_by};
use super::exports::NewExports;
use super::graph::facts;
use super::index::{ActiveIndex, Exported};
use super::mapped::Mapped;
use super::program::Opened;
use super::reach::replacement;

/// What verdicts are made from.
pub(super) struct Impact<'a> {
    pub(super) tree: &'a NewTree<'a>,
    pub(super) evidence: &'a Evidence,
    pub(super) exports: &'a NewExports,
    /// By package why its processes are asked though nothing reaches them.
    pub(super) asked: &'a Asked,
}

/// What reaches one process.
#[derive(Default)]
struct Reasons {
    direct: Vec<Chain>,
    libraries: Vec<Chain>,
    files: Vec<Chain>,
}

/// The verdicts as they are being found.
struct Verdicts {
    marks: Vec<Mark>,
    looked: BTreeMap<ProcessName, Looked>,
}

impl Verdicts {
    fn is_open(&self, number: u32) -> bool {
        self.marks.get(number as usize) == Some(&Mark::None)
    }

    fn put(&mut self, number: u32, mark: Mark) {
        if let Some(place) = self.marks.get_mut(number as usize) {
            *place = mark;
        }
    }
}

/// All verdicts; `evidence` and `asked` are kept to say why.
pub(super) fn decide(
    tree: &NewTree<'_>,
    evidence: Evidence,
    exports: &NewExports,
    asked: Asked,
) -> Decided {
    let impact = Impact {
        tree,
        evidence: &evidence,
        exports,
        asked: &asked,
    };
    let Verdicts { marks, looked } = impact.verdicts();
    Decided {
        evidence,
        asked,
        marks,
        looked,
    }
}

/// Changed files by path, for those that processes may have mapped.
pub(super) fn gone_libraries(tree: &NewTree<'_>) -> FxHashMap<String, &'static str> {
    let differences = tree.differences.iter();
    let elf = differences.filter(|one| one.old.is_some_and(|(_, e)| facts(e).is_some()));
    elf.filter_map(|one| match one.how {
        How::Changed => Some((one.path.to_string(), "changed")),
        How::Removed if replacement(tree, one).is_none() => Some((one.path.to_string(), "removed")),
        How::Removed | How::Added | How::Rebuilt => None,
    })
    .collect()
}

impl Impact<'_> {
    fn index(&self) -> &ActiveIndex {
        self.tree.index
    }

    fn verdicts(&self) -> Verdicts {
        let processes = &self.index().processes;
        let mut verdicts = Verdicts {
            marks: vec![Mark::None; processes.len()],
            looked: BTreeMap::new(),
        };
        for (name, after) in &self.exports.differ {
            let before = processes.number(name);
            if let Some(looked) = self.look(name, before, after.as_ref()) {
                if let Some(at) = before {
                    verdicts.put(at, Mark::Looked);
                }
                verdicts.looked.insert(name.clone(), looked);
            }
        }
        self.users_of_files(&mut verdicts);
        for node in self.evidence.reached.nodes() {
            for &number in processes.rooted.row(node) {
                let process = processes.at(number).filter(|_| verdicts.is_open(number));
                if process.is_some_and(|one| self.evidence.reaches(number, one, node)) {
                    verdicts.put(number, Mark::Reached);
                }
            }
        }
        self.holders_of_gone(&mut verdicts);
        for place in self.asked.places() {
            for &number in processes.of_package.row(*place) {
                if verdicts.is_open(number) {
                    verdicts.put(number, Mark::Ask);
                }
            }
        }
        verdicts
    }

    /// A process that may have another exporter, declaration or program.
    fn look(
        &self,
        name: &ProcessName,
        number: Option<u32>,
        after: Option<&Exported>,
    ) -> Option<Looked> {
        let before = number.and_then(|number| self.index().processes.at(number));
        match (before, number, after) {
            (None, _, after) | (_, None, after) => Some(self.started(name, after?)),
            (Some(before), Some(_), None) => Some(stopped(name, number, before)),
            (Some(before), Some(at), Some(after)) => {
                let next = Next::Other(Box::new(after.clone()));
                let mapped = self.evidence.mapped(at);
                let mut reasons = self.reasons(before, after, mapped.as_ref());
                reasons.files = self.used_files(after);
                Some(self.looked((at, next), after, reasons))
            }
        }
    }

    fn users_of_files(&self, verdicts: &mut Verdicts) {
        let processes = &self.index().processes;
        for &number in &processes.fond {
            let Some(process) = processes.at(number).filter(|_| verdicts.is_open(number)) else {
                continue;
            };
            let files = self.used_files(process);
            if !files.is_empty() {
                let reasons = Reasons {
                    libraries: self.evidence.libraries(number, process),
                    files,
                    ..Reasons::default()
                };
                let looked = self.looked((number, Next::Same), process, reasons);
                verdicts.put(number, Mark::Looked);
                verdicts.looked.insert(process.spec.name.clone(), looked);
            }
        }
    }

    /// Processes that have a changed file mapped though nothing says why.
    fn holders_of_gone(&self, verdicts: &mut Verdicts) {
        let gone = &self.evidence.gone;
        let running = &self.evidence.running;
        let holders = gone.keys().flat_map(|path| running.holders(path));
        for number in holders.filter_map(|place| running.number(*place)) {
            let process = self.index().processes.at(number);
            let open = process.filter(|_| verdicts.is_open(number));
            let chains = open.map(|one| self.evidence.libraries(number, one));
            if chains.is_some_and(|chains| !chains.is_empty()) {
                verdicts.put(number, Mark::Reached);
            }
        }
    }

    fn started(&self, name: &ProcessName, new: &Exported) -> Looked {
        let package = self.index().position.contains_key(&new.package);
        let word = if package { "changes" } else { "enters" };
        let cause = format!("{} {word}", new.package);
        Looked {
            old: None,
            new: Next::Other(Box::new(new.clone())),
            verdict: Verdict::Start,
            direct: true,
            reached: true,
            because: vec![vec![cause, format!("{} exports {name}", new.package)]],
        }
    }

    fn reasons(&self, before: &Exported, after: &Exported, mapped: Option<&Mapped<'_>>) -> Reasons {
        let mut reasons = Reasons::default();
        let name = &after.spec.name;
        if !Arc::ptr_eq(&before.spec, &after.spec) && before.spec != after.spec {
            let fields = differing_fields(&before.spec, &after.spec);
            let text = format!("the declaration of {name} changed: {fields}");
            reasons.direct.push(vec![text]);
        }
        let program = self.program_chain(before, after, mapped);
        reasons.direct.extend(program);
        reasons.libraries = self.evidence.loaded(before, after, mapped);
        reasons.libraries.extend(self.opening_chain(before, after));
        if reasons.libraries.is_empty() {
            reasons.libraries = self.evidence.gone_and_mapped(name, mapped);
        }
        reasons
    }

    fn used_files(&self, process: &Exported) -> Vec<Chain> {
        let wanted = process.spec.uses_files.iter();
        wanted
            .filter_map(|wanted| self.used_file(&process.spec.name, wanted))
            .collect()
    }

    /// A file that a script is declared to open comes, goes, or is another one.
    fn opening_chain(&self, before: &Exported, after: &Exported) -> Option<Chain> {
        let file = |one: &Opened| one.file.as_ref().map(|(file, _)| file.clone());
        let all = after.program.opened.iter();
        let pairs = all.filter_map(|new| {
            let same = |old: &&Opened| (&old.script, &old.name) == (&new.script, &new.name);
            Some((before.program.opened.iter().find(same)?, new))
        });
        let (old, new) = { pairs }.find(|(old, new)| file(old) != file(new))?;
        let cause = match (file(old), file(new)) {
            (None, Some(path)) => format!("{path} added"),
            (Some(path), None) => format!("{path} removed"),
            (Some(old), Some(path)) if self.program_differs(Some(&old), Some(&path)) => {
                format!("{path} takes the place of {old}")
            }
            _ => return None,
        };
        let mut chain = vec![cause];
        chain.extend(opened_by(&after.program, new, &after.spec.name));
        Some(chain)
    }

    /// Why its own program is another one; the first file that differs says it.
    fn program_chain(
        &self,
        before: &Exported,
        after: &Exported,
        mapped: Option<&Mapped<'_>>,
    ) -> Option<Chain> {
        let (old, new) = (&before.program.files, &after.program.files);
        let left = |i| mapped.is_some_and(|mapped| has_left(&before.program, i, mapped));
        let at = (0..old.len().max(new.len()))
            .find(|&i| self.program_differs(old.get(i), new.get(i)) && !left(i))?;
        let path = new.get(at).or_else(|| old.get(at))?;
        let text = match self.tree.difference(path).map(|one| one.how) {
            Some(How::Added) => format!("{path} added"),
            Some(How::Removed) => format!("{path} removed"),
            _ if old.get(at) == new.get(at) => format!("{path} changed"),
            _ => format!("{path} takes the place of another program"),
        };
        let mut chain = vec![text];
        chain.extend(
            new[..at.min(new.len())]
                .iter()
                .rev()
                .map(|script| format!("{path} runs {script}")),
        );
        chain.push(format!("{} runs {}", after.spec.name, after.program.exec));
        Some(chain)
    }

    fn program_differs(&self, old: Option<&String>, new: Option<&String>) -> bool {
        let (Some(old), Some(new)) = (old, new) else {
            return true;
        };
        if old == new && self.tree.difference(old).is_none() {
            return false;
        }
        match (self.tree.index.tree.entry(old), self.tree.entry(new)) {
            (Some(before), Some(after)) => !is_equal(before, after),
            _ => true,
        }
    }

    fn used_file(&self, name: &ProcessName, wanted: &str) -> Option<Chain> {
        let counts = |one: &&Difference<'_>| {
            one.how != How::Rebuilt && model::pattern::matches(wanted, one.path.as_str())
        };
        let one = self.tree.differences.iter().find(counts)?;
        let word = match one.how {
            How::Added => "added",
            How::Removed => "removed",
            How::Changed | How::Rebuilt => "changed",
        };
        Some(vec![
            format!("{} {word}", one.path),
            format!("{name} uses {wanted}"),
        ])
    }

    fn looked(&self, (old, new): (u32, Next), after: &Exported, reasons: Reasons) -> Looked {
        let direct = !reasons.direct.is_empty();
        let libraries = !reasons.libraries.is_empty();
        let files = !reasons.files.is_empty();
        let simple = after.spec.kind == Kind::Simple;
        let asked = || self.asked.is_asked(&after.package, self.index());
        let verdict = match (direct || libraries && simple, libraries || files) {
            (true, _) => Verdict::Restart,
            (false, true) => Verdict::Notify,
            (false, false) if asked() => Verdict::Ask,
            (false, false) => Verdict::None,
        };
        let mut because = reasons.libraries;
        because.extend(reasons.files);
        let first = reasons.direct.into_iter();
        let mut because: Vec<Chain> = first.chain(shortest(because)).collect();
        because.truncate(MAX_CHAINS);
        Looked {
            old: Some(old),
            new,
            verdict,
            direct,
            reached: direct || libraries || files,
            because,
        }
    }
}

fn stopped(name: &ProcessName, number: Option<u32>, old: &Exported) -> Looked {
    let package = &old.package;
    let cause = format!("no package exports {name} any more; {package} did");
    Looked {
        old: number,
        new: Next::Gone,
        verdict: Verdict::Stop,
        direct: true,
        reached: true,
        because: vec![vec![cause]],
    }
}

/// The names of the fields in which two declarations differ.
fn differing_fields(old: &ProcessSpec, new: &ProcessSpec) -> String {
    let fields = |spec| {
        serde_json::to_value(spec)
            .ok()
            .and_then(|value| value.as_object().cloned())
    };
    let (Some(old), Some(new)) = (fields(old), fields(new)) else {
        return String::new();
    };
    let all = old
        .keys()
        .chain(new.keys().filter(|key| !old.contains_key(*key)));
    let differing: Vec<&str> = all
        .filter(|key| old.get(*key) != new.get(*key))
        .map(String::as_str)
        .collect();
    differing.join(", ")
}
