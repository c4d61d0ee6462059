//! A boot that waits for the master's word before it starts the committed set, where that is what
//! the master has signed for the node.

use std::time::Duration;

use model::wire::{BootGate, Verdict, Wanted};

use super::kept::Kept;
use super::{Follower, Message};
use crate::config::Config;
use crate::sys::clock;

/// A master that has said that a node differs has sent what is wanted by then.
const SENT_WITHIN: Duration = Duration::from_secs(10);

/// In the run directory: the gate was opened in this boot, a restart of installd passes it.
const OPENED: &str = "boot-gate-opened";

fn gate(config: &Config) -> Option<BootGate> {
    let kept = Kept::open(&config.state_dir.join("fleet")).ok()?;
    kept.member().ok()??;
    let signed = kept.state().ok()?.wanted?;
    let wanted: Wanted = serde_json::from_str(&signed.text).ok()?;
    Some(wanted.boot_gate)
}

/// Whether the start of the committed set is to wait for the master; asked before the engine
/// starts. What cannot be read holds nothing up.
pub fn holds_boot(config: &Config) -> bool {
    let here = clock::boot_id(&config.boot_id_file).unwrap_or_default();
    let opened = fs_err::read_to_string(config.run_dir.join(OPENED));
    let passed = opened.is_ok_and(|opened| opened == here);
    !passed && matches!(gate(config), Some(BootGate::Wait { .. }))
}

impl Follower {
    /// Has the gate opened by itself after the time that the master has signed.
    pub(super) fn limit_gate(&self) {
        let wanted = self.last_wanted().map(|wanted| wanted.boot_gate);
        let Some(BootGate::Wait {
            timeout_ms: Some(ms),
        }) = wanted
        else {
            return;
        };
        let mailbox = self.mailbox.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            drop(mailbox.send(Message::OpenGate).await);
        });
    }

    /// The gate is open from here on; whether it was not.
    pub(super) fn pass_gate(&mut self) -> bool {
        if !std::mem::take(&mut self.gated) {
            return false;
        }
        let here = clock::boot_id(&self.config.boot_id_file).unwrap_or_default();
        // Without the mark a restart of installd waits once more.
        if let Err(error) = fs_err::write(self.config.run_dir.join(OPENED), here) {
            tracing::warn!("{error}");
        }
        true
    }

    /// The master was heard: the committed set is started, or what is wanted instead of it, which
    /// comes next.
    pub(super) async fn heard_at_gate(&mut self, verdict: Verdict) {
        if verdict != Verdict::Differs || !self.gated {
            return self.open_gate("the master was heard").await;
        }
        tracing::info!("the start waits for what is wanted: it is not what is committed");
        let mailbox = self.mailbox.clone();
        tokio::spawn(async move {
            tokio::time::sleep(SENT_WITHIN).await;
            drop(mailbox.send(Message::NothingWanted).await);
        });
    }

    /// The committed set is started, if it was held.
    pub(super) async fn open_gate(&mut self, why: &str) {
        if !self.pass_gate() {
            return;
        }
        tracing::info!("the committed set is started: {why}");
        self.engine.open_gate().await;
        let limit = self.config.timeouts.sysmgrd.limit();
        let limit = limit.unwrap_or(Duration::MAX);
        self.engine.settled(limit).await;
    }
}
