//! Who somebody is, and what that lets them do.
//!
//! ```text
//! ca       the fleet's CA: certificates for nodes, operators and the master itself
//! verifier what the TLS handshake takes: certificates of this CA, out of date or not
//! standing what a certificate is worth now: good, lapsed (it may only renew), or nothing, and why
//! known    identities and operators in memory, behind the store by nothing that matters
//! enrol    how a node comes in: by a token, or by an operator's word
//! ```
//!
//! A certificate names its generation. An identity's generation grows when it is revoked or replaced,
//! and with that all certificates of older generations are worth nothing, however long they last: at
//! each new connection, and at each request on an old one.
//!
//! Secrets are random and long, so a plain BLAKE3 of them is what the store holds.

mod authority;
mod ca;
mod enrol;
mod error;
mod files;
mod known;
mod operators;
mod records;
mod secret;
mod standing;
mod subject;
mod tokens;
mod verifier;

pub use authority::{Authority, Settings};
pub use ca::{Ca, Issued};
pub use enrol::{Entered, Outcome as EnrolOutcome, Renewal};
pub use error::Error;
pub use files::{Files, Server, write_private};
pub use records::{Identity, Operator, Pending, State};
pub use standing::Standing;
pub use subject::{Peer, Subject};
pub use verifier::Verifier;

/// Seconds of a day.
pub const DAY: u64 = 86_400;

#[cfg(test)]
mod tests;
