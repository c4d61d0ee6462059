//! From a request to a change that is under way, or to the reason why not.

use std::time::Instant;

use model::change::{Action, ChangeReport, Outcome, PlanReport, Request, RunningChange};
use model::{ChangeId, Generation, PackageId};

use super::change::{Becomes, Changeover};
use super::phases::Phases;
use super::request::{Error, Message, Reply};
use super::shown::Shown;
use super::{Engine, Waiting, answer, observe, recover, trees};
use crate::plan::{self, Plan, World};
use crate::sys::clock::Time;
use crate::sys::db::Db;
use crate::sys::journal::Beginning;

impl Engine {
    async fn world(&mut self) -> Result<World, Error> {
        let running = observe::running(&mut self.sysmgr).await;
        let set = (&self.active, &self.shelf);
        observe::world(&self.context, &self.db, set, running)
    }

    pub(super) async fn plan(&mut self, request: &Request) -> Result<PlanReport, Error> {
        self.check(request)?;
        // The older of the two instants: what runs is looked at after it.
        let at = Instant::now();
        let world = self.world().await?;
        let plan = plan::plan(&world, request);
        let mut report = plan.report.clone();
        report.warnings.extend(self.trust_warnings(&plan.entering)?);
        self.shown = Some(Shown::new(at, request, (world, plan)));
        Ok(report)
    }

    /// The plan of a change that begins: the one that was just shown, or a new one.
    async fn planned(&mut self, request: &Request) -> Result<(World, Plan), Error> {
        let shown = self.shown.take();
        if let Some(planned) = shown.and_then(|shown| shown.of(request, Instant::now())) {
            return Ok(planned);
        }
        let world = self.world().await?;
        let plan = plan::plan(&world, request);
        Ok((world, plan))
    }

    /// A request names something, and what it names is there.
    fn check(&self, request: &Request) -> Result<(), Error> {
        let names = request.to.is_some() || request.exactly.is_some();
        if request.actions.is_empty() && !names {
            return Err(Error::Invalid("the request names no package".to_owned()));
        }
        self.check_trial(request)?;
        for action in &request.actions {
            let (Action::Activate(reference) | Action::Deactivate(reference)) = action;
            let versions = self.shelf.versions(&reference.name);
            if !versions
                .iter()
                .any(|package| package.is_meant_by(reference))
            {
                let all = versions.iter().map(|one| one.id.version.to_string());
                let hint = match action {
                    _ if !versions.is_empty() => {
                        format!("there are {}", all.collect::<Vec<_>>().join(", "))
                    }
                    Action::Activate(_) => "add it first".to_owned(),
                    Action::Deactivate(_) => "so it is not active either".to_owned(),
                };
                return Err(Error::Invalid(format!(
                    "{reference} is not in the store: {hint}"
                )));
            }
        }
        Ok(())
    }

    /// What may be done while a trial runs, and what may be tried.
    fn check_trial(&self, request: &Request) -> Result<(), Error> {
        if (request.trial || request.uncommitted) && request.to.is_some() {
            let why = "a kept generation cannot be tried: go back to it without --trial";
            return Err(Error::Invalid(why.to_owned()));
        }
        let committed = self.db.committed()?;
        let to_nothing = request.exactly.as_ref().is_some_and(Vec::is_empty);
        let ends_it = request.to == Some(committed) || committed == Generation(0) && to_nothing;
        // What is in memory only is its fleet's, which says what comes after it.
        let is_loaded = self.context.trials().is_loaded(self.running);
        if !self.active.row.trial || request.trial || ends_it || is_loaded {
            return Ok(());
        }
        Err(Error::Invalid(format!(
            "generation {} runs as a trial: keep it with pkgtool commit, or end it with pkgtool \
             rollback, and then ask again",
            self.running
        )))
    }

    pub(super) async fn apply(&mut self, request: Request, by: String, reply: Reply<ChangeReport>) {
        if self.must_wait() {
            self.waiting.push_back(Waiting::Change(request, by, reply));
            return;
        }
        match self.begin(request, by).await {
            Err(error) => answer(reply, Err(error)),
            Ok(Begun::Nothing(report)) => answer(reply, Ok(report)),
            Ok(Begun::Change(changeover)) => {
                let mailbox = self.context.mailbox.clone();
                tokio::spawn(async move {
                    let went = changeover.run().await;
                    if let Some(mailbox) = mailbox.upgrade() {
                        drop(mailbox.send(Message::Ended { went, reply }).await);
                    }
                });
            }
        }
    }

    pub(super) async fn begin(&mut self, request: Request, by: String) -> Result<Begun, Error> {
        if let Some(change) = &self.change {
            let RunningChange {
                change,
                by,
                since,
                phase,
            } = change;
            return Err(Error::Busy(format!(
                "change {change} holds the node: asked for by {by}, since {since}, in {phase}"
            )));
        }
        self.write_the_unwritten()?;
        self.check(&request)?;
        let (world, mut plan) = self.planned(&request).await?;
        if !plan.report.unmet.is_empty() {
            return Err(Error::Unmet(unmet(&plan.report)));
        }
        self.check_trust(&plan.entering)?;
        let warnings = self.trust_warnings(&plan.entering)?;
        plan.report.warnings.extend(warnings);
        if request.trial && !plan.state.is_empty() {
            return Err(Error::Unmet(state_in_a_trial(&plan)));
        }
        // The way out of a trial leads to the committed generation, even where the sets are equal.
        let is_empty = plan.is_empty && (request.to.is_none() || !self.active.row.trial);
        let target = match request.to {
            _ if is_empty => self.running,
            Some(kept) => kept,
            None => self.db.next_generation()?,
        };
        let id = self.db.begin_change(&Beginning {
            requester: &by,
            boot: &self.context.boot,
            origin: self.running,
            target,
            request: &request,
            plan: &plan.report,
        })?;
        if is_empty {
            let report = nothing(id, self.running);
            self.end_at_once(&report)?;
            return Ok(Begun::Nothing(report));
        }
        let since = Time::now().rfc3339();
        self.change = Some(RunningChange {
            change: id,
            by,
            since,
            phase: "plan".to_owned(),
        });
        let changeover = self.changeover((id, target), request, (world, plan));
        if changeover.is_err() {
            self.change = None;
        }
        Ok(Begun::Change(Box::new(changeover?)))
    }

    pub(super) fn changeover(
        &self,
        (id, target): (ChangeId, Generation),
        request: Request,
        (world, plan): (World, Plan),
    ) -> Result<Changeover, Error> {
        let new: Vec<PackageId> = plan.list.iter().map(|package| package.id.clone()).collect();
        let committed = self.db.generation(world.committed)?;
        let becomes = match (request.trial, request.to) {
            (true, _) => {
                let (base, beneath) = trees::base(&self.context, &self.db, &self.shelf)?;
                Becomes::Trial(base, beneath)
            }
            (false, Some(_)) => Becomes::Kept,
            (false, None) if request.uncommitted => Becomes::Uncommitted,
            (false, None) => Becomes::Built,
        };
        Ok(Changeover {
            context: self.context.clone(),
            db: Db::open(&self.context.database())?,
            sysmgr: self.context.sysmgr(),
            id,
            request,
            origin: self.running,
            before: self.context.tree(self.running),
            target,
            becomes,
            previous: recover::replaced(&self.db.previous()?, &committed.list, &new),
            world,
            plan,
            phases: Phases::default(),
            moments: Vec::new(),
            later: Vec::new(),
            gate: None,
            at_boot: false,
        })
    }
}

/// What a request leads to.
pub(super) enum Begun {
    /// The set is as it was asked for already.
    Nothing(ChangeReport),
    /// A change.
    Change(Box<Changeover>),
}

fn nothing(change: ChangeId, generation: Generation) -> ChangeReport {
    ChangeReport {
        detail: Some("the software set is already so".to_owned()),
        ..ChangeReport::new(change, Outcome::Done, generation)
    }
}

fn unmet(report: &PlanReport) -> String {
    let one = |unmet: &model::change::Unmet| {
        let hint = if unmet.hint.is_empty() {
            String::new()
        } else {
            format!(" ({})", unmet.hint)
        };
        format!("{} needs {}{hint}", unmet.by, unmet.needs)
    };
    report.unmet.iter().map(one).collect::<Vec<_>>().join("; ")
}

fn state_in_a_trial(plan: &Plan) -> String {
    let names = plan.state.iter().map(|step| step.process.to_string());
    format!(
        "the state of {} would be rewritten, which a reboot does not undo (activate it without \
         --trial)",
        names.collect::<Vec<_>>().join(", ")
    )
}
