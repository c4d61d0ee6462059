//! What activations and deactivations make of the active list.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::change::{Action, PackageRef, Request, Unmet};
use model::{Later, PackageName};
use resolve::deps::{Answers, closure};
use resolve::{Package, order};
use rustc_hash::FxHashSet;

use super::super::World;
use super::super::bringers::Bringers;
use super::super::index::ActiveIndex;
use super::nearest::nearest;
use super::{NewSet, arranged, check};

/// The long way, for whatever is asked.
pub(super) fn edited(world: &World, request: &Request) -> NewSet {
    let mut edit = Edit::new(world);
    for action in &request.actions {
        match action {
            Action::Activate(reference) => edit.activate(reference),
            Action::Deactivate(reference) => edit.deactivate(reference),
        }
    }
    edit.bring();
    let removes = |action: &Action| matches!(action, Action::Deactivate(_));
    if request.actions.iter().any(removes) {
        edit.sweep();
    }
    let mut set = edit.finish();
    set.automatic = automatic(world, request, &set);
    set
}

struct Edit<'a> {
    world: &'a World,
    index: &'a ActiveIndex,
    list: Vec<Package>,
    /// Named by the request, to be in the set.
    wanted: Vec<Package>,
    brought: BTreeSet<PackageName>,
    unmet: Vec<Unmet>,
    warnings: Vec<String>,
}

impl<'a> Edit<'a> {
    fn new(world: &'a World) -> Self {
        Self {
            world,
            index: &world.index,
            list: world.index.active().list.clone(),
            wanted: Vec::new(),
            brought: BTreeSet::new(),
            unmet: Vec::new(),
            warnings: Vec::new(),
        }
    }

    fn activate(&mut self, reference: &PackageRef) {
        let versions = self.world.store.versions(&reference.name);
        let Some(found) = versions.iter().rev().find(|one| one.is_meant_by(reference)) else {
            let unmet = self.unknown(reference, versions);
            self.unmet.push(unmet);
            return;
        };
        let found = found.clone();
        self.wanted.retain(|one| one.id.name != found.id.name);
        self.wanted.push(found.clone());
        self.replace(found);
    }

    /// Puts it where another version of it stands; where none does, that is for later.
    fn replace(&mut self, new: Package) {
        let version = new.id.name_version();
        for gone in order::replace(&mut self.list, new) {
            self.warnings.push(format!(
                "the upgrade package {} leaves: it does not apply to {version}",
                gone.id.name_version()
            ));
        }
    }

    fn deactivate(&mut self, reference: &PackageRef) {
        let active = self
            .list
            .iter()
            .find(|one| one.id.name == reference.name)
            .cloned();
        let Some(active) = active.filter(|one| one.is_meant_by(reference)) else {
            let unmet = self.not_active(reference);
            self.unmet.push(unmet);
            return;
        };
        self.wanted.retain(|one| one.id.name != reference.name);
        if reference.version.is_some()
            && let Some(older) = self.replaced_by(&active)
        {
            self.wanted.push(older.clone());
            self.replace(older.clone());
            self.bring_back_upgrades(&older);
            return;
        }
        for gone in order::remove(&mut self.list, &reference.name)
            .iter()
            .skip(1)
        {
            let gone = gone.id.name_version();
            self.warnings.push(format!(
                "the upgrade package {gone} leaves with {reference}"
            ));
        }
    }

    /// The version that `active` replaced, where the store still has it.
    fn replaced_by(&self, active: &Package) -> Option<Package> {
        let versions = self.world.previous.get(&active.id.name)?;
        let mut others = versions.iter().rev().filter(|id| **id != active.id);
        others.find_map(|id| self.world.store.get(id)).cloned()
    }

    /// The upgrades that `base` had when it was last active left with it, and come back with it.
    fn bring_back_upgrades(&mut self, base: &Package) {
        let generations = self.world.generations.values().rev();
        let Some(last) = { generations }.find(|one| one.list.contains(&base.id)) else {
            return;
        };
        let upgrades = |one: &&Package| order::upgrades(&one.manifest, &base.manifest);
        let had = last.list.iter().filter_map(|id| self.world.store.get(id));
        for upgrade in had.filter(upgrades) {
            let there = |one: &Package| one.id.name == upgrade.id.name;
            if !self.list.iter().any(there) && !self.wanted.iter().any(there) {
                self.warnings.push(format!(
                    "the upgrade package {} comes back with {}",
                    upgrade.id.name_version(),
                    base.id.name_version()
                ));
                self.wanted.push(upgrade.clone());
            }
        }
    }

    /// Brings what the wanted ones need from the store, and inserts all that is new.
    fn bring(&mut self) {
        let node = &self.index.active().node;
        let added = closure(&self.list, &self.wanted, &self.world.store, node);
        let there: FxHashSet<&PackageName> = self.list.iter().map(|one| &one.id.name).collect();
        let lacking = self
            .wanted
            .iter()
            .filter(|one| !there.contains(&one.id.name))
            .cloned();
        let new: Vec<Package> = lacking.chain(added.iter().cloned()).collect();
        let named = |name: &PackageName| there.contains(name);
        self.brought = added
            .iter()
            .map(|one| one.id.name.clone())
            .filter(|n| !named(n))
            .collect();
        // What is depended on goes in first, so that each finds its place before it.
        for package in order::effective(&new, node).into_iter().rev() {
            if self.list.iter().any(|one| one.id.name == package.id.name) {
                self.replace(package);
            } else {
                order::insert(&mut self.list, package, node);
            }
        }
    }

    /// Takes out what came only as a dependency and nobody requires any more, nor uses a library
    /// or an API of.
    fn sweep(&mut self) {
        let automatic = |one: &Package| self.world.automatic.contains(&one.id.name);
        if !self.list.iter().any(automatic) {
            return;
        }
        let node = &self.index.active().node;
        let manifests: Vec<_> = self.list.iter().map(|one| &*one.manifest).collect();
        let answers = Answers::of(&manifests);
        let bringers = Bringers::of(&self.list);
        let mut needed = vec![false; self.list.len()];
        let mut open: Vec<usize> = (0..needed.len())
            .filter(|&i| !automatic(&self.list[i]))
            .collect();
        while let Some(at) = open.pop() {
            if !std::mem::replace(&mut needed[at], true) {
                open.extend(order::edges_of(&self.list[at], &answers, node));
                open.extend(bringers.to(&self.list[at]));
            }
        }
        let mut needed = needed.into_iter();
        self.list.retain(|_| needed.next().unwrap_or(true));
    }

    fn finish(self) -> NewSet {
        let Self {
            world,
            index,
            list,
            brought,
            mut unmet,
            warnings,
            ..
        } = self;
        let mut set = arranged(index, list);
        set.brought = brought;
        set.warnings = warnings;
        unmet.extend(check(world, &set));
        set.unmet = unmet;
        set
    }

    fn unknown(&self, reference: &PackageRef, versions: &[Package]) -> Unmet {
        let hint = if versions.is_empty() {
            match nearest(reference.name.as_str(), self.world.store.names()) {
                Some(name) => format!("the store has no such package; did you mean {name}?"),
                None => "add it to the store first: pkgtool add FILE".to_owned(),
            }
        } else {
            let have: Vec<&str> = versions.iter().map(|one| one.id.version.as_str()).collect();
            format!(
                "the store has {} of it; add the one that is meant",
                have.join(", ")
            )
        };
        Unmet {
            by: "the request".to_owned(),
            needs: reference.to_string(),
            hint,
        }
    }

    fn not_active(&self, reference: &PackageRef) -> Unmet {
        let active = self.list.iter().find(|one| one.id.name == reference.name);
        let hint = match active {
            Some(active) => format!("the active version is {}", active.id.version),
            None => match nearest(
                reference.name.as_str(),
                self.list.iter().map(|one| &one.id.name),
            ) {
                Some(name) => format!("it is not active; did you mean {name}?"),
                None => "it is not active: nothing is to be done".to_owned(),
            },
        };
        Unmet {
            by: "the request".to_owned(),
            needs: format!("active package {reference}"),
            hint,
        }
    }
}

/// The packages that a request activates by name.
fn asked_by_name(request: &Request) -> FxHashSet<&PackageName> {
    let named = request.actions.iter().filter_map(|action| match action {
        Action::Activate(reference) => Some(&reference.name),
        Action::Deactivate(_) => None,
    });
    named.collect()
}

/// Who is in `set` without being asked for by name: who was so and stays, and who is brought.
pub(in crate::plan) fn automatic(
    world: &World,
    request: &Request,
    set: &NewSet,
) -> Later<BTreeSet<PackageName>> {
    let enters = |gone: &Package| set.entering().any(|(_, one)| one.id.name == gone.id.name);
    let gone = set.leaving.iter().filter(|one| !enters(one));
    let asked = asked_by_name(request).into_iter();
    let without: FxHashSet<PackageName> =
        asked.chain(gone.map(|one| &one.id.name)).cloned().collect();
    let (before, brought) = (Arc::clone(&world.automatic), set.brought.clone());
    Later::new(move || {
        let all = before.iter().chain(&brought);
        all.filter(|name| !without.contains(*name))
            .cloned()
            .collect()
    })
}
