//! installd: stores packages, plans changes and carries them out.
//!
//! ```text
//! main ─► dbus ─► follow ─► engine ─► plan ─► resolve ─► model
//!                   └──────►  └─────► sys
//! ```
//! - [`config`]: where things are on this node, and what the node is.
//! - [`dbus`]: decodes a call, asks the engine, encodes the answer. It has no opinion.
//! - [`engine`]: one task owns the node's state and answers one mailbox; a change runs beside it
//!   and tells it the end. It carries plans out and chooses nothing.
//! - [`follow`]: the fleet: a task of its own that holds the link to a master and has the engine do
//!   what was decided there.
//! - [`plan`]: pure: a snapshot of the node and a request in, a plan out. Every decision is here.
//! - [`sys`]: effects: the store, generation trees, SQLite, `/etc`, accounts, sysmgrd's socket.
//!
//! Invariants:
//! - A package is in the store when its row is; its objects and manifest were on the disk before.
//! - A step of a change is in the journal before it is taken, and can be taken twice.
//! - The row `committed` alone says what the next boot runs.
//! - A generation in use is never collected.

pub mod config;
pub mod dbus;
pub mod engine;
pub mod follow;
pub mod plan;
pub mod sys;
