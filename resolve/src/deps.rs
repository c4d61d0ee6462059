//! Dependencies within a node: what is required, by whom, and whether the set answers it.

mod answers;
mod check;
mod closure;

pub use answers::Answers;
pub use check::{Checked, check, check_those};
pub use closure::{Shelf, closure};

#[cfg(test)]
mod tests;
