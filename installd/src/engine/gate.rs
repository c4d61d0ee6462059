//! A change that stands still directly before its switch until somebody says go: all nodes of a
//! fleet switch together, or none of them.

use std::time::Duration;

use tokio::sync::oneshot;

use super::change::{Changeover, Stop};

/// Where a change waits for a word.
#[derive(Debug)]
pub struct Gate {
    /// Told when all is staged, and every process that takes part is ready and waits.
    pub ready: oneshot::Sender<()>,
    /// Go; or why not.
    pub go: oneshot::Receiver<Result<(), String>>,
    /// How long it waits before it ends by itself, with nothing touched.
    pub within: Duration,
}

impl Changeover {
    /// Waits at the gate, where there is one. Until it is passed nothing was touched.
    pub(super) async fn wait_at_gate(&mut self) -> Result<(), Stop> {
        let Some(gate) = self.gate.take() else {
            return Ok(());
        };
        self.phases.begin("wait");
        let what = "all is ready; waiting for the other nodes";
        self.context.progress("wait", what, None);
        // Whoever was to be told that it waits cannot say go either: the wait ends by itself.
        let _told = gate.ready.send(());
        match tokio::time::timeout(gate.within, gate.go).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(why))) => Err(Stop::Failed(why)),
            Ok(Err(_)) => Err(Stop::Failed("nobody is left to say go".to_owned())),
            Err(_) => Err(Stop::Failed(format!(
                "no go came within {} ms",
                gate.within.as_millis()
            ))),
        }
    }
}
