//! Real effects: files, SQLite, accounts, the socket to sysmgrd, the clock. Nothing here chooses;
//! each module does one thing that the engine tells it to.

pub mod check;
pub mod clock;
pub mod config_files;
pub mod db;
pub mod features;
pub mod generation;
pub mod history;
pub mod incoming;
pub mod inspect;
pub mod journal;
pub mod layer;
pub mod loader;
pub mod master;
pub mod memory;
pub mod objects;
pub mod packages;
pub mod rooted;
pub mod setup;
pub mod snapshots;
pub mod sysmgr;
pub mod trial;
pub mod trust;

use std::io;

/// An effect that did not come about.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused; the cause names the path.
    #[error("could not {doing}")]
    Os {
        /// What was tried, for people.
        doing: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The database refused.
    #[error("the node's database could not {doing}")]
    Database {
        /// What was tried.
        doing: &'static str,
        /// Why not.
        #[source]
        source: rusqlite::Error,
    },
    /// The database's schema could not be brought up to date.
    #[error("the node's database could not be brought to this version's form")]
    Migration(#[source] rusqlite_migration::Error),
    /// The envelope is damaged, hostile or too large; nothing of it was kept.
    #[error(transparent)]
    Envelope(#[from] model::envelope::ReadError),
    /// Something that came from outside is refused: names the thing, the reason, the way out.
    #[error("{0}")]
    Refused(String),
    /// Something on disk is not what installd wrote; says what to do.
    #[error("{0}")]
    Damaged(String),
}

/// Adds what was being done to an operating system's error.
pub(crate) trait Doing<T> {
    /// `could not {doing}: …`.
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|source| Error::Os {
            doing: doing(),
            source: source.into(),
        })
    }
}
