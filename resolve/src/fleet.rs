//! What holds for a fleet: which software a node gets, the hash by which software is compared, and
//! dependencies within nodes and between them.
//!
//! The master and each node use the same functions: a node computes itself what it is told, and
//! refuses a difference.

mod check;
mod facts;
mod order;
mod ranks;
mod release;
mod software;

pub use check::{Discrepancy, NodeSoftware, Others, check, fresh};
pub use facts::{characteristics, differences, merged};
pub use order::{Ordered, meant, order_for, shelf_for};
pub use ranks::{circles, ranks};
pub use release::{Change, Refusal, is_older, refusals};
pub use software::software_hash;
