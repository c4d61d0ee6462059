//! What test processes count, in files that the node shares with the test.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::wait;

/// The file that a process writes again and again, whole: `name=number …` and words.
#[derive(Debug)]
pub struct Counts {
    file: PathBuf,
}

/// One reading.
#[derive(Debug, Clone)]
pub struct Reading {
    /// The whole line.
    pub text: String,
    numbers: BTreeMap<String, u64>,
}

impl Reading {
    /// One of its numbers.
    pub fn get(&self, name: &str) -> Result<u64> {
        let number = self.numbers.get(name).copied();
        number.with_context(|| format!("no {name} in {:?}", self.text))
    }
}

impl Counts {
    /// Those in this file.
    pub fn at(file: &Path) -> Self {
        Self {
            file: file.to_owned(),
        }
    }

    /// As they are now; nothing where the process has not written any yet.
    pub fn now(&self) -> Option<Reading> {
        let text = fs_err::read_to_string(&self.file).ok()?;
        let numbers = text
            .split_whitespace()
            .filter_map(|word| word.split_once('='))
            .filter_map(|(name, number)| Some((name.to_owned(), number.parse().ok()?)))
            .collect();
        Some(Reading { text, numbers })
    }

    /// Removes what was counted until now.
    pub fn forget(&self) -> Result<()> {
        Ok(fs_err::remove_file(&self.file)?)
    }

    /// Waits until `name` is at least `least`.
    pub fn reach(&self, name: &str, least: u64) -> Result<Reading> {
        let what = format!("{name} in {} is {least}", self.file.display());
        wait::until(&what, || {
            let now = self.now();
            Ok(now.filter(|now| now.get(name).is_ok_and(|count| count >= least)))
        })
    }

    /// Waits until `more` further reads are counted from now on.
    pub fn go_on(&self, name: &str, more: u64) -> Result<Reading> {
        let now = self.reach(name, 0)?.get(name)?;
        self.reach(name, now + more)
    }
}
