//! What holds for a fleet: the hash by which software is compared, and dependencies within nodes
//! and between them.

mod software;

pub use software::software_hash;
