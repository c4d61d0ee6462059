//! The dynamic loader's own search rules (glibc's `ld.so`), over a composed tree instead of a disk.
//!
//! For a name without a slash, in this order: `DT_RPATH` of the file and of those that loaded it
//! (only where the file has no `DT_RUNPATH`), `LD_LIBRARY_PATH`, `DT_RUNPATH` of the file,
//! `ld.so.cache`, the default directories. Each directory's `glibc-hwcaps` subdirectories come
//! before it. Candidates of another machine are passed over. A name with a slash is a path.
//!
//! Stated approximations: `$PLATFORM` is the machine's name; of the legacy hardware subdirectories
//! (`tls`, `haswell`, …) that glibc before 2.37 also looks into, none is searched, as no package
//! may put a library there unnoticed: their files are found by no rule and say so as unused. That a library which is loaded
//! already under a soname answers every later need of that soname is up to the caller, who alone
//! knows what a process loads and when ([`Found::opened`] says which path would be opened first).

pub mod cache;
mod search;
mod view;

pub use cache::Cache;
pub use search::{Context, Finder, Found, default_directories, multiarch};
pub use view::{View, follow};

/// What decides a search besides the tree and the file: the node's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// The machine's `ld.so.cache`; paths in it that the tree lacks are passed over.
    pub cache: Cache,
    /// Names of `glibc-hwcaps` subdirectories that the processor is good for, the best first:
    /// `x86-64-v3`, `x86-64-v2`.
    pub hwcaps: Vec<String>,
}
