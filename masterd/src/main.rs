//! Starts the master.

fn main() {}
