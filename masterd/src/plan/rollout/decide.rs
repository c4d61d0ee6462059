//! What an operator may decide when, and what comes of it.

use model::wire::{Choice, Decision, FleetName, NodeName, NodePhase, Phase};

use super::asking::text_of;
use super::index::{FAILED, FORWARD, OBJECTING, Stand};
use super::step::Turn;
use super::{Part, Rollout};

/// Why a decision cannot be taken now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nothing more comes.
    #[error("update has ended: it is {0}")]
    Ended(Phase),
    /// The choice does not fit the phase.
    #[error("update is {phase}; {hint}")]
    NotNow {
        /// Where it is.
        phase: Phase,
        /// What can be decided now.
        hint: &'static str,
    },
    /// The second person is the first.
    #[error("{0} has asked for the update: another operator has to agree")]
    SamePerson(FleetName),
    /// It names nodes that do not take part.
    #[error("{0} takes no part in the update")]
    NotIn(NodeName),
    /// There is nobody to go on with.
    #[error("no node accepts; force some, force all, ask again, or abort")]
    NobodyAccepts,
    /// Nothing was done.
    #[error("nothing was done yet that could be taken back; abort it")]
    NothingDone,
}

impl Rollout {
    /// Whether this may be decided now, by this operator.
    pub fn check(&self, by: &FleetName, decision: &Decision) -> Result<(), Refused> {
        let phase = self.head.phase;
        match phase {
            Phase::Approval => self.check_approval(by, &decision.choice),
            Phase::Asking => check_asking(&decision.choice),
            Phase::Held => self.check_held(&decision.choice),
            Phase::Rolling | Phase::Soaking => self.check_rolling(&decision.choice),
            Phase::Stopped => self.check_stopped(&decision.choice),
            Phase::TakingBack => Err(Refused::NotNow {
                phase,
                hint: "wait until it has ended",
            }),
            Phase::Trial => check_trial(&decision.choice),
            Phase::Done
            | Phase::Aborted
            | Phase::Partial
            | Phase::TakenBack
            | Phase::Superseded => Err(Refused::Ended(phase)),
        }
    }

    fn check_approval(&self, by: &FleetName, choice: &Choice) -> Result<(), Refused> {
        match choice {
            Choice::Approve if *by == self.head.by => Err(Refused::SamePerson(by.clone())),
            Choice::Approve | Choice::Abort => Ok(()),
            Choice::Accepting
            | Choice::Force(_)
            | Choice::ForceAll
            | Choice::AskAgain
            | Choice::Pause
            | Choice::Resume
            | Choice::TakeBack
            | Choice::Commit => Err(Refused::NotNow {
                phase: Phase::Approval,
                hint: "another operator approves it first, or it is aborted",
            }),
        }
    }

    fn check_held(&self, choice: &Choice) -> Result<(), Refused> {
        let accepted = self.index.all(&[Stand::Accepted, Stand::Window]);
        match choice {
            Choice::Accepting if accepted == 0 => Err(Refused::NobodyAccepts),
            Choice::Force(nodes) => self.check_forced(nodes),
            Choice::TakeBack => self.check_take_back(),
            Choice::Accepting
            | Choice::ForceAll
            | Choice::Abort
            | Choice::AskAgain
            | Choice::Pause
            | Choice::Resume => Ok(()),
            Choice::Approve | Choice::Commit => Err(Refused::NotNow {
                phase: Phase::Held,
                hint: "decide: accepting only, force some, force all, ask again, or abort",
            }),
        }
    }

    fn check_forced(&self, nodes: &[NodeName]) -> Result<(), Refused> {
        match nodes.iter().find(|node| !self.parts.contains_key(*node)) {
            Some(node) => Err(Refused::NotIn(node.clone())),
            None => Ok(()),
        }
    }

    fn check_take_back(&self) -> Result<(), Refused> {
        let done = self.index.all(&[Stand::Done, Stand::Trial]);
        if done + self.index.all(&FORWARD) == 0 {
            return Err(Refused::NothingDone);
        }
        Ok(())
    }

    fn check_rolling(&self, choice: &Choice) -> Result<(), Refused> {
        match choice {
            Choice::TakeBack => self.check_take_back(),
            Choice::Abort | Choice::Pause | Choice::Resume => Ok(()),
            Choice::Approve
            | Choice::Accepting
            | Choice::Force(_)
            | Choice::ForceAll
            | Choice::AskAgain
            | Choice::Commit => Err(Refused::NotNow {
                phase: self.head.phase,
                hint: "it can be paused, resumed, aborted, or taken back",
            }),
        }
    }

    fn check_stopped(&self, choice: &Choice) -> Result<(), Refused> {
        match choice {
            Choice::TakeBack => self.check_take_back(),
            Choice::Abort | Choice::Resume => Ok(()),
            Choice::Approve
            | Choice::Accepting
            | Choice::Force(_)
            | Choice::ForceAll
            | Choice::AskAgain
            | Choice::Pause
            | Choice::Commit => Err(Refused::NotNow {
                phase: Phase::Stopped,
                hint: "it can be resumed, aborted, or taken back",
            }),
        }
    }
}

fn check_asking(choice: &Choice) -> Result<(), Refused> {
    match choice {
        Choice::Abort | Choice::Pause | Choice::Resume => Ok(()),
        Choice::Approve
        | Choice::Accepting
        | Choice::Force(_)
        | Choice::ForceAll
        | Choice::AskAgain
        | Choice::TakeBack
        | Choice::Commit => Err(Refused::NotNow {
            phase: Phase::Asking,
            hint: "it can be paused, resumed or aborted until all have answered",
        }),
    }
}

fn check_trial(choice: &Choice) -> Result<(), Refused> {
    match choice {
        Choice::Commit | Choice::TakeBack => Ok(()),
        Choice::Approve
        | Choice::Accepting
        | Choice::Force(_)
        | Choice::ForceAll
        | Choice::Abort
        | Choice::AskAgain
        | Choice::Pause
        | Choice::Resume => Err(Refused::NotNow {
            phase: Phase::Trial,
            hint: "commit it, or take it back",
        }),
    }
}

impl Turn<'_> {
    pub(super) fn decided(&mut self, by: FleetName, decision: Decision) {
        if self.rollout.check(&by, &decision).is_err() {
            return;
        }
        let choice = decision.choice.clone();
        let carries_over = decision.carries_over;
        let head = self.head();
        if let Some(signed) = &decision.signed {
            head.operator = Some(signed.clone());
        }
        let reason = format!("{by}: {}", decision.reason);
        head.decisions.push((by, decision));
        match choice {
            Choice::Approve => self.ask_all(),
            Choice::Accepting => self.go_on_with(|_| false, false),
            Choice::Force(nodes) => self.go_on_with(|node| nodes.contains(node), carries_over),
            Choice::ForceAll => {
                self.head().force_later |= carries_over;
                self.go_on_with(|_| true, carries_over);
            }
            Choice::Abort => self.abort(&reason),
            Choice::AskAgain => self.ask_again(),
            Choice::Pause => self.head().paused = true,
            Choice::Resume => self.resume(),
            Choice::TakeBack => self.take_back(&reason),
            Choice::Commit => self.commit_trial(),
        }
    }

    /// The operator has decided about those that do not accept.
    fn go_on_with(&mut self, forced: impl Fn(&NodeName) -> bool, carries: bool) {
        let wave = self.rollout.head.wave;
        let asking = !self.rollout.head.opened;
        let objecting = if asking {
            self.rollout.index.everywhere(&OBJECTING)
        } else {
            self.rollout.index.nodes(wave, &OBJECTING)
        };
        for node in objecting {
            self.settle_objection(&node, forced(&node), carries);
        }
        self.enter(Phase::Rolling, None);
        self.new_vote();
    }

    fn settle_objection(&mut self, node: &NodeName, force: bool, carries: bool) {
        let Some(part) = self.rollout.parts.get(node) else {
            return;
        };
        match Stand::of(part) {
            Stand::Vetoed | Stand::Later | Stand::Soon | Stand::Asked if force => {
                self.edit(node, |part| {
                    part.forced = true;
                    part.force_carries = carries;
                });
                self.put(node, NodePhase::Accepted);
            }
            Stand::Absent => {
                self.leave_out_absent(node);
                self.edit(node, |part| {
                    part.forced = force && carries;
                    part.force_carries = part.forced;
                });
            }
            Stand::Vetoed
            | Stand::Later
            | Stand::Soon
            | Stand::Asked
            | Stand::Impossible
            | Stand::Open => {
                let reason = objection_of(part);
                self.leave_out(node, reason);
            }
            Stand::AskedLate
            | Stand::Accepted
            | Stand::Window
            | Stand::LeftOut
            | Stand::Changing
            | Stand::Waiting
            | Stand::WaitingAway
            | Stand::Switched
            | Stand::Trial
            | Stand::Done
            | Stand::Failed
            | Stand::GoingBack
            | Stand::WentBack => {}
        }
    }

    fn ask_again(&mut self) {
        let wave = self.rollout.head.wave;
        let asking = !self.rollout.head.opened;
        let phase = if asking {
            Phase::Asking
        } else {
            Phase::Rolling
        };
        self.enter(phase, None);
        self.new_vote();
        let nodes = if asking {
            self.rollout.index.everywhere(&OBJECTING)
        } else {
            self.rollout.index.nodes(wave, &OBJECTING)
        };
        for node in nodes {
            self.edit(&node, |part| part.asks = 0);
            self.ask(&node);
        }
    }

    fn resume(&mut self) {
        let failed = self.rollout.index.all(&FAILED);
        let head = self.head();
        head.paused = false;
        if head.phase == Phase::Stopped {
            head.forgiven = u32::try_from(failed).unwrap_or(u32::MAX);
            self.enter(Phase::Rolling, None);
        }
    }

    /// What is on its way goes back; what is done stays.
    fn abort(&mut self, reason: &str) {
        if self.rollout.index.all(&FORWARD) == 0 {
            return self.abort_all(&format!("aborted by {reason}"));
        }
        self.head().keep_done = true;
        self.take_back(&format!("aborted by {reason}"));
    }
}

/// Why a node that does not accept is left out.
fn objection_of(part: &Part) -> String {
    match &part.phase {
        NodePhase::Vetoed { objections } | NodePhase::Later { objections, .. } => {
            text_of(objections)
        }
        NodePhase::Impossible { reason } | NodePhase::LeftOut { reason } => reason.clone(),
        NodePhase::Absent => "it is away".to_owned(),
        NodePhase::Open
        | NodePhase::Asked
        | NodePhase::Accepted
        | NodePhase::Changing
        | NodePhase::Waiting
        | NodePhase::Switched
        | NodePhase::Trial
        | NodePhase::Done
        | NodePhase::Failed { .. }
        | NodePhase::GoingBack
        | NodePhase::WentBack { .. } => "it did not answer in time".to_owned(),
    }
}
