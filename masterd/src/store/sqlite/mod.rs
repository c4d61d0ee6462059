//! The store of a single master: one SQLite file.
//!
//! ```text
//! commit, lease ──► writer thread ──► state.db (WAL, synchronous=FULL) ◄── reader thread ◄── get, list
//!                        └──► broadcast ──► one forwarder for each watch
//! ```
//!
//! Transactions that wait together are written together: one fsync for all of them, each with its
//! own revision, none acknowledged before it. Changes are remembered in memory only, for as many as
//! [`HISTORY`] transactions: this process is the only one with watches, and after its restart each
//! of them lists again.

mod leases;
mod reader;
mod tables;
mod watching;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::backend::{Answer, Backend, Watch};
use super::{Entry, Error, Lease, Listing, Outcome, Revision, Txn};
use watching::History;

pub use watching::HISTORY;

/// The store of a single master.
#[derive(Debug)]
pub struct Sqlite {
    path: PathBuf,
    writer: mpsc::Sender<writer::Command>,
    reader: mpsc::Sender<reader::Command>,
    history: History,
}

impl Sqlite {
    /// Opens the file, or makes it; its directory must be there.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let connection = tables::open(path)?;
        let revision =
            tables::revision(&connection).map_err(tables::failed(path, "read the revision"))?;
        let history = History::new(revision);
        let writer = writer::start(connection, path, history.clone())?;
        let reader = reader::start(path)?;
        Ok(Self {
            path: path.to_owned(),
            writer,
            reader,
            history,
        })
    }

    /// Writes a copy of the store, as it is at one moment, to `to`, which must not be there yet.
    /// Works while another process writes.
    pub fn copy(path: &Path, to: &Path) -> Result<(), Error> {
        let connection = tables::open_to_read(path)?;
        let name = to.to_string_lossy().into_owned();
        connection
            .execute("VACUUM INTO ?1", [name])
            .map_err(tables::failed(path, "copy what is"))?;
        let copied = fs_err::File::open(to).and_then(|file| file.sync_all());
        copied.map_err(|source| Error::File {
            doing: "make the copy last",
            source,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn write<T: Send + 'static>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> writer::Command,
    ) -> Answer<'_, T> {
        let (answer, answered) = oneshot::channel();
        let sent = self.writer.send(command(answer));
        Box::pin(async move {
            sent.map_err(|_| Error::Stopped)?;
            answered.await.map_err(|_| Error::Stopped)?
        })
    }

    fn read<T: Send + 'static>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> reader::Command,
    ) -> Answer<'_, T> {
        let (answer, answered) = oneshot::channel();
        let sent = self.reader.send(command(answer));
        Box::pin(async move {
            sent.map_err(|_| Error::Stopped)?;
            answered.await.map_err(|_| Error::Stopped)?
        })
    }
}

impl Backend for Sqlite {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Entry>> {
        self.read(|answer| reader::Command::Get(key.to_owned(), answer))
    }

    fn list(&self, listing: Listing) -> Answer<'_, (Vec<Entry>, Revision)> {
        self.read(|answer| reader::Command::List(listing, answer))
    }

    fn commit(&self, txn: Txn) -> Answer<'_, Outcome> {
        self.write(|answer| writer::Command::Commit(txn, answer))
    }

    fn watch<'a>(&'a self, prefix: &'a str, from: Revision) -> Answer<'a, Watch> {
        Box::pin(async move { Ok(self.history.watch(prefix, from)) })
    }

    fn grant(&self, ttl: Duration) -> Answer<'_, Lease> {
        self.write(|answer| writer::Command::Grant(ttl, answer))
    }

    fn keep_alive(&self, lease: Lease) -> Answer<'_, ()> {
        self.write(|answer| writer::Command::KeepAlive(lease, answer))
    }

    fn revoke(&self, lease: Lease) -> Answer<'_, ()> {
        self.write(|answer| writer::Command::Revoke(lease, answer))
    }
}

#[cfg(test)]
mod tests;
