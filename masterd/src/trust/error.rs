//! Why somebody is not let in, or a certificate not made.

use model::wire::NodeName;

/// Why somebody is not let in, or a certificate not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store did not.
    #[error("the store did not take it")]
    Store(#[from] crate::store::Error),
    /// The audit log did not.
    #[error("the store changed meanwhile")]
    Conflict,
    /// A certificate could not be made.
    #[error("could not {doing}")]
    Certificate {
        /// What was tried.
        doing: &'static str,
        /// Why.
        #[source]
        source: rcgen::Error,
    },
    /// A file of the authority is not what it should be.
    #[error("{path} {what}")]
    File {
        /// Which.
        path: String,
        /// What is wrong.
        what: String,
    },
    /// A file could not be read or written.
    #[error("could not keep the authority's files")]
    Io(#[from] std::io::Error),
    /// No randomness.
    #[error("the machine gives no random numbers")]
    Random(#[source] getrandom::Error),
    /// What came is no certificate request that is taken.
    #[error("the certificate request {what}")]
    Request {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The token is not good.
    #[error("the token {what}")]
    Token {
        /// What is wrong with it.
        what: &'static str,
    },
    /// Another key has the name.
    #[error("the name {name} belongs to another key")]
    NameTaken {
        /// Which.
        name: NodeName,
    },
    /// The node was retired or revoked.
    #[error("{name} was {how}")]
    Out {
        /// Which.
        name: NodeName,
        /// `retired` or `revoked`.
        how: &'static str,
    },
    /// Too many wait to be accepted.
    #[error("{count} nodes wait to be accepted already")]
    Crowd {
        /// How many.
        count: usize,
    },
    /// Nothing has that name.
    #[error("there is no {what} {name}")]
    Unknown {
        /// `node`, `token`, `operator`, `node that waits`.
        what: &'static str,
        /// As it was asked for.
        name: String,
    },
    /// Two nodes that wait have that name.
    #[error("{count} nodes that wait call themselves {name}")]
    Ambiguous {
        /// Which name.
        name: String,
        /// How many.
        count: usize,
    },
    /// It would leave nobody who could put it right.
    #[error("{name} is the last operator who may administer")]
    LastAdmin {
        /// Who.
        name: String,
    },
    /// A value that makes no sense.
    #[error("{field} {rule}")]
    Value {
        /// Which.
        field: &'static str,
        /// What it must be.
        rule: &'static str,
    },
}
