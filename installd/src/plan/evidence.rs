//! What is known of the reach of a change, kept so that reasons can be written when they are read.

use std::sync::Arc;

use model::ProcessName;
use rustc_hash::FxHashMap;

use super::graph::NodeId;
use super::index::{ActiveIndex, Exported};
use super::mapped::Mapped;
use super::new_graph::NewGraph;
use super::program::{Opened, Program};
use super::reach::Reached;
use super::running::RunningSet;

pub(super) type Chain = Vec<String>;

/// The graph, what is reached in it, and what runs.
#[derive(Debug)]
pub(super) struct Evidence {
    pub(super) graph: NewGraph,
    pub(super) reached: Reached,
    pub(super) running: Arc<RunningSet>,
    /// Changed and removed files that processes may have mapped, with the word for it.
    pub(super) gone: FxHashMap<String, &'static str>,
}

impl Evidence {
    pub(super) fn new(
        graph: NewGraph,
        reached: Reached,
        running: Arc<RunningSet>,
        gone: FxHashMap<String, &'static str>,
    ) -> Self {
        Self {
            graph,
            reached,
            running,
            gone,
        }
    }

    pub(super) fn index(&self) -> &ActiveIndex {
        &self.graph.index
    }

    /// The files that a process has mapped, where that is known.
    pub(super) fn mapped(&self, number: u32) -> Option<Mapped<'_>> {
        Mapped::of(&self.running, number)
    }

    /// Whether a process whose program and declaration stay is reached through this root, which is.
    pub(super) fn reaches(&self, number: u32, process: &Exported, root: NodeId) -> bool {
        if self.running.is_empty() {
            return true;
        }
        let script =
            process.program.files.len() > 1 && process.program.roots.first() == Some(&root);
        if self.reached.is_surely_reached(root) && !script {
            return true;
        }
        let mapped = self.mapped(number);
        let chains = self.library_chains(&process.program, mapped.as_ref());
        !chains.is_empty()
    }

    /// Why a process is reached whose program and declaration stay.
    pub(super) fn libraries(&self, number: u32, process: &Exported) -> Vec<Chain> {
        let mapped = self.mapped(number);
        let chains = self.loaded(process, process, mapped.as_ref());
        if chains.is_empty() {
            self.gone_and_mapped(&process.spec.name, mapped.as_ref())
        } else {
            chains
        }
    }

    /// Chains through what it loads, to the process.
    pub(super) fn loaded(
        &self,
        before: &Exported,
        after: &Exported,
        mapped: Option<&Mapped<'_>>,
    ) -> Vec<Chain> {
        let name = &after.spec.name;
        let mut chains = self.library_chains(&before.program, mapped);
        for (root, chain) in &mut chains {
            match before.program.opening(*root) {
                Some(opened) => chain.extend(opened_by(&before.program, opened, name)),
                None => chain.extend(run_by(&after.program, name)),
            }
        }
        chains.into_iter().map(|(_, chain)| chain).collect()
    }

    /// What it has mapped and nothing says why.
    pub(super) fn gone_and_mapped(
        &self,
        name: &ProcessName,
        mapped: Option<&Mapped<'_>>,
    ) -> Vec<Chain> {
        let Some(mapped) = mapped else {
            return Vec::new();
        };
        let gone = self.gone.iter().filter(|(path, _)| mapped.has(path));
        let mut gone: Vec<_> = gone.collect();
        gone.sort_unstable();
        let chain = |(path, word)| {
            let cause = format!("{path} {word}");
            vec![cause, format!("{name} has {path} mapped")]
        };
        gone.into_iter().map(chain).collect()
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
            let last = program.files.len().saturating_sub(1);
            let chains = match mapped {
                // What a script has left for another program is not loaded any more.
                Some(mapped) if at == 0 && has_left(program, last, mapped) => Vec::new(),
                Some(mapped) => mapped.chains(&self.reached, *root, &self.graph),
                None => self.reached.chains(*root, &self.graph),
            };
            let tells = move |chain: &Chain| at > 0 || chain.len() > 1;
            let told = chains.into_iter().filter(tells);
            told.map(|chain| (*root, chain))
        });
        chains.collect()
    }
}

/// Whether a process that ran this script's interpreter does so no more: the script has become
/// another program (`exec`), as wrappers do.
pub(super) fn has_left(program: &Program, at: usize, mapped: &Mapped<'_>) -> bool {
    at > 0
        && program
            .files
            .get(at)
            .is_some_and(|interpreter| !mapped.has(interpreter))
}

/// The last steps of a chain: from what the loader loads to the process.
fn run_by(program: &Program, name: &ProcessName) -> Chain {
    let mut steps = runs(&program.files);
    steps.push(format!("{name} runs {}", program.exec));
    steps
}

/// The last steps of a chain: from what a script is declared to open to the process.
pub(super) fn opened_by(program: &Program, opened: &Opened, name: &ProcessName) -> Chain {
    let at = program.files.iter().position(|one| *one == opened.script);
    let scripts = program.files.get(..=at.unwrap_or(0)).unwrap_or_default();
    let mut steps = vec![opened.describe()];
    steps.extend(runs(scripts));
    steps.push(format!("{name} runs {}", program.exec));
    steps
}

fn runs(files: &[String]) -> Chain {
    let pairs = files.windows(2).rev();
    pairs
        .filter_map(|pair| Some(format!("{} runs {}", pair.get(1)?, pair.first()?)))
        .collect()
}
