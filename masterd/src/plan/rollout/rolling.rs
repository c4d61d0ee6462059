//! Waves: opened, begun, watched, ended.

use model::wire::{Choice, NodeName, NodePhase, Phase};

use super::asking::is_fresh;
use super::index::{FAILED, MOVING, OBJECTING, SAYING_NO, Stand, UNBEGUN, WAITED_FOR};
use super::step::{Gate, Turn};
use super::{Action, Window};

/// A connected node that has begun and then says nothing for so long is taken for failed.
pub(super) const SILENCE_MS: u64 = 30 * 60_000;

impl Turn<'_> {
    pub(super) fn look_at_wave(&mut self) -> Gate {
        if self.look_at_group() == Gate::Passed {
            return Gate::Passed;
        }
        if self.too_many_failed() && self.anything_left() {
            self.stop();
            return Gate::Passed;
        }
        if self.rollout.head.paused {
            return Gate::Shut;
        }
        if !self.rollout.head.opened && !self.open_wave() {
            return Gate::Shut;
        }
        self.settle_absent();
        if self.count(&WAITED_FOR) > 0 && self.now < self.rollout.head.vote_by_ms {
            return Gate::Shut;
        }
        if self.count(&OBJECTING) > 0 {
            let wave = self.rollout.head.wave + 1;
            self.hold(format!("not all nodes of wave {wave} accept"));
            return Gate::Shut;
        }
        if !self.rollout.head.touched && !self.overruled() && self.rollout.index.all(&SAYING_NO) > 0
        {
            self.hold("a node of a later wave does not accept any more".to_owned());
            return Gate::Shut;
        }
        if self.begin_those_that_may() {
            return Gate::Passed;
        }
        if self.count(&UNBEGUN) > 0 || self.rollout.index.all(&MOVING) > 0 {
            return Gate::Shut;
        }
        self.next_wave();
        Gate::Passed
    }

    /// Whether an operator has gone on though not all accept.
    fn overruled(&self) -> bool {
        let decisions = &self.rollout.head.decisions;
        decisions.iter().any(|(_, decision)| match decision.choice {
            Choice::Accepting | Choice::Force(_) | Choice::ForceAll => true,
            Choice::Approve
            | Choice::Abort
            | Choice::AskAgain
            | Choice::Pause
            | Choice::Resume
            | Choice::TakeBack
            | Choice::Commit => false,
        })
    }

    /// Whether anything could still be kept from failing by stopping.
    fn anything_left(&self) -> bool {
        let index = &self.rollout.index;
        self.rollout.head.update.strategy.take_back
            || index.all(&UNBEGUN) > 0
            || index.all(&MOVING) > 0
    }

    /// Before its wave each node is asked again, but for the first. `false`: the fleet is being checked first.
    fn open_wave(&mut self) -> bool {
        let head = &self.rollout.head;
        let wave = head.wave;
        if head.inspects && !head.inspected {
            if !self.rollout.inspecting {
                self.rollout.inspecting = true;
                self.actions.push(Action::Inspect { wave });
            }
            return false;
        }
        self.head().opened = true;
        self.new_vote();
        for node in self.rollout.index.nodes(wave, &UNBEGUN) {
            self.edit(&node, |part| {
                // The first wave has just voted.
                part.ballot_until *= u64::from(wave == 0);
                part.asks = 0;
            });
        }
        let unasked = [
            Stand::Open,
            Stand::Absent,
            Stand::Vetoed,
            Stand::Later,
            Stand::Soon,
        ];
        for node in self.rollout.index.nodes(wave, &unasked) {
            self.ask(&node);
        }
        true
    }

    pub(super) fn inspected(&mut self, wave: u32, discrepancies: Vec<String>) {
        self.rollout.inspecting = false;
        if wave != self.rollout.head.wave || self.rollout.head.phase != Phase::Rolling {
            return;
        }
        if discrepancies.is_empty() {
            self.head().inspected = true;
            return;
        }
        let first = discrepancies.first().cloned().unwrap_or_default();
        for one in discrepancies {
            self.discrepancy(one);
        }
        // The operator who goes on from here has seen it.
        self.head().inspected = true;
        self.hold(format!("after wave {} {first}", wave + 1));
    }

    /// Begins those of the wave that accepted, if their answers still count and their windows are
    /// open. `true`: some stand otherwise now.
    fn begin_those_that_may(&mut self) -> bool {
        let wave = self.rollout.head.wave;
        let ready = self.rollout.index.nodes(wave, &[Stand::Accepted]);
        let ready = self.inside_their_windows(ready);
        let fresh = |node: &NodeName| {
            let part = self.rollout.parts.get(node);
            part.is_some_and(|part| part.present && is_fresh(part, self.now))
        };
        let (begin, ask): (Vec<_>, Vec<_>) = ready.into_iter().partition(fresh);
        if ask.is_empty() {
            for node in &begin {
                self.want(node);
            }
            return !begin.is_empty();
        }
        // One that has to be asked again may object, and then none of them is touched.
        self.new_vote();
        for node in &ask {
            self.ask(node);
        }
        true
    }

    /// Those that may begin now; the others wait for their windows. A change of all together waits
    /// for the last of them.
    fn inside_their_windows(&mut self, ready: Vec<NodeName>) -> Vec<NodeName> {
        let strategy = &self.rollout.head.update.strategy;
        let together = strategy.together;
        let window = strategy.window.as_deref().map(str::parse::<Window>);
        let Some(Ok(window)) = window else {
            return ready;
        };
        let opens = |node: &NodeName| {
            let part = self.rollout.parts.get(node);
            part.and_then(|part| window.opens_ms(self.now, part.utc_offset))
        };
        let times: Vec<(NodeName, Option<u64>)> = ready
            .into_iter()
            .map(|node| (node.clone(), opens(&node)))
            .collect();
        let last = times.iter().filter_map(|(_, opens)| *opens).max();
        let mut inside = Vec::new();
        for (node, opens) in times {
            match if together { last } else { opens } {
                Some(at) => self.put_until(&node, NodePhase::Accepted, at),
                None => inside.push(node),
            }
        }
        inside
    }

    /// Tells a node to change.
    pub(super) fn want(&mut self, node: &NodeName) {
        self.head().touched = true;
        let due = self.now + SILENCE_MS;
        self.edit(node, |part| {
            part.phase = NodePhase::Changing;
            part.due_ms = Some(due);
            part.begun = true;
            part.lost = false;
        });
        self.want_again(node);
    }

    pub(super) fn want_again(&mut self, node: &NodeName) {
        if let Some(part) = self.rollout.parts.get(node) {
            let orders = Box::new(self.rollout.orders(part));
            let node = node.clone();
            self.actions.push(Action::Want { node, orders });
        }
    }

    fn next_wave(&mut self) {
        let (now, soak) = (self.now, self.rollout.head.update.strategy.soak_ms);
        if self.rollout.head.wave + 1 >= self.rollout.head.waves {
            return self.finish();
        }
        let head = self.head();
        head.wave += 1;
        head.opened = false;
        head.inspected = false;
        head.go = false;
        head.go_by_ms = None;
        head.soak_until_ms = now + soak;
        if soak > 0 {
            self.enter(Phase::Soaking, None);
        }
    }

    pub(super) fn look_at_soaking(&mut self) -> Gate {
        if self.too_many_failed() {
            self.stop();
            return Gate::Passed;
        }
        // A node of the wave that soaks may be on its way again, or have returned.
        if self.rollout.head.paused || self.now < self.rollout.head.soak_until_ms {
            return Gate::Shut;
        }
        self.enter(Phase::Rolling, None);
        Gate::Passed
    }

    pub(super) fn too_many_failed(&self) -> bool {
        let strategy = &self.rollout.head.update.strategy;
        let index = &self.rollout.index;
        let ended = index.all(&FAILED) + index.all(&[Stand::Done, Stand::Trial]);
        let forgiven = usize::try_from(self.rollout.head.forgiven).unwrap_or(usize::MAX);
        let failed = index.all(&FAILED).saturating_sub(forgiven);
        let most = strategy.most_failed.map(|most| most as usize);
        let by_count = most.is_some_and(|most| failed > most);
        let percent = strategy.most_failed_percent.map(usize::from);
        let by_share = percent.is_some_and(|percent| {
            ended >= strategy.sample.max(1) as usize && failed * 100 > percent * ended
        });
        by_count || by_share
    }

    /// More failed than may: nothing new is begun.
    fn stop(&mut self) {
        let failed = self.rollout.index.all(&FAILED);
        let detail = format!("{failed} failed, which is more than may");
        if self.rollout.head.update.strategy.take_back {
            self.take_back(&detail);
        } else {
            self.enter(Phase::Stopped, Some(detail));
        }
    }

    /// Where nothing is left to begin there is nothing to decide.
    pub(super) fn look_at_stopped(&mut self) -> Gate {
        let index = &self.rollout.index;
        if index.all(&UNBEGUN) > 0 || index.all(&MOVING) > 0 {
            return Gate::Shut;
        }
        self.finish();
        Gate::Passed
    }

    /// All waves are done.
    pub(super) fn finish(&mut self) {
        let reason = "the update ended without it".to_owned();
        for node in self.rollout.index.everywhere(&UNBEGUN) {
            self.leave_out(&node, reason.clone());
        }
        self.end(None);
    }

    /// The end that fits how the nodes stand; where some run it as a trial, a person decides.
    pub(super) fn end(&mut self, detail: Option<String>) {
        if self.rollout.index.all(&[Stand::Trial]) > 0 {
            return self.enter(Phase::Trial, detail);
        }
        for node in self.rollout.index.everywhere(&[Stand::Failed]) {
            if self.rollout.parts.get(&node).is_some_and(|part| part.lost) {
                self.edit(&node, |part| part.lost = false);
                self.actions.push(Action::Keep { node });
            }
        }
        let begun = self.rollout.parts.values().any(|part| part.begun);
        let index = &self.rollout.index;
        let (done, failed) = (index.all(&[Stand::Done]), index.all(&[Stand::Failed]));
        let (out, back) = (index.all(&[Stand::LeftOut]), index.all(&[Stand::WentBack]));
        let phase = match (done, failed + out + back) {
            (_, 0) => Phase::Done,
            (0, _) if !begun => Phase::Aborted,
            (0, _) if failed == 0 && self.rollout.head.phase == Phase::TakingBack => {
                Phase::TakenBack
            }
            (_, _) => Phase::Partial,
        };
        let detail = detail.or_else(|| self.rollout.head.detail.clone());
        self.enter(phase, detail);
    }
}
