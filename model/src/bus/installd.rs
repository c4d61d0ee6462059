//! `org.changeover.Install1`: the node's store, plans and changes.

use zbus::OwnedFd;
use zbus::proxy;

use super::Error;

/// The well-known name.
pub const NAME: &str = "org.changeover.Install1";
/// The manager's object path.
pub const PATH: &str = "/org/changeover/Install1";

/// installd, seen from outside.
#[proxy(
    interface = "org.changeover.Install1.Manager",
    default_service = "org.changeover.Install1",
    default_path = "/org/changeover/Install1"
)]
pub trait Manager {
    /// Reads an envelope from the descriptor into the store. Answers
    /// `[{"package": "NAME=VERSION", "id": ID, "new": bool}]`. Progress comes by signal.
    fn add(&self, envelope: OwnedFd) -> Result<String, Error>;

    /// As `add`, and takes packages that no trusted key has signed: root only, whose name is kept
    /// with the package.
    fn add_unsigned(&self, envelope: OwnedFd) -> Result<String, Error>;

    /// Removes packages (`NAME` or `NAME=VERSION`) from the store; refused while active.
    /// Answers the removed ids.
    fn remove(&self, packages: Vec<String>) -> Result<Vec<String>, Error>;

    /// The packages in the store: a JSON list of
    /// `{"package", "id", "active", "size", "summary", "added"}`.
    fn list(&self) -> Result<String, Error>;

    /// What a [`crate::change::Request`] would do: a [`crate::change::PlanReport`].
    fn plan(&self, request: &str) -> Result<String, Error>;

    /// Carries a [`crate::change::Request`] out. Answers a [`crate::change::ChangeReport`] when
    /// it has ended, however it ended; fails with `Unmet`, `Busy` or `NotAllowed` before it began.
    fn apply(&self, request: &str) -> Result<String, Error>;

    /// The node in one document: active set, generation, running change, discrepancies.
    fn status(&self) -> Result<String, Error>;

    /// Why a process or path is as it is: for a process its library closure with the chain to
    /// each, for a path the package that brings it and the processes that use it.
    fn why(&self, what: &str) -> Result<String, Error>;

    /// Makes the trial that runs what the next boot runs. Answers a [`crate::change::ChangeReport`].
    fn commit(&self) -> Result<String, Error>;

    /// Keeps a generation until it is unpinned, or no longer; answers whether that was news.
    fn pin(&self, generation: u64, pinned: bool) -> Result<bool, Error>;

    /// Gives generations up that could be gone back to: all of them, or none. Refused for those
    /// that run, are committed, pinned, or lived in.
    fn forget(&self, generations: Vec<u64>) -> Result<Vec<u64>, Error>;

    /// Whether the disk and the running processes are as the active generation says, looked at as
    /// a [`crate::change::Thoroughness`] says; answers a [`crate::change::VerifyReport`].
    fn verify(&self, thoroughness: &str) -> Result<String, Error>;

    /// Changes that a [`crate::change::HistoryFilter`] picks, newest first: a JSON list of
    /// [`crate::change::HistoryEntry`].
    fn history(&self, filter: &str) -> Result<String, Error>;

    /// All that is known of one change: a [`crate::change::ChangeRecord`].
    fn change(&self, change: u64) -> Result<String, Error>;

    /// Enters a fleet with a [`crate::wire::Join`]; answers a [`crate::wire::Membership`]. Where an
    /// operator has to accept the node, its state is `pending` and it asks again by itself.
    fn join(&self, join: &str) -> Result<String, Error>;

    /// Leaves the fleet: its keys are forgotten, what runs runs on. Answers whether it was in one.
    fn leave(&self) -> Result<bool, Error>;

    /// How the node stands to its fleet: a [`crate::wire::Membership`].
    fn fleet(&self) -> Result<String, Error>;

    /// Takes the node out of the fleet's hands until then (seconds since 1970), so that it can be
    /// changed here; the fleet shows it with the reason. 0 ends that. Answers a
    /// [`crate::wire::Membership`].
    fn hold(&self, reason: &str, until: u64) -> Result<String, Error>;

    /// A step of the running change or of an `Add`: a [`crate::change::Progress`].
    #[zbus(signal)]
    fn progress(&self, document: &str) -> zbus::Result<()>;

    /// A change has ended, however it ended: its [`crate::change::ChangeReport`].
    #[zbus(signal)]
    fn ended(&self, document: &str) -> zbus::Result<()>;

    /// The number of the generation that runs; 0: none.
    #[zbus(property)]
    fn generation(&self) -> zbus::Result<u64>;

    /// `NAME=VERSION` of every active package, in order.
    #[zbus(property)]
    fn active(&self) -> zbus::Result<Vec<String>>;

    /// What is true and should not be.
    #[zbus(property)]
    fn discrepancies(&self) -> zbus::Result<Vec<String>>;
}
