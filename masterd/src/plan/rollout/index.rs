//! How many nodes are where, and which is due first: kept beside the parts, so that a step costs
//! the same with ten nodes and with ten thousand.

use std::collections::{BTreeMap, BTreeSet};

use model::wire::{NodeName, NodePhase};

use super::Part;

/// [`NodePhase`] without what it carries, and with what the gates ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stand {
    Open,
    Asked,
    /// Asked, and nobody waits for it.
    AskedLate,
    Accepted,
    /// Accepted, and its maintenance window is closed.
    Window,
    Vetoed,
    Later,
    /// Asks for another moment, which comes before the vote ends.
    Soon,
    Absent,
    Impossible,
    LeftOut,
    Changing,
    Waiting,
    /// Waiting, as far as is known: its link is gone.
    WaitingAway,
    Switched,
    Trial,
    Done,
    Failed,
    GoingBack,
    WentBack,
}

impl Stand {
    pub(super) fn of(part: &Part) -> Self {
        match &part.phase {
            NodePhase::Open => Self::Open,
            NodePhase::Asked if part.late => Self::AskedLate,
            NodePhase::Asked => Self::Asked,
            NodePhase::Accepted if part.due_ms.is_some() => Self::Window,
            NodePhase::Accepted => Self::Accepted,
            NodePhase::Vetoed { .. } => Self::Vetoed,
            NodePhase::Later { .. } if part.due_ms.is_some() => Self::Soon,
            NodePhase::Later { .. } => Self::Later,
            NodePhase::Absent => Self::Absent,
            NodePhase::Impossible { .. } => Self::Impossible,
            NodePhase::LeftOut { .. } => Self::LeftOut,
            NodePhase::Changing => Self::Changing,
            NodePhase::Waiting if part.present => Self::Waiting,
            NodePhase::Waiting => Self::WaitingAway,
            NodePhase::Switched => Self::Switched,
            NodePhase::Trial => Self::Trial,
            NodePhase::Done => Self::Done,
            NodePhase::Failed { .. } => Self::Failed,
            NodePhase::GoingBack => Self::GoingBack,
            NodePhase::WentBack { .. } => Self::WentBack,
        }
    }
}

/// On its way, and not at its end.
pub(super) const MOVING: [Stand; 5] = [
    Stand::Changing,
    Stand::Waiting,
    Stand::WaitingAway,
    Stand::Switched,
    Stand::GoingBack,
];

/// Told to change, and not on the way back.
pub(super) const FORWARD: [Stand; 4] = [
    Stand::Changing,
    Stand::Waiting,
    Stand::WaitingAway,
    Stand::Switched,
];

/// Not begun, and not left out.
pub(super) const UNBEGUN: [Stand; 10] = [
    Stand::Open,
    Stand::Asked,
    Stand::AskedLate,
    Stand::Accepted,
    Stand::Window,
    Stand::Vetoed,
    Stand::Later,
    Stand::Soon,
    Stand::Absent,
    Stand::Impossible,
];

/// Its answer is waited for until the vote ends.
pub(super) const WAITED_FOR: [Stand; 4] = [Stand::Open, Stand::Asked, Stand::Soon, Stand::Absent];

/// Somebody has to decide about it.
pub(super) const OBJECTING: [Stand; 6] = [
    Stand::Vetoed,
    Stand::Later,
    Stand::Soon,
    Stand::Absent,
    Stand::Impossible,
    Stand::Asked,
];

/// It said no.
pub(super) const SAYING_NO: [Stand; 4] =
    [Stand::Vetoed, Stand::Later, Stand::Soon, Stand::Impossible];

/// Ended otherwise than asked for.
pub(super) const FAILED: [Stand; 2] = [Stand::Failed, Stand::WentBack];

const STANDS: usize = Stand::WentBack as usize + 1;

/// Derived from the parts; never stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Index {
    /// By wave and stand.
    waves: BTreeMap<u32, [BTreeSet<NodeName>; STANDS]>,
    totals: [usize; STANDS],
    dues: BTreeSet<(u64, NodeName)>,
}

impl Index {
    pub(super) fn of(parts: &BTreeMap<NodeName, Part>) -> Self {
        let mut index = Self::default();
        for (node, part) in parts {
            index.put(node, part);
        }
        index
    }

    pub(super) fn put(&mut self, node: &NodeName, part: &Part) {
        let stand = Stand::of(part) as usize;
        let wave = self.waves.entry(part.wave).or_default();
        wave[stand].insert(node.clone());
        self.totals[stand] += 1;
        if let Some(due) = part.due_ms {
            self.dues.insert((due, node.clone()));
        }
    }

    pub(super) fn take(&mut self, node: &NodeName, part: &Part) {
        let stand = Stand::of(part) as usize;
        if let Some(wave) = self.waves.get_mut(&part.wave) {
            wave[stand].remove(node);
            if wave.iter().all(BTreeSet::is_empty) {
                self.waves.remove(&part.wave);
            }
        }
        self.totals[stand] = self.totals[stand].saturating_sub(1);
        if let Some(due) = part.due_ms {
            self.dues.remove(&(due, node.clone()));
        }
    }

    /// Nodes that stand so, of all waves.
    pub(super) fn all(&self, stands: &[Stand]) -> usize {
        stands
            .iter()
            .map(|stand| self.totals[*stand as usize])
            .sum()
    }

    /// How many of a wave stand so.
    pub(super) fn count(&self, wave: u32, stands: &[Stand]) -> usize {
        let Some(sets) = self.waves.get(&wave) else {
            return 0;
        };
        stands.iter().map(|stand| sets[*stand as usize].len()).sum()
    }

    /// Those of a wave that stand so, by name.
    pub(super) fn nodes(&self, wave: u32, stands: &[Stand]) -> Vec<NodeName> {
        let Some(sets) = self.waves.get(&wave) else {
            return Vec::new();
        };
        let chosen = stands.iter().map(|stand| &sets[*stand as usize]);
        chosen.flatten().cloned().collect()
    }

    /// Those of all waves that stand so.
    pub(super) fn everywhere(&self, stands: &[Stand]) -> Vec<NodeName> {
        let waves = self.waves.keys().copied().collect::<Vec<_>>();
        waves
            .into_iter()
            .flat_map(|wave| self.nodes(wave, stands))
            .collect()
    }

    /// Those whose time has come.
    pub(super) fn due(&self, now_ms: u64) -> Vec<NodeName> {
        let due = self.dues.iter().take_while(|(at, _)| *at <= now_ms);
        due.map(|(_, node)| node.clone()).collect()
    }

    /// When the next one is due.
    pub(super) fn first_due(&self) -> Option<u64> {
        self.dues.first().map(|(at, _)| *at)
    }
}
