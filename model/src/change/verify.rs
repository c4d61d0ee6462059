//! Whether what stands on the disk and what runs is what the active generation says.

use serde::{Deserialize, Serialize};

use crate::ids::{Generation, ProcessName};
use crate::path::PackagePath;

/// How thoroughly files are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Thoroughness {
    /// By metadata: inode, size, mode, owner, time of change.
    #[default]
    Metadata,
    /// By content: every byte is read.
    Content,
}

/// What `verify` found; `verify --json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct VerifyReport {
    /// The generation that was looked at.
    pub generation: Generation,
    /// Files that were looked at.
    pub files: u64,
    /// Bytes that were read; 0 for the look at metadata.
    pub bytes: u64,
    /// Files that are not as their objects say.
    pub differing: Vec<DifferingFile>,
    /// Files below `/etc` that the administrator has changed; that is no error.
    pub config: Vec<DifferingFile>,
    /// Running processes that have files mapped which are not those of their generation.
    pub mapped: Vec<ForeignMapping>,
}

/// A file that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DifferingFile {
    /// Where it stands in the view, or below `/etc`.
    pub path: PackagePath,
    /// `NAME=VERSION` of the package that brings it.
    pub package: String,
    /// How it differs: `missing`, `content`, `mode 0644, should be 0755` …
    pub how: String,
}

/// A mapping that is not of the process's generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ForeignMapping {
    /// The supervised process.
    pub process: ProcessName,
    /// The process of its control group, in the daemon's pid namespace.
    pub pid: u32,
    /// The generation that it lives in.
    pub generation: Generation,
    /// What it has mapped.
    pub path: String,
    /// What is wrong with it, for people.
    pub how: String,
}
