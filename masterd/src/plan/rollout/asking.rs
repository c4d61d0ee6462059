//! Asking the nodes, and what their answers make of the update.

use model::wire::{Absent, Ballot, NodeName, NodePhase, Objection, Phase, Vote};

use super::index::{OBJECTING, Stand, WAITED_FOR};
use super::step::{Gate, Turn};
use super::{Action, Note, Part};

/// How often a node is asked for one wave before it is given up: each ballot of its may be void for
/// a reason of its own (another base, expired), but not for ever.
const MOST_ASKS: u32 = 8;

/// Objections that are kept of one ballot, and bytes of each reason.
const MOST_OBJECTIONS: usize = 32;
const MOST_REASON: usize = 300;

impl Turn<'_> {
    /// The first question to all.
    pub(super) fn ask_all(&mut self) {
        self.enter(Phase::Asking, None);
        self.new_vote();
        for node in self.rollout.index.everywhere(&[Stand::Open]) {
            self.ask(&node);
        }
    }

    pub(super) fn new_vote(&mut self) {
        let ends = self.now + self.rollout.head.update.strategy.vote_timeout_ms.max(1);
        self.head().vote_by_ms = ends;
    }

    /// Asks a node, if it is there and was not asked too often.
    pub(super) fn ask(&mut self, node: &NodeName) {
        let Some(part) = self.rollout.parts.get(node) else {
            return;
        };
        if !part.present {
            return self.put(node, NodePhase::Absent);
        }
        if part.asks >= MOST_ASKS {
            let reason = format!(
                "asked {MOST_ASKS} times: each of its answers was void before all had come, because \
                 it had expired or was for other software than the node runs"
            );
            return self.cannot(node, reason);
        }
        let round = part.round + 1;
        let late = part.late;
        let due = self.now + self.rollout.head.update.strategy.vote_timeout_ms.max(1);
        self.edit(node, |part| {
            part.phase = NodePhase::Asked;
            part.due_ms = late.then_some(due);
            part.round = round;
            part.asks += 1;
            part.ballot_until = 0;
        });
        let node = node.clone();
        self.actions.push(Action::Ask { node, round });
    }

    /// The node cannot take part; where nobody waits for it, it is left out.
    fn cannot(&mut self, node: &NodeName, reason: String) {
        let late = self.rollout.parts.get(node).is_some_and(|part| part.late);
        if late {
            self.leave_out(node, reason);
        } else {
            self.put(node, NodePhase::Impossible { reason });
        }
    }

    pub(super) fn voted(&mut self, node: &NodeName, ballot: Ballot) {
        let Some(part) = self.rollout.parts.get(node) else {
            return;
        };
        if ballot.round != part.round || !may_vote(Stand::of(part)) {
            return;
        }
        if ballot.target != part.target {
            let reason = format!(
                "it computes other software ({}) than the master ({}) from the same list",
                ballot.target, part.target
            );
            return self.cannot(node, reason);
        }
        let rebased = part.base.is_some_and(|base| base != ballot.base);
        self.rebase(node, Some(ballot.base));
        if rebased {
            return self.ask(node);
        }
        if ballot.expires.saturating_mul(1000) <= self.now {
            let reason = "its answer had expired before it came: is its clock right?".to_owned();
            return self.cannot(node, reason);
        }
        self.edit(node, |part| {
            part.ballot_until = ballot.expires;
            part.reboot.clone_from(&ballot.reboot);
        });
        self.count_vote(node, ballot.vote);
    }

    fn count_vote(&mut self, node: &NodeName, vote: Vote) {
        let Some(part) = self.rollout.parts.get(node) else {
            return;
        };
        let late = part.late;
        let forced = part.forced || self.rollout.head.force_later;
        match vote {
            Vote::Accept => self.accepted(node, false),
            Vote::Veto { .. } | Vote::Later { .. } if forced => self.accepted(node, true),
            Vote::Veto { objections } | Vote::Later { objections, .. } if late => {
                self.leave_out(node, text_of(&trimmed(objections)));
            }
            Vote::Veto { objections } => {
                let objections = trimmed(objections);
                self.put(node, NodePhase::Vetoed { objections });
            }
            Vote::Later {
                objections,
                not_before,
            } => self.asks_for_later(node, trimmed(objections), not_before),
            Vote::Failed { reason } => self.cannot(node, cut(&reason)),
        }
    }

    fn accepted(&mut self, node: &NodeName, forced: bool) {
        self.edit(node, |part| {
            part.forced |= forced;
            part.late = false;
        });
        self.put(node, NodePhase::Accepted);
    }

    /// It is asked again at its moment, where that comes before the vote ends.
    fn asks_for_later(&mut self, node: &NodeName, objections: Vec<Objection>, not_before: u64) {
        let at = not_before.saturating_mul(1000).max(self.now + 1);
        let phase = NodePhase::Later {
            objections,
            not_before,
        };
        if at < self.rollout.head.vote_by_ms {
            self.put_until(node, phase, at);
        } else {
            self.put(node, phase);
        }
    }

    /// Its software is another one than was known: what was said or decided about it is void, but
    /// for a force that carries over.
    pub(super) fn rebase(&mut self, node: &NodeName, base: Option<model::Digest>) {
        self.edit(node, |part| {
            if part.base != base {
                let known = part.base.is_some();
                part.base = base;
                part.base_list = None;
                part.ballot_until = 0;
                part.forced &= part.force_carries || !known;
            }
        });
    }

    pub(super) fn leave_out(&mut self, node: &NodeName, reason: String) {
        let asked = self.stand(node).is_some_and(was_asked);
        let present = self.rollout.parts.get(node).is_some_and(|one| one.present);
        if asked && present {
            self.actions.push(Action::Withdraw {
                node: node.clone(),
                reason: reason.clone(),
            });
        }
        self.put(node, NodePhase::LeftOut { reason });
        self.edit(node, |part| {
            part.late = false;
            part.forced = false;
            part.ballot_until = 0;
        });
    }

    /// Left out because it is away; it is asked when it returns.
    pub(super) fn leave_out_absent(&mut self, node: &NodeName) {
        let reason = "it is away; it is asked when it returns".to_owned();
        self.leave_out(node, reason);
        self.edit(node, |part| part.late = true);
    }

    pub(super) fn look_at_votes(&mut self) -> Gate {
        if self.settle_absent() == Gate::Passed {
            return Gate::Passed;
        }
        let index = &self.rollout.index;
        let open = index.all(&WAITED_FOR);
        if open > 0 && self.now < self.rollout.head.vote_by_ms {
            return Gate::Shut;
        }
        if index.all(&OBJECTING) > 0 {
            self.hold("not all nodes accept".to_owned());
            return Gate::Shut;
        }
        if self.rollout.head.paused {
            return Gate::Shut;
        }
        self.enter(Phase::Rolling, None);
        Gate::Passed
    }

    /// What the strategy says about those that are away. `Passed`: the update has ended for it.
    pub(super) fn settle_absent(&mut self) -> Gate {
        if self.absent_policy() == Absent::Hold || self.now < self.rollout.head.grace_until_ms {
            return Gate::Shut;
        }
        let wave = self.rollout.head.wave;
        let absent = if self.rollout.head.phase == Phase::Asking {
            self.rollout.index.everywhere(&[Stand::Absent])
        } else {
            self.rollout.index.nodes(wave, &[Stand::Absent])
        };
        match self.absent_policy() {
            Absent::Skip => absent.iter().for_each(|node| self.leave_out_absent(node)),
            Absent::Abort if self.rollout.head.phase == Phase::Asking => {
                if let Some(first) = absent.first() {
                    let reason = format!("{first} is away, and the update was to need every node");
                    self.abort_all(&reason);
                    return Gate::Passed;
                }
            }
            Absent::Abort | Absent::Hold => {}
        }
        Gate::Shut
    }

    pub(super) fn hold(&mut self, detail: String) {
        self.actions.push(Action::Note(Note::Held(detail.clone())));
        self.enter(Phase::Held, Some(detail));
    }
}

/// Whether a ballot of the round still counts: until the change begins a node may change its mind.
fn may_vote(stand: Stand) -> bool {
    match stand {
        Stand::Asked
        | Stand::AskedLate
        | Stand::Accepted
        | Stand::Window
        | Stand::Vetoed
        | Stand::Later
        | Stand::Soon => true,
        Stand::Open
        | Stand::Absent
        | Stand::Impossible
        | Stand::LeftOut
        | Stand::Changing
        | Stand::Waiting
        | Stand::WaitingAway
        | Stand::Switched
        | Stand::Trial
        | Stand::Done
        | Stand::Failed
        | Stand::GoingBack
        | Stand::WentBack => false,
    }
}

/// Whether processes at the node may wait for what becomes of the question.
pub(super) fn was_asked(stand: Stand) -> bool {
    may_vote(stand) || stand == Stand::Impossible
}

/// Whether its ballot still counts.
pub(super) fn is_fresh(part: &Part, now_ms: u64) -> bool {
    part.ballot_until.saturating_mul(1000) > now_ms
}

fn trimmed(mut objections: Vec<Objection>) -> Vec<Objection> {
    objections.truncate(MOST_OBJECTIONS);
    for one in &mut objections {
        one.reason = cut(&one.reason);
    }
    objections
}

fn cut(text: &str) -> String {
    text.chars().take(MOST_REASON).collect()
}

/// `nginx: call in progress; db: backup runs`
pub(super) fn text_of(objections: &[Objection]) -> String {
    let one = |one: &Objection| format!("{}: {}", one.process, one.reason);
    let all: Vec<String> = objections.iter().map(one).collect();
    format!("vetoed: {}", all.join("; "))
}
