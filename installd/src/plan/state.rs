//! State that an older or a newer binary cannot read: what must be done for it, there and back.

use model::ProcessName;
use model::process::CommandLine;

/// What is to be done with the state of a process whose `state-version` differs between the sets,
/// after its old program has stopped and before its new one starts.
///
/// In this order: `snapshot`, then `migrate_back` (in the view of the old generation) or `restore`,
/// then `migrate` (in the new one). The way back of the change itself puts the snapshot back where
/// there is one, and else runs `undo` in the view of the new generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateStep {
    /// The process.
    pub process: ProcessName,
    /// The version of its state until now.
    pub from: u32,
    /// The version that its next program has.
    pub to: u32,
    /// Its state directories are copied first; the copy is of version `from`.
    pub snapshot: bool,
    /// Brings the state up; a command of the new declaration.
    pub migrate: Option<CommandLine>,
    /// Brings the state down; a command of the old declaration, which is the newer one.
    pub migrate_back: Option<CommandLine>,
    /// The kept copy of version `to` is put in the state's place.
    pub restore: bool,
    /// Undoes `migrate` where the change is taken back and there is no snapshot: `migrate-back` of
    /// the new declaration.
    pub undo: Option<CommandLine>,
}
