//! The way back from a change that has switched.

use std::collections::BTreeMap;

use model::change::ProcessOutcome;
use model::report::Chain;
use model::transition::{Transition, Wanted};
use model::{ChangeId, Generation, ProcessName};

use super::change::{blocking, failures, send};
use super::open::NotBack;
use super::request::Error;
use super::{Context, lists};
use crate::sys;
use crate::sys::db::Db;
use crate::sys::journal::{Step, Unfinished};
use crate::sys::sysmgr::{self, Sysmgr};

/// The way back from a change that has switched. It can be taken twice.
pub(super) struct Back<'a> {
    pub(super) id: ChangeId,
    pub(super) origin: Generation,
    pub(super) target: Generation,
    /// Whether the change has made `target`, which then goes with it.
    pub(super) made: bool,
    pub(super) old: &'a BTreeMap<ProcessName, Wanted>,
    pub(super) forward: &'a Transition,
    /// Why it is taken.
    pub(super) why: &'a str,
}

impl Back<'_> {
    /// The pointer and `/etc` first, then the processes, whose moments come behind those of the
    /// way forward. Answers what had to be left.
    pub(super) async fn run(
        &self,
        context: &Context,
        db: &mut Db,
        sysmgr: &mut Sysmgr,
        processes: &mut Vec<ProcessOutcome>,
    ) -> Result<Vec<String>, NotBack> {
        let yet = |error: Error| NotBack::Yet(Chain(&error).to_string());
        let (step, notes) = self.files(context, db).await.map_err(yet)?;
        let statuses = (sysmgr.processes().await).map_err(|error| of_sysmgrd(&error))?;
        let tree = context.tree(self.origin);
        let mut back = lists::backward(self.forward, tree, self.old, &statuses);
        back.state = lists::state_back(self.forward, &back);
        // Without a process too: what starts later, and commands, are to see the old tree.
        let done = (send(sysmgr, &back).await).map_err(|error| of_sysmgrd(&error))?;
        let why = failures(&done);
        went_back(processes, done.processes);
        if let Some(why) = why {
            return Err(NotBack::Down(why));
        }
        if let Err(error) = self.clear(context, db, step) {
            tracing::warn!(error = %Chain(&error), "what is left of it goes with the next start");
        }
        Ok(notes)
    }

    /// The old set runs: what is left of the new one goes.
    fn clear(&self, context: &Context, db: &mut Db, step: Option<i64>) -> Result<(), sys::Error> {
        if self.made {
            db.delete_generation(self.target)?;
            context.trials().remove(self.target)?;
        }
        step.map_or(Ok(()), |step| db.step_done(self.id, step))
    }

    /// The step in the journal, and what had to be left.
    async fn files(
        &self,
        context: &Context,
        db: &mut Db,
    ) -> Result<(Option<i64>, Vec<String>), Error> {
        let unfinished = db.unfinished()?.into_iter().find(|one| one.id == self.id);
        let step = self.intend(db, unfinished.as_ref());
        let changes = unfinished
            .map(|one| one.config_changes())
            .unwrap_or_default();
        let own = context.clone();
        let notes = blocking(move || own.with_config(|config| config.undo(&changes))).await?;
        let here = (self.origin, context.boot.clone());
        if db.running()? != Some(here) {
            db.set_running(self.origin, &context.boot)?;
        }
        Ok((step, notes))
    }

    /// Has the journal know. One that cannot be written must not keep the old set from running.
    fn intend(&self, db: &mut Db, unfinished: Option<&Unfinished>) -> Option<i64> {
        if let Some((step, _)) = unfinished.and_then(Unfinished::way_back) {
            return Some(step);
        }
        let why = self.why.to_owned();
        let step = db.intend(self.id, &Step::RollBack { why });
        if let Err(error) = &step {
            tracing::error!(error = %Chain(error), "the way back is not in the journal");
        }
        step.ok()
    }
}

fn of_sysmgrd(error: &sysmgr::Error) -> NotBack {
    let text = Chain(error).to_string();
    match error {
        sysmgr::Error::Away { .. } | sysmgr::Error::Late { .. } => NotBack::Yet(text),
        sysmgr::Error::Refused(_) => NotBack::Refused(text),
    }
}

/// Adds what the way back did to what the way forward did: a process is without service until it
/// is ready again as it was.
fn went_back(all: &mut Vec<ProcessOutcome>, back: Vec<ProcessOutcome>) {
    for one in back {
        match all.iter_mut().find(|forward| forward.name == one.name) {
            Some(forward) => forward.moments.extend(one.moments),
            None => all.push(one),
        }
    }
}
