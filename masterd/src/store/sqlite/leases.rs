//! Leases: which are kept, and until when.
//!
//! Their number and length are in the file, their deadlines in memory: after a restart each has its
//! whole length again, as it has after a change of leader where there is a cluster.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};

use crate::store::Lease;

#[derive(Debug, Default)]
pub(super) struct Leases {
    kept: BTreeMap<Lease, Kept>,
}

#[derive(Debug, Clone, Copy)]
struct Kept {
    ttl: Duration,
    until: Instant,
}

impl Leases {
    pub(super) fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let mut statement = connection.prepare("SELECT id, ttl FROM leases")?;
        let row = |row: &rusqlite::Row<'_>| Ok((Lease(row.get(0)?), row.get::<_, i64>(1)?));
        let mut leases = Self::default();
        for loaded in statement.query_map([], row)? {
            let (lease, ttl) = loaded?;
            leases.keep(lease, Duration::from_millis(ttl.unsigned_abs()));
        }
        Ok(leases)
    }

    /// A new one, written down.
    pub(super) fn grant(
        &mut self,
        connection: &Connection,
        ttl: Duration,
    ) -> rusqlite::Result<Lease> {
        let millis = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
        connection.execute("INSERT INTO leases (ttl) VALUES (?1)", params![millis])?;
        let lease = Lease(connection.last_insert_rowid());
        self.keep(lease, ttl);
        Ok(lease)
    }

    /// Whether there was one to keep.
    pub(super) fn keep_alive(&mut self, lease: Lease) -> bool {
        let now = Instant::now();
        let Some(kept) = self.kept.get_mut(&lease).filter(|kept| kept.until > now) else {
            return false;
        };
        kept.until = now + kept.ttl;
        true
    }

    pub(super) fn is_kept(&self, lease: Lease) -> bool {
        self.kept.contains_key(&lease)
    }

    pub(super) fn forget(&mut self, lease: Lease) -> bool {
        self.kept.remove(&lease).is_some()
    }

    /// Those that have ended.
    pub(super) fn due(&self, now: Instant) -> Vec<Lease> {
        let is_due = |(_, kept): &(&Lease, &Kept)| kept.until <= now;
        self.kept
            .iter()
            .filter(is_due)
            .map(|(lease, _)| *lease)
            .collect()
    }

    /// When the next ends.
    pub(super) fn next(&self) -> Option<Instant> {
        self.kept.values().map(|kept| kept.until).min()
    }

    fn keep(&mut self, lease: Lease, ttl: Duration) {
        // A length beyond all clocks is a year.
        let ttl = ttl.min(Duration::from_hours(24 * 365));
        let until = Instant::now() + ttl;
        self.kept.insert(lease, Kept { ttl, until });
    }
}
