//! The node's installer: stores packages, plans changes and carries them out.

pub mod plan;
