//! Why a process, path or package is as it is; `why --json`.

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, Signature};
use crate::ids::ProcessName;
use crate::path::PackagePath;
use crate::process::Kind;

/// Why a process, path or package is as it is; `why --json`. One of the three is there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct WhyReport {
    /// Where a process was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<WhyProcess>,
    /// Where a path was named, or a library's file name or soname.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<WhyPath>,
    /// Where a package was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<WhyPackage>,
}

/// What a process is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct WhyProcess {
    /// The process.
    pub name: ProcessName,
    /// `NAME=VERSION` of the package that exports it.
    pub package: String,
    /// Simple or Self-Managing.
    pub kind: Kind,
    /// Every file that it can load or run, sorted by path.
    pub uses: Vec<WhyUse>,
    /// What makes it unsure that this is all: unannotated `dlopen`, for example.
    pub unsure: Vec<String>,
}

/// A file that something uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct WhyUse {
    /// The file.
    pub path: PackagePath,
    /// `NAME=VERSION` of the package that brings it.
    pub package: String,
    /// The chain from the file to its user, as in [`super::ProcessImpact::because`].
    pub because: Vec<String>,
}

/// Where a path comes from and who uses it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct WhyPath {
    /// The path.
    pub path: PackagePath,
    /// `NAME=VERSION` of the package that wins it.
    pub package: String,
    /// Packages that have it too and lose it, in order of the set.
    pub shadowed: Vec<String>,
    /// Digest of its bytes and signature of its substance, for a regular file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// See `digest`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
    /// Processes that can load or run it, each with a chain.
    pub used_by: Vec<WhyUser>,
}

/// A process that uses a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct WhyUser {
    /// The process.
    pub process: ProcessName,
    /// The chain from the file to it.
    pub because: Vec<String>,
}

/// What a package is in its set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct WhyPackage {
    /// `NAME=VERSION`.
    pub package: String,
    /// Its place in the active set, from 1; absent: not active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<u64>,
    /// `NAME=VERSION: requirement` of every active package that it answers.
    pub required_by: Vec<String>,
    /// Its own requirements with what answers each: `libc6 (>= 2.36) ← libc6=2.36-9`.
    pub requires: Vec<String>,
    /// The processes that it exports.
    pub processes: Vec<ProcessName>,
}
