//! What a composite image makes of what is intended.

use std::collections::BTreeMap;

use model::PackageId;
use model::change::PackageRef;
use model::envelope::{Image, ImageAssignment};
use model::wire::{Assignment, Facts, NodeName, Scope};

use super::assigned::scopes;

/// What an image assigns, with each of its own packages in its own version: who goes to an older
/// image gets what that one has.
pub fn pinned(image: &Image, packages: &[PackageId]) -> Vec<ImageAssignment> {
    let pin = |package: &PackageRef| {
        let own = packages.iter().filter(|id| id.name == package.name);
        let newest = own.map(|id| &id.version).max();
        PackageRef {
            name: package.name.clone(),
            version: package.version.clone().or_else(|| newest.cloned()),
        }
    };
    let mut all = image.assign.clone();
    for one in &mut all {
        let packages = &mut one.assignment.packages;
        *packages = packages.iter().map(pin).collect();
    }
    all
}

/// Whether the image means a node: it names it, its type, or a scope that the node is in. `facts`
/// are the merged ones.
pub fn names(image: &Image, node: &NodeName, facts: &Facts) -> bool {
    let by_name = image.nodes.iter().any(|one| one.name == *node);
    let boots = |one: &model::envelope::BootImage| {
        one.node_type.is_some() && one.node_type == facts.node_type && one.arch == facts.arch
    };
    let within = scopes(node, facts);
    by_name
        || image.assign.iter().any(|one| within.contains(&one.scope))
        || image.boot.iter().any(boots)
}

/// What is intended with this image: what it says counts, what the version before it said and this
/// one does not goes, and what people say besides stays.
pub fn assignments(
    current: &BTreeMap<Scope, Assignment>,
    before: &[ImageAssignment],
    new: &[ImageAssignment],
) -> BTreeMap<Scope, Assignment> {
    let of = |all: &[ImageAssignment], scope: &Scope| {
        let found = all.iter().find(|one| one.scope == *scope);
        found.map(|one| one.assignment.clone()).unwrap_or_default()
    };
    let mut all = current.clone();
    for scope in before.iter().chain(new).map(|one| &one.scope) {
        let old = all.get(scope).cloned().unwrap_or_default();
        let merged = merged(old, &of(before, scope), of(new, scope));
        if merged == Assignment::default() {
            all.remove(scope);
        } else {
            all.insert(scope.clone(), merged);
        }
    }
    all
}

fn merged(current: Assignment, before: &Assignment, new: Assignment) -> Assignment {
    let said = |package: &PackageRef| new.packages.iter().any(|one| one.name == package.name);
    let stays = |package: &PackageRef| !said(package) && !before.packages.contains(package);
    let others = current.packages.into_iter().filter(stays);
    let others: Vec<PackageRef> = others.collect();
    let without = current.without.into_iter();
    let without = without.filter(|name| {
        let comes = new.packages.iter().any(|one| one.name == *name);
        !comes && !before.without.contains(name)
    });
    let features = current.features.into_iter();
    let features = features.filter(|one| !before.features.contains(one));
    Assignment {
        without: joined(new.without, without),
        features: joined(new.features, features),
        store: new
            .store
            .or(current.store.filter(|one| before.store != Some(*one))),
        boot_gate: new.boot_gate.or(current
            .boot_gate
            .filter(|one| before.boot_gate != Some(*one))),
        packages: joined(new.packages, others.into_iter()),
    }
}

/// Those, and what of these is not among them.
fn joined<T: PartialEq>(mut all: Vec<T>, more: impl Iterator<Item = T>) -> Vec<T> {
    for one in more {
        if !all.contains(&one) {
            all.push(one);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assign(scope: Scope, packages: &[&str]) -> ImageAssignment {
        ImageAssignment {
            scope,
            assignment: Assignment {
                packages: packages.iter().map(|one| one.parse().unwrap()).collect(),
                ..Assignment::default()
            },
        }
    }

    fn image(assign: Vec<ImageAssignment>) -> Image {
        Image {
            format: 2,
            name: "site".parse().unwrap(),
            version: "1".parse().unwrap(),
            summary: String::new(),
            boot: Vec::new(),
            nodes: Vec::new(),
            assign,
        }
    }

    fn class(name: &str) -> Scope {
        Scope::Class(name.parse().unwrap())
    }

    fn texts(all: &BTreeMap<Scope, Assignment>, scope: &Scope) -> Vec<String> {
        let found = all.get(scope).into_iter().flat_map(|one| &one.packages);
        found.map(ToString::to_string).collect()
    }

    #[test]
    fn its_own_packages_are_meant_in_its_own_version() {
        let image = image(vec![assign(Scope::Fleet, &["app", "lib=2", "other"])]);
        let id = |name: &str, version: &str| {
            let manifest = model::Manifest::new(name.parse().unwrap(), version.parse().unwrap());
            manifest.id(&manifest.to_bytes().unwrap())
        };
        let pinned = pinned(&image, &[id("app", "1"), id("lib", "1")]);
        let texts: Vec<String> = pinned[0]
            .assignment
            .packages
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(texts, ["app=1", "lib=2", "other"]);
    }

    #[test]
    fn what_a_version_says_counts_what_the_last_one_said_goes_and_what_people_say_stays() {
        let one = [
            assign(class("edge"), &["app=1", "old=1"]),
            assign(class("core"), &["x=1"]),
        ];
        let two = [assign(class("edge"), &["app=2"])];
        let people = BTreeMap::from([(
            class("edge"),
            assign(class("edge"), &["app=0", "own"]).assignment,
        )]);
        let after = assignments(&people, &[], &one);
        assert_eq!(texts(&after, &class("edge")), ["app=1", "old=1", "own"]);
        assert_eq!(texts(&after, &class("core")), ["x=1"]);
        let after = assignments(&after, &one, &two);
        assert_eq!(texts(&after, &class("edge")), ["app=2", "own"]);
        assert!(!after.contains_key(&class("core")));
        // And back again.
        let back = assignments(&after, &two, &one);
        assert_eq!(texts(&back, &class("edge")), ["app=1", "old=1", "own"]);
    }

    #[test]
    fn it_means_nodes_that_it_names_their_types_and_scopes() {
        let mut image = image(vec![assign(class("edge"), &["app"])]);
        image.boot.push(model::envelope::BootImage {
            node_type: Some("router".parse().unwrap()),
            arch: "aarch64".to_owned(),
            version: "6.1".parse().unwrap(),
            object: model::Digest::of(b"boot"),
            size: 4,
        });
        let facts = |class: &str, node_type: Option<&str>, arch: &str| Facts {
            arch: arch.to_owned(),
            classes: vec![class.parse().unwrap()],
            node_type: node_type.map(|one| one.parse().unwrap()),
            ..Facts::default()
        };
        let name: NodeName = "n1".parse().unwrap();
        assert!(names(&image, &name, &facts("edge", None, "x86_64")));
        assert!(!names(&image, &name, &facts("core", None, "x86_64")));
        assert!(names(
            &image,
            &name,
            &facts("core", Some("router"), "aarch64")
        ));
        assert!(!names(
            &image,
            &name,
            &facts("core", Some("router"), "x86_64")
        ));
    }
}
