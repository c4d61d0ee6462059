//! Orders to the fault points of a node's daemons (`model::fault`): where one is killed, or made to
//! fail.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use tempfile::TempDir;

/// One pass of a fault point.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    /// `before write the journal`
    pub name: String,
    /// From 1.
    pub nth: u32,
}

impl fmt::Display for Point {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{} ({})", self.name, self.nth)
    }
}

/// The file of orders, in a directory of its own.
#[derive(Debug)]
pub struct Steer {
    dir: TempDir,
    /// Orders are told apart by this: the same one twice is two.
    given: u64,
}

impl Steer {
    /// No order yet.
    pub fn new() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("steer-").tempdir()?;
        Ok(Self { dir, given: 0 })
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("order")
    }

    fn list(&self) -> PathBuf {
        self.dir.path().join("order.list")
    }

    /// The command below which a node is steered.
    pub fn wrapper(&self) -> Command {
        let mut command = crate::house::at_once();
        command.arg(format!(
            "{}={}",
            model::fault::VARIABLE,
            self.file().display()
        ));
        command
    }

    fn order(&mut self, words: &[&str]) -> Result<()> {
        self.given += 1;
        let text = format!("{}\t{}\n", words.join("\t"), self.given);
        // Whole or not at all: it is read at any moment.
        let new = self.dir.path().join("new");
        fs_err::write(&new, text)?;
        Ok(fs_err::rename(new, self.file())?)
    }

    /// Has the points that are passed from now on listed.
    pub fn record(&mut self) -> Result<()> {
        remove(&self.list())?;
        self.order(&["list"])
    }

    /// The passes of points since [`Self::record`]; nothing is listed any more.
    pub fn recorded(&mut self) -> Result<Vec<Point>> {
        remove(&self.file())?;
        let text = fs_err::read_to_string(self.list())?;
        let mut passes: BTreeMap<&str, u32> = BTreeMap::new();
        let points = text.lines().map(|name| {
            let nth = passes.entry(name).or_default();
            *nth += 1;
            Point {
                name: name.to_owned(),
                nth: *nth,
            }
        });
        Ok(points.collect())
    }

    /// The daemon that passes here is killed.
    pub fn abort(&mut self, at: &Point) -> Result<()> {
        self.order(&["abort", &at.name, &at.nth.to_string()])
    }

    /// The act fails with this error; `stays`: and every one after it.
    pub fn fail(&mut self, at: &Point, errno: i32, stays: bool) -> Result<()> {
        let kind = if stays { "errors" } else { "error" };
        self.order(&[kind, &at.name, &at.nth.to_string(), &errno.to_string()])
    }

    /// Takes an order back; whether a daemon was killed by it.
    pub fn withdraw(&mut self) -> Result<bool> {
        Ok(!remove(&self.file())?)
    }
}

/// Removes a file; whether it was there.
fn remove(path: &Path) -> Result<bool> {
    match fs_err::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}
