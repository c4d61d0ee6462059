//! What nobody needs any more goes.

use std::collections::HashSet;

use model::Digest;
use rusqlite::Connection;

use super::{Shelf, records};
use crate::error::{Doing, Error};
use crate::index::pointer_name;

/// What a collection freed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Objects that are no longer there.
    pub objects: usize,
    /// Blobs that are no longer there.
    pub blobs: usize,
    /// Bytes on the disk.
    pub bytes: u64,
}

impl Shelf {
    /// The lists that are published, each once.
    pub fn lists(&self) -> Result<Vec<Digest>, Error> {
        let names = self.records(|records| {
            let mut query = records.prepare("SELECT DISTINCT list FROM list_object")?;
            let rows = query.query_map([], |row| row.get::<_, String>(0))?;
            rows.collect::<rusqlite::Result<Vec<String>>>()
        })?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// Withdraws a list: its index and the ways that lead to it and from it. Its objects stay until
    /// [`Shelf::collect`].
    pub fn withdraw(&self, list: &Digest) -> Result<(), Error> {
        let name = list.to_string();
        let ways = self.records(|records| {
            let mut query = records.prepare_cached(
                "SELECT DISTINCT list, old FROM offer WHERE list = ?1 OR old = ?1",
            )?;
            let rows = query.query_map([&name], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect::<rusqlite::Result<Vec<(String, String)>>>()
        })?;
        let parse = |text: &String| text.parse::<Digest>().ok();
        for (to, from) in &ways {
            let Some(to) = parse(to) else {
                continue;
            };
            let path = self
                .public
                .join("lists")
                .join(pointer_name(&to, parse(from).as_ref()));
            match fs_err::remove_file(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).doing(|| format!("withdraw list {list}"));
                }
                _ => {}
            }
        }
        self.write_records(|records| {
            records.execute("DELETE FROM offer WHERE list = ?1 OR old = ?1", [&name])?;
            records
                .execute("DELETE FROM list_object WHERE list = ?1", [&name])
                .map(drop)
        })
    }

    /// Removes every object for which `keep` says no, the patches that lead to or from it, and the
    /// blobs in which nothing is left that anybody keeps. Objects of lists that are still published
    /// stay whatever `keep` says.
    pub fn collect(&self, keep: &dyn Fn(&Digest) -> bool) -> Result<Collected, Error> {
        let mut collected = Collected::default();
        let freed = self.write_records(|records| {
            for digest in dead(records, keep)? {
                collected.objects +=
                    records.execute("DELETE FROM object WHERE digest = ?1", [&digest])?;
                records.execute("DELETE FROM patch WHERE old = ?1 OR new = ?1", [&digest])?;
            }
            let mut query = records.prepare(
                "DELETE FROM blob WHERE id NOT IN (SELECT blob FROM object) \
                 AND id NOT IN (SELECT blob FROM patch WHERE blob IS NOT NULL) \
                 AND id NOT IN (SELECT blob FROM offer) RETURNING digest, size",
            )?;
            let rows = query.query_map([], |row| {
                Ok((row.get(0)?, row.get::<_, records::Int>(1)?.0))
            })?;
            rows.collect::<rusqlite::Result<Vec<(String, u64)>>>()
        })?;
        for (name, size) in freed {
            fs_err::remove_file(self.public.join("objects").join(name))
                .doing(|| "remove a blob".to_owned())?;
            collected.blobs += 1;
            collected.bytes += size;
        }
        Ok(collected)
    }

    /// Removes files of imports and offers that were cut short; nothing may be in progress.
    pub fn sweep(&self) -> Result<usize, Error> {
        let what = || "sweep the shelf".to_owned();
        let mut swept = 0;
        for entry in fs_err::read_dir(self.public.join("objects")).doing(what)? {
            let entry = entry.doing(what)?;
            let name = entry.file_name();
            let digest = name.to_str().and_then(|name| name.parse::<Digest>().ok());
            let known = match digest {
                Some(digest) => self
                    .records(|records| records::blob(records, &digest))?
                    .is_some(),
                None => false,
            };
            if !known {
                fs_err::remove_file(entry.path()).doing(what)?;
                swept += 1;
            }
        }
        Ok(swept)
    }
}

fn dead(records: &Connection, keep: &dyn Fn(&Digest) -> bool) -> rusqlite::Result<Vec<String>> {
    let mut query = records.prepare(
        "SELECT digest FROM object WHERE digest NOT IN (SELECT object FROM list_object)",
    )?;
    let rows = query.query_map([], |row| row.get::<_, String>(0))?;
    let all: Vec<String> = rows.collect::<rusqlite::Result<_>>()?;
    let unkept = |name: &String| name.parse().is_ok_and(|digest| !keep(&digest));
    Ok(all
        .into_iter()
        .filter(unkept)
        .collect::<HashSet<_>>()
        .into_iter()
        .collect())
}
