//! `state.db`: packages, generations and what the next boot runs.
//!
//! SQLite in WAL mode. Journal steps survive a killed daemon; what must survive the machine's
//! power goes through `Db::durably`. The row `committed` is the only truth about the next boot.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use model::trust::Admitted;
use model::{Digest, Generation, PackageId, PackageName, PackagePath, fault};
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use rusqlite_migration::{M, Migrations};

use super::clock::Time;
use super::objects::Key;
use super::{Doing, Error};

const SCHEMA: &str = "
CREATE TABLE packages (
    id TEXT PRIMARY KEY, summary TEXT NOT NULL, size INTEGER NOT NULL, added INTEGER NOT NULL
) STRICT;
CREATE TABLE generations (
    number INTEGER PRIMARY KEY, created INTEGER NOT NULL, complete INTEGER NOT NULL,
    automatic TEXT NOT NULL
) STRICT;
CREATE TABLE members (
    generation INTEGER NOT NULL REFERENCES generations ON DELETE CASCADE,
    place INTEGER NOT NULL, package TEXT NOT NULL, PRIMARY KEY (generation, place)
) STRICT, WITHOUT ROWID;
CREATE TABLE kept (
    generation INTEGER NOT NULL REFERENCES generations ON DELETE CASCADE,
    path TEXT NOT NULL, digest TEXT NOT NULL, object TEXT NOT NULL, PRIMARY KEY (generation, path)
) STRICT, WITHOUT ROWID;
CREATE TABLE previous (
    name TEXT NOT NULL, depth INTEGER NOT NULL, package TEXT NOT NULL, PRIMARY KEY (name, depth)
) STRICT, WITHOUT ROWID;
CREATE TABLE committed (one INTEGER PRIMARY KEY CHECK (one = 1), generation INTEGER NOT NULL) STRICT;
CREATE TABLE running (
    one INTEGER PRIMARY KEY CHECK (one = 1), generation INTEGER NOT NULL, boot TEXT NOT NULL
) STRICT;
CREATE TABLE changes (
    id INTEGER PRIMARY KEY AUTOINCREMENT, requester TEXT NOT NULL, began INTEGER NOT NULL,
    ended INTEGER, boot TEXT NOT NULL, origin INTEGER NOT NULL, target INTEGER NOT NULL,
    request TEXT NOT NULL, before TEXT NOT NULL, after TEXT NOT NULL, plan TEXT NOT NULL,
    votes TEXT, transition TEXT, report TEXT
) STRICT;
CREATE TABLE journal (
    change INTEGER NOT NULL REFERENCES changes, seq INTEGER NOT NULL, step TEXT NOT NULL,
    intended INTEGER NOT NULL, done INTEGER, PRIMARY KEY (change, seq)
) STRICT, WITHOUT ROWID;
";

/// Generations that are trials, and those that retention leaves alone.
const TRIALS_AND_PINS: &str = "
ALTER TABLE generations ADD COLUMN trial INTEGER NOT NULL DEFAULT 0;
ALTER TABLE generations ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0;
";

/// On whose word a package was taken: a document, absent in rows from before there were signatures.
const ADMISSIONS: &str = "ALTER TABLE packages ADD COLUMN admitted TEXT;";

/// A transition that a reboot undid, while what it did to the state of processes is not undone.
const UNDONE: &str = "
CREATE TABLE undone (one INTEGER PRIMARY KEY CHECK (one = 1), transition TEXT NOT NULL) STRICT;
";

/// Packages that are in memory only, and the boot that they are gone with.
const LOADED: &str = "
CREATE TABLE loaded (package TEXT PRIMARY KEY, boot TEXT NOT NULL) STRICT;
";

/// The node's database.
#[derive(Debug)]
pub struct Db {
    pub(super) connection: Connection,
}

/// A package in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageRow {
    /// Which.
    pub id: PackageId,
    /// One line for people.
    pub summary: String,
    /// Bytes of its files.
    pub size: u64,
    /// When it was added.
    pub added: Time,
    /// On whose word it was taken.
    pub admitted: Option<Admitted>,
}

/// A software set as it is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GenerationRow {
    /// Its number.
    pub number: Generation,
    /// The list behind its order.
    pub list: Vec<PackageId>,
    /// Objects that are not those that the winning package's manifest names.
    pub kept: BTreeMap<PackagePath, (Digest, Key)>,
    /// Packages that came as dependencies.
    pub automatic: BTreeSet<PackageName>,
    /// Whether it is a trial: its tree is in memory, and the next boot forgets it.
    pub trial: bool,
}

/// Names the failed operation.
pub(super) fn failed(doing: &'static str) -> impl Fn(rusqlite::Error) -> Error {
    move |source| Error::Database { doing, source }
}

/// A number for SQLite, which has none above 2^63.
pub(super) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number from SQLite.
pub(super) fn uint(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

impl Db {
    /// The database at `path`, made or brought up to date.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let open = || -> rusqlite::Result<Connection> {
            let connection = Connection::open(path)?;
            connection.busy_timeout(std::time::Duration::from_secs(10))?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "NORMAL")?;
            connection.pragma_update(None, "foreign_keys", true)?;
            Ok(connection)
        };
        let mut connection = open().map_err(failed("be opened"))?;
        let migrations = Migrations::new(vec![
            M::up(SCHEMA),
            M::up(TRIALS_AND_PINS),
            M::up(ADMISSIONS),
            M::up(UNDONE),
            M::up(LOADED),
        ]);
        migrations
            .to_latest(&mut connection)
            .map_err(Error::Migration)?;
        Ok(Self { connection })
    }

    /// Runs `change` in one transaction that is on the disk when this returns.
    pub(super) fn durably<T>(
        &mut self,
        doing: &'static str,
        change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        let level = |connection: &Connection, level| {
            connection
                .pragma_update(None, "synchronous", level)
                .map_err(failed(doing))
        };
        level(&self.connection, "FULL")?;
        let result = self.together(doing, change);
        level(&self.connection, "NORMAL")?;
        result
    }

    /// Runs `change` in one transaction.
    pub(super) fn together<T>(
        &mut self,
        doing: &'static str,
        change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        let transaction = self.connection.transaction().map_err(failed(doing))?;
        let value = change(&transaction).map_err(failed(doing))?;
        fault::before(doing).doing(|| doing.to_owned())?;
        transaction.commit().map_err(failed(doing))?;
        fault::after(doing);
        Ok(value)
    }

    /// Whether the store has this package.
    pub fn has_package(&self, id: &PackageId) -> Result<bool, Error> {
        self.connection
            .query_row(
                "SELECT 1 FROM packages WHERE id = ?1",
                [id.to_string()],
                |_| Ok(()),
            )
            .optional()
            .map(|found| found.is_some())
            .map_err(failed("look for a package"))
    }

    /// Every package in the store, by name and then as they came.
    pub fn packages(&self) -> Result<Vec<PackageRow>, Error> {
        let doing = "list the packages";
        let sql = "SELECT id, summary, size, added, admitted FROM packages ORDER BY added, id";
        let mut statement = self.connection.prepare(sql).map_err(failed(doing))?;
        let rows = statement
            .query_map([], |row| {
                Ok((
                    row.get::<_, String>(0)?,
                    row.get(1)?,
                    row.get(2)?,
                    row.get(3)?,
                    row.get::<_, Option<String>>(4)?,
                ))
            })
            .map_err(failed(doing))?;
        let mut packages = Vec::new();
        for row in rows {
            let (id, summary, size, added, admitted) = row.map_err(failed(doing))?;
            packages.push(PackageRow {
                id: parse(&id)?,
                summary,
                size: uint(size),
                added: Time(added),
                admitted: admitted.as_deref().and_then(admission),
            });
        }
        Ok(packages)
    }

    /// Puts packages into the store; from here on they are in it. `loaded`: in memory only, in that
    /// boot.
    pub fn insert_packages(
        &mut self,
        rows: &[PackageRow],
        loaded: Option<&str>,
    ) -> Result<(), Error> {
        self.durably("add packages", |tx| {
            let sql = "INSERT OR IGNORE INTO packages (id, summary, size, added, admitted) \
                       VALUES (?1, ?2, ?3, ?4, ?5)";
            for row in rows {
                let id = row.id.to_string();
                let admitted = row.admitted.as_ref().and_then(document);
                let (size, added) = (int(row.size), row.added.0);
                tx.execute(sql, params![id, row.summary, size, added, admitted])?;
                match loaded {
                    Some(boot) => {
                        let sql = "INSERT OR REPLACE INTO loaded VALUES (?1, ?2)";
                        tx.execute(sql, params![id, boot])?
                    }
                    None => tx.execute("DELETE FROM loaded WHERE package = ?1", [id])?,
                };
            }
            Ok(())
        })
    }

    /// Whether a package is in memory only.
    pub fn is_loaded(&self, id: &PackageId) -> Result<bool, Error> {
        let sql = "SELECT 1 FROM loaded WHERE package = ?1";
        let found = self
            .connection
            .query_row(sql, [id.to_string()], |_| Ok(()))
            .optional();
        found
            .map(|found| found.is_some())
            .map_err(failed("look for a package in memory"))
    }

    /// Forgets packages that were in memory in another boot than this one.
    pub fn forget_loaded(&mut self, boot: &str) -> Result<(), Error> {
        self.together("forget what was in memory", |tx| {
            let sql = "DELETE FROM packages WHERE id IN \
                       (SELECT package FROM loaded WHERE boot != ?1)";
            tx.execute(sql, [boot])?;
            tx.execute("DELETE FROM loaded WHERE boot != ?1", [boot])
                .map(drop)
        })
    }

    /// On whose word a package was taken.
    pub fn admitted(&self, id: &PackageId) -> Result<Option<Admitted>, Error> {
        let sql = "SELECT admitted FROM packages WHERE id = ?1";
        let found: Option<Option<String>> = self
            .connection
            .query_row(sql, [id.to_string()], |row| row.get(0))
            .optional()
            .map_err(failed("tell who brought a package"))?;
        Ok(found.flatten().as_deref().and_then(admission))
    }

    /// Notes that a package rests on another word now.
    pub fn set_admitted(&mut self, id: &PackageId, admitted: &Admitted) -> Result<(), Error> {
        let admitted = document(admitted);
        self.durably("note who brought a package", |tx| {
            let sql = "UPDATE packages SET admitted = ?2 WHERE id = ?1";
            tx.execute(sql, params![id.to_string(), admitted]).map(drop)
        })
    }

    /// Takes a package out of the store.
    pub fn delete_package(&mut self, id: &PackageId) -> Result<(), Error> {
        self.durably("remove a package", |tx| {
            tx.execute("DELETE FROM loaded WHERE package = ?1", [id.to_string()])?;
            tx.execute("DELETE FROM packages WHERE id = ?1", [id.to_string()])
                .map(drop)
        })
    }

    /// A number for a new generation; no number is used twice.
    pub fn next_generation(&self) -> Result<Generation, Error> {
        let sql = "SELECT MAX(n) FROM (SELECT MAX(number) AS n FROM generations \
                   UNION ALL SELECT MAX(target) FROM changes)";
        let last: Option<i64> = self
            .connection
            .query_row(sql, [], |row| row.get(0))
            .map_err(failed("number a generation"))?;
        Ok(Generation(uint(last.unwrap_or(0)) + 1))
    }

    /// Records a generation whose tree stands on the disk.
    pub fn insert_generation(&mut self, row: &GenerationRow, created: Time) -> Result<(), Error> {
        let automatic: Vec<&str> = row.automatic.iter().map(PackageName::as_str).collect();
        let automatic = automatic.join(" ");
        let number = int(row.number.0);
        self.together("record a generation", |tx| {
            tx.execute("DELETE FROM generations WHERE number = ?1", [number])?;
            let sql = "INSERT INTO generations (number, created, complete, automatic, trial) \
                       VALUES (?1, ?2, 1, ?3, ?4)";
            tx.execute(sql, params![number, created.0, automatic, row.trial])?;
            for (place, id) in (0_i64..).zip(&row.list) {
                let sql = "INSERT INTO members VALUES (?1, ?2, ?3)";
                tx.execute(sql, params![number, place, id.to_string()])?;
            }
            for (path, (digest, key)) in &row.kept {
                let sql = "INSERT INTO kept VALUES (?1, ?2, ?3, ?4)";
                tx.execute(
                    sql,
                    params![number, path.as_str(), digest.to_string(), key.text()],
                )?;
            }
            Ok(())
        })
    }

    /// Forgets a generation.
    pub fn delete_generation(&mut self, number: Generation) -> Result<(), Error> {
        self.together("forget a generation", |tx| {
            tx.execute("DELETE FROM generations WHERE number = ?1", [int(number.0)])
                .map(drop)
        })
    }

    /// Every complete generation with the time it was made, oldest first.
    pub fn generations(&self) -> Result<Vec<(Generation, Time)>, Error> {
        let doing = "list the generations";
        let sql = "SELECT number, created FROM generations WHERE complete = 1 ORDER BY number";
        let mut statement = self.connection.prepare(sql).map_err(failed(doing))?;
        let rows = statement
            .query_map([], |row| {
                Ok((Generation(uint(row.get(0)?)), Time(row.get(1)?)))
            })
            .map_err(failed(doing))?;
        rows.collect::<rusqlite::Result<_>>().map_err(failed(doing))
    }

    /// One generation. Generation 0 is empty.
    pub fn generation(&self, number: Generation) -> Result<GenerationRow, Error> {
        if number == Generation(0) {
            return Ok(GenerationRow::default());
        }
        let doing = "read a generation";
        let found: Option<(String, bool)> = self
            .connection
            .query_row(
                "SELECT automatic, trial FROM generations WHERE number = ?1",
                [int(number.0)],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()
            .map_err(failed(doing))?;
        let (automatic, trial) = found.ok_or_else(|| {
            Error::Damaged(format!("generation {number} is not in the node's database"))
        })?;
        let automatic = automatic
            .split_whitespace()
            .filter_map(|name| name.parse().ok())
            .collect();
        let list = self.members(number)?;
        Ok(GenerationRow {
            number,
            list,
            kept: self.kept(number)?,
            automatic,
            trial,
        })
    }

    fn members(&self, number: Generation) -> Result<Vec<PackageId>, Error> {
        let doing = "read a generation's packages";
        let sql = "SELECT package FROM members WHERE generation = ?1 ORDER BY place";
        let mut statement = self.connection.prepare(sql).map_err(failed(doing))?;
        let rows = statement
            .query_map([int(number.0)], |row| row.get::<_, String>(0))
            .map_err(failed(doing))?;
        rows.map(|row| parse(&row.map_err(failed(doing))?))
            .collect()
    }

    fn kept(&self, number: Generation) -> Result<BTreeMap<PackagePath, (Digest, Key)>, Error> {
        let doing = "read a generation's kept objects";
        let sql = "SELECT path, digest, object FROM kept WHERE generation = ?1";
        let mut statement = self.connection.prepare(sql).map_err(failed(doing))?;
        let rows = statement
            .query_map([int(number.0)], |row| {
                Ok((
                    row.get::<_, String>(0)?,
                    row.get::<_, String>(1)?,
                    row.get::<_, String>(2)?,
                ))
            })
            .map_err(failed(doing))?;
        let mut kept = BTreeMap::new();
        for row in rows {
            let (path, digest, key) = row.map_err(failed(doing))?;
            let key = Key::parse(&key).ok_or_else(|| damaged(&key))?;
            kept.insert(parse(&path)?, (parse(&digest)?, key));
        }
        Ok(kept)
    }

    /// What the next boot runs; 0: nothing.
    pub fn committed(&self) -> Result<Generation, Error> {
        let sql = "SELECT generation FROM committed";
        let found = self
            .connection
            .query_row(sql, [], |row| row.get(0))
            .optional();
        Ok(Generation(uint(
            found
                .map_err(failed("tell what is committed"))?
                .unwrap_or(0),
        )))
    }

    /// What runs, and the boot in which that was written.
    pub fn running(&self) -> Result<Option<(Generation, String)>, Error> {
        let sql = "SELECT generation, boot FROM running";
        let read = |row: &rusqlite::Row<'_>| Ok((Generation(uint(row.get(0)?)), row.get(1)?));
        self.connection
            .query_row(sql, [], read)
            .optional()
            .map_err(failed("tell what runs"))
    }

    /// Moves the pointer: this generation runs now, in this boot. Another boot does not ask.
    pub fn set_running(&mut self, generation: Generation, boot: &str) -> Result<(), Error> {
        self.together("switch generations", |tx| {
            let sql = "INSERT OR REPLACE INTO running VALUES (1, ?1, ?2)";
            tx.execute(sql, params![int(generation.0), boot]).map(drop)
        })
    }

    /// Makes `generation` what the next boot runs, with what each version replaced.
    pub fn commit(
        &mut self,
        generation: Generation,
        previous: &BTreeMap<PackageName, Vec<PackageId>>,
    ) -> Result<(), Error> {
        self.durably("commit a generation", |tx| {
            tx.execute("DELETE FROM previous", [])?;
            for (name, ids) in previous {
                for (depth, id) in (0_i64..).zip(ids) {
                    let sql = "INSERT INTO previous VALUES (?1, ?2, ?3)";
                    tx.execute(sql, params![name.as_str(), depth, id.to_string()])?;
                }
            }
            let number = int(generation.0);
            tx.execute(
                "UPDATE generations SET trial = 0 WHERE number = ?1",
                [number],
            )?;
            // Whatever is committed, the trials before it are over.
            tx.execute("DELETE FROM generations WHERE trial = 1", [])?;
            let sql = "INSERT OR REPLACE INTO committed VALUES (1, ?1)";
            tx.execute(sql, [number]).map(drop)
        })
    }

    /// Generations that are trials, oldest first.
    pub fn trials(&self) -> Result<Vec<Generation>, Error> {
        self.numbers("SELECT number FROM generations WHERE trial = 1 ORDER BY number")
    }

    /// Generations that retention leaves alone.
    pub fn pinned(&self) -> Result<BTreeSet<Generation>, Error> {
        let all = self.numbers("SELECT number FROM generations WHERE pinned = 1");
        Ok(all?.into_iter().collect())
    }

    fn numbers(&self, sql: &str) -> Result<Vec<Generation>, Error> {
        let doing = "list the generations";
        let mut statement = self.connection.prepare(sql).map_err(failed(doing))?;
        let rows = statement
            .query_map([], |row| Ok(Generation(uint(row.get(0)?))))
            .map_err(failed(doing))?;
        rows.collect::<rusqlite::Result<_>>().map_err(failed(doing))
    }

    /// Keeps a generation until it is unpinned, or no longer. Answers whether that was news.
    pub fn pin(&mut self, number: Generation, pinned: bool) -> Result<bool, Error> {
        self.durably("pin a generation", |tx| {
            let sql = "UPDATE generations SET pinned = ?2 WHERE number = ?1 AND pinned != ?2";
            Ok(tx.execute(sql, params![int(number.0), pinned])? > 0)
        })
    }

    /// Versions that were replaced, by name, the newest replacement last.
    pub fn previous(&self) -> Result<BTreeMap<PackageName, Vec<PackageId>>, Error> {
        let doing = "tell what was replaced";
        let sql = "SELECT package FROM previous ORDER BY name, depth";
        let mut statement = self.connection.prepare(sql).map_err(failed(doing))?;
        let rows = statement
            .query_map([], |row| row.get::<_, String>(0))
            .map_err(failed(doing))?;
        let mut previous: BTreeMap<PackageName, Vec<PackageId>> = BTreeMap::new();
        for row in rows {
            let id: PackageId = parse(&row.map_err(failed(doing))?)?;
            previous.entry(id.name.clone()).or_default().push(id);
        }
        Ok(previous)
    }
}

/// An admission as it is kept. What a newer program wrote counts as nothing known.
fn admission(text: &str) -> Option<Admitted> {
    serde_json::from_str(text).ok()
}

fn document(admitted: &Admitted) -> Option<String> {
    serde_json::to_string(admitted).ok()
}

fn damaged(text: &str) -> Error {
    Error::Damaged(format!(
        "the node's database holds {text:?}, which it never wrote"
    ))
}

/// A name that the database holds.
fn parse<T: std::str::FromStr>(text: &str) -> Result<T, Error> {
    text.parse().map_err(|_| damaged(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn db() -> (tempfile::TempDir, Db) {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(&dir.path().join("state.db")).unwrap();
        (dir, db)
    }

    fn id(text: &str) -> PackageId {
        text.parse().unwrap()
    }

    #[test]
    fn a_generation_reads_back_in_its_order() {
        let (_dir, mut db) = db();
        assert_eq!(db.next_generation().unwrap(), Generation(1));
        let key = Key::parse(&Digest::of(b"k").to_string()).unwrap();
        let row = GenerationRow {
            number: Generation(1),
            list: vec![id("b_1_00000000"), id("a_1_00000000")],
            kept: [("/usr/x".parse().unwrap(), (Digest::of(b"x"), key))].into(),
            automatic: ["a".parse().unwrap()].into(),
            trial: false,
        };
        db.insert_generation(&row, Time(7)).unwrap();
        assert_eq!(db.generation(Generation(1)).unwrap(), row);
        assert_eq!(db.generations().unwrap(), [(Generation(1), Time(7))]);
        assert_eq!(db.next_generation().unwrap(), Generation(2));
        db.delete_generation(Generation(1)).unwrap();
        db.generation(Generation(1)).unwrap_err();
        assert_eq!(
            db.generation(Generation(0)).unwrap(),
            GenerationRow::default()
        );
    }

    #[test]
    fn the_pointers_survive_being_opened_again() {
        let (dir, mut db) = db();
        assert_eq!(db.committed().unwrap(), Generation(0));
        assert_eq!(db.running().unwrap(), None);
        let previous = [(
            "a".parse().unwrap(),
            vec![id("a_1_00000000"), id("a_2_00000000")],
        )]
        .into();
        db.set_running(Generation(4), "boot").unwrap();
        db.commit(Generation(3), &previous).unwrap();
        drop(db);
        let db = Db::open(&dir.path().join("state.db")).unwrap();
        assert_eq!(db.committed().unwrap(), Generation(3));
        assert_eq!(
            db.running().unwrap(),
            Some((Generation(4), "boot".to_owned()))
        );
        assert_eq!(db.previous().unwrap(), previous);
    }
}
