//! What an ELF file says of itself, and the signature of its substance.
//!
//! [`read()`] gives the facts that the loader would see, found the way the loader finds them;
//! [`signature()`] hashes what would matter to a process that maps the file; [`explain`] says where
//! two files differ; [`annotations`] knows what well-known libraries open at run time. Files come
//! from strangers: nothing here trusts an offset, a count or a size.

pub mod annotations;
mod claims;
mod differ;
mod dynamic;
mod image;
mod notes;
mod read;
mod signature;
mod source;
mod symbols;
mod texts;

pub use claims::contradiction;
pub use differ::{Difference, Part, Verdict, explain};
pub use read::{ElfError, Examined, examine, examine_file, read};
pub use signature::signature;

use serde::{Deserialize, Serialize};

/// The facts of one ELF file that the loader, the plan and the reload need.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct ElfFacts {
    /// Machine name: `x86_64`, `aarch64`, `i386`, …
    pub machine: String,
    /// A program (`ET_EXEC`, or a position-independent one), not a library.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub program: bool,
    /// `DT_SONAME`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soname: Option<String>,
    /// `DT_NEEDED`, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub needed: Vec<String>,
    /// `DT_RUNPATH` directories, `$ORIGIN` not yet expanded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub runpath: Vec<String>,
    /// `DT_RPATH` directories, only where there is no `DT_RUNPATH`; inherited by what it loads.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rpath: Vec<String>,
    /// `PT_INTERP`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interpreter: Option<String>,
    /// Symbol versions that it defines, without the base one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub versions_provided: Vec<String>,
    /// Symbol versions that it needs, by the library they come from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub versions_needed: Vec<crate::manifest::LibraryNeed>,
    /// `.note.dlopen` (the FDO note), entry by entry.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dlopen_notes: Vec<DlopenNote>,
    /// It imports `dlopen` or `dlmopen`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub calls_dlopen: bool,
    /// Why it cannot be relied on to unload; empty: nothing is known against it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pinned_by: Vec<Pin>,
    /// Hexadecimal build-id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build_id: Option<String>,
}

/// One entry of `.note.dlopen`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DlopenNote {
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feature: Option<String>,
    /// `required`, `recommended` or `suggested`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<String>,
    /// Sonames, any of which will do, the best first.
    pub soname: Vec<String>,
}

/// Something that keeps a library mapped after `dlclose`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pin {
    /// `DF_1_NODELETE`.
    NoDelete,
    /// It defines `STB_GNU_UNIQUE` symbols.
    UniqueSymbols,
    /// It registers destructors of thread-local objects (`__cxa_thread_atexit*`).
    ThreadLocalDestructors,
}
