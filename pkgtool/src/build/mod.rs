//! Making packages: what `package.toml` says, what the files are, what they use, the envelope.

pub mod analyse;
pub mod claims;
pub mod collect;
pub mod debian;
pub mod pack;
pub mod sign;
pub mod spec;
