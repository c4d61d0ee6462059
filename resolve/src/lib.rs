//! Pure decisions over software sets: the order of a set, the selection of its files, what depends
//! on what, the loader's own search rules, and the order of a changeover's steps.
//!
//! Used by installd, sysmgrd, masterd and pkgtool alike.
//!
//! **Architecture invariant:** everything here is a function of its arguments: no async, no clock,
//! no file, no log.

pub mod deps;
pub mod fleet;
pub mod loader;
pub mod order;
pub mod package;
pub mod select;
pub mod steps;

pub use package::{Characteristics, Package};
