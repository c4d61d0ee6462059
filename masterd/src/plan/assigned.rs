//! What is intended for a node, from all that concerns it: the narrowest scope that says something
//! counts.

use std::collections::{BTreeMap, BTreeSet};

use model::change::PackageRef;
use model::ids::PackageName;
use model::wire::{Assignment, BootGate, Facts, FleetName, NodeName, Origin, Scope, StorePolicy};

/// What is intended for a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Intent {
    /// Packages, narrower scopes' first, each with whose intent it is.
    pub packages: Vec<(PackageRef, Origin)>,
    /// Names that wider scopes assign and a narrower one takes out.
    pub without: Vec<(PackageName, Origin)>,
    /// Roles: features that the master assigns, each once.
    pub features: Vec<(FleetName, Origin)>,
    /// What is kept on the node, and who says so.
    pub store: Option<(StorePolicy, Origin)>,
    /// What a boot does while the master is away, and who says so.
    pub boot_gate: Option<(BootGate, Origin)>,
    /// Scopes of one width that say different things; the first by name counts.
    pub conflicts: Vec<String>,
}

/// The scopes that a node is in, narrowest first: node, location, classes by name, type, fleet.
/// `facts` are the merged ones.
pub fn scopes(node: &NodeName, facts: &Facts) -> Vec<Scope> {
    let classes: BTreeSet<_> = facts.classes.iter().cloned().collect();
    let mut scopes = vec![Scope::Node(node.clone())];
    scopes.extend(facts.location.clone().map(Scope::Location));
    scopes.extend(classes.into_iter().map(Scope::Class));
    scopes.extend(facts.node_type.clone().map(Scope::Type));
    scopes.push(Scope::Fleet);
    scopes
}

/// What is intended for a node. `facts` are the merged ones, without the roles that come of this.
pub fn intent(node: &NodeName, facts: &Facts, assignments: &BTreeMap<Scope, Assignment>) -> Intent {
    let mut intent = Intent::default();
    for scope in scopes(node, facts) {
        if let Some(assignment) = assignments.get(&scope) {
            intent.widen(&scope, assignment);
        }
    }
    intent
}

impl Intent {
    /// The packages as they are written, in order.
    pub fn references(&self) -> Vec<PackageRef> {
        self.packages.iter().map(|(one, _)| one.clone()).collect()
    }

    /// The roles.
    pub fn roles(&self) -> Vec<FleetName> {
        self.features.iter().map(|(one, _)| one.clone()).collect()
    }

    /// Adds what a wider scope says, where no narrower one has said otherwise.
    fn widen(&mut self, scope: &Scope, assignment: &Assignment) {
        for package in &assignment.packages {
            self.widen_package(scope, package);
        }
        // After the packages: a scope that names one and takes it out of wider ones has it.
        for name in &assignment.without {
            let here = |(package, origin): &(PackageRef, Origin)| {
                package.name == *name && origin.scope == *scope
            };
            let known = self.packages.iter().any(here)
                || self.packages.iter().any(|(one, _)| one.name == *name)
                || self.without.iter().any(|(one, _)| one == name);
            if !known {
                self.without.push((name.clone(), origin(scope)));
            }
        }
        for feature in &assignment.features {
            match self.features.iter_mut().find(|(one, _)| one == feature) {
                Some((_, origin)) => origin.over.push(scope.clone()),
                None => self.features.push((feature.clone(), origin(scope))),
            }
        }
        narrowest(&mut self.store, assignment.store, scope);
        narrowest(&mut self.boot_gate, assignment.boot_gate, scope);
    }

    fn widen_package(&mut self, scope: &Scope, package: &PackageRef) {
        if let Some((_, origin)) = self
            .without
            .iter_mut()
            .find(|(one, _)| *one == package.name)
        {
            origin.over.push(scope.clone());
            return;
        }
        let known = self
            .packages
            .iter_mut()
            .find(|(one, _)| one.name == package.name);
        let Some((chosen, chosen_by)) = known else {
            return self.packages.push((package.clone(), origin(scope)));
        };
        let same_width = matches!(
            (&chosen_by.scope, scope),
            (Scope::Class(_), Scope::Class(_))
        );
        if same_width && chosen != package {
            self.conflicts.push(format!(
                "{} assigns {chosen} and {} assigns {package}; {chosen} counts",
                shown(&chosen_by.scope),
                shown(scope)
            ));
        }
        chosen_by.over.push(scope.clone());
    }
}

fn origin(scope: &Scope) -> Origin {
    Origin {
        scope: scope.clone(),
        over: Vec::new(),
    }
}

fn narrowest<T>(known: &mut Option<(T, Origin)>, said: Option<T>, scope: &Scope) {
    match (known, said) {
        (_, None) => {}
        (Some((_, origin)), Some(_)) => origin.over.push(scope.clone()),
        (known @ None, Some(said)) => *known = Some((said, origin(scope))),
    }
}

/// `class web`, `fleet`: as people name a scope.
pub fn shown(scope: &Scope) -> String {
    match scope {
        Scope::Fleet => "fleet".to_owned(),
        Scope::Type(name) => format!("type {name}"),
        Scope::Class(name) => format!("class {name}"),
        Scope::Location(name) => format!("location {name}"),
        Scope::Node(name) => format!("node {name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            arch: "x86_64".into(),
            node_type: Some("router".parse().unwrap()),
            location: Some("berlin".parse().unwrap()),
            classes: vec!["web".parse().unwrap(), "edge".parse().unwrap()],
            ..Facts::default()
        }
    }

    fn assigning(packages: &[&str]) -> Assignment {
        Assignment {
            packages: packages.iter().map(|one| one.parse().unwrap()).collect(),
            ..Assignment::default()
        }
    }

    fn of(all: &[(Scope, Assignment)]) -> Intent {
        let all = all.iter().cloned().collect();
        intent(&"n1".parse().unwrap(), &facts(), &all)
    }

    fn class(name: &str) -> Scope {
        Scope::Class(name.parse().unwrap())
    }

    fn node() -> Scope {
        Scope::Node("n1".parse().unwrap())
    }

    fn texts(intent: &Intent) -> Vec<String> {
        intent
            .references()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn each_scope_takes_precedence_over_the_wider_ones_and_the_origin_says_so() {
        let location = Scope::Location("berlin".parse().unwrap());
        let node_type = Scope::Type("router".parse().unwrap());
        let narrow_first = [node(), location, class("edge"), node_type, Scope::Fleet];
        for (i, narrowest) in narrow_first.iter().enumerate() {
            let all: Vec<_> = narrow_first[i..]
                .iter()
                .map(|scope| {
                    (
                        scope.clone(),
                        assigning(&[&format!("app={}", shown(scope).len())]),
                    )
                })
                .collect();
            let intent = of(&all);
            let (package, origin) = &intent.packages[0];
            assert_eq!(intent.packages.len(), 1);
            assert_eq!(
                package.to_string(),
                format!("app={}", shown(narrowest).len())
            );
            assert_eq!(origin.scope, *narrowest);
            assert_eq!(origin.over, narrow_first[i + 1..]);
        }
    }

    #[test]
    fn other_classes_locations_and_nodes_do_not_concern_it() {
        let intent = of(&[
            (class("db"), assigning(&["db"])),
            (Scope::Node("n2".parse().unwrap()), assigning(&["x"])),
            (Scope::Location("paris".parse().unwrap()), assigning(&["y"])),
        ]);
        assert_eq!(intent, Intent::default());
    }

    #[test]
    fn narrower_packages_stand_in_front_and_a_narrower_scope_may_take_one_out() {
        let mut web = assigning(&["web"]);
        web.without.push("agent".parse().unwrap());
        let fleet = assigning(&["agent", "base"]);
        let intent = of(&[(class("web"), web.clone()), (Scope::Fleet, fleet.clone())]);
        assert_eq!(texts(&intent), ["web", "base"]);
        assert_eq!(intent.without[0].1.over, [Scope::Fleet]);
        // Who names it for one node has it there.
        let own = assigning(&["agent=2"]);
        let intent = of(&[(node(), own), (class("web"), web), (Scope::Fleet, fleet)]);
        assert_eq!(texts(&intent), ["agent=2", "web", "base"]);
    }

    #[test]
    fn two_classes_that_disagree_are_named() {
        let intent = of(&[
            (class("web"), assigning(&["a=1"])),
            (class("edge"), assigning(&["a=2"])),
        ]);
        assert_eq!(texts(&intent), ["a=2"]);
        assert_eq!(
            intent.conflicts,
            ["class edge assigns a=2 and class web assigns a=1; a=2 counts"]
        );
    }

    #[test]
    fn roles_add_up_and_the_narrowest_policy_counts() {
        let mut web = Assignment {
            store: Some(StorePolicy::Memory),
            ..Assignment::default()
        };
        web.features.push("primary".parse().unwrap());
        let mut fleet = Assignment {
            store: Some(StorePolicy::Keep),
            ..Assignment::default()
        };
        fleet.features = vec!["primary".parse().unwrap(), "logs".parse().unwrap()];
        let intent = of(&[(class("web"), web), (Scope::Fleet, fleet)]);
        assert_eq!(intent.roles().len(), 2);
        let (store, origin) = intent.store.unwrap();
        assert_eq!((store, origin.scope), (StorePolicy::Memory, class("web")));
    }
}
