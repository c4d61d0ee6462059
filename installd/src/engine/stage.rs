//! What comes before the switch: the new tree, and what the change is, as processes are told it.

use std::collections::BTreeMap;

use model::transition::{Announcement, Tree};
use model::{Digest, PackagePath};

use super::Context;
use super::change::{Becomes, Changeover, blocking};
use super::lists;
use super::request::Error;
use crate::plan::PathChange;
use crate::sys::clock::Time;
use crate::sys::db::GenerationRow;
use crate::sys::generation::Entry;
use crate::sys::objects::{Key, Spec};
use crate::sys::setup::accounts;

impl Changeover {
    /// Builds the tree. Accounts come first: they own files in it.
    pub(super) async fn stage(&mut self) -> Result<(), Error> {
        let (context, target) = (self.context.clone(), self.target);
        let entries = self.entries()?;
        let (setups, loaded) = (self.setups(), self.request.loaded);
        let base = match &mut self.becomes {
            Becomes::Kept if context.tree(target).root.join("usr").is_dir() => return Ok(()),
            Becomes::Kept | Becomes::Built | Becomes::Uncommitted => None,
            Becomes::Trial(base, beneath) => Some((*base, std::mem::take(beneath))),
        };
        let row = GenerationRow {
            number: target,
            list: self.plan.list.iter().map(|one| one.id.clone()).collect(),
            kept: self.kept(&entries),
            automatic: (*self.plan.automatic).clone(),
            trial: base.is_some() || matches!(self.becomes, Becomes::Uncommitted),
        };
        blocking(move || {
            let setups: Vec<_> = setups.iter().collect();
            for made in accounts::make(&context.machine, &setups)? {
                tracing::info!("made {made}");
            }
            match base {
                Some(base) => context.build_trial(target, &entries, &base, loaded),
                None => context.build(target, &entries),
            }
        })
        .await?;
        if !matches!(self.becomes, Becomes::Kept) {
            self.db.insert_generation(&row, Time::now())?;
        }
        Ok(())
    }

    /// All that the target shows: as the plan has it, or as it was kept.
    fn entries(&self) -> Result<Vec<Entry>, Error> {
        if matches!(self.becomes, Becomes::Kept) {
            let row = self.db.generation(self.target)?;
            return self.context.entries(&row, &self.world.store);
        }
        let tree = self.plan.tree(&self.world).into_iter();
        let entry = |one: crate::plan::Selected| Entry {
            entry: one.entry,
            object: one.object,
        };
        Ok(tree.map(entry).collect())
    }

    fn kept(&self, entries: &[Entry]) -> BTreeMap<PackagePath, (Digest, Key)> {
        let of = |entry: &Entry| {
            let digest = self.plan.kept.get(&entry.entry.path)?;
            let spec = Spec {
                digest: *digest,
                ..entry.spec()?
            };
            Some((entry.entry.path.clone(), (*digest, spec.key())))
        };
        entries.iter().filter_map(of).collect()
    }

    pub(super) fn setups(&self) -> Vec<model::manifest::Setup> {
        let all = self
            .plan
            .order
            .iter()
            .map(|package| package.manifest.setup.clone());
        all.filter(|setup| !setup.is_empty()).collect()
    }

    /// What is told to processes; inodes of the new files from the store until the tree stands.
    pub(super) fn announcement(&self, staged: Option<&Tree>) -> Announcement {
        lists::announcement(self.id, &self.plan, |one: &PathChange| {
            let at = |tree| Context::inode(tree, &one.path);
            let old = one.old.as_ref().and_then(|_| at(&self.before));
            let new = one.new.as_ref().and_then(|selected| {
                if let Some(tree) = staged {
                    return at(tree);
                }
                let entry = Entry {
                    entry: selected.entry.clone(),
                    object: selected.object,
                };
                self.context.objects.inode(entry.spec()?.key())
            });
            (old, new)
        })
    }
}
