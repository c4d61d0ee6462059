//! The shared words of Changeover: things and their encodings.
//!
//! Every component speaks of packages, processes and changes through these types, and every
//! file, bus message and document is one of them encoded. Each type checks itself once, where it
//! is parsed; past that point a `PackageName` is a package name.
//!
//! **Architecture invariant:** nothing here decides anything, waits for anything, or reads a clock.

pub mod bus;
pub mod change;
pub mod digest;
pub mod elf;
pub mod envelope;
pub mod fault;
pub mod ids;
pub mod later;
pub mod manifest;
pub mod mapped;
pub mod mappings;
pub mod path;
pub mod pattern;
pub mod process;
pub mod report;
pub mod requirement;
pub mod span;
pub mod transition;
pub mod trust;
pub mod version;
pub mod wire;

pub use digest::{Digest, Signature};
pub use ids::{ChangeId, Generation, PackageId, PackageName, ProcessName};
pub use later::Later;
pub use manifest::Manifest;
pub use path::PackagePath;
pub use process::ProcessSpec;
pub use requirement::Requirement;
pub use span::Span;
pub use version::Version;
