//! What is known of an update: a head and a part for each node, stored apart.

use std::collections::{BTreeMap, BTreeSet};

use model::change::ChangeReport;
use model::digest::Digest;
use model::trust::Signed;
use model::wire::{Counter, Decision, FleetName, NodeName, NodePhase, Phase, RolloutId, Update};
use serde::{Deserialize, Serialize};

use super::index::Index;

/// An update as it stands. Times are milliseconds since 1970.
#[derive(Debug, Clone)]
pub struct Rollout {
    pub(super) head: Head,
    pub(super) parts: BTreeMap<NodeName, Part>,
    pub(super) index: Index,
    pub(super) changes: Changes,
    /// The check before this wave was asked for, and not answered yet.
    pub(super) inspecting: bool,
}

/// What changed since it was last asked, and has to be stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// The head.
    pub head: bool,
    /// These parts.
    pub parts: BTreeSet<NodeName>,
}

/// What concerns the update as a whole.
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, each with a name in the store"
)]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Head {
    /// Its number.
    pub id: RolloutId,
    /// What was asked for.
    pub update: Update,
    /// By whom.
    pub by: FleetName,
    /// When.
    pub began_ms: u64,
    /// When it ended.
    pub ended_ms: Option<u64>,
    /// Where it is.
    pub phase: Phase,
    /// Nothing new is begun.
    pub paused: bool,
    /// The wave that is on its way, from 0.
    pub wave: u32,
    /// How many there are; at least one.
    pub waves: u32,
    /// A node was told to change.
    pub touched: bool,
    /// This wave's nodes were asked for it.
    pub opened: bool,
    /// The fleet is checked as it would be after each wave, before it.
    pub inspects: bool,
    /// This wave was found to leave no dependency unmet.
    pub inspected: bool,
    /// The end of the vote that is going on.
    pub vote_by_ms: u64,
    /// When the next wave may begin.
    pub soak_until_ms: u64,
    /// Together: when the first of those that wait would give up.
    pub go_by_ms: Option<u64>,
    /// Together: `go` was decided for this wave.
    pub go: bool,
    /// Nodes that are away are waited for until then, whatever the strategy: the master itself was
    /// away.
    pub grace_until_ms: u64,
    /// All vetoes are overridden, those that come after the decision, too.
    pub force_later: bool,

    /// Failures that an operator has seen and gone on from.
    pub forgiven: u32,
    /// Taking back: what is done stays, only what is on its way goes back.
    pub keep_done: bool,
    /// What was decided, by whom.
    pub decisions: Vec<(FleetName, Decision)>,
    /// An operator's signed word, for nodes that want one.
    pub operator: Option<Signed>,
    /// Dependencies that the fleet would not meet, and other things that should not be.
    pub discrepancies: Vec<String>,
    /// Nodes that were meant and have no part, and why.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Why it stopped, is held, or ended as it did.
    pub detail: Option<String>,
}

/// One node's part.
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, each with a name in the store"
)]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Part {
    /// Its wave, from 0.
    pub wave: u32,
    /// Where it is.
    pub phase: NodePhase,
    /// Until when that may last.
    pub due_ms: Option<u64>,
    /// Its vetoes are overridden, as long as it runs what it ran when that was decided.
    pub forced: bool,
    /// They are whatever it runs.
    pub force_carries: bool,
    /// It does not hold the others up, and is asked when it returns.
    pub late: bool,
    /// It was lost sight of: what it runs is not known.
    pub lost: bool,
    /// It was told to change: it may run something else than before.
    pub begun: bool,
    /// It missed `go`, and was told to follow alone.
    pub missed: bool,
    /// The last asking of it.
    pub round: u32,
    /// How often it was asked for this wave.
    pub asks: u32,
    /// What it ran when it was asked; what it goes back to.
    pub base: Option<Digest>,
    /// The software list of that, where the master knows it.
    pub base_list: Option<Digest>,
    /// What it is to run.
    pub target: Digest,
    /// The software list of that.
    pub list: Digest,
    /// Its last ballot counts until then; 0: there is none that counts. Seconds since 1970.
    pub ballot_until: u64,
    /// Minutes east of UTC of its own time.
    pub utc_offset: i32,
    /// Of the wanted state that was signed for it.
    pub counter: Option<Counter>,
    /// The change at the node.
    pub report: Option<Box<ChangeReport>>,
    /// What its check said: exit status and last lines.
    pub check: Option<(i32, String)>,
    /// The machine has to restart for it, because of this.
    pub reboot: Option<String>,
    /// Its link is open; known by being told, not by the store.
    #[serde(skip)]
    pub present: bool,
    /// What it says that it is doing; for people.
    #[serde(skip)]
    pub progress: Option<String>,
}

/// A node's part as it was planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// The node.
    pub node: NodeName,
    /// Its wave, from 0.
    pub wave: u32,
    /// What it runs.
    pub base: Option<Digest>,
    /// The software list of that, where it is known.
    pub base_list: Option<Digest>,
    /// What it is to run.
    pub target: Digest,
    /// The software list of that.
    pub list: Digest,
    /// Minutes east of UTC of its own time.
    pub utc_offset: i32,
    /// Whether its link is open.
    pub present: bool,
    /// Why it cannot be carried out there, where that is known without asking.
    pub impossible: Option<String>,
}

impl Rollout {
    /// An update that is about to begin: to be stored, then told [`Event::Began`](super::Event).
    pub fn new(
        id: RolloutId,
        update: Update,
        by: FleetName,
        now_ms: u64,
        planned: Vec<Planned>,
    ) -> Self {
        let waves = planned.iter().map(|one| one.wave + 1).max().unwrap_or(1);
        let parts = planned.into_iter().map(Part::of).collect();
        let mut rollout = Self::load(Head::new(id, update, by, now_ms, waves), parts);
        rollout.changes.head = true;
        rollout.changes.parts = rollout.parts.keys().cloned().collect();
        rollout
    }

    /// From the store; [`Event::Restarted`](super::Event) comes next.
    pub fn load(head: Head, parts: BTreeMap<NodeName, Part>) -> Self {
        let index = Index::of(&parts);
        Self {
            head,
            parts,
            index,
            changes: Changes::default(),
            inspecting: false,
        }
    }

    /// The same, with the fleet checked before each wave: see [`Action::Inspect`](super::Action).
    #[must_use]
    pub fn with_inspection(mut self) -> Self {
        self.head.inspects = true;
        self
    }

    /// The same, with what is to be told of nodes that have no part.
    #[must_use]
    pub fn with_notes(mut self, notes: Vec<String>) -> Self {
        self.head.notes = notes;
        self
    }

    /// The same, with these dependencies known to be unmet when it was planned.
    #[must_use]
    pub fn with_discrepancies(mut self, discrepancies: Vec<String>) -> Self {
        self.head.discrepancies = discrepancies;
        self
    }

    /// What concerns it as a whole.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Every node's part.
    pub fn parts(&self) -> &BTreeMap<NodeName, Part> {
        &self.parts
    }

    /// Whether a node takes part, or may still come back to it.
    pub fn concerns(&self, node: &NodeName) -> bool {
        let part = self.parts.get(node);
        part.is_some_and(|part| part.late || !matches!(part.phase, NodePhase::LeftOut { .. }))
    }

    /// The nodes that run their target after this wave if all goes well, with its list: those of this
    /// wave and of earlier ones that take part and have not failed.
    pub fn after_wave(&self, wave: u32) -> BTreeMap<NodeName, Digest> {
        let takes_part = |part: &Part| match part.phase {
            NodePhase::Open
            | NodePhase::Asked
            | NodePhase::Accepted
            | NodePhase::Vetoed { .. }
            | NodePhase::Later { .. }
            | NodePhase::Absent => !part.late,
            NodePhase::Changing
            | NodePhase::Waiting
            | NodePhase::Switched
            | NodePhase::Trial
            | NodePhase::Done => true,
            NodePhase::Impossible { .. }
            | NodePhase::LeftOut { .. }
            | NodePhase::Failed { .. }
            | NodePhase::GoingBack
            | NodePhase::WentBack { .. } => false,
        };
        let parts = self.parts.iter();
        let parts = parts.filter(|(_, part)| part.wave <= wave && takes_part(part));
        parts
            .map(|(name, part)| (name.clone(), part.list))
            .collect()
    }

    /// What has to be stored, before anything that the last steps answered is done.
    pub fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.changes)
    }

    /// Notes the number of the wanted state that was signed for a node.
    pub fn signed(&mut self, node: &NodeName, counter: Counter) {
        if let Some(part) = self.parts.get_mut(node) {
            part.counter = Some(counter);
            self.changes.parts.insert(node.clone());
        }
    }

    /// Notes what a node says that it is doing; nothing of it is stored.
    pub fn progress(&mut self, node: &NodeName, text: String) {
        if let Some(part) = self.parts.get_mut(node) {
            part.progress = Some(text);
        }
    }
}

impl Head {
    fn new(id: RolloutId, update: Update, by: FleetName, now_ms: u64, waves: u32) -> Self {
        Self {
            id,
            update,
            by,
            began_ms: now_ms,
            ended_ms: None,
            phase: Phase::Approval,
            paused: false,
            wave: 0,
            waves,
            touched: false,
            opened: false,
            inspects: false,
            inspected: false,
            vote_by_ms: 0,
            soak_until_ms: 0,
            go_by_ms: None,
            go: false,
            grace_until_ms: 0,
            force_later: false,
            forgiven: 0,
            keep_done: false,
            decisions: Vec::new(),
            operator: None,
            discrepancies: Vec::new(),
            notes: Vec::new(),
            detail: None,
        }
    }
}

impl Part {
    fn of(planned: Planned) -> (NodeName, Self) {
        let phase = match planned.impossible {
            Some(reason) => NodePhase::Impossible { reason },
            None => NodePhase::Open,
        };
        let part = Self {
            wave: planned.wave,
            phase,
            due_ms: None,
            forced: false,
            force_carries: false,
            late: false,
            lost: false,
            begun: false,
            missed: false,
            round: 0,
            asks: 0,
            base: planned.base,
            base_list: planned.base_list,
            target: planned.target,
            list: planned.list,
            ballot_until: 0,
            utc_offset: planned.utc_offset,
            counter: None,
            report: None,
            check: None,
            reboot: None,
            present: planned.present,
            progress: None,
        };
        (planned.node, part)
    }
}
