//! From a request to a change that is under way, or to the reason why not.

use model::change::{Action, ChangeReport, Outcome, PlanReport, Request, RunningChange};
use model::{ChangeId, Generation, PackageId};

use super::change::Changeover;
use super::request::{Error, Message, Reply};
use super::{Engine, answer, observe, recover};
use crate::plan;
use crate::sys::clock::Time;
use crate::sys::db::Db;
use crate::sys::journal::Beginning;

impl Engine {
    async fn world(&mut self) -> Result<plan::World, Error> {
        let running = observe::running(&mut self.sysmgr).await;
        let previous = self.db.previous()?;
        Ok(observe::world(&self.active, &self.shelf, previous, running))
    }

    pub(super) async fn plan(&mut self, request: &Request) -> Result<PlanReport, Error> {
        self.check(request)?;
        let world = self.world().await?;
        Ok(plan::plan(&world, request).report)
    }

    /// A request names something, and what it names is there.
    fn check(&self, request: &Request) -> Result<(), Error> {
        if request.actions.is_empty() {
            return Err(Error::Invalid("the request names no package".to_owned()));
        }
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

    pub(super) async fn apply(&mut self, request: Request, by: String, reply: Reply<ChangeReport>) {
        if self.booting && self.change.is_some() {
            self.waiting.push_back((request, by, reply));
            return;
        }
        match self.begin(request, by).await {
            Err(error) => answer(reply, Err(error)),
            Ok(Begun::Nothing(report)) => answer(reply, Ok(report)),
            Ok(Begun::Change(changeover)) => {
                let mailbox = self.context.mailbox.clone();
                tokio::spawn(async move {
                    let report = changeover.run().await;
                    if let Some(mailbox) = mailbox.upgrade() {
                        drop(mailbox.send(Message::Ended { report, reply }).await);
                    }
                });
            }
        }
    }

    async fn begin(&mut self, request: Request, by: String) -> Result<Begun, Error> {
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
        self.check(&request)?;
        let world = self.world().await?;
        let plan = plan::plan(&world, &request);
        if !plan.report.unmet.is_empty() {
            return Err(Error::Unmet(unmet(&plan.report)));
        }
        let target = if plan.is_empty {
            self.running
        } else {
            self.db.next_generation()?
        };
        let id = self.db.begin_change(&Beginning {
            requester: &by,
            boot: &self.context.boot,
            origin: self.running,
            target,
            request: &request,
            plan: &plan.report,
        })?;
        if plan.is_empty {
            let report = nothing(id, self.running);
            self.db.end_change(&report)?;
            return Ok(Begun::Nothing(report));
        }
        let since = Time::now().rfc3339();
        self.change = Some(RunningChange {
            change: id,
            by,
            since,
            phase: "plan".to_owned(),
        });
        let new: Vec<PackageId> = plan.list.iter().map(|package| package.id.clone()).collect();
        let previous = recover::replaced(&world.previous, &self.active.row.list, &new);
        Ok(Begun::Change(Box::new(Changeover {
            context: self.context.clone(),
            db: Db::open(&self.context.database())?,
            sysmgr: self.context.sysmgr(),
            id,
            request,
            world,
            plan,
            origin: self.running,
            target,
            previous,
        })))
    }
}

/// What a request leads to.
enum Begun {
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
