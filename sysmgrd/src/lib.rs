//! sysmgrd: starts, watches and stops the processes of a node, each in its view.
//!
//! The rooms, from the door inwards; `use` goes down only:
//! - [`dbus`]: the edge. Decodes, asks the engine, encodes.
//! - [`engine`]: the one task that owns every process; one queue of events.
//! - [`process`]: what a process is and may become; pure.
//! - [`graph`]: the walk through a transition's steps; pure.
//! - [`sys`]: effects: spawning, views, control groups, sockets, files, clocks.
//!
//! It keeps no state but that of running processes, starts nothing by itself, and does not take
//! its processes with it when it ends.

pub mod config;
pub mod daemon;
pub mod dbus;
pub mod engine;
pub mod graph;
pub mod process;
pub mod sys;
