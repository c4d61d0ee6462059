//! What can happen to an update.

use model::wire::{Ballot, Decision, FleetName, Installed, NodeEnd, NodeName, RolloutId};

/// What happened. Whatever is from a node comes from that node's own authenticated link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It was created and is in the store.
    Began,
    /// The master was restarted; no node is connected as far as this update knows.
    Restarted,
    /// A node's link is open and it said what it runs.
    Back {
        /// The node.
        node: NodeName,
        /// What it says that it runs.
        installed: Installed,
    },
    /// A connected node says that it runs something else than before, by whatever cause.
    Runs {
        /// The node.
        node: NodeName,
        /// What it says that it runs.
        installed: Installed,
    },
    /// A node's link is gone.
    Away {
        /// The node.
        node: NodeName,
    },
    /// A node gave a sign of life: progress.
    Heard {
        /// The node.
        node: NodeName,
    },
    /// A node answered.
    Voted {
        /// The node.
        node: NodeName,
        /// What it says.
        ballot: Ballot,
    },
    /// A node is staged and ready, and waits for `go`.
    Waiting {
        /// The node.
        node: NodeName,
    },
    /// A node's part ended.
    Ended {
        /// The node.
        node: NodeName,
        /// How.
        end: Box<NodeEnd>,
    },
    /// The node has left the fleet: retired, revoked or quarantined.
    Gone {
        /// The node.
        node: NodeName,
        /// Why.
        reason: String,
    },
    /// An operator decided; [`Rollout::check`](super::Rollout::check) was asked before.
    Decided {
        /// Who.
        by: FleetName,
        /// What.
        decision: Decision,
    },
    /// The answer to [`Action::Inspect`](super::Action::Inspect).
    Inspected {
        /// The wave.
        wave: u32,
        /// Dependencies that the fleet would not meet after it; empty: it may begin.
        discrepancies: Vec<String>,
    },
    /// Another update takes the place of this one.
    Superseded {
        /// Which.
        by: RolloutId,
    },
    /// The time of the last [`Action::Wake`](super::Action::Wake) has come.
    Due,
}
