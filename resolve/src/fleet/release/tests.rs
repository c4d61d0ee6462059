//! What a node refuses.

use std::sync::Arc;

use model::wire::Released;
use model::{Digest, Manifest};

use super::*;

fn package(name: &str, version: &str) -> Package {
    let manifest = Manifest::new(name.parse().unwrap(), version.parse().unwrap());
    let id = manifest.id(&manifest.to_bytes().unwrap());
    Package::new(id, Arc::new(manifest))
}

fn release(class: &str, packages: &[&Package], floor: &[(&str, &str)]) -> Release {
    let released = |one: &&Package| Released {
        id: one.id.clone(),
        manifest: Digest::of(b"whole"),
    };
    let bound = |(name, version): &(&str, &str)| (name.parse().unwrap(), version.parse().unwrap());
    Release {
        class: class.parse().unwrap(),
        number: 4,
        issued: 0,
        packages: packages.iter().map(released).collect(),
        floor: floor.iter().map(bound).collect(),
    }
}

fn web() -> Characteristics {
    Characteristics {
        classes: vec!["web".into()],
        ..Characteristics::of_arch("x86_64")
    }
}

fn told(releases: &[Release], change: Change<'_>) -> Vec<String> {
    let found = refusals(releases, &web(), change);
    found.iter().map(ToString::to_string).collect()
}

#[test]
fn a_master_can_choose_only_among_what_was_released_for_the_class() {
    let (old, new, evil) = (
        package("app", "1"),
        package("app", "2"),
        package("app", "3"),
    );
    let releases = [release("web", &[&new], &[]), release("db", &[&evil], &[])];
    let to = |target: &[Package]| {
        let current = [old.clone()];
        let change = Change {
            current: &current,
            target,
            force: false,
            operator: true,
        };
        told(&releases, change)
    };
    assert!(to(std::slice::from_ref(&new)).is_empty());
    let refused = to(&[evil]);
    assert!(
        refused.len() == 1 && refused[0].contains("app_3"),
        "{refused:?}"
    );
    // What runs runs on, whatever a new document says.
    assert!(to(std::slice::from_ref(&old)).is_empty());
}

#[test]
fn the_floor_removal_and_force_need_an_operators_signature() {
    let (one, two, extra) = (
        package("app", "1"),
        package("app", "2"),
        package("extra", "1"),
    );
    let releases = [release("web", &[&one, &two], &[("app", "2")])];
    let current = [two, extra];
    let target = [one];
    let change = Change {
        current: &current,
        target: &target,
        force: true,
        operator: false,
    };
    let refused = told(&releases, change);
    assert_eq!(refused.len(), 3, "{refused:?}");
    assert!(refused[0].contains("app=1 is below 2"));
    assert!(refused[1].contains("extra is to leave") && refused[2].contains("vetoes"));
    assert!(
        told(
            &releases,
            Change {
                operator: true,
                ..change
            }
        )
        .is_empty()
    );
    assert!(
        told(&[], change).is_empty(),
        "no release was given for its classes"
    );
}

#[test]
fn an_older_release_of_the_same_class_is_not_taken() {
    let known = [release("web", &[], &[])];
    let of = |class: &str, number| Release {
        number,
        ..release(class, &[], &[])
    };
    assert!(is_older(&known, &of("web", 3)));
    assert!(!is_older(&known, &of("web", 4)) && !is_older(&known, &of("db", 1)));
}
