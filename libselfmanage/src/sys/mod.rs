//! The only rooms with `unsafe`: the dynamic loader, and the inherited socket.

pub(crate) mod inherited;
pub(crate) mod loader;
