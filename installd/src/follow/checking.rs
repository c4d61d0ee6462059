//! The check of a new set: it runs once after the switch, before anybody is told that it went well,
//! and takes the node back where it fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use model::change::ChangeReport;
use model::report::Chain;
use model::wire::{FromNode, NodeProgress, Wanted};

use super::carry::Carried;
use super::kept::Phase;
use super::{Follower, Message, contact};
use crate::sys::check::{Check, Checked};
use crate::sys::sysmgr::Sysmgr;

/// How long a check may take.
const WITHIN: Duration = Duration::from_mins(5);

/// Ends the check with whoever waits for it.
pub(super) struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Follower {
    /// Runs it. A daemon that was killed meanwhile runs it again from the beginning.
    pub(super) fn begin_check(&mut self, wanted: &Wanted, report: Option<Box<ChangeReport>>) {
        self.set_phase(Phase::Check);
        if let Err(error) = self.save() {
            tracing::warn!(error = %Chain(&error), "that the check goes on is not on the disk");
        }
        if let Some(rollout) = wanted.orders.rollout {
            self.say(FromNode::Progress(NodeProgress {
                rollout,
                phase: "check".to_owned(),
                what: wanted.orders.check.join(" "),
                count: None,
            }));
        }
        let stop = Arc::new(AtomicBool::new(false));
        self.checking = Some(Stop(Arc::clone(&stop)));
        let limit = self.config.timeouts.sysmgrd.limit();
        let socket = self.config.run_dir.join("sysmgrd.sock");
        let mut sysmgr = Sysmgr::new(&socket, limit.unwrap_or(Duration::MAX));
        let (mailbox, wanted) = (self.mailbox.clone(), wanted.clone());
        tokio::spawn(async move {
            let said = match sysmgr.open_view().await {
                Err(error) => Err(Chain(&error).to_string()),
                Ok(view) => {
                    let check = Check {
                        view,
                        command: wanted.orders.check.clone(),
                        within: WITHIN,
                        stop,
                    };
                    check.run().await.map_err(|error| Chain(&error).to_string())
                }
            };
            let carried = Carried::Checked(wanted, report, said);
            drop(mailbox.send(Message::Carried(Box::new(carried))).await);
        });
    }

    /// It is done: only one that ended well lets the new set stay.
    pub(super) async fn checked(
        &mut self,
        wanted: &Wanted,
        report: Option<Box<ChangeReport>>,
        said: Result<Checked, String>,
    ) {
        let number = (wanted.epoch, wanted.counter);
        let Some(pending) = self.state.pending.as_mut().filter(|one| {
            one.phase == Phase::Check && (one.wanted.epoch, one.wanted.counter) == number
        }) else {
            return;
        };
        self.checking = None;
        let why = match &said {
            Ok((0, _)) => None,
            Ok((status, lines)) => Some(format!(
                "the check {} ended with exit status {status}; its last lines:\n{lines}",
                wanted.orders.check.join(" ")
            )),
            Err(why) => Some(why.clone()),
        };
        pending.check = said.ok();
        if let Some(why) = why {
            return self.go_back(why);
        }
        self.set_phase(contact::uncommitted(wanted));
        self.end(wanted, report.map(|report| *report), None).await;
    }
}
