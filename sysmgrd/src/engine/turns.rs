//! Whose turn it is: one transition is carried out at a time, the others wait.
//!
//! A caller that went away and came back asks again for what is still on its way: it joins that
//! instead of waiting for it.

use std::collections::VecDeque;

use model::bus::Error;
use model::transition::{Transition, TransitionReport, Wanted};

use super::transition::Run;
use super::{Engine, Reply, answer};

/// Transitions that came while another was carried out.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// A tree is being made into a view for one that has not begun yet.
    pub(super) preparing: bool,
    asked: VecDeque<(Transition, Reply<TransitionReport>)>,
}

/// More of them wait only where callers go away and come back: this is far beyond that.
const MOST_WAITING: usize = 16;

impl Run {
    /// Whether this is what `wanted` asks for, or more.
    fn covers(&self, wanted: &Transition) -> bool {
        let started = wanted
            .new
            .iter()
            .chain(&wanted.changed)
            .chain(&wanted.dependent);
        let started = started.chain(wanted.told.iter().map(|told| &told.wanted));
        let in_it = |one: &Wanted| {
            let part = self.parts.get(&one.spec.name);
            part.is_some_and(|part| part.wanted.as_ref() == Some(one))
        };
        let gone = |name| {
            let part = self.parts.get(name);
            part.is_some_and(|part| part.wanted.is_none())
        };
        self.change == Some(wanted.change)
            && self.tree == wanted.tree
            && { started }.all(in_it)
            && wanted.obsolete.iter().all(gone)
    }
}

impl Engine {
    pub(super) fn is_moving(&self) -> bool {
        self.run.is_some() || self.waiting.preparing
    }

    /// Has a transition wait until the one that is carried out has ended.
    pub(super) fn wait_for_turn(&mut self, wanted: Transition, reply: Reply<TransitionReport>) {
        self.waiting.asked.retain(|(_, reply)| !reply.is_closed());
        if self.waiting.asked.len() >= MOST_WAITING {
            let why = "too many transitions wait for their turn".to_owned();
            return answer(reply, Err(Error::Busy(why)));
        }
        self.waiting.asked.push_back((wanted, reply));
        self.join();
    }

    /// Those who ask again for what is being carried out get its report.
    pub(super) fn join(&mut self) {
        let Some(run) = &mut self.run else { return };
        let all = std::mem::take(&mut self.waiting.asked);
        for (wanted, reply) in all {
            if run.covers(&wanted) {
                run.replies.push(reply);
            } else {
                self.waiting.asked.push_back((wanted, reply));
            }
        }
    }

    /// Begins what waited for its turn, if anybody still wants it.
    pub(super) fn next_transition(&mut self) {
        while !self.is_moving() {
            match self.waiting.asked.pop_front() {
                Some((_, reply)) if reply.is_closed() => {}
                Some((wanted, reply)) => self.transition(wanted, reply),
                None => return,
            }
        }
    }
}
