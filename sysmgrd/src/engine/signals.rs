//! Signals by their names, and the one that tells a process of changed files.

use model::ProcessName;
use rustix::process::Signal as Sig;

use super::Engine;
use crate::sys::cgroup::send;

impl Engine {
    /// Tells a process that no session tells, by the signal that it declares, that files which it
    /// uses have changed.
    pub(super) fn signal_change(&self, name: &ProcessName) {
        let Some(process) = self.processes.get(name) else {
            return;
        };
        let named = process.spec.change_signal.as_deref();
        if let (Some(signal), Some(main)) = (named.and_then(by_name), process.main) {
            tracing::debug!(process = %name, ?signal, "files that it uses have changed");
            send(main, signal);
        }
    }
}

/// The signal of this name, with or without `SIG` before it; none of the real-time ones.
pub(super) fn by_name(name: &str) -> Option<Sig> {
    let short = name.strip_prefix("SIG").unwrap_or(name);
    let known = format!("SIG{short}").parse::<nix::sys::signal::Signal>();
    Sig::from_named_raw(known.ok()? as i32)
}
