//! The shelf's database: derived from nothing, so it is written in transactions and kept.

use std::path::Path;
use std::time::Duration;

use model::Digest;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::index::Blob;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS blob (
    id INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE, size INTEGER NOT NULL, groups BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS object (
    digest TEXT PRIMARY KEY, size INTEGER NOT NULL,
    blob INTEGER NOT NULL REFERENCES blob (id), start INTEGER NOT NULL, length INTEGER NOT NULL,
    sum TEXT NOT NULL
) STRICT, WITHOUT ROWID;
-- length 0: it was tried and was not worth it
CREATE TABLE IF NOT EXISTS patch (
    old TEXT NOT NULL, new TEXT NOT NULL,
    blob INTEGER REFERENCES blob (id), start INTEGER NOT NULL, length INTEGER NOT NULL,
    sum TEXT NOT NULL, PRIMARY KEY (old, new)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS list_object (
    list TEXT NOT NULL, nth INTEGER NOT NULL, object TEXT NOT NULL, PRIMARY KEY (list, nth)
) STRICT, WITHOUT ROWID;
-- indices, and what an offer stored for itself alone
CREATE TABLE IF NOT EXISTS offer (
    list TEXT NOT NULL, old TEXT NOT NULL, blob INTEGER NOT NULL REFERENCES blob (id),
    PRIMARY KEY (list, old, blob)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS object_blob ON object (blob);
CREATE INDEX IF NOT EXISTS patch_blob ON patch (blob);
CREATE INDEX IF NOT EXISTS offer_blob ON offer (blob);
";

pub(super) fn open(path: &Path) -> rusqlite::Result<Connection> {
    let records = Connection::open(path)?;
    records.busy_timeout(Duration::from_secs(30))?;
    records.pragma_update(None, "journal_mode", "WAL")?;
    // An import is told of as done when it is on the disk.
    records.pragma_update(None, "synchronous", "FULL")?;
    records.pragma_update(None, "foreign_keys", "ON")?;
    records.execute_batch(SCHEMA)?;
    Ok(records)
}

/// Where compressed bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) blob: Digest,
    pub(super) at: u64,
    pub(super) length: u64,
    pub(super) sum: Digest,
}

/// An object that the shelf has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) size: u64,
    pub(super) place: Place,
}

/// What is known of a patch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tried {
    /// It is larger than the whole object.
    Useless,
    /// It is here.
    Made(Place),
}

/// A length or offset as SQLite has it.
pub(super) struct Int(pub(super) u64);

impl ToSql for Int {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let wide = |error| rusqlite::Error::ToSqlConversionFailure(Box::new(error));
        Ok(i64::try_from(self.0).map_err(wide)?.into())
    }
}

impl FromSql for Int {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let found = i64::column_result(value)?;
        u64::try_from(found)
            .map(Self)
            .map_err(|_| FromSqlError::OutOfRange(found))
    }
}

fn int(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get(column).map(|Int(value)| value)
}

fn digest(row: &Row<'_>, column: usize) -> rusqlite::Result<Digest> {
    let text: String = row.get(column)?;
    text.parse().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(
            column,
            rusqlite::types::Type::Text,
            Box::new(error),
        )
    })
}

pub(super) fn object(records: &Connection, of: &Digest) -> rusqlite::Result<Option<Stored>> {
    let mut query = records.prepare_cached(
        "SELECT o.size, b.digest, o.start, o.length, o.sum \
         FROM object o JOIN blob b ON b.id = o.blob WHERE o.digest = ?1",
    )?;
    let stored = |row: &Row<'_>| {
        Ok(Stored {
            size: int(row, 0)?,
            place: Place {
                blob: digest(row, 1)?,
                at: int(row, 2)?,
                length: int(row, 3)?,
                sum: digest(row, 4)?,
            },
        })
    };
    query.query_row([of.to_string()], stored).optional()
}

pub(super) fn blob(records: &Connection, of: &Digest) -> rusqlite::Result<Option<Blob>> {
    let mut query = records.prepare_cached("SELECT size, groups FROM blob WHERE digest = ?1")?;
    let found = |row: &Row<'_>| {
        let groups: Vec<u8> = row.get(1)?;
        Ok(Blob {
            digest: *of,
            size: int(row, 0)?,
            groups: groups.as_chunks::<32>().0.to_vec(),
        })
    };
    query.query_row([of.to_string()], found).optional()
}

/// The number of the blob, which is recorded where it is not yet.
pub(super) fn add_blob(records: &Connection, blob: &Blob) -> rusqlite::Result<i64> {
    let groups = blob.groups.as_flattened();
    let name = blob.digest.to_string();
    records
        .prepare_cached(
            "INSERT INTO blob (digest, size, groups) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
        )?
        .execute(params![name, Int(blob.size), groups])?;
    records
        .prepare_cached("SELECT id FROM blob WHERE digest = ?1")?
        .query_row([name], |row| row.get(0))
}

pub(super) fn add_object(
    records: &Connection,
    (of, size): (&Digest, u64),
    (blob, at, length): (i64, u64, u64),
    sum: &Digest,
) -> rusqlite::Result<()> {
    records
        .prepare_cached(
            "INSERT INTO object VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
        )?
        .execute(params![
            of.to_string(),
            Int(size),
            blob,
            Int(at),
            Int(length),
            sum.to_string()
        ])
        .map(drop)
}

pub(super) fn patch(
    records: &Connection,
    (old, new): (&Digest, &Digest),
) -> rusqlite::Result<Option<Tried>> {
    let mut query = records.prepare_cached(
        "SELECT p.length, b.digest, p.start, p.sum \
         FROM patch p LEFT JOIN blob b ON b.id = p.blob WHERE p.old = ?1 AND p.new = ?2",
    )?;
    let tried = |row: &Row<'_>| {
        let length = int(row, 0)?;
        if length == 0 {
            return Ok(Tried::Useless);
        }
        Ok(Tried::Made(Place {
            blob: digest(row, 1)?,
            at: int(row, 2)?,
            length,
            sum: digest(row, 3)?,
        }))
    };
    query
        .query_row([old.to_string(), new.to_string()], tried)
        .optional()
}

pub(super) fn add_patch(
    records: &Connection,
    (old, new): (&Digest, &Digest),
    place: Option<(i64, u64, u64, Digest)>,
) -> rusqlite::Result<()> {
    let (blob, at, length, sum) = match place {
        Some((blob, at, length, sum)) => (Some(blob), at, length, sum.to_string()),
        None => (None, 0, 0, String::new()),
    };
    records
        .prepare_cached("INSERT OR REPLACE INTO patch VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
        .execute(params![
            old.to_string(),
            new.to_string(),
            blob,
            Int(at),
            Int(length),
            sum
        ])
        .map(drop)
}

/// The objects of a published list in their order; empty: it was not published.
pub(super) fn list(records: &Connection, list: &Digest) -> rusqlite::Result<Vec<Digest>> {
    let mut query =
        records.prepare_cached("SELECT object FROM list_object WHERE list = ?1 ORDER BY nth")?;
    let rows = query.query_map([list.to_string()], |row| digest(row, 0))?;
    rows.collect()
}

pub(super) fn set_list(
    records: &Connection,
    list: &Digest,
    objects: &[Digest],
) -> rusqlite::Result<()> {
    let name = list.to_string();
    records.execute("DELETE FROM list_object WHERE list = ?1", [&name])?;
    let mut insert = records.prepare_cached("INSERT INTO list_object VALUES (?1, ?2, ?3)")?;
    for (nth, object) in objects.iter().enumerate() {
        insert.execute(params![name, Int(nth as u64), object.to_string()])?;
    }
    Ok(())
}

/// Records which blobs the index of a list, or of a way to it, needs besides stored objects.
pub(super) fn set_offer(
    records: &Connection,
    (list, old): (&Digest, Option<&Digest>),
    blobs: &[i64],
) -> rusqlite::Result<()> {
    let list = list.to_string();
    let old = old.map(Digest::to_string).unwrap_or_default();
    records.execute(
        "DELETE FROM offer WHERE list = ?1 AND old = ?2",
        [&list, &old],
    )?;
    let mut insert = records.prepare_cached("INSERT OR IGNORE INTO offer VALUES (?1, ?2, ?3)")?;
    for blob in blobs {
        insert.execute(params![list, old, blob])?;
    }
    Ok(())
}
