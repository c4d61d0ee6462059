//! From what people intend to what a node is to have.

use model::PackageId;
use model::change::PackageRef;
use model::wire::{
    Assigned, Assignment, BootGate, FleetName, NodeName, Origin, Scope, StorePolicy, Update,
};
use resolve::fleet::characteristics;

use super::Engine;
use super::node::Node;

/// What is intended for a node, all scopes together.
#[derive(Debug, Default)]
pub(super) struct Intent {
    pub(super) packages: Vec<(PackageRef, Origin)>,
    pub(super) without: Vec<(String, Origin)>,
    pub(super) roles: Vec<(FleetName, Origin)>,
    pub(super) store: Option<(StorePolicy, Origin)>,
    pub(super) boot_gate: Option<(BootGate, Origin)>,
}

/// The scopes that a node is in, the narrowest first: node, location, class, type, fleet.
fn scopes(node: &Node) -> Vec<Scope> {
    let mut scopes = vec![Scope::Node(node.record.name.clone())];
    scopes.extend(node.location().cloned().map(Scope::Location));
    scopes.extend(node.classes().into_iter().map(Scope::Class));
    scopes.extend(node.node_type().cloned().map(Scope::Type));
    scopes.push(Scope::Fleet);
    scopes
}

impl Intent {
    /// Adds a wider scope's assignment behind those of narrower ones.
    fn widen(&mut self, scope: &Scope, assignment: &Assignment) {
        let origin = || Origin {
            scope: scope.clone(),
            over: Vec::new(),
        };
        let out = |intent: &Self, name: &str| intent.without.iter().any(|(one, _)| one == name);
        for package in &assignment.packages {
            let same = |(one, _): &&mut (PackageRef, Origin)| one.name == package.name;
            if let Some((_, narrower)) = self.packages.iter_mut().find(same) {
                narrower.over.push(scope.clone());
            } else if !out(self, package.name.as_str()) {
                self.packages.push((package.clone(), origin()));
            }
        }
        for name in &assignment.without {
            if !out(self, name.as_str()) {
                self.without.push((name.as_str().to_owned(), origin()));
            }
        }
        for role in &assignment.features {
            if !self.roles.iter().any(|(one, _)| one == role) {
                self.roles.push((role.clone(), origin()));
            }
        }
        first(&mut self.store, assignment.store, scope);
        first(&mut self.boot_gate, assignment.boot_gate, scope);
    }
}

/// The narrowest word counts; wider ones are named.
fn first<T>(place: &mut Option<(T, Origin)>, said: Option<T>, scope: &Scope) {
    match (place, said) {
        (Some((_, origin)), Some(_)) => origin.over.push(scope.clone()),
        (place @ None, Some(said)) => {
            let origin = Origin {
                scope: scope.clone(),
                over: Vec::new(),
            };
            *place = Some((said, origin));
        }
        (_, None) => {}
    }
}

impl Engine {
    /// What is intended for the node.
    pub(super) fn intent(&self, name: &NodeName) -> Intent {
        let mut intent = Intent::default();
        let Some(node) = self.nodes.get(name) else {
            return intent;
        };
        for scope in scopes(node) {
            if let Some(assignment) = self.assignments.get(&scope) {
                intent.widen(&scope, assignment);
            }
        }
        intent
    }

    /// The roles that the master gives the node.
    pub(super) fn roles(intent: &Intent) -> Vec<FleetName> {
        intent.roles.iter().map(|(role, _)| role.clone()).collect()
    }

    /// The package that is meant on a node like this: the newest of its versions where none is
    /// named, of those that run there.
    fn meant(&self, package: &PackageRef, node: &Node) -> Option<PackageId> {
        let node = characteristics(&node.record.facts);
        let runs = |one: &&resolve::Package| {
            let arch = one.manifest.architecture.as_ref();
            one.is_meant_by(package) && arch.is_none_or(|arch| node.runs(arch))
        };
        let versions = self.candidates.versions(&package.name).iter().rev();
        versions.filter(runs).map(|one| one.id.clone()).next()
    }

    /// What is assigned to the node, with whose word it is.
    pub(super) fn assigned(&self, name: &NodeName) -> Vec<Assigned> {
        let Some(node) = self.nodes.get(name) else {
            return Vec::new();
        };
        let intent = self.intent(name);
        let one = |(package, origin): (PackageRef, Origin)| Assigned {
            id: self.meant(&package, node),
            package,
            origin,
        };
        intent.packages.into_iter().map(one).collect()
    }

    /// What the update means for a node with this intent: what is assigned, with what the update
    /// brings and without what it takes away. A package that is only of another version keeps its
    /// place; one that nothing assigns goes in front.
    pub(super) fn meant_for(intent: &Intent, update: &Update) -> Vec<PackageRef> {
        let brought = &update.packages;
        let assigned =
            |new: &PackageRef| intent.packages.iter().any(|(old, _)| old.name == new.name);
        let mut all: Vec<PackageRef> = brought
            .iter()
            .filter(|new| !assigned(new))
            .cloned()
            .collect();
        for (old, _) in &intent.packages {
            let new = brought.iter().rev().find(|new| new.name == old.name);
            all.push(new.unwrap_or(old).clone());
        }
        all.retain(|one| !update.remove.contains(&one.name));
        all
    }
}
