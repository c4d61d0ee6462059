//! Packages that came, and those that may go.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::sync::Arc;

use model::wire::{FleetEvent, ImportedPackage, PackageView};
use model::{Digest, PackageId};
use resolve::Package;

use super::node::Node;
use super::records::{self, PackageRecord};
use super::writes::{Effect, Rank};
use super::{Engine, Error, Handle, now_ms, rfc3339};
use crate::audit::Note;
use crate::import::{self, Taken};

impl Handle {
    /// Takes the packages of an envelope: all of them or none. What takes time is done beside the
    /// engine, which then makes them visible at once.
    pub async fn import(&self, envelope: File, note: Note) -> Result<Vec<ImportedPackage>, Error> {
        let known = self.ask(|engine| Ok(engine.known_packages())).await?;
        // A collection would take what nobody sees yet.
        let _kept = self.shelf_in_use.read().await;
        let (shelf, spool) = (Arc::clone(&self.shelf), self.spool.clone());
        let take = move || import::take(envelope, &shelf, &known, &spool);
        let taken = tokio::task::spawn_blocking(take).await;
        let (taken, image) = taken.map_err(|_| Error::Stopped)??;
        self.ask(|engine| {
            let image = image.map(|one| engine.may_take_image(one)).transpose()?;
            let imported = engine.imported(taken);
            engine.note_import(&imported, note);
            if let Some(image) = image {
                engine.keep_image(image, imported.iter().map(|one| one.id.clone()).collect());
            }
            Ok(imported)
        })
        .await
    }

    /// All packages, by name and version.
    pub async fn packages(&self) -> Result<Vec<PackageView>, Error> {
        self.ask(|engine| Ok(engine.package_views())).await
    }

    /// Takes a package away that no node runs, wants or may go back to.
    pub async fn remove_package(&self, id: PackageId, note: Note) -> Result<(), Error> {
        self.ask(move |engine| {
            engine.remove_package(&id)?;
            engine
                .pending
                .note(Rank::Plain, records::package(&id), note);
            Ok(())
        })
        .await
    }
}

impl Engine {
    fn known_packages(&self) -> BTreeMap<PackageId, Digest> {
        let all = self.packages.values();
        all.map(|record| (record.id.clone(), record.manifest))
            .collect()
    }

    fn imported(&mut self, taken: Vec<Taken>) -> Vec<ImportedPackage> {
        let mut new = Vec::new();
        let imported = taken.into_iter().map(|one| {
            let before = self.newest_before(&one.id);
            let files = import::verdicts(before.as_ref().map(|one| &*one.manifest), &one.manifest);
            let is_new = !self.packages.contains_key(&one.id);
            if is_new {
                new.push(one.id.clone());
            }
            let id = one.id.clone();
            self.keep_package(one);
            ImportedPackage {
                id,
                new: is_new,
                files,
            }
        });
        let imported = imported.collect();
        if !new.is_empty() {
            self.documents.forget_made();
            let packages = new;
            self.pending
                .effect(Effect::Tell(FleetEvent::Imported { packages }));
        }
        imported
    }

    fn newest_before(&self, id: &PackageId) -> Option<Package> {
        let versions = self.candidates.versions(&id.name).iter().rev();
        let mut others = versions.filter(|one| one.id != *id);
        others.next().cloned()
    }

    /// A package that is there may come with other signatures.
    fn keep_package(&mut self, taken: Taken) {
        let old = self.packages.get(&taken.id);
        let record = PackageRecord {
            id: taken.id.clone(),
            manifest: taken.digest,
            manifest_size: taken.manifest_size,
            summary: taken.manifest.summary.clone(),
            size: taken.size,
            imported_ms: old.map_or_else(now_ms, |old| old.imported_ms),
            signatures: taken.signatures.or_else(|| old?.signatures.clone()),
            signed_by: taken.signed_by,
        };
        self.pending
            .put(Rank::Plain, records::package(&record.id), &record);
        self.candidates
            .put(Package::new(taken.id.clone(), Arc::new(taken.manifest)));
        self.packages.insert(taken.id, record);
    }

    fn package_views(&self) -> Vec<PackageView> {
        let mut running: BTreeMap<&PackageId, u32> = BTreeMap::new();
        let active = self.nodes.values().filter_map(|node| node.have.as_ref());
        for id in active.flat_map(|have| &have.active) {
            *running.entry(id).or_default() += 1;
        }
        let view = |record: &PackageRecord| PackageView {
            id: record.id.clone(),
            manifest: record.manifest,
            summary: record.summary.clone(),
            size: record.size,
            imported: rfc3339(record.imported_ms),
            signed_by: record.signed_by.iter().map(ToString::to_string).collect(),
            nodes: running.get(&record.id).copied().unwrap_or(0),
        };
        self.packages.values().map(view).collect()
    }

    fn remove_package(&mut self, id: &PackageId) -> Result<(), Error> {
        if !self.packages.contains_key(id) {
            return Err(Error::no("package", id));
        }
        if let Some(why) = self.why_needed(id) {
            return Err(Error::Conflict(format!(
                "{} stays: {why}",
                id.name_version()
            )));
        }
        self.packages.remove(id);
        let left = self.candidates.iter().filter(|one| one.id != *id).cloned();
        self.candidates = super::documents::Candidates::new(left.collect::<Vec<_>>());
        self.documents.forget_made();
        self.pending.delete(Rank::Plain, records::package(id));
        Ok(())
    }

    /// Who runs the package, wants it, or may go back to it.
    fn why_needed(&mut self, id: &PackageId) -> Option<String> {
        let has = |node: &Node| {
            let have = node.have.as_ref()?;
            let there = have.active.contains(id) || have.kept.contains(id);
            there.then(|| node.record.name.clone())
        };
        if let Some(name) = self.nodes.values().find_map(has) {
            return Some(format!("node {name} runs it, or may go back to it"));
        }
        if let Some(image) = self.image_with(id) {
            return Some(format!("image {image} has it"));
        }
        let mut lists: Vec<(Digest, String)> = Vec::new();
        for (name, node) in &self.nodes {
            let wanted = node.wanted.as_ref().map(|wanted| wanted.list);
            lists.extend(wanted.map(|list| (list, format!("node {name} is to run it"))));
        }
        for (number, rollout) in &self.rollouts {
            for part in rollout.parts().values() {
                let both = [Some(part.list), part.base_list].into_iter().flatten();
                let why = format!("update {number} has it");
                lists.extend(both.map(|list| (list, why.clone())));
            }
        }
        let mut seen = HashSet::new();
        lists.retain(|(list, _)| seen.insert(*list));
        let found = lists.into_iter().find(|(list, _)| {
            let packages = self.packages_of(list);
            packages.is_ok_and(|all| all.iter().any(|one| one.id == *id))
        });
        found.map(|(_, why)| why)
    }
}
