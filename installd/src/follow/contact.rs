//! A change cannot cut the node off for ever: what the master has not answered goes back by itself.

use std::time::Duration;

use model::change::{ChangeReport, HistoryFilter, Outcome, Request};
use model::report::Chain;
use model::wire::{FromNode, RolloutId, StorePolicy, Wanted};
use model::{Generation, PackageId};
use resolve::fleet::software_hash;

use super::carry::{Carried, waits_for_contact};
use super::kept::Phase;
use super::{Follower, Message, now};
use crate::engine;
use crate::sys::clock::uptime;

/// A way back that did not come about is tried again after so long.
const AGAIN: Duration = Duration::from_secs(5);
/// What is due is looked at no less often than this; clocks jump.
const LOOK: Duration = Duration::from_hours(1);

/// Where an order is whose set runs, and stays only when the master was heard.
pub(super) fn uncommitted(wanted: &Wanted) -> Phase {
    match wanted.orders.contact_timeout_ms {
        0 => Phase::Trial,
        ms => Phase::Contact {
            back_at: uptime() + ms.div_ceil(1000),
        },
    }
}

/// The report of a change that was taken back.
fn taken_back(report: ChangeReport, why: &str) -> ChangeReport {
    ChangeReport {
        outcome: if report.outcome == Outcome::Done {
            Outcome::RolledBack
        } else {
            report.outcome
        },
        detail: Some(why.to_owned()),
        ..report
    }
}

/// Back to what the next boot would run, or to what was in memory only.
async fn back(
    engine: &engine::Handle,
    before: Option<Vec<PackageId>>,
) -> Result<ChangeReport, engine::Error> {
    if before.is_some() {
        let request = Request {
            exactly: before,
            trial: true,
            with_config: true,
            loaded: true,
            force: true,
            ..Request::default()
        };
        return engine.apply_at(request, None).await;
    }
    let committed = engine.software().await?.committed_generation;
    let whole = (committed == Generation(0)).then(Vec::new);
    let request = Request {
        to: whole.is_none().then_some(committed),
        exactly: whole,
        // The set that it leaves was never decided to stay.
        force: true,
        ..Request::default()
    };
    engine.apply_at(request, None).await
}

impl Follower {
    /// Goes on with what a killed daemon, or a restarted machine, left.
    pub(super) async fn take_up(&mut self) {
        self.look().await;
        let Some(pending) = self.state.pending.clone() else {
            return;
        };
        let wanted = pending.wanted;
        if let Err(error) = self.become_for(&wanted.selected_for).await {
            tracing::warn!(error = %Chain(&error), "what the master adds to this node is not known");
        }
        let Ok(software) = self.engine.software().await else {
            return;
        };
        self.look().await;
        let runs = software_hash(&software.active, &software.node) == wanted.software;
        let last = self.last_change().await;
        let open = runs && software.trial && waits_for_contact(&wanted);
        match pending.phase {
            Phase::Changing | Phase::Check if open && !wanted.orders.check.is_empty() => {
                self.begin_check(&wanted, last.map(Box::new));
                return;
            }
            Phase::Changing | Phase::Check if open => {
                self.set_phase(uncommitted(&wanted));
                self.state.end = self.end_of(&wanted, last, None);
            }
            Phase::Changing if runs && !waits_for_contact(&wanted) => {
                self.state.pending = None;
                self.state.list = Some(wanted.list);
                self.state.end = self.end_of(&wanted, last, None);
            }
            Phase::Contact { .. } | Phase::Trial if runs && software.trial => {}
            Phase::Back if runs && software.trial => {
                let why = "it was being taken back when installd was stopped";
                self.go_back(pending.back.unwrap_or_else(|| why.to_owned()));
                return;
            }
            Phase::Changing | Phase::Check | Phase::Contact { .. } | Phase::Trial | Phase::Back => {
                let why = "installd or the machine restarted before the change was committed; \
                           what ran before runs";
                let why = pending.back.unwrap_or_else(|| why.to_owned());
                let last = last.map(|report| taken_back(report, &why));
                self.state.end = self.end_of(&wanted, last, Some(why));
                self.state.pending = None;
            }
        }
        self.tell_end();
    }

    async fn last_change(&self) -> Option<ChangeReport> {
        let newest = HistoryFilter {
            limit: 1,
            ..HistoryFilter::default()
        };
        let history = self.engine.history(newest).await.ok()?;
        history.into_iter().next()?.report
    }

    pub(super) fn set_phase(&mut self, phase: Phase) {
        if let Some(pending) = &mut self.state.pending {
            pending.phase = phase;
        }
    }

    /// The master was heard on a link that is open.
    pub(super) fn heard(&mut self) {
        let Some(pending) = &self.state.pending else {
            return;
        };
        // A trial waits for an operator, not for the master to be reached.
        if pending.wanted.orders.trial && matches!(pending.phase, Phase::Contact { .. }) {
            self.set_phase(Phase::Trial);
            if let Err(error) = self.save() {
                tracing::warn!(error = %Chain(&error), "that the master was heard is not on the disk");
            }
        }
    }

    /// The master has the report: what runs stays.
    pub(super) async fn commit(&mut self, rollout: RolloutId) {
        let pending = self.state.pending.clone();
        let Some(pending) = pending.filter(|one| one.rollout() == Some(rollout)) else {
            if self
                .state
                .end
                .as_ref()
                .is_some_and(|end| end.rollout == rollout)
            {
                self.state.end = None;
                drop(self.save());
            }
            return;
        };
        if matches!(pending.phase, Phase::Changing | Phase::Check | Phase::Back) {
            return;
        }
        // What is in memory only stays there.
        let loaded = pending.wanted.store == StorePolicy::Memory;
        let committed = if loaded {
            Ok(ChangeReport::new(
                model::ChangeId(0),
                Outcome::Done,
                Generation(0),
            ))
        } else {
            self.engine.commit("the fleet's master".to_owned()).await
        };
        match committed {
            Ok(report) if report.outcome == Outcome::Done => {
                self.state.list = Some(pending.wanted.list);
                self.state.pending = None;
                self.state.end = None;
            }
            Ok(report) => {
                let why = report.detail.clone();
                tracing::error!("the change was not committed: {}", why.unwrap_or_default());
                return;
            }
            Err(error) => {
                tracing::error!(error = %Chain(&error), "the change was not committed");
                return;
            }
        }
        if let Err(error) = self.save() {
            tracing::error!(error = %Chain(&error), "that it was committed is not on the disk");
        }
        self.look().await;
        self.tell_installed();
    }

    /// Takes an uncommitted change back.
    pub(super) fn go_back(&mut self, why: String) {
        tracing::warn!("going back: {why}");
        self.checking = None;
        if let Some(pending) = &mut self.state.pending {
            pending.phase = Phase::Back;
            pending.back.get_or_insert(why);
        }
        if let Err(error) = self.save() {
            tracing::error!(error = %Chain(&error), "that it goes back is not on the disk");
        }
        if !std::mem::replace(&mut self.going_back, true) {
            self.try_back(Duration::ZERO);
        }
    }

    fn try_back(&self, wait: Duration) {
        let (engine, mailbox) = (self.engine.clone(), self.mailbox.clone());
        let pending = self.state.pending.as_ref();
        let before = pending.and_then(|one| one.before.clone());
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            let report = back(&engine, before).await;
            let report = report.map_err(|error| Chain(&error).to_string());
            let carried = Carried::WentBack(report);
            drop(mailbox.send(Message::Carried(Box::new(carried))).await);
        });
    }

    pub(super) async fn went_back(&mut self, report: Result<ChangeReport, String>) {
        let report = match report {
            Ok(report) => report,
            Err(error) => {
                tracing::error!("it is not back yet: {error}");
                return self.try_back(AGAIN);
            }
        };
        self.going_back = false;
        let Some(pending) = self.state.pending.clone() else {
            return;
        };
        self.look().await;
        let why = pending.back.unwrap_or_default();
        let report = taken_back(report, &why);
        self.state.end = self.end_of(&pending.wanted, Some(report), Some(why));
        self.state.pending = None;
        self.tell_end();
    }

    /// What is due is done.
    pub(super) async fn is_due(&mut self) {
        let now = now();
        if let Some(pending) = &self.state.pending
            && let Phase::Contact { back_at } = pending.phase
            && back_at <= uptime()
        {
            let ms = pending.wanted.orders.contact_timeout_ms;
            let why = format!("the master was not in contact within {ms} ms after the switch");
            self.go_back(why);
        }
        if self
            .state
            .hold
            .as_ref()
            .is_some_and(|hold| hold.until <= now)
        {
            self.state.hold = None;
            drop(self.save());
            self.tell_installed();
        }
        self.renew().await;
    }

    /// Has the mailbox told when the next thing is due.
    pub(super) fn schedule(&mut self) {
        let back = self.state.pending.as_ref().and_then(|one| match one.phase {
            Phase::Contact { back_at } => Some(now() + back_at.saturating_sub(uptime())),
            Phase::Changing | Phase::Check | Phase::Trial | Phase::Back => None,
        });
        let hold = self.state.hold.as_ref().map(|hold| hold.until);
        let renew = self
            .member
            .as_ref()
            .map(|(_, identity)| identity.renew_at());
        let renew = renew.map(|at| at.max(self.renew_after));
        let next = [back, hold, renew].into_iter().flatten().min();
        if let Some(due) = self.due.take() {
            due.abort();
        }
        let Some(next) = next else {
            return;
        };
        let wait = Duration::from_secs(next.saturating_sub(now())).min(LOOK);
        let mailbox = self.mailbox.clone();
        let timer = tokio::spawn(async move {
            tokio::time::sleep(wait + Duration::from_millis(50)).await;
            drop(mailbox.send(Message::Due).await);
        });
        self.due = Some(timer.abort_handle());
    }

    /// What runs, where it differs from what the master was told.
    pub(super) fn tell_installed(&mut self) {
        let installed = self.installed();
        if self.told.as_ref() != Some(&installed)
            && self.say(FromNode::Installed(Box::new(installed.clone())))
        {
            self.told = Some(installed);
        }
    }

    /// The wanted state that was taken last.
    pub(super) fn last_wanted(&self) -> Option<Wanted> {
        let signed = self.state.wanted.as_ref()?;
        serde_json::from_str(&signed.text).ok()
    }
}
