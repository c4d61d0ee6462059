//! For applications that manage their own changeover.
//!
//! A process that its package declares `kind = "self-managing"` is not restarted when a shared
//! library under it changes: it is asked, told, moved to the new files, and swaps the code itself.
//! This library is its side of that:
//!
//! - [`session`]: the questions of `sysmgrd` as events behind one descriptor, and the answers;
//! - [`link`]: what is loaded, and which file each object really is;
//! - [`reload`]: which of it a change reaches, and swapping it live, with proof;
//! - [`plugins`]: the shared libraries that the program opened itself;
//! - [`manager`]: all of it together, for a program that needs nothing special.
//!
//! ```text
//! sysmgrd ──socket──► session worker (thread) ──events, one descriptor──► the program's own loop
//!                                                                            │ manager.handle(event)
//!                            loader, /proc/self/maps ◄── reload ◄── plugins ◄┘
//! ```
//!
//! The library starts one thread (for the socket) and no process. It never restarts the program
//! and never closes what it did not open.

pub mod link;
pub mod manager;
pub mod plugins;
pub mod reload;
pub mod session;
mod sys;

pub use manager::Manager;
pub use model::change::Verdict;
pub use model::transition::{Announcement, Asked, ChangedFile, Ended};
pub use model::{ChangeId, PackagePath};
pub use plugins::{PluginId, Plugins};
pub use session::{Event, Reason, Session};
pub use sys::loader::{Library, LoaderError, Symbol, Trust};
