//! Who calls, as the history has it.

use model::bus::gate::{Caller, Pass};

/// A call that may change the node.
#[derive(Debug)]
pub(super) struct Allowed {
    /// The caller for the history: `root (pid 4711)`.
    pub(super) by: String,
    /// The call is counted as long as this is there.
    _pass: Pass,
}

impl From<Pass> for Allowed {
    fn from(pass: Pass) -> Self {
        let Caller { uid, pid } = pass.caller;
        Self {
            by: format!("{} (pid {pid})", name_of(uid)),
            _pass: pass,
        }
    }
}

fn name_of(uid: u32) -> String {
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid));
    user.ok()
        .flatten()
        .map_or_else(|| format!("user {uid}"), |user| user.name)
}
