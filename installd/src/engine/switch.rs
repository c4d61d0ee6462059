//! What comes from the switch on: the pointer and `/etc`, the processes, the look at what is
//! mapped, and what the next boot runs.

use std::collections::BTreeMap;

use model::ProcessName;
use model::change::{ChangeReport, Failure, Outcome};
use model::report::Chain;
use model::transition::{Announcement, Transition, TransitionReport, Wanted};

use super::back::Back;
use super::change::{Becomes, Changeover, Stop, blocking, failures, not_back, send};
use super::lists::{self, Standing};
use super::open::{Aim, NotBack, Pending};
use super::proof::Looked;
use super::request::Error;
use crate::config::Config;
use crate::sys::config_files::Differs;
use crate::sys::journal::Step;
use crate::sys::setup;

impl Changeover {
    /// From the switch on: to the end, or back; what of it is still to be done.
    pub(super) async fn after_switch(
        &mut self,
        report: &mut ChangeReport,
        standing: &Standing,
        announcement: &Announcement,
    ) -> Option<Pending> {
        let mut next = self.next(standing);
        next.settling_ms = self.settling();
        next.stale = lists::stale(announcement).into_keys().collect();
        next.state = match self.context.snapshots().kept() {
            Ok(kept) => lists::state(&self.plan, &self.before, &next.tree, |step| {
                self.context.copies(&kept, self.id, step)
            }),
            Err(error) => {
                let why = Chain(&error).to_string();
                self.abort(report, Stop::Failed(why));
                return None;
            }
        };
        self.phases.begin("switch");
        let went = match self.switch(report, &next).await {
            Ok(()) => {
                self.phases.begin("process");
                self.transition(&next).await
            }
            Err(error) => Err(Chain(&error).to_string()),
        };
        let mut looked = None;
        let why = match went {
            Ok(done) => {
                let why = failures(&done);
                looked = Looked::of(&done);
                report.processes = done.processes;
                why
            }
            Err(why) => Some(why),
        };
        let why = match why {
            Some(why) if !self.stays() => why,
            came_up => {
                if came_up.is_some() {
                    report.outcome = Outcome::Failed;
                    report.failure = Some(Failure::Kept);
                    report.detail = came_up;
                }
                match self.complete(report, announcement, looked).await {
                    Ok(()) => return None,
                    Err(reason) if self.stays() => {
                        let aim = Aim::Commit;
                        return Some(Pending { aim, reason });
                    }
                    Err(error) => {
                        format!("it could not be made what the next boot runs: {error}")
                    }
                }
            }
        };
        report.generation = self.origin;
        self.phases.begin("roll-back");
        self.roll_back(report, &next, why).await
    }

    /// What the processes are to be told.
    fn next(&self, standing: &Standing) -> Transition {
        let tree = self.context.tree(self.target);
        if self.at_boot {
            return lists::at_boot(self.id, tree, &self.plan);
        }
        lists::forward(self.id, tree, &self.plan, standing)
    }

    /// Milliseconds for which what was started must stay up.
    fn settling(&self) -> u64 {
        let own = Config::millis(self.context.config.timeouts.settling);
        self.request.settling_ms.unwrap_or(own)
    }

    /// Whether the new set stays though something of it did not come up: asked for, or because
    /// state was rewritten that the old programs cannot read.
    fn stays(&self) -> bool {
        self.request.keep_on_failure || !self.plan.report.one_way.is_empty()
    }

    /// The journal, `/etc`, and the pointer.
    async fn switch(&mut self, report: &mut ChangeReport, next: &Transition) -> Result<(), Error> {
        self.context.progress(
            "switch",
            format!("switching to generation {}", self.target),
            None,
        );
        self.db.note_transition(self.id, next)?;
        let switch = self.db.intend(self.id, &Step::Switch)?;
        let differs = self.config_differs();
        if !differs.is_empty() {
            let context = self.context.clone();
            let (changes, notes) =
                blocking(move || context.with_config(|config| config.plan(&differs))).await?;
            report.discrepancies.extend(notes);
            // What stood there before is on the disk before anything is written over it.
            if !changes.is_empty() {
                self.context.objects.sync()?;
            }
            let step = self.db.intend(
                self.id,
                &Step::Config {
                    changes: changes.clone(),
                },
            )?;
            let context = self.context.clone();
            blocking(move || context.with_config(|config| config.apply(&changes))).await?;
            self.db.step_done(self.id, step)?;
        }
        let (context, setups) = (self.context.clone(), self.setups());
        let made = blocking(move || {
            setup::directories(&context.machine, &setups.iter().collect::<Vec<_>>())
        });
        for made in made.await? {
            tracing::info!("made {made}");
        }
        self.db.set_running(self.target, &self.context.boot)?;
        self.db.step_done(self.id, switch)?;
        Ok(())
    }

    fn config_differs(&self) -> Vec<Differs> {
        let below_etc = self.plan.changes.iter().filter(|one| one.path.is_config());
        let differs = below_etc.map(|one| Differs {
            path: one.path.clone(),
            old: one.old.as_ref().map(|selected| selected.entry.clone()),
            new: one.new.as_ref().map(|selected| selected.entry.clone()),
        });
        differs.collect()
    }

    /// Has sysmgrd move the processes; what it did not finish before it went away is sent again.
    async fn transition(&mut self, next: &Transition) -> Result<TransitionReport, String> {
        let rewrites = !next.state.is_empty();
        let step = self
            .db
            .intend(self.id, &Step::Transition { rewrites })
            .map_err(|error| Chain(&error).to_string())?;
        let report = send(&mut self.sysmgr, next)
            .await
            .map_err(|error| Chain(&error).to_string())?;
        // What is done sysmgrd knows too: the journal's word for it is not worth a way back.
        if let Err(error) = self.db.step_done(self.id, step) {
            tracing::warn!(error = %Chain(&error), "that the processes have moved is not in the journal");
        }
        Ok(report)
    }

    /// Verifies and commits; why it was not committed.
    async fn complete(
        &mut self,
        report: &mut ChangeReport,
        announcement: &Announcement,
        looked: Option<Looked>,
    ) -> Result<(), String> {
        self.phases.begin("verify");
        self.context
            .progress("verify", "looking at what is mapped", None);
        let found = self.verify(announcement, looked).await;
        report.discrepancies.extend(found);
        report.generation = self.target;
        if self.is_trial() {
            return Ok(());
        }
        self.phases.begin("persist");
        self.context
            .progress("persist", "making it what the next boot runs", None);
        let persisted = (self.db.intend(self.id, &Step::Persist)).and_then(|step| {
            self.db.commit(self.target, &self.previous)?;
            // It is what the next boot runs; that the journal does not say so changes nothing.
            drop(self.db.step_done(self.id, step));
            Ok(())
        });
        match persisted {
            // What could not be said is whether it was done.
            Err(_) if self.world.committed != self.target && self.is_committed() => Ok(()),
            other => other.map_err(|error| Chain(&error).to_string()),
        }
    }

    fn is_committed(&self) -> bool {
        self.db.committed().is_ok_and(|now| now == self.target)
    }

    /// Takes everything back by itself, and says why; what of it is still to be done.
    async fn roll_back(
        &mut self,
        report: &mut ChangeReport,
        forward: &Transition,
        why: String,
    ) -> Option<Pending> {
        tracing::warn!(change = self.id.0, "rolling back: {why}");
        self.context
            .progress("process", format!("rolling back: {why}"), None);
        let old: BTreeMap<ProcessName, Wanted> = (self.plan.processes.iter())
            .filter_map(|one| {
                let (package, spec) = one.old.as_ref()?;
                let wanted = Wanted {
                    spec: (**spec).clone(),
                    package: package.clone(),
                };
                Some((one.name.clone(), wanted))
            })
            .collect();
        let back = Back {
            id: self.id,
            origin: self.origin,
            target: self.target,
            made: !matches!(self.becomes, Becomes::Kept),
            old: &old,
            forward,
            why: &why,
        };
        let went = back
            .run(
                &self.context,
                &mut self.db,
                &mut self.sysmgr,
                &mut report.processes,
            )
            .await;
        match went {
            Ok(notes) => {
                report.outcome = Outcome::RolledBack;
                report.detail = Some(why);
                report.discrepancies.extend(notes);
                None
            }
            Err(NotBack::Down(error)) => {
                report.outcome = Outcome::Failed;
                report.failure = Some(Failure::RollbackFailed);
                let detail = not_back(&why, &error);
                tracing::error!(change = self.id.0, "{detail}");
                report.detail = Some(detail);
                None
            }
            Err(NotBack::Yet(reason) | NotBack::Refused(reason)) => {
                report.outcome = Outcome::Failed;
                let detail = not_back(&why, &reason);
                tracing::error!(change = self.id.0, "{detail}");
                report.detail = Some(why);
                let aim = Aim::Back;
                Some(Pending { aim, reason })
            }
        }
    }
}
