//! The one that writes: everything in the order in which it came.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rusqlite::{Connection, TransactionBehavior, params};
use tokio::sync::oneshot;

use super::leases::Leases;
use super::tables;
use super::watching::History;
use crate::store::{Change, Error, Lease, Outcome, Revision, Txn};

type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// Transactions that share one fsync.
const BATCH: usize = 256;
/// Where no lease ends, the thread looks around so often.
const IDLE: Duration = Duration::from_mins(10);

#[derive(Debug)]
pub(super) enum Command {
    Commit(Txn, Reply<Outcome>),
    Grant(Duration, Reply<Lease>),
    KeepAlive(Lease, Reply<()>),
    Revoke(Lease, Reply<()>),
}

/// Starts the thread; it ends when nobody can ask any more.
pub(super) fn start(
    connection: Connection,
    path: &Path,
    history: History,
) -> Result<mpsc::Sender<Command>, Error> {
    let leases = Leases::load(&connection).map_err(tables::failed(path, "read the leases"))?;
    let (sender, commands) = mpsc::channel();
    let writer = Writer {
        connection,
        path: path.to_owned(),
        leases,
        history,
    };
    std::thread::Builder::new()
        .name("store-write".to_owned())
        .spawn(move || writer.run(&commands))
        .map_err(|source| Error::File {
            doing: "start the store's writer",
            source,
        })?;
    Ok(sender)
}

struct Writer {
    connection: Connection,
    path: PathBuf,
    leases: Leases,
    history: History,
}

/// What one transaction of a batch came to, to be told once the batch is on the disk.
struct Done {
    reply: Reply<Outcome>,
    outcome: Result<Outcome, Error>,
    changes: Vec<Change>,
}

impl Writer {
    fn run(mut self, commands: &mpsc::Receiver<Command>) {
        loop {
            let wait = self.leases.next().map_or(IDLE, |next| {
                next.saturating_duration_since(Instant::now()).min(IDLE)
            });
            let first = match commands.recv_timeout(wait) {
                Ok(command) => Some(command),
                Err(mpsc::RecvTimeoutError::Timeout) => None,
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            };
            let mut batch = Vec::new();
            for command in first.into_iter().chain(commands.try_iter().take(BATCH)) {
                if let Command::Commit(txn, reply) = command {
                    batch.push((txn, reply));
                } else {
                    self.commit(std::mem::take(&mut batch));
                    self.lease(command);
                }
            }
            self.commit(batch);
            self.expire();
        }
    }

    fn commit(&mut self, batch: Vec<(Txn, Reply<Outcome>)>) {
        if batch.is_empty() {
            return;
        }
        let failed = tables::failed(&self.path, "write what is to be");
        let mut done: Vec<Done> = Vec::with_capacity(batch.len());
        let (txns, replies): (Vec<Txn>, Vec<_>) = batch.into_iter().unzip();
        match write(&mut self.connection, &self.leases, &txns) {
            Ok(outcomes) => {
                for ((outcome, changes), reply) in outcomes.into_iter().zip(replies) {
                    done.push(Done {
                        reply,
                        outcome,
                        changes,
                    });
                }
            }
            Err(error) => return self.apart(txns, replies, failed(error)),
        }
        self.tell(done);
    }

    /// One that cannot be written (a full disk) must not fail its neighbours: each by itself.
    fn apart(&mut self, txns: Vec<Txn>, replies: Vec<Reply<Outcome>>, error: Error) {
        let mut replies = replies.into_iter();
        if txns.len() == 1 {
            if let Some(reply) = replies.next() {
                drop(reply.send(Err(error)));
            }
            return;
        }
        for (txn, reply) in txns.into_iter().zip(replies) {
            self.commit(vec![(txn, reply)]);
        }
    }

    fn tell(&self, done: Vec<Done>) {
        for one in done {
            if !one.changes.is_empty() {
                self.history.add(one.changes);
            }
            // Whoever asked may have gone; what was written is written.
            drop(one.reply.send(one.outcome));
        }
    }

    fn lease(&mut self, command: Command) {
        let failed = tables::failed(&self.path, "keep a lease");
        match command {
            Command::Grant(ttl, reply) => {
                let granted = self.leases.grant(&self.connection, ttl).map_err(&failed);
                drop(reply.send(granted));
            }
            Command::KeepAlive(lease, reply) => {
                let kept = self.leases.keep_alive(lease);
                drop(reply.send(kept.then_some(()).ok_or(Error::LeaseGone)));
            }
            Command::Revoke(lease, reply) => {
                let ended = if self.leases.is_kept(lease) {
                    self.end(lease).map_err(&failed)
                } else {
                    Err(Error::LeaseGone)
                };
                drop(reply.send(ended));
            }
            Command::Commit(txn, reply) => self.commit(vec![(txn, reply)]),
        }
    }

    fn expire(&mut self) {
        for lease in self.leases.due(Instant::now()) {
            if let Err(error) = self.end(lease) {
                tracing::error!(%error, "a lease that has ended could not be taken away");
                return;
            }
        }
    }

    fn end(&mut self, lease: Lease) -> rusqlite::Result<()> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let revision = Revision(tables::revision(&transaction)?.0 + 1);
        let gone = {
            let mut statement =
                transaction.prepare_cached("DELETE FROM entries WHERE lease = ?1 RETURNING key")?;
            let keys = statement.query_map([lease.0], |row| row.get::<_, String>(0))?;
            keys.collect::<rusqlite::Result<Vec<_>>>()?
        };
        if !gone.is_empty() {
            tables::set_revision(&transaction, revision)?;
        }
        transaction.execute("DELETE FROM leases WHERE id = ?1", params![lease.0])?;
        transaction.commit()?;
        self.leases.forget(lease);
        let change = |key| Change {
            key,
            value: None,
            revision,
        };
        let changes: Vec<Change> = gone.into_iter().map(change).collect();
        if !changes.is_empty() {
            self.history.add(changes);
        }
        Ok(())
    }
}

type Written = (Result<Outcome, Error>, Vec<Change>);

/// All of the batch, with one fsync at its end.
fn write(
    connection: &mut Connection,
    leases: &Leases,
    txns: &[Txn],
) -> rusqlite::Result<Vec<Written>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut revision = tables::revision(&transaction)?;
    let mut written = Vec::with_capacity(txns.len());
    for txn in txns {
        let next = Revision(revision.0 + 1);
        let is_gone = txn.lease.is_some_and(|lease| !leases.is_kept(lease));
        if is_gone {
            written.push((Err(Error::LeaseGone), Vec::new()));
        } else if !holds(&transaction, txn)? {
            written.push((Ok(Outcome::Conflict), Vec::new()));
        } else if txn.writes() == 0 {
            written.push((Ok(Outcome::Committed(revision)), Vec::new()));
        } else {
            let changes = apply(&transaction, txn, next)?;
            written.push((Ok(Outcome::Committed(next)), changes));
            revision = next;
        }
    }
    tables::set_revision(&transaction, revision)?;
    transaction.commit()?;
    Ok(written)
}

fn holds(connection: &Connection, txn: &Txn) -> rusqlite::Result<bool> {
    for (key, revision) in &txn.compare {
        if tables::revision_of(connection, key)? != *revision {
            return Ok(false);
        }
    }
    Ok(true)
}

fn apply(connection: &Connection, txn: &Txn, at: Revision) -> rusqlite::Result<Vec<Change>> {
    let mut changes = Vec::with_capacity(txn.writes());
    let mut put = connection.prepare_cached(
        "INSERT INTO entries (key, value, revision, lease) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (key) DO UPDATE SET value = ?2, revision = ?3, lease = ?4",
    )?;
    let mut delete = connection.prepare_cached("DELETE FROM entries WHERE key = ?1")?;
    for (key, value) in &txn.puts {
        put.execute(params![
            key,
            value,
            tables::column(at),
            txn.lease.map(|it| it.0)
        ])?;
        changes.push(Change {
            key: key.clone(),
            value: Some(value.clone()),
            revision: at,
        });
    }
    for key in &txn.deletes {
        if delete.execute([key])? > 0 {
            changes.push(Change {
                key: key.clone(),
                value: None,
                revision: at,
            });
        }
    }
    Ok(changes)
}
