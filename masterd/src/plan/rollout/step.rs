//! The machine: an event comes in, the gates look, actions go out.

use model::wire::{Absent, NodeName, NodePhase, Phase};

use super::index::{Stand, WAITED_FOR};
use super::{Action, Event, Note, Part, Rollout};

/// One step: what it works on, and what came of it so far.
pub(super) struct Turn<'r> {
    pub(super) rollout: &'r mut Rollout,
    pub(super) now: u64,
    pub(super) actions: Vec<Action>,
}

/// What a gate found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    /// It moved on: look again.
    Passed,
    /// It waits.
    Shut,
}

impl Rollout {
    /// What is to be done about an event at this time, in milliseconds since 1970.
    pub fn step(&mut self, now_ms: u64, event: Event) -> Vec<Action> {
        let mut turn = Turn {
            rollout: self,
            now: now_ms,
            actions: Vec::new(),
        };
        turn.take(event);
        while turn.look() == Gate::Passed {}
        turn.wake();
        turn.actions
    }
}

impl Turn<'_> {
    fn take(&mut self, event: Event) {
        match event {
            Event::Began => self.begin(),
            Event::Restarted => self.restart(),
            Event::Back { node, installed } => self.back(&node, &installed),
            Event::Runs { node, installed } => self.runs(&node, &installed),
            Event::Away { node } => self.away(&node),
            Event::Heard { node } => self.heard(&node),
            Event::Voted { node, ballot } => self.voted(&node, ballot),
            Event::Waiting { node } => self.waiting(&node),
            Event::Ended { node, end } => self.ended(&node, *end),
            Event::Gone { node, reason } => self.gone(&node, &reason),
            Event::Decided { by, decision } => self.decided(by, decision),
            Event::Inspected {
                wave,
                discrepancies,
            } => self.inspected(wave, discrepancies),
            Event::Superseded { by } => self.supersede(by),
            Event::Due => self.due(),
        }
    }

    fn begin(&mut self) {
        if self.rollout.head.phase != Phase::Approval || !self.rollout.head.decisions.is_empty() {
            return;
        }
        if self.rollout.head.update.strategy.second_person {
            self.actions
                .push(Action::Note(Note::Phase(Phase::Approval)));
        } else {
            self.ask_all();
        }
    }

    /// Looks whether something may go on, without any event.
    fn look(&mut self) -> Gate {
        match self.rollout.head.phase {
            Phase::Asking => self.look_at_votes(),
            Phase::Rolling => self.look_at_wave(),
            Phase::Soaking => self.look_at_soaking(),
            Phase::Stopped => self.look_at_stopped(),
            Phase::TakingBack => self.look_at_taking_back(),
            Phase::Trial => self.look_at_trial(),
            Phase::Approval
            | Phase::Held
            | Phase::Done
            | Phase::Aborted
            | Phase::Partial
            | Phase::TakenBack
            | Phase::Superseded => Gate::Shut,
        }
    }

    /// Those whose time has come. Each of them stands otherwise afterwards, or has no time left.
    fn due(&mut self) {
        for node in self.rollout.index.due(self.now) {
            self.node_is_due(&node);
        }
    }

    fn wake(&mut self) {
        let head = &self.rollout.head;
        let mut times = vec![self.rollout.index.first_due()];
        match head.phase {
            Phase::Asking => times.push(Some(head.vote_by_ms)),
            Phase::Rolling => {
                times.push(Some(head.vote_by_ms).filter(|_| self.count(&WAITED_FOR) > 0));
                times.push(head.go_by_ms.filter(|_| !head.go));
            }
            Phase::Soaking => times.push(Some(head.soak_until_ms).filter(|_| !head.paused)),
            Phase::Approval
            | Phase::Held
            | Phase::Stopped
            | Phase::TakingBack
            | Phase::Trial
            | Phase::Done
            | Phase::Aborted
            | Phase::Partial
            | Phase::TakenBack
            | Phase::Superseded => {}
        }
        let later = times.into_iter().flatten().filter(|at| *at > self.now);
        if let Some(at_ms) = later.min() {
            self.actions.push(Action::Wake { at_ms });
        }
    }

    pub(super) fn stand(&self, node: &NodeName) -> Option<Stand> {
        self.rollout.parts.get(node).map(Stand::of)
    }

    pub(super) fn count(&self, stands: &[Stand]) -> usize {
        self.rollout.index.count(self.rollout.head.wave, stands)
    }

    /// The only way to change a part.
    pub(super) fn edit(&mut self, node: &NodeName, edit: impl FnOnce(&mut Part)) {
        let Some(part) = self.rollout.parts.get_mut(node) else {
            return;
        };
        self.rollout.index.take(node, part);
        let before = part.clone();
        edit(part);
        self.rollout.index.put(node, part);
        let unseen = |part: &Part| Part {
            present: false,
            progress: None,
            ..part.clone()
        };
        if unseen(&before) != unseen(part) {
            self.rollout.changes.parts.insert(node.clone());
        }
    }

    /// Puts a node elsewhere; what it had to do until some time is void.
    pub(super) fn put(&mut self, node: &NodeName, phase: NodePhase) {
        self.edit(node, |part| {
            part.phase = phase;
            part.due_ms = None;
            part.progress = None;
        });
    }

    /// As [`Self::put`], with a time until which that may last.
    pub(super) fn put_until(&mut self, node: &NodeName, phase: NodePhase, due_ms: u64) {
        self.edit(node, |part| {
            part.phase = phase;
            part.due_ms = Some(due_ms);
        });
    }

    pub(super) fn head(&mut self) -> &mut super::Head {
        self.rollout.changes.head = true;
        &mut self.rollout.head
    }

    pub(super) fn enter(&mut self, phase: Phase, detail: Option<String>) {
        let now = self.now;
        let head = self.head();
        head.phase = phase;
        let may_pause = [
            Phase::Approval,
            Phase::Asking,
            Phase::Held,
            Phase::Rolling,
            Phase::Soaking,
        ];
        head.paused &= may_pause.contains(&phase);
        head.detail = detail;
        head.ended_ms = phase.is_end().then_some(now);
        self.actions.push(Action::Note(Note::Phase(phase)));
    }

    pub(super) fn absent_policy(&self) -> Absent {
        self.rollout.head.update.strategy.absent
    }

    pub(super) fn discrepancy(&mut self, text: String) {
        if !self.rollout.head.discrepancies.contains(&text) {
            self.head().discrepancies.push(text.clone());
            self.actions.push(Action::Note(Note::Discrepancy(text)));
        }
    }
}
