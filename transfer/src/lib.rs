//! Bytes from a master or a mirror to a node: whole objects, packs, patches; resumable, verified.
//!
//! ```text
//! master   Shelf::begin → Import::put … finish      objects, compressed once, small ones in packs
//!          Shelf::publish(list, objects)            the index of a software list
//!          Shelf::offer(old, new, pairs, effort)    what a node that has `old` lacks of `new`, as patches
//!              │ static files below one directory
//!              ▼
//!          lists/LIST, lists/LIST.from.OLD          which blob is the index (the only files that change)
//!          objects/HASH                             blobs: bytes whose BLAKE3 is HASH, for ever
//!              │ plain GET with ranges, from the master, mirrors, caches
//!              ▼
//! node     Fetcher::fetch(Order) → SPOOL/HASH       plain bytes whose BLAKE3 is HASH
//! ```
//!
//! A *blob* is a file that is served; an *object* is what packages are made of. A *part* is a range
//! of a blob that gives one object, alone or together with another object that the node has.
//!
//! Invariants: whatever a server says, a node writes no more than the sizes that it asked for
//! allow, hands nothing to a decompressor whose hash is not the index's, and leaves nothing in the
//! spool under a name that its bytes do not have. What cannot be had is an error that names it:
//! nothing ever falls back to fetching everything.

mod encode;
mod error;
pub mod fetch;
mod groups;
mod index;
pub mod pairs;
mod patch;
pub mod shelf;

pub use error::Error;
pub use fetch::{Bound, Fetcher, Order, Progress, Report, Settings, Source, Want};
pub use pairs::Pair;
pub use shelf::{Effort, Import, Offered, Shelf};

/// Plain bytes in one slice of a patch; nothing that is held in memory is larger, but for the
/// matching window of the older object.
pub const SLICE: usize = 16 << 20;

/// Bytes that a pack of small objects has at most.
pub const PACK: u64 = 4_000_000;

/// Plain bytes that an object has at most.
pub const MOST_OBJECT: u64 = 8 << 30;

/// The most compressed bytes that anything of `plain` bytes may take: no compressor that means
/// well needs more.
pub const fn most_packed(plain: u64) -> u64 {
    plain + plain / 128 + 1024
}
