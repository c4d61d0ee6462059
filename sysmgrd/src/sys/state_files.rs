//! What is remembered of running processes, so that a restarted daemon finds them again.
//!
//! `RUN_DIR/sysmgrd-state/log` has one line for each thing that was remembered: a name, a tab, a
//! document. The last line of a name counts; one without a document forgets it. Whatever changed
//! together is appended in one step. A line that a killed daemon did not end is none. The log is
//! written anew, beside its place, when most of it does not count any more.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes of the log below which it is not worth writing it anew.
const SMALL: usize = 256 * 1024;

/// The memory of live state.
#[derive(Debug, Clone)]
pub struct StateFiles {
    inner: Arc<Mutex<Memory>>,
}

#[derive(Debug)]
struct Memory {
    path: PathBuf,
    /// Absent where the last writing failed: then all of it is written the next time.
    file: Option<fs_err::File>,
    /// The documents that count.
    live: BTreeMap<String, String>,
    /// Bytes of the log.
    size: usize,
    /// Lines that are not written yet.
    pending: Vec<u8>,
}

impl StateFiles {
    /// Below `run_dir`, with what an earlier daemon remembered.
    pub fn open(run_dir: &Path) -> io::Result<Self> {
        let directory = run_dir.join("sysmgrd-state");
        fs_err::create_dir_all(&directory)?;
        let path = directory.join("log");
        let live = match fs_err::read(&path) {
            Ok(bytes) => parse(&bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error),
        };
        let mut memory = Memory {
            path,
            file: None,
            live,
            size: 0,
            pending: Vec::new(),
        };
        memory.write_anew()?;
        Ok(Self {
            inner: Arc::new(Mutex::new(memory)),
        })
    }

    /// Remembers `value` as `name`, from now on.
    pub fn save<T: Serialize>(&self, name: &str, value: &T) {
        self.note(name, value);
        self.write();
    }

    /// Remembers `value` as `name` from the next [`StateFiles::write`] on.
    pub fn note<T: Serialize>(&self, name: &str, value: &T) {
        match serde_json::to_string(value) {
            Ok(document) => self.memory().note(name, document),
            Err(error) => {
                tracing::error!(name, %error, "a restarted daemon would not know this process");
            }
        }
    }

    /// Writes what was noted, in one step.
    pub fn write(&self) {
        if let Err(error) = self.memory().write() {
            tracing::error!(%error, "a restarted daemon would not know how processes are");
        }
    }

    /// Forgets `name`.
    pub fn forget(&self, name: &str) {
        self.memory().forget(name);
        self.write();
    }

    /// What is remembered as `name`.
    pub fn load<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        let memory = self.memory();
        memory.live.get(name).and_then(|text| read(name, text))
    }

    /// All that is remembered of processes.
    pub fn load_all<T: DeserializeOwned>(&self) -> Vec<T> {
        let memory = self.memory();
        let processes = memory
            .live
            .iter()
            .filter(|(name, _)| name.ends_with(".process"));
        processes
            .filter_map(|(name, text)| read(name, text))
            .collect()
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn note(&mut self, name: &str, document: String) {
        push_line(&mut self.pending, name, &document);
        self.live.insert(name.to_owned(), document);
    }

    fn forget(&mut self, name: &str) {
        if self.live.remove(name).is_some() {
            push_line(&mut self.pending, name, "");
        }
    }

    fn write(&mut self) -> io::Result<()> {
        if self.pending.is_empty() && self.file.is_some() {
            return Ok(());
        }
        let live: usize = self.live.values().map(String::len).sum();
        if self.file.is_none() || self.size > SMALL + 4 * live {
            return self.write_anew();
        }
        let lines = std::mem::take(&mut self.pending);
        let written = match &mut self.file {
            Some(file) => file.write_all(&lines),
            None => Ok(()),
        };
        self.size += lines.len();
        if written.is_err() {
            self.file = None;
        }
        written
    }

    fn write_anew(&mut self) -> io::Result<()> {
        self.file = None;
        self.pending.clear();
        let mut text = Vec::new();
        for (name, document) in &self.live {
            push_line(&mut text, name, document);
        }
        let beside = self.path.with_extension("new");
        fs_err::write(&beside, &text)?;
        let file = fs_err::OpenOptions::new().append(true).open(&beside)?;
        fs_err::rename(&beside, &self.path)?;
        self.file = Some(file);
        self.size = text.len();
        Ok(())
    }
}

fn push_line(lines: &mut Vec<u8>, name: &str, document: &str) {
    lines.extend_from_slice(name.as_bytes());
    lines.push(b'\t');
    lines.extend_from_slice(document.as_bytes());
    lines.push(b'\n');
}

/// The documents that count. Neither names nor documents hold a tab or the end of a line.
fn parse(bytes: &[u8]) -> BTreeMap<String, String> {
    let mut live = BTreeMap::new();
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
    let text = String::from_utf8_lossy(bytes.get(..whole).unwrap_or_default());
    for (name, document) in text.lines().filter_map(|line| line.split_once('\t')) {
        if document.is_empty() {
            live.remove(name);
        } else {
            live.insert(name.to_owned(), document.to_owned());
        }
    }
    live
}

fn read<T: DeserializeOwned>(name: &str, text: &str) -> Option<T> {
    match serde_json::from_str(text) {
        Ok(value) => Some(value),
        Err(error) => {
            tracing::error!(name, %error, "live state cannot be read");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_on_each_counts_also_for_the_next_daemon() {
        let directory = tempfile::tempdir().unwrap();
        let files = StateFiles::open(directory.path()).unwrap();
        files.save("tree", &7);
        files.note("a.process", &"first\nline\t");
        files.save("b.process", &"b");
        files.save("a.process", &"second\nline\t");
        files.save("c.process", &"c");
        files.forget("c.process");
        files.note("b.process", &"never written");
        let after = StateFiles::open(directory.path()).unwrap();
        assert_eq!(after.load::<u32>("tree"), Some(7));
        assert_eq!(after.load_all::<String>(), ["second\nline\t", "b"]);
    }

    #[test]
    fn half_a_line_is_none_and_does_not_spoil_the_next() {
        let directory = tempfile::tempdir().unwrap();
        let files = StateFiles::open(directory.path()).unwrap();
        files.save("a.process", &1);
        let path = directory.path().join("sysmgrd-state/log");
        let mut text = fs_err::read(&path).unwrap();
        text.extend_from_slice(b"a.process\t2\na.process\t3");
        fs_err::write(&path, text).unwrap();
        let after = StateFiles::open(directory.path()).unwrap();
        assert_eq!(after.load_all::<u32>(), [2]);
        after.save("b.process", &4);
        let last = StateFiles::open(directory.path()).unwrap();
        assert_eq!(last.load_all::<u32>(), [2, 4]);
    }

    #[test]
    fn the_log_does_not_grow_with_the_number_of_changes() {
        let directory = tempfile::tempdir().unwrap();
        let files = StateFiles::open(directory.path()).unwrap();
        let text = "x".repeat(1000);
        for _ in 0..2_000 {
            files.save("a.process", &text);
        }
        let log = directory.path().join("sysmgrd-state/log");
        let size = fs_err::metadata(log).unwrap().len();
        assert!(size < 2 * SMALL as u64, "{size}");
        let after = StateFiles::open(directory.path()).unwrap();
        assert_eq!(after.load_all::<String>(), [text]);
    }
}
