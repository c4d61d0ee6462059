//! What the engine is asked, and how it refuses.

use std::fs::File;

use model::change::{
    AddedPackage, ChangeRecord, ChangeReport, HistoryEntry, HistoryFilter, PackageRef, PlanReport,
    Request, StatusReport, StoredPackage, Thoroughness, VerifyReport, WhyReport,
};
use model::{ChangeId, Generation, PackageId};
use tokio::sync::oneshot;

use super::change::Went;
use super::fleet::FleetMessage;
use super::recover::Booted;
use crate::sys::{self, sysmgr};

/// Why a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is malformed or names something that does not exist.
    #[error("{0}")]
    Invalid(String),
    /// The software set would have unmet dependencies.
    #[error("{0}")]
    Unmet(String),
    /// Another change holds the node.
    #[error("{0}")]
    Busy(String),
    /// An effect failed.
    #[error(transparent)]
    Effect(#[from] sys::Error),
    /// sysmgrd failed.
    #[error(transparent)]
    Sysmgrd(#[from] sysmgr::Error),
    /// The daemon is going down.
    #[error("installd is ending; ask again when it is back")]
    Ending,
}

/// Where an answer goes.
pub(super) type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// One message to the engine.
#[derive(Debug)]
pub(super) enum Message {
    Add {
        envelope: File,
        /// Who gave their word for packages that no trusted key has signed.
        allowed_by: Option<String>,
        reply: Reply<Vec<AddedPackage>>,
    },
    Remove {
        packages: Vec<PackageRef>,
        reply: Reply<Vec<PackageId>>,
    },
    List {
        reply: Reply<Vec<StoredPackage>>,
    },
    Plan {
        request: Request,
        reply: Reply<PlanReport>,
    },
    Apply {
        request: Request,
        by: String,
        reply: Reply<ChangeReport>,
    },
    Commit {
        by: String,
        reply: Reply<ChangeReport>,
    },
    Pin {
        generation: Generation,
        pinned: bool,
        reply: Reply<bool>,
    },
    Forget {
        generations: Vec<Generation>,
        reply: Reply<Vec<Generation>>,
    },
    Status {
        reply: Reply<StatusReport>,
    },
    Why {
        what: String,
        reply: Reply<WhyReport>,
    },
    History {
        filter: HistoryFilter,
        reply: Reply<Vec<HistoryEntry>>,
    },
    Change {
        change: ChangeId,
        reply: Reply<ChangeRecord>,
    },
    Verify {
        thoroughness: Thoroughness,
        reply: Reply<VerifyReport>,
    },
    /// A look at what runs has ended.
    Verified {
        generation: Generation,
        report: Result<VerifyReport, Error>,
        reply: Reply<VerifyReport>,
    },
    /// An `add` has ended.
    Added {
        added: Result<Vec<AddedPackage>, Error>,
        reply: Reply<Vec<AddedPackage>>,
    },
    /// A change has come into another phase.
    Phase(String),
    /// A change has ended.
    Ended {
        went: Result<Went, Error>,
        reply: Reply<ChangeReport>,
    },
    /// What the watch on sysmgrd saw.
    Sysmgrd(sysmgr::Seen),
    /// The processes of the committed set are as they should be, or not.
    Booted(Booted),
    /// What could not be done may be possible now.
    Again,
    /// What a fleet's master wants of the node.
    Fleet(FleetMessage),
}
