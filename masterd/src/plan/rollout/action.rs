//! What an update wants done.

use model::wire::{NodeName, Orders, Phase};

/// To be done after the state is in the store, in order. Doing one twice does no harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send the question; list, target and characteristics are the part's.
    Ask {
        /// The node.
        node: NodeName,
        /// Which asking of this node.
        round: u32,
    },
    /// Tell it that nothing comes of the question.
    Withdraw {
        /// The node.
        node: NodeName,
        /// Why.
        reason: String,
    },
    /// Sign the part's target as the node's wanted state with these orders, store and send it.
    /// Where the stored wanted state already says just that, only send it.
    Want {
        /// The node.
        node: NodeName,
        /// How it comes to it.
        orders: Box<Orders>,
    },
    /// Sign what the node ran before (the part's base) as its wanted state, store and send it: it is
    /// to change back.
    Return {
        /// The node.
        node: NodeName,
        /// How it comes to it.
        orders: Box<Orders>,
    },
    /// Sign what the node ran before as its wanted state, without orders: it runs that, or comes to
    /// it by itself. Otherwise a reconnect would begin again what has failed.
    Keep {
        /// The node.
        node: NodeName,
    },
    /// Send `go`.
    Go {
        /// The node.
        node: NodeName,
    },
    /// Tell it to leave, or take back, what it has begun of this update.
    Abort {
        /// The node.
        node: NodeName,
        /// Why.
        reason: String,
    },
    /// Tell it that its report has arrived: what it runs stays.
    Commit {
        /// The node.
        node: NodeName,
    },
    /// The update has ended without this node, which was away and is back: begin one for it alone,
    /// if nothing newer concerns it.
    FollowUp {
        /// The node.
        node: NodeName,
    },
    /// Check the whole fleet as it would be after this wave, and come back with
    /// [`Event::Inspected`](super::Event::Inspected).
    Inspect {
        /// The wave.
        wave: u32,
    },
    /// Come back at this time with [`Event::Due`](super::Event::Due); the last one counts.
    Wake {
        /// Milliseconds since 1970.
        at_ms: u64,
    },
    /// Tell people: hooks, events, audit.
    Note(Note),
}

/// What people are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// The phase is another one.
    Phase(Phase),
    /// Nodes object, or cannot: an operator has to decide.
    Held(String),
    /// A node failed.
    Failed {
        /// Which.
        node: NodeName,
        /// Why.
        reason: String,
    },
    /// Something is true that should not be.
    Discrepancy(String),
}
