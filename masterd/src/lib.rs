//! The master of a fleet.
//!
//! ```text
//! main ─► api ─► engine ─► plan ─► resolve ─► model          main ─► sys (real effects)
//!          │        │        (pure: no async, clock, file, log)
//!          └► trust ┴► store (what must not be forgotten)
//! ```
//!
//! `api` decodes, asks, encodes: each way in stands in one table with who may go it. `trust` says who
//! somebody is: certificates, tokens, operators. `engine` owns the state of all nodes in one task
//! with one mailbox; it carries out what `plan` decides, and writes it to `store` before it tells
//! anybody. `sys` is where Linux is: the listener, systemd, files.
//!
//! **Architecture invariant:** no message that lets a node act leaves before its decision is in the
//! store. **Architecture invariant:** nothing but `trust` compares a secret or reads a certificate.

pub mod api;
pub mod audit;
pub mod clock;
pub mod config;
pub mod engine;
pub mod hooks;
pub mod import;
pub mod plan;
pub mod store;
pub mod sys;
pub mod trust;
