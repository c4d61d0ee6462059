//! The order of a changeover: who is stopped, started and told, and what each waits for.
//!
//! One function for both sides of it: the plan shows the groups, sysmgrd carries the steps out.
//! A process is stopped after everything that comes after it, and started after everything that
//! it comes after; its start waits for its own stop.

use std::collections::BTreeSet;

use model::ProcessName;
use rustc_hash::FxHashMap;

/// A process's part in a transition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The process.
    pub name: ProcessName,
    /// Processes that are started before it and stopped after it; names of processes that are
    /// not members are passed over.
    pub after: Vec<ProcessName>,
    /// It is stopped.
    pub stop: bool,
    /// It is started; after its stop, where it is stopped too.
    pub start: bool,
    /// It is told, and handles the change itself.
    pub tell: bool,
}

/// What is done to a process in one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StepKind {
    /// It is stopped; done when nothing of it runs.
    Stop,
    /// It is started; done when it is ready.
    Start,
    /// Its view moves and it is told; done when it says *done*.
    Tell,
}

impl StepKind {
    /// The word for it in a plan: `stop`, `start`, `tell`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Start => "start",
            Self::Tell => "tell",
        }
    }
}

/// One step and what it waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The process.
    pub process: ProcessName,
    /// What is done.
    pub kind: StepKind,
    /// Indexes into [`Graph::steps`] of the steps that are done before this one begins.
    pub after: Vec<usize>,
}

/// The steps of a transition; a step only ever waits for steps that are in the graph.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Graph {
    /// In no particular order; read `after`.
    pub steps: Vec<Step>,
}

/// Processes that each come after the other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("processes come after each other in a circle: {}", circle(.processes))]
pub struct Cycle {
    /// Each comes after the next, the last after the first.
    pub processes: Vec<ProcessName>,
}

fn circle(processes: &[ProcessName]) -> String {
    let names = processes.iter().chain(processes.first());
    names
        .map(ProcessName::as_str)
        .collect::<Vec<_>>()
        .join(" after ")
}

/// The steps of a transition of these members.
///
/// # Errors
/// Members that come after each other in a circle; also where only some of them take a step.
pub fn graph(members: &[Member]) -> Result<Graph, Cycle> {
    let by_name: FxHashMap<&ProcessName, usize> = members
        .iter()
        .enumerate()
        .map(|(i, member)| (&member.name, i))
        .collect();
    let after: Vec<Vec<usize>> = members
        .iter()
        .map(|member| {
            member
                .after
                .iter()
                .filter_map(|name| by_name.get(name).copied())
                .collect()
        })
        .collect();
    if let Some(cycle) = find_cycle(&after) {
        let processes = cycle.into_iter().map(|i| members[i].name.clone()).collect();
        return Err(Cycle { processes });
    }
    Ok(Builder::new(members, &after).build())
}

/// A process's way through a transition, as step numbers.
#[derive(Clone, Copy, Default)]
struct Numbers {
    stop: Option<usize>,
    start: Option<usize>,
    tell: Option<usize>,
}

struct Builder<'a> {
    members: &'a [Member],
    after: &'a [Vec<usize>],
    numbers: Vec<Numbers>,
    graph: Graph,
}

impl<'a> Builder<'a> {
    fn new(members: &'a [Member], after: &'a [Vec<usize>]) -> Self {
        let mut graph = Graph::default();
        let mut number = |wanted: bool, kind, member: &Member| {
            wanted.then(|| {
                graph.steps.push(Step {
                    process: member.name.clone(),
                    kind,
                    after: Vec::new(),
                });
                graph.steps.len() - 1
            })
        };
        let numbers = members
            .iter()
            .map(|member| Numbers {
                stop: number(member.stop, StepKind::Stop, member),
                start: number(member.start, StepKind::Start, member),
                tell: number(member.tell, StepKind::Tell, member),
            })
            .collect();
        Self {
            members,
            after,
            numbers,
            graph,
        }
    }

    fn build(mut self) -> Graph {
        for i in 0..self.members.len() {
            let own = self.numbers[i];
            self.wait(own.start, own.stop);
            // A process that takes no such step must not hide the order of those around it.
            if own.stop.is_some() {
                for earlier in self.nearest(i, |n| n.stop.is_some()) {
                    self.wait(self.numbers[earlier].stop, own.stop);
                }
            }
            if own.start.is_some() || own.tell.is_some() {
                for earlier in self.nearest(i, |n| n.start.is_some() || n.tell.is_some()) {
                    let other = self.numbers[earlier];
                    for before in [other.start, other.tell] {
                        self.wait(own.start, before);
                        self.wait(own.tell, before);
                    }
                }
            }
        }
        for step in &mut self.graph.steps {
            step.after.sort_unstable();
            step.after.dedup();
        }
        self.graph
    }

    /// Makes `step` wait for `before`, where there are both.
    fn wait(&mut self, step: Option<usize>, before: Option<usize>) {
        if let (Some(step), Some(before)) = (step, before) {
            self.graph.steps[step].after.push(before);
        }
    }

    /// The nearest members that `i` comes after and that are `wanted`, through those that are not.
    fn nearest(&self, i: usize, wanted: impl Fn(Numbers) -> bool) -> Vec<usize> {
        let mut found = Vec::new();
        if self.after[i].is_empty() {
            return found;
        }
        let mut seen = BTreeSet::from([i]);
        let mut open = self.after[i].clone();
        while let Some(at) = open.pop() {
            if !seen.insert(at) {
                continue;
            }
            if wanted(self.numbers[at]) {
                found.push(at);
            } else {
                open.extend(&self.after[at]);
            }
        }
        found
    }
}

impl Graph {
    /// The steps in groups, as a plan shows them: those of one group may run together, and wait
    /// for groups before it only.
    pub fn groups(&self) -> Vec<Vec<String>> {
        let mut groups: Vec<Vec<String>> = Vec::new();
        for (step, level) in self.steps.iter().zip(self.levels()) {
            if groups.len() <= level {
                groups.resize_with(level + 1, Vec::new);
            }
            groups[level].push(format!("{} {}", step.kind.word(), step.process));
        }
        for group in &mut groups {
            group.sort_unstable();
        }
        groups
    }

    /// For each step how many groups come before it.
    fn levels(&self) -> Vec<usize> {
        let mut waits: Vec<usize> = self.steps.iter().map(|step| step.after.len()).collect();
        let mut followers = vec![Vec::new(); self.steps.len()];
        for (i, step) in self.steps.iter().enumerate() {
            step.after
                .iter()
                .for_each(|&before| followers[before].push(i));
        }
        let mut levels = vec![0; self.steps.len()];
        let mut open: Vec<usize> = (0..waits.len()).filter(|&i| waits[i] == 0).collect();
        while let Some(at) = open.pop() {
            for &next in &followers[at] {
                levels[next] = levels[next].max(levels[at] + 1);
                waits[next] -= 1;
                if waits[next] == 0 {
                    open.push(next);
                }
            }
        }
        levels
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Visit {
    Unseen,
    OnPath,
    Finished,
}

/// Some circle in `after`, from a member along what it comes after.
fn find_cycle(after: &[Vec<usize>]) -> Option<Vec<usize>> {
    let mut visits = vec![Visit::Unseen; after.len()];
    for root in 0..after.len() {
        if visits[root] != Visit::Unseen {
            continue;
        }
        visits[root] = Visit::OnPath;
        let mut path: Vec<(usize, usize)> = vec![(root, 0)];
        while let Some((at, next)) = path.last_mut() {
            let Some(&to) = after[*at].get(*next) else {
                visits[*at] = Visit::Finished;
                path.pop();
                continue;
            };
            *next += 1;
            match visits[to] {
                Visit::Finished => {}
                Visit::OnPath => {
                    let start = path.iter().position(|(i, _)| *i == to)?;
                    return Some(path[start..].iter().map(|(i, _)| *i).collect());
                }
                Visit::Unseen => {
                    visits[to] = Visit::OnPath;
                    path.push((to, 0));
                }
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> ProcessName {
        text.parse().unwrap()
    }

    fn member(text: &str, after: &[&str], kinds: &str) -> Member {
        Member {
            name: name(text),
            after: after.iter().map(|one| name(one)).collect(),
            stop: kinds.contains('x'),
            start: kinds.contains('s'),
            tell: kinds.contains('t'),
        }
    }

    #[test]
    fn stops_go_backwards_and_starts_forwards() {
        let graph = graph(&[
            member("web", &["app", "elsewhere"], "xs"),
            member("app", &["db"], "xs"),
            member("db", &[], "xs"),
            member("watcher", &[], "t"),
        ])
        .unwrap();
        let groups = graph.groups();
        let expected = [
            vec!["stop web", "tell watcher"],
            vec!["stop app"],
            vec!["stop db"],
            vec!["start db"],
            vec!["start app"],
            vec!["start web"],
        ];
        assert_eq!(groups, expected);
    }

    #[test]
    fn one_that_takes_no_step_does_not_hide_the_order_around_it() {
        let members = [
            member("web", &["app"], "xs"),
            member("app", &["db"], ""),
            member("db", &[], "xs"),
        ];
        let groups = graph(&members).unwrap().groups();
        assert_eq!(
            groups,
            [
                vec!["stop web"],
                vec!["stop db"],
                vec!["start db"],
                vec!["start web"]
            ]
        );
    }

    #[test]
    fn a_circle_is_named() {
        let members = [
            member("a", &["b"], "s"),
            member("b", &["c"], ""),
            member("c", &["b"], "s"),
        ];
        let error = graph(&members).unwrap_err();
        assert_eq!(
            error.to_string(),
            "processes come after each other in a circle: b after c after b"
        );
        assert_eq!(
            graph(&[member("a", &["a"], "s")]).unwrap_err().processes,
            [name("a")]
        );
    }

    proptest! {
        #[test]
        fn every_step_waits_for_what_it_must(
            edges in proptest::collection::vec((0usize..12, 0usize..12), 0..40),
            kinds in proptest::collection::vec(0usize..8, 12),
        ) {
            let words = ["", "x", "s", "xs", "t", "xt", "st", "xst"];
            // Edges to smaller numbers only: no circles.
            let members: Vec<Member> = (0..12)
                .map(|i| {
                    let after: Vec<String> = edges
                        .iter()
                        .filter(|(from, to)| *from == i && to < from)
                        .map(|(_, to)| format!("p{to}"))
                        .collect();
                    let after: Vec<&str> = after.iter().map(String::as_str).collect();
                    member(&format!("p{i}"), &after, words[kinds[i]])
                })
                .collect();
            let graph = graph(&members).unwrap();
            let levels = graph.levels();
            let level = |process: &ProcessName, kind| {
                let found = graph.steps.iter().position(|s| s.process == *process && s.kind == kind);
                found.map(|i| levels[i])
            };
            for member in &members {
                let stop = level(&member.name, StepKind::Stop);
                let start = level(&member.name, StepKind::Start);
                if let (Some(stop), Some(start)) = (stop, start) {
                    prop_assert!(stop < start);
                }
                for earlier in &member.after {
                    if let (Some(ours), Some(theirs)) = (start, level(earlier, StepKind::Start)) {
                        prop_assert!(theirs < ours);
                    }
                    if let (Some(ours), Some(theirs)) = (stop, level(earlier, StepKind::Stop)) {
                        prop_assert!(ours < theirs);
                    }
                }
            }
        }
    }
}
