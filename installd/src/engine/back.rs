//! The way back from a change that has switched.

use std::collections::BTreeMap;

use model::change::ProcessOutcome;
use model::report::Chain;
use model::transition::{Transition, Wanted};
use model::{ChangeId, Generation, ProcessName};

use super::change::{blocking, failures, send};
use super::request::Error;
use super::{Context, lists};
use crate::sys;
use crate::sys::db::Db;
use crate::sys::journal::Step;
use crate::sys::sysmgr::Sysmgr;

/// The way back from a change that has switched.
pub(super) struct Back<'a> {
    pub(super) id: ChangeId,
    pub(super) origin: Generation,
    pub(super) target: Generation,
    /// Whether the change has made `target`, which then goes with it.
    pub(super) made: bool,
    pub(super) old: &'a BTreeMap<ProcessName, Wanted>,
    pub(super) forward: &'a Transition,
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
    ) -> Result<Vec<String>, String> {
        // A journal that cannot be written must not keep the old set from running again.
        let step = db.intend(self.id, &Step::RollBack);
        if let Err(error) = &step {
            tracing::error!(error = %Chain(error), "the way back is not in the journal");
        }
        let notes = self
            .files(context, db)
            .await
            .map_err(|error| Chain(&error).to_string())?;
        let statuses = sysmgr
            .processes()
            .await
            .map_err(|error| Chain(&error).to_string())?;
        let tree = context.tree(self.origin);
        let mut back = lists::backward(self.forward, tree, self.old, &statuses);
        back.state = lists::state_back(self.forward, &back);
        // Without a process too: what starts later, and commands, are to see the old tree.
        let done = send(sysmgr, &back)
            .await
            .map_err(|error| Chain(&error).to_string())?;
        let why = failures(&done);
        went_back(processes, done.processes);
        if let Some(why) = why {
            return Err(why);
        }
        if let Err(error) = self.clear(context, db, step.ok()) {
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

    async fn files(&self, context: &Context, db: &mut Db) -> Result<Vec<String>, Error> {
        let unfinished = db.unfinished()?.into_iter().find(|one| one.id == self.id);
        let changes = unfinished
            .map(|one| one.config_changes())
            .unwrap_or_default();
        let own = context.clone();
        let notes = blocking(move || own.with_config(|config| config.undo(&changes))).await?;
        let here = (self.origin, context.boot.clone());
        if db.running()? != Some(here) {
            db.set_running(self.origin, &context.boot)?;
        }
        Ok(notes)
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
