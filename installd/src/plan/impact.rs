//! One verdict per process, with the reason chains from the cause to the process.

use std::sync::Arc;

use model::ProcessName;
use model::change::{ProcessImpact, Verdict};
use model::process::{Kind, ProcessSpec};
use resolve::loader::View;
use rustc_hash::FxHashMap;

use super::asked::Asked;
use super::diff::{Difference, NewTree, is_equal};
use super::exports::NewExports;
use super::graph::{NodeId, facts};
use super::index::Exported;
use super::mapped::Mapped;
use super::program::{Opened, Program};
use super::reach::{NewGraph, Reached, replacement};
use super::{How, ProcessPlan, World};

/// Chains that a process is shown with.
const MAX_CHAINS: usize = 3;

type Chain = Vec<String>;

/// What verdicts are made from.
pub(super) struct Impact<'a> {
    pub(super) world: &'a World,
    pub(super) tree: &'a NewTree<'a>,
    pub(super) graph: &'a NewGraph<'a>,
    pub(super) reached: &'a Reached,
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

impl Impact<'_> {
    /// The verdicts of all processes of either set, sorted by name: as they are shown, and as they
    /// are carried out.
    pub(super) fn verdicts(&self) -> (Vec<ProcessImpact>, Vec<ProcessPlan>) {
        let mapped: FxHashMap<&ProcessName, &[String]> = self
            .world
            .running
            .iter()
            .map(|one| (&one.name, &one.mapped[..]))
            .collect();
        let gone = self.gone_libraries();
        let old = &self.world.index.processes;
        let differ = &self.exports.differ;
        let brand_new = differ.iter().filter(|(name, _)| !old.contains_key(*name));
        let mut brand_new = brand_new
            .filter_map(|(name, new)| Some((name, new.as_ref()?)))
            .peekable();
        let (mut shown, mut plans) = (Vec::with_capacity(old.len()), Vec::with_capacity(old.len()));
        let mut put = |(impact, plan)| {
            shown.push(impact);
            plans.push(plan);
        };
        // Both are sorted by name; so is what they are merged into.
        for (name, before) in old {
            while let Some((name, new)) = brand_new.next_if(|(new, _)| *new < name) {
                put(started(name, new, &self.tree_text(new)));
            }
            let after = differ.get(name).map_or(Some(before), Option::as_ref);
            put(match after {
                None => stopped(name, before),
                Some(after)
                    if std::ptr::eq(before, after) && self.is_untouched(after, &mapped, &gone) =>
                {
                    self.verdict(before, after, Reasons::default())
                }
                Some(after) => {
                    let mapped = mapped.get(name).copied().unwrap_or_default();
                    let reasons = self.reasons(before, after, mapped, &gone);
                    self.verdict(before, after, reasons)
                }
            });
        }
        for (name, new) in brand_new {
            put(started(name, new, &self.tree_text(new)));
        }
        (shown, plans)
    }

    /// Whether plainly nothing reaches a process whose program and declaration stay: most of them.
    fn is_untouched(
        &self,
        process: &Exported,
        mapped: &FxHashMap<&ProcessName, &[String]>,
        gone: &FxHashMap<&str, &'static str>,
    ) -> bool {
        process.spec.uses_files.is_empty()
            && !process
                .program
                .roots
                .iter()
                .any(|root| self.reached.is_reached(*root))
            && (gone.is_empty() || mapped.is_empty() || !mapped.contains_key(&process.spec.name))
    }

    fn tree_text(&self, new: &Exported) -> String {
        let package = self.world.index.position.contains_key(&new.package);
        let word = if package { "changes" } else { "enters" };
        format!("{} {word}", new.package)
    }

    /// Changed files by path, for those that processes may have mapped.
    fn gone_libraries(&self) -> FxHashMap<&str, &'static str> {
        let differences = self.tree.differences.iter();
        let elf = differences.filter(|one| one.old.is_some_and(|(_, e)| facts(e).is_some()));
        elf.filter_map(|one| match one.how {
            How::Changed => Some((one.path.as_str(), "changed")),
            How::Removed if replacement(self.tree, one).is_none() => {
                Some((one.path.as_str(), "removed"))
            }
            How::Removed | How::Added | How::Rebuilt => None,
        })
        .collect()
    }

    fn reasons(
        &self,
        before: &Exported,
        after: &Exported,
        mapped: &[String],
        gone: &FxHashMap<&str, &'static str>,
    ) -> Reasons {
        let mut reasons = Reasons::default();
        let name = &after.spec.name;
        if !Arc::ptr_eq(&before.spec, &after.spec) && before.spec != after.spec {
            let fields = differing_fields(&before.spec, &after.spec);
            reasons
                .direct
                .push(vec![format!("the declaration of {name} changed: {fields}")]);
        }
        let really = Mapped::new(mapped);
        reasons
            .direct
            .extend(self.program_chain(before, after, really.as_ref()));
        for (root, mut chain) in self.library_chains(&before.program, really.as_ref()) {
            match before.program.opening(root) {
                Some(opened) => chain.extend(opened_by(&before.program, opened, name)),
                None => chain.extend(run_by(&after.program, name)),
            }
            reasons.libraries.push(chain);
        }
        reasons.libraries.extend(self.opening_chain(before, after));
        if reasons.libraries.is_empty() && !gone.is_empty() {
            for path in mapped {
                if let Some(word) = gone.get(path.as_str()) {
                    let chain = vec![
                        format!("{path} {word}"),
                        format!("{name} has {path} mapped"),
                    ];
                    reasons.libraries.push(chain);
                }
            }
        }
        for wanted in &after.spec.uses_files {
            reasons.files.extend(self.used_file(name, wanted));
        }
        reasons
    }

    /// What reaches the program through what it loads; its own change is told as direct.
    fn library_chains(
        &self,
        program: &Program,
        mapped: Option<&Mapped<'_>>,
    ) -> Vec<(NodeId, Chain)> {
        let roots = program.roots.iter().enumerate();
        let reached = roots.filter(|(_, root)| self.reached.is_reached(**root));
        let chains = reached.flat_map(|(at, root)| {
            let chains = match mapped {
                // What a script has left for another program is not loaded any more.
                Some(mapped)
                    if at == 0
                        && has_left(program, program.files.len().saturating_sub(1), mapped) =>
                {
                    Vec::new()
                }
                Some(mapped) => mapped.chains(self.reached, *root, self.graph),
                None => self.reached.chains(*root, self.graph),
            };
            let tells = move |chain: &Chain| at > 0 || chain.len() > 1;
            chains.into_iter().filter(tells).map(|chain| (*root, chain))
        });
        chains.collect()
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

    fn verdict(
        &self,
        before: &Exported,
        after: &Exported,
        reasons: Reasons,
    ) -> (ProcessImpact, ProcessPlan) {
        let direct = !reasons.direct.is_empty();
        let libraries = !reasons.libraries.is_empty();
        let files = !reasons.files.is_empty();
        let simple = after.spec.kind == Kind::Simple;
        let asked = || self.asked.is_asked(&after.package);
        let verdict = match (direct || libraries && simple, libraries || files) {
            (true, _) => Verdict::Restart,
            (false, true) => Verdict::Notify,
            (false, false) if asked() => Verdict::Ask,
            (false, false) => Verdict::None,
        };
        let mut because: Vec<Chain> = reasons.libraries;
        because.extend(reasons.files);
        because.sort_by_key(Vec::len);
        because.splice(0..0, reasons.direct);
        because.truncate(MAX_CHAINS);
        if verdict == Verdict::Ask {
            let exports = format!("{} exports {}", after.package, after.spec.name);
            let mut chain = self.asked.chain(&after.package);
            chain.push(exports);
            because.push(chain);
        }
        let plan = ProcessPlan {
            name: after.spec.name.clone(),
            verdict,
            direct,
            reached: direct || libraries || files,
            old: Some((before.package.clone(), Arc::clone(&before.spec))),
            new: Some((after.package.clone(), Arc::clone(&after.spec))),
        };
        (shown(&plan.name, after, verdict, because), plan)
    }
}

/// Whether a process that ran this script's interpreter does so no more: the script has become
/// another program (`exec`), as wrappers do.
fn has_left(program: &Program, at: usize, mapped: &Mapped<'_>) -> bool {
    at > 0
        && program
            .files
            .get(at)
            .is_some_and(|interpreter| !mapped.has(interpreter))
}

fn shown(
    name: &ProcessName,
    exported: &Exported,
    verdict: Verdict,
    because: Vec<Chain>,
) -> ProcessImpact {
    let (package, kind) = (exported.package.clone(), exported.spec.kind);
    ProcessImpact {
        name: name.clone(),
        package,
        kind,
        verdict,
        because,
    }
}

fn started(name: &ProcessName, new: &Exported, cause: &str) -> (ProcessImpact, ProcessPlan) {
    let because = vec![vec![
        cause.to_owned(),
        format!("{} exports {name}", new.package),
    ]];
    let plan = ProcessPlan {
        name: name.clone(),
        verdict: Verdict::Start,
        direct: true,
        reached: true,
        old: None,
        new: Some((new.package.clone(), Arc::clone(&new.spec))),
    };
    (shown(name, new, Verdict::Start, because), plan)
}

fn stopped(name: &ProcessName, old: &Exported) -> (ProcessImpact, ProcessPlan) {
    let because = vec![vec![format!(
        "no package exports {name} any more; {} did",
        old.package
    )]];
    let plan = ProcessPlan {
        name: name.clone(),
        verdict: Verdict::Stop,
        direct: true,
        reached: true,
        old: Some((old.package.clone(), Arc::clone(&old.spec))),
        new: None,
    };
    (shown(name, old, Verdict::Stop, because), plan)
}

/// The last steps of a chain: from what the loader loads to the process.
fn run_by(program: &Program, name: &ProcessName) -> Chain {
    let pairs = program.files.windows(2).rev();
    let mut steps: Chain = pairs
        .filter_map(|pair| Some(format!("{} runs {}", pair.get(1)?, pair.first()?)))
        .collect();
    steps.push(format!("{name} runs {}", program.exec));
    steps
}

/// The last steps of a chain: from what a script is declared to open to the process.
fn opened_by(program: &Program, opened: &Opened, name: &ProcessName) -> Chain {
    let before = program.files.iter().position(|one| *one == opened.script);
    let scripts = program
        .files
        .get(..=before.unwrap_or(0))
        .unwrap_or_default();
    let mut steps = vec![opened.describe()];
    let pairs = scripts.windows(2).rev();
    steps.extend(pairs.filter_map(|pair| Some(format!("{} runs {}", pair.get(1)?, pair.first()?))));
    steps.push(format!("{name} runs {}", program.exec));
    steps
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
