//! What could not be done for a reason that may pass is tried again, less and less often.

use std::time::Duration;

use model::change::{ChangeReport, ProcessStatus, Verdict};
use model::report::Chain;
use tokio::task::AbortHandle;

use super::request::{Error, Message};
use super::{Engine, lists, open};

/// How long after it failed something is tried again.
const FIRST: Duration = Duration::from_secs(1);
/// The longest wait that doubling reaches.
const LONGEST: Duration = Duration::from_mins(1);

/// An end that is not in the history.
#[derive(Debug)]
pub(super) struct Unwritten {
    pub(super) report: ChangeReport,
    /// Why not.
    why: String,
}

/// When it is tried again.
#[derive(Debug, Default)]
pub(super) struct Retry {
    tries: u32,
    timer: Option<AbortHandle>,
}

impl Retry {
    /// Begins with the first delay again.
    fn reset(&mut self) {
        if let Some(timer) = self.timer.take() {
            timer.abort();
        }
        self.tries = 0;
    }
}

/// The wait before the next try.
fn delay(tries: u32) -> Duration {
    FIRST
        .saturating_mul(2_u32.saturating_pow(tries))
        .min(LONGEST)
}

impl Engine {
    /// What could not be done, once more.
    pub(super) async fn again(&mut self) {
        self.retry.timer = None;
        // Why not was said with the change that it ended.
        drop(self.write_the_unwritten());
        if self.change.is_some() {
            return self.later();
        }
        if self.open.is_some() || self.unstarted.is_some() {
            return self.boot();
        }
        if self.left.is_some()
            && let Ok(statuses) = self.sysmgr.processes().await
        {
            self.look_at_left(&statuses);
        }
        if self.untidy {
            return self.tidy().await;
        }
        self.later();
    }

    /// Has what could not be done tried again.
    pub(super) fn later(&mut self) {
        let nothing = self.unwritten.is_none()
            && !self.untidy
            && self.open.is_none()
            && self.unstarted.is_none()
            && self.left.is_none();
        if nothing {
            return self.retry.reset();
        }
        if self.retry.timer.is_some() {
            return;
        }
        let (mailbox, wait) = (self.context.mailbox.clone(), delay(self.retry.tries));
        self.retry.tries += 1;
        let timer = tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            if let Some(mailbox) = mailbox.upgrade() {
                drop(mailbox.send(Message::Again).await);
            }
        });
        self.retry.timer = Some(timer.abort_handle());
    }

    /// The same, without the patience that was learnt from something else.
    pub(super) fn soon(&mut self) {
        self.retry.reset();
        self.later();
    }

    /// Writes the end of a change that had nothing to do.
    pub(super) fn end_at_once(&mut self, report: &ChangeReport) -> Result<(), Error> {
        let written = self.db.end_change(report);
        if let Err(error) = &written {
            let (report, why) = (report.clone(), Chain(error).to_string());
            self.unwritten = Some(Unwritten { report, why });
            self.soon();
        }
        Ok(written?)
    }

    /// What a full disk kept from being written is written before anything else begins.
    pub(super) fn write_the_unwritten(&mut self) -> Result<(), Error> {
        if let Some(end) = &mut self.unwritten {
            let written = self.db.end_change(&end.report);
            written.inspect_err(|error| end.why = Chain(error).to_string())?;
            self.unwritten = None;
        }
        Ok(())
    }

    /// Takes in how a change was left by its end.
    pub(super) fn take_end(&mut self, report: &ChangeReport) {
        let unfinished = self.db.unfinished().unwrap_or_default();
        let unwritten = unfinished.iter().any(|one| one.id == report.change);
        self.unwritten = (unwritten && !report.unfinished).then(|| Unwritten {
            report: report.clone(),
            why: String::new(),
        });
        // Why not stands with it.
        drop(self.write_the_unwritten());
        self.left = open::left_half(report).map(|_| report.clone());
    }

    /// Forgets that the last change was not taken back wholly when its processes have come up since.
    pub(super) fn look_at_left(&mut self, statuses: &[ProcessStatus]) {
        let wanted = lists::exported(&self.active.order);
        let is_up = |report: &ChangeReport| {
            let mut touched = (report.processes.iter())
                .filter(|one| !matches!(one.verdict, Verdict::None | Verdict::Ask))
                .filter(|one| wanted.contains_key(&one.name))
                .map(|one| statuses.iter().find(|status| status.name == one.name));
            let up = |status: &ProcessStatus| matches!(status.state.as_str(), "ready" | "done");
            touched.all(|status| status.is_some_and(up))
        };
        if let Some(report) = self.left.take_if(|report| is_up(report)) {
            tracing::info!(change = report.change.0, "what it left down has come up");
            self.publish();
        }
    }

    /// What stands among the discrepancies until it was done.
    pub(super) fn undone(&self) -> Vec<String> {
        let open = self.open.as_ref().map(|open| open.discrepancy());
        let left = self.left.as_ref().and_then(open::left_half);
        let unstarted = self.unstarted.as_ref();
        let unstarted = unstarted
            .map(|why| format!("the set is not started wholly: {why}; installd tries again"));
        let unwritten = self.unwritten.as_ref().map(|Unwritten { report, why }| {
            format!(
                "the end of change {} is not in the history yet: {why}; installd tries again",
                report.change
            )
        });
        let all = [open, left, unstarted, unwritten];
        all.into_iter().flatten().collect()
    }

    /// Notes what kept the set from being started.
    pub(super) fn not_started(&mut self, error: &Error) {
        let why = Chain(error).to_string();
        tracing::error!("the set was not started wholly: {why}");
        self.unstarted = Some(why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_a_minute() {
        let waits: Vec<u64> = (0..8).map(|tries| delay(tries).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(delay(u32::MAX), LONGEST);
    }
}
