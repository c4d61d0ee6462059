//! Why the engine does not do what it was asked.

/// Why the engine does not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such thing.
    #[error("there is no {what}")]
    NotFound {
        /// With its name: `node edge-7`.
        what: String,
    },
    /// What was asked for makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// Dependencies that would not be met, within nodes or between them.
    #[error("dependencies would not be met: {}", .0.join("; "))]
    Unmet(Vec<String>),
    /// Unfinished updates concern some of the same nodes.
    #[error(transparent)]
    Overlap(#[from] crate::plan::overlap::Busy),
    /// It cannot be done as things stand.
    #[error("{0}")]
    Conflict(String),
    /// Packages are not taken.
    #[error("the import was refused")]
    Import(#[from] crate::import::Error),
    /// The shelf of objects failed.
    #[error("the objects are not to be had")]
    Shelf(#[from] transfer::Error),
    /// The store failed.
    #[error("the master's store failed")]
    Store(#[from] crate::store::Error),
    /// A document could not be written down or signed.
    #[error("a document could not be written down")]
    Document(#[from] model::trust::SignedError),
    /// A document on the shelf cannot be read.
    #[error("the object {what} cannot be read")]
    Object {
        /// Which.
        what: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The master is on its way down.
    #[error("the master is stopping")]
    Stopped,
}

impl Error {
    /// There is no such thing.
    pub(crate) fn no(kind: &str, name: &impl std::fmt::Display) -> Self {
        Self::NotFound {
            what: format!("{kind} {name}"),
        }
    }
}
