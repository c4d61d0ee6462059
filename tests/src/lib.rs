//! What end-to-end tests stand on: nodes in directories, packages made by real compilers, and
//! waiting for what happens instead of for time to pass.
//!
//! The tests themselves are in `tests/tests/`. They run as root, with the binaries that
//! `cargo build --bins` made, and leave nothing behind, however they end.

pub mod binaries;
pub mod builder;
pub mod counts;
pub mod disk;
pub mod fleet;
pub mod house;
pub mod ledger;
pub mod machine;
pub mod node;
pub mod on_bus;
pub mod steer;
pub mod store;
pub mod wait;
