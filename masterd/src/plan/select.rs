//! Which nodes are meant, and which software each of them gets.

use std::collections::BTreeMap;

use model::change::PackageRef;
use model::wire::{Assignment, ClassName, Facts, FleetName, NodeName, Scope, Selector};
use model::{Digest, PackageName};
use resolve::deps::Shelf;
use resolve::fleet::{Ordered, characteristics, merged, order_for, software_hash};
use resolve::{Characteristics, Package};

use super::assigned::{Intent, intent};

/// What an operator recorded of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Its type, which counts over what it says.
    pub node_type: Option<FleetName>,
    /// Its location, likewise.
    pub location: Option<FleetName>,
    /// Classes besides those that it configures itself.
    pub classes: Vec<ClassName>,
    /// Labels.
    pub labels: BTreeMap<FleetName, String>,
}

/// What counts for a node.
#[derive(Debug, Clone, Default)]
pub struct Counting {
    /// What the master adds to the node's own facts: `selected_for` of questions and wanted states.
    pub added: Facts,
    /// All together.
    pub facts: Facts,
    /// As the decisions over software want it.
    pub characteristics: Characteristics,
    /// What is intended for it.
    pub intent: Intent,
    /// What it says otherwise than recorded, and scopes that disagree.
    pub discrepancies: Vec<String>,
}

/// What counts for a node: what it says, what was recorded over it, the roles that are assigned.
pub fn counting(
    node: &NodeName,
    reported: &Facts,
    recorded: &Recorded,
    assignments: &BTreeMap<Scope, Assignment>,
) -> Counting {
    let mut added = Facts {
        node_type: recorded.node_type.clone(),
        location: recorded.location.clone(),
        classes: recorded.classes.clone(),
        ..Facts::default()
    };
    let intent = intent(node, &merged(reported, &added), assignments);
    added.features = intent.roles();
    let facts = merged(reported, &added);
    let mut discrepancies = resolve::fleet::differences(reported, &added);
    discrepancies.extend(intent.conflicts.iter().cloned());
    Counting {
        characteristics: characteristics(&facts),
        added,
        facts,
        intent,
        discrepancies,
    }
}

/// A node's software with its hash.
#[derive(Debug, Clone)]
pub struct Software {
    /// The ordered set, and what is wrong with it.
    pub ordered: Ordered,
    /// Its hash on this node.
    pub hash: Digest,
}

/// What an update means for a node with this intent, front first: what is assigned, with what the
/// update brings and without what it takes away. A package that is only of another version keeps its
/// place; one that nothing assigns goes in front.
pub fn meant(intent: &Intent, brought: &[PackageRef], remove: &[PackageName]) -> Vec<PackageRef> {
    let assigned = |new: &PackageRef| intent.packages.iter().any(|(old, _)| old.name == new.name);
    let mut all: Vec<PackageRef> = brought
        .iter()
        .filter(|new| !assigned(new))
        .cloned()
        .collect();
    for (old, _) in &intent.packages {
        let new = brought.iter().rev().find(|new| new.name == old.name);
        all.push(new.unwrap_or(old).clone());
    }
    all.retain(|one| !remove.contains(&one.name));
    all
}

/// The software that a node gets by what is meant for it. `current` is what it runs; `shelf` has
/// what its architecture can run.
pub fn software(
    meant: &[PackageRef],
    current: &[Package],
    shelf: &Shelf,
    node: &Characteristics,
) -> Software {
    let ordered = order_for(meant, current, shelf, node);
    let hash = software_hash(&ordered.order, node);
    Software { ordered, hash }
}

/// Whether a selector means a node: every field that is given agrees. An empty one means none.
pub fn is_meant(
    selector: &Selector,
    node: &NodeName,
    facts: &Facts,
    labels: &BTreeMap<FleetName, String>,
    groups: &BTreeMap<FleetName, Selector>,
) -> bool {
    // A group may name a group; one that names itself means nobody.
    let mut selector = selector;
    for _ in 0..=groups.len() {
        if selector.is_empty() || !agrees(selector, node, facts, labels) {
            return false;
        }
        let Some(group) = &selector.group else {
            return true;
        };
        match groups.get(group) {
            Some(inner) => selector = inner,
            None => return false,
        }
    }
    false
}

fn agrees(
    selector: &Selector,
    node: &NodeName,
    facts: &Facts,
    labels: &BTreeMap<FleetName, String>,
) -> bool {
    let among = |wanted: &[FleetName], have: &Option<FleetName>| {
        wanted.is_empty() || have.as_ref().is_some_and(|have| wanted.contains(have))
    };
    (selector.nodes.is_empty() || selector.nodes.contains(node))
        && (selector.classes.is_empty()
            || selector
                .classes
                .iter()
                .any(|class| facts.classes.contains(class)))
        && among(&selector.node_types, &facts.node_type)
        && among(&selector.locations, &facts.location)
        && selector
            .labels
            .iter()
            .all(|(label, value)| labels.get(label) == Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
        text.parse().unwrap()
    }

    #[test]
    fn a_selector_means_nodes_that_agree_in_every_field() {
        let node: NodeName = name("n1");
        let facts = Facts {
            classes: vec![name("web")],
            location: Some(name("berlin")),
            ..Facts::default()
        };
        let labels = BTreeMap::from([(name("rack"), "3".to_owned())]);
        let everyone = Selector {
            all: true,
            ..Selector::default()
        };
        let web = Selector {
            classes: vec![name("web"), name("db")],
            ..Selector::default()
        };
        let groups = BTreeMap::from([
            (name("webs"), web.clone()),
            (
                name("loop"),
                Selector {
                    group: Some(name("loop")),
                    ..Selector::default()
                },
            ),
        ]);
        let means = |selector: &Selector| is_meant(selector, &node, &facts, &labels, &groups);
        assert!(means(&everyone) && means(&web));
        assert!(!means(&Selector::default()));
        let there = Selector {
            locations: vec![name("paris")],
            ..web.clone()
        };
        assert!(!means(&there));
        let rack = |value: &str| Selector {
            labels: BTreeMap::from([(name("rack"), value.to_owned())]),
            ..Selector::default()
        };
        assert!(means(&rack("3")) && !means(&rack("4")));
        let group = |of: &str| Selector {
            group: Some(name(of)),
            ..Selector::default()
        };
        assert!(means(&group("webs")));
        assert!(!means(&group("loop")) && !means(&group("nobody")));
    }

    #[test]
    fn a_recorded_location_decides_which_assignment_counts_and_roles_become_features() {
        let place = |text: &str| Scope::Location(name(text));
        let role = |text: &str| Assignment {
            features: vec![name(text)],
            ..Assignment::default()
        };
        let all = BTreeMap::from([
            (place("berlin"), role("east")),
            (place("paris"), role("west")),
        ]);
        let reported = Facts {
            location: Some(name("berlin")),
            ..Facts::default()
        };
        let recorded = Recorded {
            location: Some(name("paris")),
            ..Recorded::default()
        };
        let counting = counting(&name("n1"), &reported, &recorded, &all);
        assert_eq!(counting.characteristics.features, ["west"]);
        assert_eq!(counting.added.features, [name::<FleetName>("west")]);
        assert_eq!(counting.discrepancies.len(), 1);
    }
}
