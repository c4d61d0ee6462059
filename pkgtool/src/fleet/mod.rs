//! A fleet's master, over HTTPS.
//!
//! ```text
//! profile (master, CA, token) ─► Master ─► GET PUT POST DELETE /v1/…  documents of model::wire
//! ```
//!
//! The CA of the profile is the only one that is believed, whatever the machine trusts; a proxy
//! (`HTTPS_PROXY`) sees encrypted bytes only. Every refusal becomes an error that names the thing,
//! the reason and the next step, with the exit code that scripts rely on.

mod live;
mod master;
mod profile;
pub mod scope;
mod upload;

pub use live::{Live, Watched, end_of};
pub use master::Master;
pub use profile::ProfileFile;
