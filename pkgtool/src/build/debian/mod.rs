//! Debian packages, read and turned into ours.
//!
//! ```text
//! .deb ─► archive (ar, compression, limits) ─► tree (tar entries, each regular file spooled) ─┐
//! dpkg's database and the machine's files ─► installed ────────────────────────────────────────┤
//!                                                                                              ▼
//!        overrides ─► import: control, paths, setup (sysusers, tmpfiles), unit ─► process ─► Imported
//! names ─► closure (asks the machine's apt) ─► .deb files
//! ```
//!
//! Nothing of a package is run and nothing is unpacked by name: contents go into numbered files,
//! so that no path or link in an archive can reach the file system. What is not carried over is
//! said in the manifest's notes, each with the thing's name.

pub mod archive;
pub mod closure;
pub mod control;
pub mod files;
pub mod import;
pub mod installed;
pub mod make;
pub mod overrides;
pub mod paths;
pub mod process;
pub mod services;
pub mod setup;
pub mod sockets;
pub mod specifiers;
pub mod tree;
pub mod unit;
pub mod values;
pub mod words;

use std::path::PathBuf;

use model::ids::NameError;
use thiserror::Error;

/// The importer's own version: a package imported by another one is imported again.
pub const IMPORTER: u32 = 1;

/// Why a Debian package could not be imported.
#[derive(Debug, Error)]
pub enum DebError {
    /// The file system refused.
    #[error("could not read or write a file")]
    Io(#[from] std::io::Error),
    /// A file's bytes could not be set aside.
    #[error("could not set a file's bytes aside")]
    Spool(#[source] std::io::Error),
    /// It is not a Debian package, or a broken one.
    #[error("{file} is not a Debian package that can be read: {reason}")]
    Format {
        /// The package's file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An entry of its archive is refused.
    #[error("{path} is refused: {reason}")]
    Entry {
        /// The path as the archive has it.
        path: String,
        /// The rule.
        reason: String,
    },
    /// It is larger than what is taken.
    #[error("more than {limit} {what}: refused before more is read")]
    TooMuch {
        /// What there is too much of.
        what: &'static str,
        /// How much is taken.
        limit: u64,
    },
    /// A name or version in it is not one of ours.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A field of its control file is missing or wrong.
    #[error("control file: {0}")]
    Control(String),
    /// An overrides file is wrong.
    #[error("overrides {file}: {reason}")]
    Overrides {
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// apt or dpkg failed.
    #[error("{command} failed: {reason}")]
    Tool {
        /// The command line.
        command: String,
        /// Its own words.
        reason: String,
    },
    /// dpkg does not know the package as installed.
    #[error("{0} is not installed on this machine, by dpkg's database")]
    NotInstalled(String),
}

/// The result of everything here.
pub type Result<T> = std::result::Result<T, DebError>;

/// A Debian package, wherever it came from, before anything of it is mapped.
#[derive(Debug, Default)]
pub struct RawPackage {
    /// The control file's text.
    pub control: String,
    /// Paths that dpkg treats as configuration.
    pub conffiles: Vec<String>,
    /// Maintainer scripts that it brings, by name.
    pub scripts: Vec<String>,
    /// The text of its `postinst`: read for the units that it enables, never run.
    pub postinst: String,
    /// What could not be read of it.
    pub notes: Vec<String>,
    /// Its files, links and directories, in the archive's order.
    pub entries: Vec<RawEntry>,
}

/// One path of a Debian package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawEntry {
    /// Absolute, normalised, not yet mapped.
    pub path: String,
    /// Access mode, set-id bits included.
    pub mode: u32,
    /// Owner by name.
    pub owner: String,
    /// Group by name.
    pub group: String,
    /// What stands there.
    pub node: RawNode,
}

/// What stands at a path of a Debian package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RawNode {
    /// A regular file, its bytes in this file; hard links share one.
    File {
        /// Where the bytes are.
        content: PathBuf,
        /// How many they are.
        size: u64,
        /// `security.capability`, raw.
        capabilities: Option<Vec<u8>>,
    },
    /// A symbolic link with this text.
    Link(String),
    /// A directory.
    Directory,
}

/// Bounds on what an archive may bring, so that a hostile one costs little.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of all of its members, expanded.
    pub expanded: u64,
    /// Entries.
    pub entries: u64,
    /// Bytes of its control files, expanded.
    pub control: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            expanded: 16 << 30,
            entries: 500_000,
            control: 64 << 20,
        }
    }
}
