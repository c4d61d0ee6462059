//! Removing packages on request, and what nobody needs by itself.

use std::collections::{BTreeSet, HashSet};

use model::change::PackageRef;
use model::report::Chain;
use model::{Generation, PackageId, ProcessName};

use super::observe::is_alive;
use super::request::{Error, Reply};
use super::{Engine, Waiting, answer, change};
use crate::plan::collect::{self, Contents, Holdings};
use crate::sys::objects::Key;
use crate::sys::packages;

impl Engine {
    /// [`Self::remove`], after the start of the set where that goes on.
    pub(super) async fn remove_later(
        &mut self,
        wanted: Vec<PackageRef>,
        reply: Reply<Vec<PackageId>>,
    ) {
        if self.must_wait() {
            self.waiting.push_back(Waiting::Remove(wanted, reply));
        } else {
            answer(reply, self.remove(&wanted).await);
        }
    }

    /// Removes packages from the store; refused while a generation that can be gone back to is
    /// made of them.
    pub(super) async fn remove(&mut self, wanted: &[PackageRef]) -> Result<Vec<PackageId>, Error> {
        self.refuse_busy()?;
        if self.adding {
            return Err(Error::Busy(
                "packages are being added; try again".to_owned(),
            ));
        }
        let ids = self.meant(wanted)?;
        for id in &ids {
            self.refuse_used(id)?;
        }
        for id in &ids {
            let removed = packages::remove(&self.context.objects, &mut self.db, id);
            if !self.db.packages()?.iter().any(|row| row.id == *id) {
                std::sync::Arc::make_mut(&mut self.shelf).take(id);
            }
            if let Err(error) = removed {
                self.untidy = true;
                self.soon();
                return Err(error.into());
            }
        }
        self.collect().await?;
        Ok(ids)
    }

    fn meant(&self, wanted: &[PackageRef]) -> Result<Vec<PackageId>, Error> {
        let mut ids = BTreeSet::new();
        for reference in wanted {
            let found: Vec<_> = (self.shelf.versions(&reference.name).iter())
                .filter(|package| package.is_meant_by(reference))
                .map(|package| package.id.clone())
                .collect();
            if found.is_empty() {
                return Err(Error::Invalid(format!("{reference} is not in the store")));
            }
            ids.extend(found);
        }
        Ok(ids.into_iter().collect())
    }

    fn refuse_used(&self, id: &PackageId) -> Result<(), Error> {
        let name = id.name_version();
        if self.active.row.list.contains(id) {
            return Err(Error::Invalid(format!(
                "{name} is active: deactivate it first"
            )));
        }
        let mut using = Vec::new();
        for (generation, _) in self.db.generations()? {
            if self.db.generation(generation)?.list.contains(id) {
                using.push(generation.to_string());
            }
        }
        if using.is_empty() {
            return Ok(());
        }
        Err(Error::Invalid(format!(
            "{name} is part of generation {0}, which can be gone back to: give that up with pkgtool \
             forget {0}, or wait until newer generations have taken its place",
            using.join(" ")
        )))
    }

    /// Removes what nobody needs; what could not be removed is tried again in a while.
    pub(super) async fn tidy(&mut self) {
        let swept = self.sweep_packages();
        let collected = swept.and(self.collect().await);
        self.untidy = collected.is_err();
        if let Err(error) = collected {
            tracing::warn!(error = %Chain(&error), "what nobody needs could not be removed");
        }
        self.later();
    }

    /// Manifests without a row, which a removal left that was cut short.
    fn sweep_packages(&self) -> Result<(), Error> {
        if !self.untidy || self.adding {
            return Ok(());
        }
        let known: Vec<_> = (self.db.packages()?.into_iter())
            .map(|row| row.id)
            .collect();
        Ok(packages::sweep(&self.context.objects, &known)?)
    }

    /// Removes generations, packages and objects that nobody needs; not while something is being
    /// added or changed.
    pub(super) async fn collect(&mut self) -> Result<(), Error> {
        // While the way of a change is open, both of its ends are needed.
        if self.adding || self.change.is_some() || self.open.is_some() {
            return Ok(());
        }
        // Without sysmgrd nobody knows where processes live: all generations stay.
        let Ok(statuses) = self.sysmgr.processes().await else {
            return Ok(());
        };
        let inhabited: BTreeSet<Generation> = statuses
            .iter()
            .filter(|one| is_alive(one))
            .map(|one| one.generation)
            .collect();
        self.end_trials(&inhabited)?;
        // A trial leaves persistent storage as it is, but for what a failed commit of it left.
        if self.active.row.trial {
            self.clear_failed_commit().await?;
            return self.sweep_memory().await;
        }
        let holdings = self.holdings(self.and_beneath(inhabited))?;
        let garbage = collect::collect(&holdings, self.context.config.keep_generations);
        for generation in &garbage.generations {
            self.db.delete_generation(*generation)?;
        }
        for id in &garbage.packages {
            packages::remove(&self.context.objects, &mut self.db, id)?;
            std::sync::Arc::make_mut(&mut self.shelf).take(id);
        }
        self.sweep(&holdings.inhabited).await
    }

    /// Objects that are in memory only and that nobody needs any more.
    async fn sweep_memory(&mut self) -> Result<(), Error> {
        if !self.context.trials().is_loaded(self.running) {
            return Ok(());
        }
        let (keys, objects) = (self.needed()?, self.context.objects.clone());
        change::blocking(move || objects.collect_memory(&keys)).await
    }

    /// The tree on the disk of a trial that runs in memory: its commit failed half-way.
    async fn clear_failed_commit(&mut self) -> Result<(), Error> {
        let (number, context) = (self.running, self.context.clone());
        if context.trials().tree(number).is_none() || !context.generations.all()?.contains(&number)
        {
            return Ok(());
        }
        change::blocking(move || context.generations.remove(number)).await
    }

    /// Those generations, and those that lie beneath them where they ran as trials.
    fn and_beneath(&self, mut inhabited: BTreeSet<Generation>) -> BTreeSet<Generation> {
        let trials = self.context.trials();
        let beneath: Vec<_> = trials
            .all()
            .iter()
            .filter_map(|one| trials.base(*one))
            .collect();
        inhabited.extend(beneath);
        inhabited
    }

    fn holdings(&self, inhabited: BTreeSet<Generation>) -> Result<Holdings, Error> {
        let mut holdings = Holdings {
            active: self.running,
            committed: self.db.committed()?,
            pinned: self.db.pinned()?,
            // Its number may be an old one: what was gone back to keeps the number that it had.
            held: self.db.came_from(self.running)?.into_iter().collect(),
            inhabited,
            ..Holdings::default()
        };
        for (generation, _) in self.db.generations()? {
            let packages = self.db.generation(generation)?.list.into_iter().collect();
            let contents = Contents {
                packages,
                ..Contents::default()
            };
            holdings.generations.insert(generation, contents);
        }
        // Which objects stay is told by keys, below: they know mode and owner too.
        let ids = self
            .shelf
            .iter()
            .map(|package| (package.id.clone(), BTreeSet::new()));
        holdings.packages = ids.collect();
        Ok(holdings)
    }

    /// Trees without a row and objects that nothing names.
    async fn sweep(&mut self, inhabited: &BTreeSet<Generation>) -> Result<(), Error> {
        let mut known: HashSet<Generation> = self
            .db
            .generations()?
            .into_iter()
            .map(|(generation, _)| generation)
            .collect();
        known.extend(inhabited);
        // A package whose manifest cannot be read still owns its objects.
        let whole = self.db.packages()?.len() == self.shelf.iter().count();
        let keys = self.needed()?;
        self.context.snapshots().collect(&self.state_versions())?;
        let context = self.context.clone();
        let (count, bytes) = change::blocking(move || {
            for generation in context.generations.all()? {
                if !known.contains(&generation) {
                    context.generations.remove(generation)?;
                }
            }
            if whole {
                context.objects.collect(&keys)
            } else {
                Ok((0, 0))
            }
        })
        .await?;
        if count > 0 {
            tracing::info!(count, bytes, "removed objects that nobody needs");
        }
        Ok(())
    }

    /// The state versions that packages in the store read: those of generations that can be gone
    /// back to are among them.
    fn state_versions(&self) -> BTreeSet<(ProcessName, u32)> {
        let specs = self.shelf.iter().flat_map(|one| &one.manifest.processes);
        let version =
            |spec: &model::ProcessSpec| (spec.name.clone(), spec.state_version.unwrap_or_default());
        specs.map(version).collect()
    }

    /// The objects of every package in the store, of every generation, and of what stood below
    /// `/etc` before each of them.
    fn needed(&self) -> Result<HashSet<Key>, Error> {
        let mut keys: HashSet<Key> = (self.shelf.iter())
            .flat_map(|package| packages::regular(&package.manifest))
            .map(|(spec, _)| spec.key())
            .collect();
        let generations = self.db.generations()?;
        for (generation, _) in &generations {
            let kept = self.db.generation(*generation)?.kept;
            keys.extend(kept.into_values().map(|(_, key)| key));
        }
        let oldest = generations
            .first()
            .map_or(Generation(0), |(oldest, _)| *oldest);
        keys.extend(self.db.config_objects(oldest)?);
        Ok(keys)
    }
}
