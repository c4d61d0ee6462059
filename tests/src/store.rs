//! A node's state directory, read with other means than the daemon's: every object is what its name
//! says, every generation is whole, every change has an end.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use model::manifest::{FileEntry, Manifest, Node};
use rusqlite::{Connection, OpenFlags};

/// What is wrong in the state directory `state`, whose committed generation is to be `committed`.
pub fn wrong(state: &Path, committed: Option<u64>) -> Result<Option<String>> {
    let objects = match objects(&state.join("store/objects"))? {
        Ok(objects) => objects,
        Err(torn) => return Ok(Some(torn)),
    };
    let database = Database::open(&state.join("state.db"))?;
    if let Some(open) = database.unended()? {
        return Ok(Some(format!("change {open} has no end")));
    }
    let row = database.committed()?;
    if committed.is_some_and(|wanted| wanted != row) {
        return Ok(Some(format!(
            "generation {row} is committed: {committed:?}"
        )));
    }
    let mut known = BTreeSet::new();
    for generation in database.generations()? {
        known.insert(generation.to_string());
        if let Some(wrong) = tree_differs(state, &database, generation, &objects)? {
            return Ok(Some(format!("generation {generation}: {wrong}")));
        }
    }
    for entry in fs_err::read_dir(state.join("generations"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !known.contains(&name) {
            return Ok(Some(format!("generations/{name} is nobody's")));
        }
    }
    packages_differ(state, &database)
}

/// Inodes of all objects with their names; or the one that is torn.
fn objects(root: &Path) -> Result<Result<HashMap<u64, String>, String>> {
    let mut all = HashMap::new();
    for fan in fs_err::read_dir(root)? {
        let fan = fan?.path();
        for object in fs_err::read_dir(&fan)? {
            let path = object?.path();
            let name = format!("{}{}", last(&fan), last(&path));
            let meta = fs_err::symlink_metadata(&path)?;
            let digest = blake3::hash(&fs_err::read(&path)?);
            // Files of packages by their owner's name, kept configuration by the number.
            let owners = ["root".to_owned(), meta.uid().to_string()];
            let fits = |owner: &String| key(&digest, meta.mode(), owner) == name;
            if !owners.iter().any(fits) {
                return Ok(Err(format!("object {name} is torn: {meta:?}")));
            }
            all.insert(meta.ino(), name);
        }
    }
    Ok(Ok(all))
}

fn last(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// The name of an object that a user and the group of the same name own.
fn key(digest: &blake3::Hash, mode: u32, owner: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"changeover object 1\0");
    hasher.update(digest.as_bytes());
    hasher.update(&(mode & 0o7777).to_le_bytes());
    for text in [owner, owner, ""] {
        hasher.update(text.as_bytes());
        hasher.update(b"\0");
    }
    hasher.finalize().to_hex().to_string()
}

fn manifest(state: &Path, package: &str) -> Result<Manifest> {
    let path = state.join("store/packages").join(package);
    let bytes = fs_err::read(path.join("manifest.json"))?;
    serde_json::from_slice(&bytes).with_context(|| format!("the manifest of {package}"))
}

/// Every path of the set stands in the tree as its package says, and nothing else.
fn tree_differs(
    state: &Path,
    database: &Database,
    generation: u64,
    objects: &HashMap<u64, String>,
) -> Result<Option<String>> {
    let mut wanted: BTreeMap<String, FileEntry> = BTreeMap::new();
    for package in database.members(generation)? {
        for entry in manifest(state, &package)?.files {
            let path = entry.path.as_str().to_owned();
            if !path.starts_with("/etc/") && entry.node != Node::Directory {
                wanted.entry(path).or_insert(entry);
            }
        }
    }
    let kept = database.kept(generation)?;
    let root = state.join(format!("generations/{generation}/root"));
    for path in walk(&root)? {
        let inside = format!("/{}", path.strip_prefix(&root)?.display());
        let Some(entry) = wanted.remove(&inside) else {
            return Ok(Some(format!("{inside} belongs to no package")));
        };
        let Node::File(file) = &entry.node else {
            continue;
        };
        let meta = fs_err::symlink_metadata(&path)?;
        let Some(object) = objects.get(&meta.ino()) else {
            return Ok(Some(format!("{inside} is no object")));
        };
        let right = match kept.get(&inside) {
            Some(kept) => kept == object,
            None => fs_err::read(&path).map(|bytes| model::Digest::of(&bytes))? == file.digest,
        };
        if !right {
            return Ok(Some(format!("{inside} is another file: {object}")));
        }
    }
    Ok(wanted
        .keys()
        .next()
        .map(|path| format!("{path} is missing")))
}

/// The files and links below a directory.
fn walk(root: &Path) -> Result<Vec<PathBuf>> {
    let (mut found, mut rest) = (Vec::new(), vec![root.to_owned()]);
    while let Some(dir) = rest.pop() {
        for entry in fs_err::read_dir(&dir)? {
            let path = entry?.path();
            if fs_err::symlink_metadata(&path)?.is_dir() {
                rest.push(path);
            } else {
                found.push(path);
            }
        }
    }
    Ok(found)
}

/// Rows and manifests are the same packages.
fn packages_differ(state: &Path, database: &Database) -> Result<Option<String>> {
    let rows: BTreeSet<String> = database.packages()?.into_iter().collect();
    for package in &rows {
        manifest(state, package)?;
    }
    for entry in fs_err::read_dir(state.join("store/packages"))? {
        let name = last(&entry?.path());
        if !rows.contains(&name) {
            return Ok(Some(format!("store/packages/{name} has no row")));
        }
    }
    Ok(None)
}

struct Database(Connection);

impl Database {
    fn open(path: &Path) -> Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(crate::wait::LIMIT)?;
        connection.pragma_update(None, "query_only", true)?;
        Ok(Self(connection))
    }

    fn numbers(&self, sql: &str) -> Result<Vec<u64>> {
        let mut statement = self.0.prepare(sql)?;
        let rows = statement.query_map([], |row| row.get::<_, i64>(0))?;
        rows.map(|row| Ok(u64::try_from(row?)?)).collect()
    }

    fn texts(&self, sql: &str) -> Result<Vec<String>> {
        let mut statement = self.0.prepare(sql)?;
        let rows = statement.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    fn unended(&self) -> Result<Option<u64>> {
        let open = self.numbers("SELECT id FROM changes WHERE ended IS NULL")?;
        Ok(open.first().copied())
    }

    fn committed(&self) -> Result<u64> {
        let rows = self.numbers("SELECT generation FROM committed")?;
        Ok(rows.first().copied().unwrap_or(0))
    }

    fn generations(&self) -> Result<Vec<u64>> {
        self.numbers("SELECT number FROM generations WHERE complete = 1 AND trial = 0")
    }

    fn members(&self, generation: u64) -> Result<Vec<String>> {
        self.texts(&format!(
            "SELECT package FROM members WHERE generation = {generation} ORDER BY place"
        ))
    }

    fn kept(&self, generation: u64) -> Result<BTreeMap<String, String>> {
        let sql = format!("SELECT path, object FROM kept WHERE generation = {generation}");
        let mut statement = self.0.prepare(&sql)?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    fn packages(&self) -> Result<Vec<String>> {
        self.texts("SELECT id FROM packages")
    }
}
