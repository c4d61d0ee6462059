//! The file: its tables, and how it is opened.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};

use crate::store::{Entry, Error, Revision};

/// The newest form of the file that this program knows.
const VERSION: i64 = 1;

const SCHEMA: &str = "
CREATE TABLE entries (
    key TEXT PRIMARY KEY, value BLOB NOT NULL, revision INTEGER NOT NULL, lease INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX entries_by_lease ON entries (lease) WHERE lease IS NOT NULL;
CREATE TABLE leases (id INTEGER PRIMARY KEY AUTOINCREMENT, ttl INTEGER NOT NULL) STRICT;
CREATE TABLE head (one INTEGER PRIMARY KEY CHECK (one = 1), revision INTEGER NOT NULL) STRICT;
INSERT INTO head VALUES (1, 0);
PRAGMA user_version = 1;
";

pub(super) fn failed(
    path: &Path,
    doing: &'static str,
) -> impl Fn(rusqlite::Error) -> Error + use<> {
    let path = path.display().to_string();
    move |source| Error::Sqlite {
        doing,
        path: path.clone(),
        source,
    }
}

/// To write.
pub(super) fn open(path: &Path) -> Result<Connection, Error> {
    let opened = failed(path, "open what is");
    let mut connection = Connection::open(path).map_err(&opened)?;
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 10000;",
        )
        .map_err(&opened)?;
    let found: i64 = connection
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(&opened)?;
    if found > VERSION {
        return Err(Error::Newer {
            path: path.display().to_string(),
            found,
            known: VERSION,
        });
    }
    if found == 0 {
        let made = failed(path, "make the tables");
        let transaction = connection.transaction().map_err(&made)?;
        transaction.execute_batch(SCHEMA).map_err(&made)?;
        transaction.commit().map_err(&made)?;
    }
    Ok(connection)
}

/// To read.
pub(super) fn open_to_read(path: &Path) -> Result<Connection, Error> {
    let opened = failed(path, "open what is");
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(&opened)?;
    connection
        .execute_batch("PRAGMA busy_timeout = 10000;")
        .map_err(&opened)?;
    Ok(connection)
}

pub(super) fn revision(connection: &Connection) -> rusqlite::Result<Revision> {
    let mut statement = connection.prepare_cached("SELECT revision FROM head")?;
    statement
        .query_row([], |row| row.get(0).map(number))
        .map(Revision)
}

/// The revision that a key was last written at; [`Revision::ABSENT`] where it is not there.
pub(super) fn revision_of(connection: &Connection, key: &str) -> rusqlite::Result<Revision> {
    let mut statement = connection.prepare_cached("SELECT revision FROM entries WHERE key = ?1")?;
    let found: Option<i64> = statement.query_row([key], |row| row.get(0)).optional()?;
    Ok(found.map_or(Revision::ABSENT, |found| Revision(number(found))))
}

pub(super) fn set_revision(connection: &Connection, to: Revision) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached("UPDATE head SET revision = ?1")?;
    statement.execute(params![column(to)]).map(drop)
}

pub(super) fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry {
        key: row.get(0)?,
        value: row.get(1)?,
        revision: Revision(number(row.get(2)?)),
    })
}

/// Revisions begin at 1 and grow by 1: they fit either way.
pub(super) fn column(revision: Revision) -> i64 {
    i64::try_from(revision.0).unwrap_or(i64::MAX)
}

fn number(column: i64) -> u64 {
    u64::try_from(column).unwrap_or(0)
}
