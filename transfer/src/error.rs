//! What can go wrong on either side.

use std::io;
use std::path::PathBuf;

use model::Digest;

/// Why bytes could not be stored, offered or fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file system refused.
    #[error("could not {doing}")]
    Io {
        /// What was being done.
        doing: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The shelf's own records cannot be read or written.
    #[error("the shelf's records in {} failed", path.display())]
    Records {
        /// The database.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// Bytes that were handed in are not what they were said to be.
    #[error("object {digest} is not what it was said to be: {reason}")]
    Lies {
        /// The object.
        digest: Digest,
        /// How it differs.
        reason: String,
    },
    /// The shelf has no such object.
    #[error("object {digest} is not on the shelf: import the package that it belongs to again")]
    Absent {
        /// The object.
        digest: Digest,
    },
    /// No such list was published.
    #[error("software list {list} was not published")]
    NoList {
        /// The list.
        list: Digest,
    },
    /// Neither master nor mirrors answer; what was fetched is kept.
    #[error(
        "no source could be reached, the last was {source_url}: {reason}; what was fetched is kept"
    )]
    Unreachable {
        /// The source that was tried last.
        source_url: String,
        /// What it did.
        reason: String,
    },
    /// Sources answer, but not with what is needed.
    #[error(
        "{} of the objects cannot be had, the first is {digest}: {reason}",
        count
    )]
    NotOffered {
        /// The first of them.
        digest: Digest,
        /// How many.
        count: usize,
        /// Why that one.
        reason: String,
    },
}

/// Names what an input or output was for.
pub(crate) trait Doing<T> {
    /// Turns the error into [`Error::Io`] with `what` was being done.
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|source| Error::Io {
            doing: what(),
            source,
        })
    }
}
