//! A transition: the lists become steps, the steps are taken as their order allows, and the answer
//! says what became of every process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use model::bus::Error;
use model::change::{Moment, Progress, Verdict, What};
use model::process::Kind;
use model::transition::{StateAct, Told, Transition, TransitionReport, Tree, Wanted};
use model::{ChangeId, Generation, ProcessName, fault};
use resolve::steps::{Member, StepKind, graph};

use super::settling::Settling;
use super::supervised::Supervised;
use super::{Engine, Event, Reply, Signal, answer, unknown};
use crate::graph::Walk;
use crate::process::machine::{self, State};
use crate::sys::clock;

/// A transition on its way.
#[derive(Debug)]
pub(crate) struct Run {
    pub(super) change: Option<ChangeId>,
    pub(super) tree: Tree,
    walk: Walk,
    pub(super) parts: BTreeMap<ProcessName, Part>,
    /// What is still to be done to the state of processes before they start.
    pub(super) state: BTreeMap<ProcessName, StateAct>,
    /// The step that each process is in.
    active: BTreeMap<ProcessName, usize>,
    /// Whoever waits for its end.
    pub(super) replies: Vec<Reply<TransitionReport>>,
    /// When its first step was taken.
    pub(super) began: Instant,
    /// Whether it takes back what an earlier one for the same change did.
    pub(super) is_back: bool,
    pub(super) settling: Settling,
    /// Device and inode of files that nobody whom it starts or tells may have mapped at its end.
    pub(super) stale: Vec<(u64, u64)>,
}

/// What a transition is to bring about.
struct Aim {
    parts: BTreeMap<ProcessName, Part>,
    state: BTreeMap<ProcessName, StateAct>,
    settling_ms: u64,
    stale: Vec<(u64, u64)>,
}

impl Aim {
    /// Nothing but these parts.
    fn of(parts: BTreeMap<ProcessName, Part>) -> Self {
        Self {
            parts,
            state: BTreeMap::new(),
            settling_ms: 0,
            stale: Vec::new(),
        }
    }
}

/// One process's part in a transition.
#[derive(Debug)]
pub(crate) struct Part {
    pub(super) verdict: Verdict,
    /// What is to run; absent: it is to be stopped and forgotten.
    pub(super) wanted: Option<Wanted>,
    pub(super) told: Option<Told>,
    pub(super) telling: Telling,
    pub(super) told_at: Option<Instant>,
    pub(super) done_at: Option<Instant>,
    pub(super) detail: Option<String>,
    pub(super) failed: Option<String>,
    /// What happened to it that its times do not tell.
    pub(super) moments: Vec<Moment>,
}

/// Where a told process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Telling {
    /// Not begun, or over.
    No,
    /// Its view is being moved.
    Moving,
    /// It was told, and holds the change up until it says *done*.
    Awaiting,
    /// It said *done*; what it maps is looked at.
    Checking,
    /// It is being stopped, to be started again.
    Stopping,
    /// It is being started again.
    Starting,
}

impl Part {
    fn new(verdict: Verdict, wanted: Option<Wanted>) -> Self {
        Self {
            verdict,
            wanted,
            told: None,
            telling: Telling::No,
            told_at: None,
            done_at: None,
            detail: None,
            failed: None,
            moments: Vec::new(),
        }
    }

    /// Whether it is to be looked whether it is well: what was started or reached, and came up.
    fn is_to_be_checked(&self) -> bool {
        let reached = self.told.as_ref().is_none_or(|told| told.reached);
        self.wanted.is_some() && self.failed.is_none() && reached
    }

    /// Whether it is stopped or started, rather than told.
    pub(super) fn is_started(&self) -> bool {
        self.verdict != Verdict::Notify
    }
}

impl Run {
    /// Whether every step has been taken.
    pub(super) fn is_walked(&self) -> bool {
        self.walk.is_finished()
    }

    /// Notes that something happened to a process now.
    pub(super) fn note(&mut self, name: &ProcessName, what: What) {
        if let Some(part) = self.parts.get_mut(name) {
            let at_ms = clock::wall_ms();
            part.moments.push(Moment { what, at_ms });
        }
    }

    /// Notes why a process is not where it should be; the first reason stays.
    pub(super) fn fail(&mut self, name: &ProcessName, why: String) {
        self.note(name, What::Failed);
        if let Some(part) = self.parts.get_mut(name) {
            part.failed.get_or_insert(why);
        }
    }
}

impl Engine {
    /// Begins a transition; the reply comes when the machine is stable. While another is carried
    /// out it waits: a caller that went away and came back finds its own still on its way.
    pub(super) fn transition(&mut self, wanted: Transition, reply: Reply<TransitionReport>) {
        fault::point("take a transition");
        if self.is_moving() {
            return self.wait_for_turn(wanted, reply);
        }
        let mut parts = BTreeMap::new();
        for one in wanted.new {
            parts.insert(one.spec.name.clone(), Part::new(Verdict::Start, Some(one)));
        }
        for one in wanted.changed.into_iter().chain(wanted.dependent) {
            parts.insert(
                one.spec.name.clone(),
                Part::new(Verdict::Restart, Some(one)),
            );
        }
        for one in wanted.told {
            let mut part = Part::new(Verdict::Notify, Some(one.wanted.clone()));
            let name = one.wanted.spec.name.clone();
            part.told = Some(one);
            parts.insert(name, part);
        }
        for name in wanted.obsolete {
            parts.insert(name, Part::new(Verdict::Stop, None));
        }
        let aim = Aim {
            parts,
            state: wanted.state,
            settling_ms: wanted.settling_ms,
            stale: wanted.stale,
        };
        self.plan(Some(wanted.change), wanted.tree, aim, reply);
    }

    /// Stops and starts processes, in order, in the newest generation.
    pub(super) fn restart(&mut self, names: &[ProcessName], reply: Reply<TransitionReport>) {
        let mut parts = BTreeMap::new();
        for name in names {
            let Some(process) = self.processes.get_mut(name) else {
                return answer(reply, Err(unknown(name)));
            };
            process.history.forget();
            parts.insert(
                name.clone(),
                Part::new(Verdict::Restart, Some(process.wanted())),
            );
        }
        let Some(tree) = self.tree.clone() else {
            let why = "no generation is active yet: activate a package first";
            return answer(reply, Err(Error::Invalid(why.to_owned())));
        };
        self.plan(None, tree, Aim::of(parts), reply);
    }

    /// Stops everything, in order.
    pub(super) fn stop_all(&mut self, reply: Reply<()>) {
        // Nobody has to see whether what is going to be stopped stays up.
        if let Some(run) = self.run.take_if(|run| run.is_walked()) {
            self.finish(run);
        }
        let names: Vec<ProcessName> = self.processes.keys().cloned().collect();
        let parts = names
            .into_iter()
            .map(|name| (name, Part::new(Verdict::Stop, None)))
            .collect();
        let root = std::path::PathBuf::from("/");
        let none = Tree {
            generation: Generation(0),
            root,
        };
        let tree = self.tree.clone().unwrap_or(none);
        let (inner, done) = tokio::sync::oneshot::channel();
        self.plan(None, tree, Aim::of(parts), inner);
        tokio::spawn(async move {
            let result = done
                .await
                .unwrap_or_else(|_| Ok(TransitionReport::default()));
            answer(reply, result.map(drop));
        });
    }

    fn plan(
        &mut self,
        change: Option<ChangeId>,
        tree: Tree,
        aim: Aim,
        reply: Reply<TransitionReport>,
    ) {
        if self.is_moving() {
            let change = self.run.as_ref().and_then(|run| run.change);
            let what =
                change.map_or_else(|| "another move".to_owned(), |id| format!("change {id}"));
            let why = format!("{what} is being carried out");
            return answer(reply, Err(Error::Busy(why)));
        }
        let Aim {
            parts,
            state,
            settling_ms,
            stale,
        } = aim;
        let members = self.members_of(&parts, &tree);
        let walk = match graph(&members) {
            Ok(graph) => Walk::new(graph),
            Err(cycle) => return answer(reply, Err(Error::Invalid(cycle.to_string()))),
        };
        let starts = parts.values().any(|part| part.wanted.is_some());
        let run = Run {
            change,
            tree: tree.clone(),
            walk,
            parts,
            state,
            active: BTreeMap::new(),
            replies: vec![reply],
            began: clock::now(),
            is_back: self.is_back(change, tree.generation),
            settling: Settling::new(settling_ms),
            stale,
        };
        if !starts {
            // Nothing has to see it now; what starts later, and commands, do.
            if change.is_some() && tree.generation != Generation(0) {
                self.take_tree(tree);
            }
            return self.begin(run);
        }
        // The view first: a tree that cannot be shown must not cost a process.
        self.waiting.preparing = true;
        let (views, places) = (self.views.clone(), Arc::clone(&self.tools.places));
        let handle = self.handle.clone();
        tokio::spawn(async move {
            let made = tokio::task::spawn_blocking(move || views.get(&tree, &places).map(drop));
            let made = made.await.unwrap_or_else(|error| Err(error.to_string()));
            handle.send(Event::TreeReady(Box::new(run), made)).await;
        });
    }

    /// Whether a transition to `generation` takes back what the last one for this change did.
    fn is_back(&self, change: Option<ChangeId>, generation: Generation) -> bool {
        let last = self.last.filter(|(last, _)| Some(*last) == change);
        last.is_some_and(|(change, last)| change != ChangeId(0) && last != generation)
    }

    pub(super) fn tree_ready(&mut self, run: Run, made: Result<(), String>) {
        self.waiting.preparing = false;
        if let Err(why) = made {
            for reply in run.replies {
                answer(reply, Err(Error::Failed(why.clone())));
            }
            return self.next_transition();
        }
        self.take_tree(run.tree.clone());
        self.begin(run);
    }

    /// From here on this is the newest generation.
    fn take_tree(&mut self, tree: Tree) {
        self.tools.files.save("tree", &tree);
        self.tree = Some(tree);
    }

    /// What each process does, and every other process, so that none hides the order around it.
    fn members_of(&self, parts: &BTreeMap<ProcessName, Part>, tree: &Tree) -> Vec<Member> {
        let taking_part = parts.iter().map(|(name, part)| {
            let known = self.processes.get(name);
            let up = known.is_some_and(Supervised::is_up);
            let there = |wanted| known.is_some_and(|process| process.is_there(wanted, tree));
            let after = match (&part.wanted, known) {
                (Some(wanted), _) => wanted.spec.after.clone(),
                (None, Some(process)) => process.spec.after.clone(),
                (None, None) => Vec::new(),
            };
            let (stop, start, tell) = match part.verdict {
                Verdict::Notify => (false, false, true),
                Verdict::Stop => (true, false, false),
                // A transition that is asked for twice finds what it has done the first time.
                Verdict::Start => match &part.wanted {
                    Some(wanted) if there(wanted) => (false, true, false),
                    Some(_) | None => (up, true, false),
                },
                Verdict::Restart | Verdict::Ask | Verdict::None => (true, true, false),
            };
            Member {
                name: name.clone(),
                after,
                stop,
                start,
                tell,
            }
        });
        let others = self
            .processes
            .values()
            .filter(|process| !parts.contains_key(process.name()));
        let others = others.map(|process| Member {
            name: process.name().clone(),
            after: process.spec.after.clone(),
            stop: false,
            start: false,
            tell: false,
        });
        taking_part.chain(others).collect()
    }

    fn begin(&mut self, run: Run) {
        self.held = run.parts.keys().cloned().collect();
        let first = run.walk.first();
        self.last = (run.change)
            .map(|change| (change, run.tree.generation))
            .or(self.last);
        self.run = Some(run);
        self.join();
        for number in first {
            self.take(number);
        }
        self.finish_if_done();
    }

    /// Begins a step.
    fn take(&mut self, number: usize) {
        let Some(run) = &mut self.run else { return };
        let Some(step) = run.walk.step(number).cloned() else {
            return;
        };
        run.active.insert(step.process.clone(), number);
        let name = step.process;
        match step.kind {
            StepKind::Stop => {
                self.progress(format!("stopping {name}"));
                self.step(&name, machine::Event::Stop);
            }
            StepKind::Start => {
                self.progress(format!("starting {name}"));
                self.start_wanted(&name);
            }
            StepKind::Tell => {
                self.progress(format!("telling {name}"));
                self.tell(&name);
            }
        }
        self.advance(&name);
    }

    /// Starts a process as its part says.
    pub(super) fn start_wanted(&mut self, name: &ProcessName) {
        let Some(run) = &self.run else { return };
        let Some(wanted) = run.parts.get(name).and_then(|part| part.wanted.clone()) else {
            return;
        };
        let tree = run.tree.clone();
        let there = |process: &Supervised| process.is_there(&wanted, &tree);
        if self.processes.get(name).is_some_and(there) || self.begin_state(name, &wanted) {
            return;
        }
        match self.processes.get_mut(name) {
            Some(process) => {
                if process.spec.sockets != wanted.spec.sockets {
                    process.listen.clear();
                }
                process.spec = Arc::new(wanted.spec);
                process.package = wanted.package;
                process.tree = tree;
                process.history.forget();
            }
            None => drop(
                self.processes
                    .insert(name.clone(), Supervised::new(wanted, tree)),
            ),
        }
        self.step(name, machine::Event::Start);
    }

    /// Looks whether the step that `name` is in is done.
    pub(super) fn advance(&mut self, name: &ProcessName) {
        let Some(run) = &mut self.run else { return };
        let Some(number) = run.active.get(name).copied() else {
            // It may have fallen after its step was done.
            return self.finish_if_done();
        };
        let kind = run.walk.step(number).map(|step| step.kind);
        let state = self
            .processes
            .get(name)
            .map(|process| process.state.clone());
        let failure = match (kind, state) {
            (Some(StepKind::Stop), None | Some(State::Stopped))
            | (Some(StepKind::Start), Some(State::Ready | State::Done)) => None,
            (Some(StepKind::Stop | StepKind::Start), Some(State::Failed(why))) => {
                Some(why.to_string())
            }
            (Some(StepKind::Tell), Some(state)) => return self.advance_telling(name, &state),
            _ => return,
        };
        let what = match (&failure, kind) {
            (Some(why), _) => format!("{name} {why}"),
            (None, Some(StepKind::Stop)) => format!("{name} has stopped"),
            (None, _) => format!("{name} is ready"),
        };
        self.done(name, failure, what);
    }

    /// Notes that the step of `name` is done, and takes those that waited for it.
    pub(super) fn done(&mut self, name: &ProcessName, failure: Option<String>, what: String) {
        let Some(run) = &mut self.run else { return };
        let Some(number) = run.active.remove(name) else {
            return;
        };
        let kind = run.walk.step(number).map(|step| step.kind);
        match (failure, kind) {
            (Some(why), _) => run.fail(name, why),
            (None, Some(StepKind::Stop)) => run.note(name, What::Stopped),
            (None, Some(StepKind::Start | StepKind::Tell) | None) => {}
        }
        let is_up = run.parts.get(name).is_some_and(Part::is_to_be_checked);
        let next = run.walk.done(number);
        self.progress(what);
        if is_up && kind != Some(StepKind::Stop) {
            self.begin_check(name);
        }
        for number in next {
            self.take(number);
        }
        self.finish_if_done();
    }

    pub(super) fn progress(&self, what: String) {
        let count = self.run.as_ref().map(|run| run.walk.count());
        let number = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let count = count.map(|(done, all)| (number(done), number(all)));
        self.tell_all(Signal::Progress(Progress {
            phase: "process".to_owned(),
            what,
            count,
        }));
    }
}

/// Whether a process that is told can be: a Simple one only sees its files move.
pub(super) fn is_self_managing(process: &Supervised) -> bool {
    process.spec.kind == Kind::SelfManaging
}
