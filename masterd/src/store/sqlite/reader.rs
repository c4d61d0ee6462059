//! Reads, on a connection of their own: WAL lets them go on beside the writer.

use std::path::Path;
use std::sync::mpsc;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params_from_iter};
use tokio::sync::oneshot;

use super::tables;
use crate::store::{Entry, Error, Listing, Revision};

type Reply<T> = oneshot::Sender<Result<T, Error>>;

#[derive(Debug)]
pub(super) enum Command {
    Get(String, Reply<Option<Entry>>),
    List(Listing, Reply<(Vec<Entry>, Revision)>),
}

/// Starts the thread; it ends when nobody can ask any more.
pub(super) fn start(path: &Path) -> Result<mpsc::Sender<Command>, Error> {
    let connection = tables::open_to_read(path)?;
    let (sender, commands) = mpsc::channel();
    let path = path.to_owned();
    std::thread::Builder::new()
        .name("store-read".to_owned())
        .spawn(move || run(connection, &path, &commands))
        .map_err(|source| Error::File {
            doing: "start the store's reader",
            source,
        })?;
    Ok(sender)
}

fn run(mut connection: Connection, path: &Path, commands: &mpsc::Receiver<Command>) {
    let failed = tables::failed(path, "read what is");
    while let Ok(command) = commands.recv() {
        match command {
            Command::Get(key, reply) => {
                let found = get(&connection, &key).map_err(&failed);
                drop(reply.send(found));
            }
            Command::List(listing, reply) => {
                let found = list(&mut connection, &listing).map_err(&failed);
                drop(reply.send(found));
            }
        }
    }
}

fn get(connection: &Connection, key: &str) -> rusqlite::Result<Option<Entry>> {
    let mut statement =
        connection.prepare_cached("SELECT key, value, revision FROM entries WHERE key = ?1")?;
    statement.query_row([key], tables::entry).optional()
}

/// One read transaction: the entries are those of the revision.
fn list(
    connection: &mut Connection,
    listing: &Listing,
) -> rusqlite::Result<(Vec<Entry>, Revision)> {
    let transaction = connection.transaction()?;
    let revision = tables::revision(&transaction)?;
    let (text, values) = query(listing);
    let entries = {
        let mut statement = transaction.prepare_cached(&text)?;
        let rows = statement.query_map(params_from_iter(values), tables::entry)?;
        rows.collect::<rusqlite::Result<Vec<_>>>()?
    };
    Ok((entries, revision))
}

fn query(listing: &Listing) -> (String, Vec<Value>) {
    let mut text = "SELECT key, value, revision FROM entries WHERE key >= ?1".to_owned();
    let mut values = vec![Value::Text(listing.prefix.clone())];
    if let Some(end) = behind(&listing.prefix) {
        values.push(Value::Text(end));
        append(&mut text, format_args!(" AND key < ?{}", values.len()));
    }
    if let Some(after) = &listing.after {
        values.push(Value::Text(after.clone()));
        let than = if listing.newest_first { '<' } else { '>' };
        append(&mut text, format_args!(" AND key {than} ?{}", values.len()));
    }
    text.push_str(" ORDER BY key");
    if listing.newest_first {
        text.push_str(" DESC");
    }
    if let Some(most) = listing.most {
        values.push(Value::Integer(most.into()));
        append(&mut text, format_args!(" LIMIT ?{}", values.len()));
    }
    (text, values)
}

fn append(text: &mut String, part: std::fmt::Arguments<'_>) {
    text.push_str(&part.to_string());
}

/// The first text behind all that begin with `prefix`; `None`: there is none.
fn behind(prefix: &str) -> Option<String> {
    let mut head: Vec<char> = prefix.chars().collect();
    while let Some(last) = head.pop() {
        if let Some(next) = (last..=char::MAX).nth(1) {
            head.push(next);
            return Some(head.into_iter().collect());
        }
    }
    None
}
