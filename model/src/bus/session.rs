//! `org.changeover.Session1`: between sysmgrd and one Self-Managing process, peer to peer over the
//! socket that the process inherits (`SELFMANAGE_FD`); the socket is the process's identity.
//!
//! sysmgrd serves the object; its signals are the questions, the process's calls the answers.
//!
//! A process that loses its session while the path in `SELFMANAGE_SOCKET` is there connects to it
//! until it is let in, and registers again: its daemon was restarted. Where the path is gone the session
//! was closed for good. What was not answered is asked again.

use zbus::proxy;

use super::Error;

/// The environment variable with the inherited socket's number.
pub const FD_VARIABLE: &str = "SELFMANAGE_FD";
/// The environment variable with the path of the way back to a restarted sysmgrd.
pub const SOCKET_VARIABLE: &str = "SELFMANAGE_SOCKET";
/// The session's object path.
pub const PATH: &str = "/org/changeover/Session1";

/// sysmgrd's side of a session, as the process sees it.
#[proxy(
    interface = "org.changeover.Session1",
    default_path = "/org/changeover/Session1"
)]
pub trait Session {
    /// Registers for every change. Answers the process's own name.
    fn register(&self) -> Result<String, Error>;

    /// From now on the process is told nothing any more. One that is asked just then counts as
    /// silent.
    fn unregister(&self) -> Result<(), Error>;

    /// The vote on a change: accept, or veto with a reason (mandatory, at most 1,000 bytes).
    /// `reached`: the process says that the change reaches it, whatever the plan knew.
    fn vote(&self, change: u64, accept: bool, reason: &str, reached: bool) -> Result<(), Error>;

    /// Asks for more time to vote, once a change; answers how many milliseconds were granted on
    /// top of the time that the question had.
    fn more_time(&self, change: u64, milliseconds: u64) -> Result<u64, Error>;

    /// *Ready and waiting*, or why not (`reason` not empty).
    fn prepared(&self, change: u64, reason: &str) -> Result<(), Error>;

    /// *Done*: it runs wholly on the new files. `restart` not empty: it asks to be restarted
    /// instead, for this reason (for example a library that stays mapped).
    fn done(&self, change: u64, restart: &str) -> Result<(), Error>;

    /// The end of a change was heard: it is told again until then, and after a while the session
    /// of a process that does not say so is closed.
    fn heard(&self, change: u64) -> Result<(), Error>;

    /// The question before anything is touched: an [`crate::transition::Announcement`] and an
    /// [`crate::transition::Asked`].
    #[zbus(signal)]
    fn evaluate(&self, announcement: &str, asked: &str) -> zbus::Result<()>;

    /// *Going to change*: an [`crate::transition::Announcement`].
    #[zbus(signal)]
    fn prepare(&self, announcement: &str) -> zbus::Result<()>;

    /// The view has moved: new files stand at every path.
    #[zbus(signal)]
    fn changed(&self, change: u64) -> zbus::Result<()>;

    /// The end: an [`crate::transition::Ended`].
    #[zbus(signal)]
    fn ended(&self, document: &str) -> zbus::Result<()>;
}
