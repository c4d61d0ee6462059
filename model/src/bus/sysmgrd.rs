//! `org.changeover.SysMgr1`: the node's processes.
//!
//! installd speaks this interface over a socket of its own (`sysmgrd.sock`), so that a restarted
//! broker costs only outside callers.

use zbus::OwnedFd;
use zbus::proxy;

use super::Error;

/// The well-known name.
pub const NAME: &str = "org.changeover.SysMgr1";
/// The manager's object path.
pub const PATH: &str = "/org/changeover/SysMgr1";

/// sysmgrd, seen from outside and from installd.
#[proxy(
    interface = "org.changeover.SysMgr1.Manager",
    default_service = "org.changeover.SysMgr1",
    default_path = "/org/changeover/SysMgr1"
)]
pub trait Manager {
    /// Every supervised process: a JSON list of [`crate::change::ProcessStatus`].
    fn processes(&self) -> Result<String, Error>;

    /// The last lines that a process wrote, oldest first.
    fn logs(&self, process: &str, lines: u32) -> Result<Vec<String>, Error>;

    /// Stops and starts processes in order; answers a [`crate::transition::TransitionReport`].
    fn restart(&self, processes: Vec<String>) -> Result<String, Error>;

    /// A descriptor of the mount namespace of the newest generation's view, for `pkgtool exec`.
    fn open_view(&self) -> Result<OwnedFd, Error>;

    /// Asks processes: a [`crate::transition::Ask`] in, [`crate::transition::Votes`] out.
    fn ask(&self, document: &str) -> Result<String, Error>;

    /// *Going to change*: a [`crate::transition::Prepare`] in, [`crate::transition::Prepared`] out.
    fn prepare(&self, document: &str) -> Result<String, Error>;

    /// The next state: a [`crate::transition::Transition`] in, a
    /// [`crate::transition::TransitionReport`] out when the machine is stable.
    fn transition(&self, document: &str) -> Result<String, Error>;

    /// Tells everyone who was told that a change has ended: a [`crate::transition::Ended`].
    fn end(&self, document: &str) -> Result<(), Error>;

    /// The files that the processes of each control group have mapped: a
    /// [`crate::mappings::Mappings`].
    fn mapped(&self) -> Result<String, Error>;

    /// A step of a transition: a [`crate::change::Progress`].
    #[zbus(signal)]
    fn progress(&self, document: &str) -> zbus::Result<()>;

    /// A process came into another state: a [`crate::change::ProcessStatus`]. Of several within a
    /// tenth of a second, the last; told on a bus only.
    #[zbus(signal)]
    fn process_changed(&self, document: &str) -> zbus::Result<()>;
}
