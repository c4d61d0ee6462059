//! Mistakes and their lines.

use std::fmt;
use std::path::{Path, PathBuf};

/// Where the lines of a text begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lines(Vec<usize>);

impl Lines {
    /// Of this text.
    pub fn new(text: &str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self(
            std::iter::once(0)
                .chain(ends.map(|(at, _)| at + 1))
                .collect(),
        )
    }

    /// The line of the byte at `offset`; the first is 1.
    pub fn of(&self, offset: usize) -> usize {
        self.0.partition_point(|start| *start <= offset).max(1)
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    /// Its line; the first is 1.
    pub line: usize,
    /// What is wrong and what would be right.
    pub text: String,
}

/// Everything that is wrong with a file; never nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistakes {
    /// The file.
    pub path: PathBuf,
    /// In the order of their lines.
    pub list: Vec<Mistake>,
}

impl Mistakes {
    /// These, in order and each once.
    pub fn new(path: &Path, mut list: Vec<Mistake>) -> Self {
        list.sort();
        list.dedup();
        Self {
            path: path.to_owned(),
            list,
        }
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        if let [one] = &self.list[..] {
            return write!(f, "{path}:{}: {}", one.line, one.text);
        }
        write!(f, "{path} has {} mistakes", self.list.len())?;
        for one in &self.list {
            write!(f, "\n  {path}:{}: {}", one.line, one.text)?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}
