//! An order of the master's, from the signed document to its end: fetch, stage, perhaps wait for
//! the others, switch.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use model::change::{ChangeReport, Outcome, Request};
use model::report::Chain;
use model::trust::Signed;
use model::wire::{FromNode, NodeEnd, NodeProgress, RolloutId, StorePolicy, Wanted};
use model::{Digest, PackageId};
use resolve::Characteristics;
use resolve::fleet::software_hash;
use tokio::sync::{mpsc, oneshot};

use super::allowed::{Asked, Rules};
use super::fetch::{self, Fetch};
use super::kept::Pending;
use super::{Carrying, Error, Follower, Message, contact, judge, now};
use crate::engine::{self, Gate};
use crate::sys::check;
use crate::sys::memory::Memory;
use crate::sys::objects::Objects;
use crate::sys::packages::parts::Parts;
use crate::sys::packages::regular;

/// A node that has no software, because it could not be loaded, tries again after so long.
const LOAD_AGAIN: Duration = Duration::from_secs(10);

/// How a part of an order ended.
pub(super) enum Carried {
    /// All packages are in the store; or not, and why.
    Staged(Wanted, Result<Staged, String>),
    /// The engine is done.
    Changed(Wanted, Result<ChangeReport, String>),
    /// Its check is done, or could not be run.
    Checked(
        Wanted,
        Option<Box<ChangeReport>>,
        Result<check::Checked, String>,
    ),
    /// The engine has taken it back, or not.
    WentBack(Result<ChangeReport, String>),
}

impl Follower {
    /// A wanted state has come.
    pub(super) async fn wanted(&mut self, signed: Signed) {
        let Some((member, _)) = &self.member else {
            return;
        };
        let known = judge::Known {
            node: &member.node,
            master_key: &member.master_key,
            highest: (self.state.epoch, self.state.counter),
            document: self.state.wanted.as_ref(),
            now: now(),
        };
        let wanted = match judge::wanted(&signed, known) {
            Ok(wanted) => wanted,
            Err(why) => {
                tracing::warn!("{why}");
                self.refused = Some(why);
                return self.tell_installed();
            }
        };
        self.refused = None;
        if self.is_known(&wanted) {
            return;
        }
        if let Err(why) = self.take_on(&wanted, signed).await {
            self.ended_without_change(&wanted, Chain(&why).to_string());
        }
    }

    /// Nothing of what is to be in memory is there: it is loaded, whatever was told of it before.
    pub(super) fn is_to_be_loaded(&self, wanted: &Wanted) -> bool {
        wanted.store == StorePolicy::Memory && self.seen.software.is_none()
    }

    /// The same document again: what it began goes on, and what it came to is told again.
    fn is_known(&mut self, wanted: &Wanted) -> bool {
        let number = (wanted.epoch, wanted.counter);
        let carried = self
            .carrying
            .as_ref()
            .is_some_and(|one| one.counter == number);
        let pending = self.state.pending.as_ref();
        let waits = pending.is_some_and(|one| (one.wanted.epoch, one.wanted.counter) == number);
        let end = self.state.end.clone();
        let end = end.filter(|end| (end.epoch, end.counter) == number);
        let has_ended = end.is_some() && !self.is_to_be_loaded(wanted);
        if let Some(mut end) = end {
            end.installed = self.installed();
            self.say(FromNode::Ended(Box::new(end)));
        }
        carried || waits || has_ended
    }

    async fn take_on(&mut self, wanted: &Wanted, signed: Signed) -> Result<(), Error> {
        self.withdraw("it was decided");
        if self.carrying.is_some() {
            self.stop_carrying("a newer wanted state came");
        }
        let (is_again, is_back) = (self.was_loaded(wanted), self.is_way_back(wanted));
        self.remember(wanted, signed)?;
        self.refuse_held()?;
        if self.state.pending.is_some() {
            return Err(Error::Invalid(
                "the change before is not at its end: its report has not been answered yet"
                    .to_owned(),
            ));
        }
        let node = self.become_for(&wanted.selected_for).await?;
        let software = self.engine.software().await?;
        // Nothing runs yet, or what ran is gone with the boot: there is nobody to be asked again.
        let is_lost = is_again && !software.trial || software.active.is_empty();
        let is_lost = is_lost && wanted.store == StorePolicy::Memory;
        if !(self.gated || is_lost) {
            refuse_other_base(wanted, software_hash(&software.active, &node))?;
        }
        self.make_room(wanted.store).await?;
        let staging = self.staging(wanted, software, node)?;
        let (mailbox, order) = (self.mailbox.clone(), wanted.clone());
        let task = tokio::spawn(async move {
            let staged = staging.stage(&order).await;
            let staged = staged.map_err(|error| Chain(&error).to_string());
            let carried = Carried::Staged(order, staged);
            drop(mailbox.send(Message::Carried(Box::new(carried))).await);
        });
        self.carrying = Some(Carrying {
            rollout: wanted.orders.rollout,
            counter: (wanted.epoch, wanted.counter),
            phase: "fetch",
            go: None,
            abort: None,
            is_back,
            fetching: Some(task.abort_handle()),
        });
        Ok(())
    }

    /// Whether just this was wanted before, in memory only.
    fn was_loaded(&self, wanted: &Wanted) -> bool {
        let before = self.last_wanted();
        before
            .is_some_and(|one| (one.store, one.software) == (StorePolicy::Memory, wanted.software))
    }

    /// Whether this is how an update is taken back: another set of the same one.
    fn is_way_back(&self, wanted: &Wanted) -> bool {
        let before = self
            .last_wanted()
            .filter(|one| one.software != wanted.software);
        let before = before.and_then(|one| one.orders.rollout);
        before.is_some() && before == wanted.orders.rollout
    }

    /// On the disk before anything of it is acted on.
    fn remember(&mut self, wanted: &Wanted, signed: Signed) -> Result<(), Error> {
        self.state.epoch = wanted.epoch;
        self.state.counter = wanted.counter;
        self.state.wanted = Some(signed);
        self.state.end = None;
        self.save()
    }

    fn staging(
        &self,
        wanted: &Wanted,
        software: engine::Software,
        node: Characteristics,
    ) -> Result<Staging, Error> {
        let objects = Objects::at(&self.config.state_dir.join("store"));
        let objects = objects.with_memory(Memory::new(&self.config.run_dir));
        let before = software.trial.then(|| {
            let active = software.active.iter();
            active.map(|one| one.id.clone()).collect()
        });
        let has: HashMap<Digest, PathBuf> = (software.active.iter())
            .flat_map(|package| regular(&package.manifest))
            .map(|(spec, _)| (spec.digest, objects.path(spec.key())))
            .collect();
        Ok(Staging {
            engine: self.engine.clone(),
            fetch: self.fetch(wanted.list, wanted.orders.rollout, wanted.store)?,
            rules: self.rules(),
            current: software.active,
            spool: self.spool_of(wanted.store),
            node,
            has,
            before,
        })
    }

    /// What this node lets a master do.
    pub(super) fn rules(&self) -> Rules {
        let (trust, fleet) = (&self.config.trust, &self.config.fleet);
        Rules::read(&trust.directory, &fleet.operators, &self.state.releases)
    }

    /// Room for what is to be in memory only, before anything of it comes.
    pub(super) async fn make_room(&self, store: StorePolicy) -> Result<(), Error> {
        match store {
            StorePolicy::Keep => Ok(()),
            StorePolicy::Memory => Ok(self.engine.make_memory().await?),
        }
    }

    /// The way to what a list needs; how far it is goes to the master.
    pub(super) fn fetch(
        &self,
        list: Digest,
        rollout: Option<RolloutId>,
        store: StorePolicy,
    ) -> Result<Fetch, Error> {
        let Some((member, _)) = &self.member else {
            return Err(Error::Invalid("this node is in no fleet".to_owned()));
        };
        let mailbox = self.mailbox.clone();
        let told = move |progress: transfer::Progress| {
            let Some(rollout) = rollout else {
                return;
            };
            let progress = NodeProgress {
                rollout,
                phase: "fetch".to_owned(),
                what: format!("{} objects are here", progress.objects),
                count: Some((progress.bytes, progress.of)),
            };
            // Who is told too late is told the next step.
            let _told = mailbox.try_send(Message::Say(Box::new(FromNode::Progress(progress))));
        };
        let rate = self.settings.borrow().rate;
        let lists = (list, self.state.list);
        Fetch::new(member, lists, (self.spool_of(store), rate), Arc::new(told))
    }

    pub(super) async fn carried(&mut self, carried: Carried) {
        match carried {
            Carried::Staged(wanted, staged) => {
                let number = (wanted.epoch, wanted.counter);
                if self
                    .carrying
                    .as_ref()
                    .is_none_or(|one| one.counter != number)
                {
                    return;
                }
                let changing = match staged {
                    Ok(staged) => {
                        self.state.releases.clone_from(&staged.releases);
                        self.change(&wanted, staged)
                    }
                    Err(why) => Err(Error::Invalid(why)),
                };
                if let Err(error) = changing {
                    self.state.pending = None;
                    self.ended_without_change(&wanted, Chain(&error).to_string());
                    self.open_gate("what is wanted could not be brought here")
                        .await;
                }
            }
            Carried::Changed(wanted, report) => self.changed(&wanted, report).await,
            Carried::Checked(wanted, report, said) => self.checked(&wanted, report, said).await,
            Carried::WentBack(report) => self.went_back(report).await,
        }
    }

    /// Has the engine do it. That it was told is on the disk before it is.
    fn change(&mut self, wanted: &Wanted, staged: Staged) -> Result<(), Error> {
        self.state.pending = Some(Pending {
            before: staged.before,
            is_back: self.carrying.as_ref().is_some_and(|one| one.is_back),
            ..Pending::new(wanted.clone())
        });
        self.save()?;
        let at_boot = self.pass_gate();
        let orders = &wanted.orders;
        let loaded = wanted.store == StorePolicy::Memory;
        let request = Request {
            exactly: Some(staged.list),
            uncommitted: waits_for_contact(wanted) && !loaded,
            trial: loaded,
            with_config: loaded,
            loaded,
            force: orders.force,
            force_processes: orders.force_processes.clone(),
            keep_on_failure: orders.keep_on_failure,
            one_way: orders.one_way,
            ..Request::default()
        };
        let (gate, go) = match (orders.together, orders.rollout) {
            (true, Some(rollout)) if !at_boot => {
                let (gate, go) = self.gate(rollout, orders.go_timeout_ms);
                (Some(gate), Some(go))
            }
            _ => (None, None),
        };
        if let Some(carrying) = &mut self.carrying {
            carrying.phase = "change";
            carrying.go = go;
            carrying.fetching = None;
        }
        let (engine, mailbox, wanted) = (self.engine.clone(), self.mailbox.clone(), wanted.clone());
        let progress = tell_progress(&engine, mailbox.clone(), orders.rollout);
        tokio::spawn(async move {
            engine::free(&engine).await;
            let report = if at_boot {
                engine.boot_into(request).await
            } else {
                engine.apply_at(request, gate).await
            };
            progress.abort();
            let report = report.map_err(|error| Chain(&error).to_string());
            let carried = Carried::Changed(wanted, report);
            drop(mailbox.send(Message::Carried(Box::new(carried))).await);
        });
        Ok(())
    }

    fn gate(&self, rollout: RolloutId, ms: u64) -> (Gate, oneshot::Sender<Result<(), String>>) {
        let (ready, is_ready) = oneshot::channel();
        let (say_go, go) = oneshot::channel();
        let mailbox = self.mailbox.clone();
        tokio::spawn(async move {
            if is_ready.await.is_ok() {
                drop(mailbox.send(Message::Ready(rollout)).await);
            }
        });
        let within = Duration::from_millis(ms);
        (Gate { ready, go, within }, say_go)
    }

    pub(super) fn ready(&mut self, rollout: RolloutId) {
        if let Some(carrying) = &mut self.carrying
            && carrying.rollout == Some(rollout)
        {
            carrying.phase = "waiting";
            self.say(FromNode::Waiting { rollout });
        }
    }

    /// The engine is done with it.
    async fn changed(&mut self, wanted: &Wanted, report: Result<ChangeReport, String>) {
        let abort = self.carrying.take().and_then(|carrying| carrying.abort);
        let report = match report {
            Ok(report) => report,
            Err(why) => {
                self.state.pending = None;
                return self.ended_without_change(wanted, why);
            }
        };
        let runs = report.outcome == Outcome::Done && !report.unfinished;
        let waits = runs && report.trial && waits_for_contact(wanted);
        fetch::empty(&self.spool());
        fetch::empty(&self.spool_of(StorePolicy::Memory));
        if let Some(why) = abort.filter(|_| waits) {
            return self.go_back(why);
        }
        if waits && !wanted.orders.check.is_empty() {
            return self.begin_check(wanted, Some(Box::new(report)));
        }
        if waits {
            self.set_phase(contact::uncommitted(wanted));
        } else {
            self.state.pending = None;
        }
        if runs && !waits {
            self.state.list = Some(wanted.list);
        }
        let detail = report.detail.clone().filter(|_| !runs);
        self.end(wanted, Some(report), detail).await;
    }

    /// Nothing was begun, or nothing was touched.
    pub(super) fn ended_without_change(&mut self, wanted: &Wanted, why: String) {
        tracing::warn!("the wanted state is not carried out: {why}");
        self.carrying = None;
        if let Some(end) = self.end_of(wanted, None, Some(why)) {
            self.state.end = Some(end);
            self.tell_end();
        }
        if self.is_to_be_loaded(wanted) {
            self.load_again();
        }
    }

    /// A node without software tries again by itself.
    fn load_again(&self) {
        let Some(signed) = self.state.wanted.clone() else {
            return;
        };
        let mailbox = self.mailbox.clone();
        tokio::spawn(async move {
            tokio::time::sleep(LOAD_AGAIN).await;
            drop(mailbox.send(Message::Load(Box::new(signed))).await);
        });
    }

    pub(super) async fn end(
        &mut self,
        wanted: &Wanted,
        report: Option<ChangeReport>,
        detail: Option<String>,
    ) {
        self.look().await;
        if let Some(end) = self.end_of(wanted, report, detail) {
            self.state.end = Some(end);
        }
        self.tell_end();
    }

    pub(super) fn end_of(
        &self,
        wanted: &Wanted,
        report: Option<ChangeReport>,
        detail: Option<String>,
    ) -> Option<NodeEnd> {
        Some(NodeEnd {
            rollout: wanted.orders.rollout?,
            epoch: wanted.epoch,
            counter: wanted.counter,
            report: report.map(Box::new),
            detail,
            check: self
                .state
                .pending
                .as_ref()
                .and_then(|one| one.check.clone()),
            installed: self.installed(),
        })
    }

    /// It is on the disk before it is told, and told again with each link until it is answered.
    pub(super) fn tell_end(&mut self) {
        if let Err(error) = self.save() {
            tracing::error!(error = %Chain(&error), "the end of an order is not on the disk");
        }
        if let Some(mut end) = self.state.end.clone() {
            end.installed = self.installed();
            self.say(FromNode::Ended(Box::new(end)));
        }
    }

    pub(super) fn go(
        &mut self,
        rollout: RolloutId,
        number: (model::wire::Epoch, model::wire::Counter),
    ) {
        let Some(carrying) = &mut self.carrying else {
            return;
        };
        if carrying.rollout == Some(rollout)
            && carrying.counter == number
            && let Some(go) = carrying.go.take()
        {
            carrying.phase = "change";
            // One that has ended by itself has said so.
            let _told = go.send(Ok(()));
        }
    }

    /// Leaves, or takes back, what was begun of an update.
    pub(super) fn abort(&mut self, rollout: RolloutId, reason: &str) {
        if self
            .asking
            .as_ref()
            .is_some_and(|(asked, ..)| *asked == rollout)
        {
            self.withdraw(reason);
        }
        if self
            .carrying
            .as_ref()
            .is_some_and(|one| one.rollout == Some(rollout) && !one.is_back)
        {
            return self.stop_carrying(reason);
        }
        // One that is on its way back is not turned round.
        let pending = self.state.pending.as_ref().filter(|one| !one.is_back);
        if pending.map(Pending::rollout) == Some(Some(rollout)) {
            self.go_back(format!("the fleet's master takes it back: {reason}"));
        }
    }

    fn stop_carrying(&mut self, reason: &str) {
        let Some(carrying) = &mut self.carrying else {
            return;
        };
        let why = format!("the fleet's master takes it back: {reason}");
        if let Some(go) = carrying.go.take() {
            let _told = go.send(Err(why));
        } else if let Some(fetching) = carrying.fetching.take() {
            fetching.abort();
            self.carrying = None;
            let wanted = self.state.wanted.as_ref();
            let wanted: Option<Wanted> =
                wanted.and_then(|signed| serde_json::from_str(&signed.text).ok());
            if let Some(wanted) = wanted {
                self.ended_without_change(&wanted, why);
            }
        } else {
            // It is past the point where it could just be left: it is taken back at its end.
            carrying.abort = Some(why);
        }
    }
}

/// A decision that was made on other software than runs is void.
fn refuse_other_base(wanted: &Wanted, runs: Digest) -> Result<(), Error> {
    match wanted.orders.base {
        Some(base) if runs != base && runs != wanted.software => Err(Error::Invalid(format!(
            "this node runs software {runs}, and the decision was made on {base}: ask again"
        ))),
        _ => Ok(()),
    }
}

/// Whether the change stays uncommitted until the master has answered.
pub(super) fn waits_for_contact(wanted: &Wanted) -> bool {
    let orders = &wanted.orders;
    orders.trial || orders.contact_timeout_ms > 0 || !orders.check.is_empty()
}

/// Passes on what the engine tells while it changes the node.
fn tell_progress(
    engine: &engine::Handle,
    mailbox: mpsc::Sender<Message>,
    rollout: Option<RolloutId>,
) -> tokio::task::AbortHandle {
    let mut told = engine.progress();
    let task = tokio::spawn(async move {
        let mut last = String::new();
        while let Ok(progress) = told.recv().await {
            let Some(rollout) = rollout.filter(|_| progress.phase != last) else {
                continue;
            };
            last.clone_from(&progress.phase);
            let progress = NodeProgress {
                rollout,
                phase: progress.phase,
                what: progress.what,
                count: progress.count,
            };
            let _told = mailbox.try_send(Message::Say(Box::new(FromNode::Progress(progress))));
        }
    });
    task.abort_handle()
}

/// What was brought into the store.
pub(super) struct Staged {
    list: Vec<PackageId>,
    /// What ran before, where that is in memory only.
    before: Option<Vec<PackageId>>,
    /// The newest release documents that are known now.
    releases: Vec<Signed>,
}

/// What brings a wanted state's packages into the store.
struct Staging {
    engine: engine::Handle,
    fetch: Fetch,
    rules: Rules,
    /// What runs.
    current: Vec<resolve::Package>,
    spool: PathBuf,
    node: Characteristics,
    /// Objects that patches can start from.
    has: HashMap<Digest, PathBuf>,
    before: Option<Vec<PackageId>>,
}

impl Staging {
    async fn stage(self, wanted: &Wanted) -> Result<Staged, Error> {
        let shown = self.fetch.releases(&wanted.releases).await?;
        let rules = self.rules.with(shown).map_err(Error::Invalid)?;
        let packages = self.fetch.packages().await?;
        let list: Vec<PackageId> = packages.iter().map(|one| one.id.clone()).collect();
        let shelf = packages.iter();
        let shelf: Vec<resolve::Package> = shelf
            .map(|one| resolve::Package::new(one.id.clone(), Arc::new(one.manifest.clone())))
            .collect();
        let order = resolve::order::effective(&shelf, &self.node);
        let own = software_hash(&order, &self.node);
        if own != wanted.software {
            return Err(Error::Invalid(judge::differs(own, wanted.software)));
        }
        if !order.iter().map(|one| &one.id).eq(&list) {
            let why = "the software list is not in the order that holds on this node";
            return Err(Error::Invalid(why.to_owned()));
        }
        let asked = Asked {
            node: &self.node,
            current: &self.current,
            target: &order,
            software: own,
        };
        let allowed = rules.check(asked, &wanted.orders);
        allowed.map_err(|why| Error::Invalid(format!("this node refuses: {why}")))?;
        let loaded = wanted.store == StorePolicy::Memory;
        let lacking = self.engine.lacking(packages.clone(), loaded).await?;
        let has = |digest: &Digest| self.has.get(digest).cloned();
        self.fetch.objects(&lacking, &has).await?;
        let parts = Parts {
            packages,
            spool: self.spool,
            // The engine knows which boot this is.
            loaded: loaded.then(String::new),
        };
        self.engine.add_parts(parts).await?;
        Ok(Staged {
            list,
            before: self.before,
            releases: rules.known,
        })
    }
}
