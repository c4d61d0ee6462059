//! One update, from the question to the end.
//!
//! ```text
//! Approval ─► Asking ─► (all accept) ─────────► Rolling ⇄ Soaking ─► Trial ─► Done, Partial
//!               │  ▲                             │   ▲
//!               ▼  │ ask again                   ▼   │ resume
//!              Held ── an operator's decision ─► Stopped ─► TakingBack ─► TakenBack, Partial
//! ```
//!
//! [`Rollout::step`] takes what happened and answers what is to be done. Whoever drives it
//!
//! 1. stores what [`Rollout::take_changes`] names, the head and the nodes each under a key of its
//!    own, **before** it does any of the actions (where one transaction does not hold it all: the
//!    nodes first, the head in the last transaction);
//! 2. does the actions in their order; doing one twice does no harm;
//! 3. comes back with [`Event::Due`] at the last `Wake`;
//! 4. after its own death loads head and nodes, and comes with [`Event::Restarted`], then with
//!    [`Event::Back`] for each node that connects; ended ones are loaded and told likewise.
//!
//! **Invariants:** a node is wanted to change only after all asked accepted or an operator decided,
//! and on a ballot for the software that it runs (or under a force that covers it). In an end phase
//! every node has an end of its own, with a reason where it does not run the target. Where nothing
//! is waited for but time, there is a `Wake`.
//!
//! The gates look at the state, not at the event that led to it: whatever was lost with a death is
//! found again by looking.

mod action;
mod asking;
mod decide;
mod ends;
mod event;
mod index;
mod orders;
mod presence;
mod rolling;
mod state;
mod step;
mod together;
mod undo;
mod view;
mod window;

pub use action::{Action, Note};
pub use decide::Refused;
pub use event::Event;
pub use state::{Changes, Head, Part, Planned, Rollout};
pub use window::{Window, WindowError};

#[cfg(test)]
mod tests;
