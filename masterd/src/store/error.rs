//! Why the store did not do it.

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A key that no store takes.
    #[error("{key:?} is not a key: 1 to 512 bytes without control characters")]
    Key {
        /// Its beginning.
        key: String,
    },
    /// A value that no store takes.
    #[error(
        "the value of {key} has {size} bytes; fewer than {} are taken",
        super::MOST_VALUE
    )]
    Value {
        /// Whose.
        key: String,
        /// How large it is.
        size: usize,
    },
    /// A transaction that no store takes.
    #[error("the transaction {what}")]
    Transaction {
        /// What is wrong with it.
        what: &'static str,
    },
    /// A value is not the record that it should be.
    #[error("the record {key} cannot be read")]
    Record {
        /// Where.
        key: String,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// A record cannot be written down.
    #[error("the record {key} cannot be written down")]
    Write {
        /// Where.
        key: String,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// The lease has ended, or never was.
    #[error("the lease has ended")]
    LeaseGone,
    /// SQLite did not.
    #[error("could not {doing} in the store {path}")]
    Sqlite {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// A file was not what it should be.
    #[error("could not {doing}")]
    File {
        /// What was tried.
        doing: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The store was written by a newer masterd.
    #[error("the store {path} is of version {found}; this masterd knows {known}: use a newer one")]
    Newer {
        /// The file.
        path: String,
        /// What it says.
        found: i64,
        /// The newest that is known.
        known: i64,
    },
    /// The backend has stopped.
    #[error("the store has stopped")]
    Stopped,
}
