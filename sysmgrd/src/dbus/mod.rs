//! The edge: decode, ask the engine, encode. It has no opinion.

mod guard;
pub mod manager;
pub mod process;
pub mod serve;
pub mod session;
