//! Dependencies of a whole fleet.

use std::time::Instant;

use model::Manifest;

use super::*;
use crate::fleet::{circles, ranks};

fn made(name: &str, version: &str, edit: impl FnOnce(&mut Manifest)) -> Package {
    let mut manifest = Manifest::new(name.parse().unwrap(), version.parse().unwrap());
    edit(&mut manifest);
    let id = manifest.id(&manifest.to_bytes().unwrap());
    Package::new(id, Arc::new(manifest))
}

fn asking(class: &str, quantity: &str, scope: &str, need: &str) -> Package {
    made("web", "3", |one| {
        one.requires_remote.push(RequiresRemote {
            class: class.into(),
            quantity: quantity.into(),
            scope: scope.into(),
            packages: vec![need.parse().unwrap()],
        });
    })
}

fn database(version: &str) -> Package {
    made("db", version, |_| {})
}

fn set(packages: &[Package]) -> Arc<[Package]> {
    packages.to_vec().into()
}

fn node(
    name: &str,
    class: &str,
    location: Option<&str>,
    software: &Arc<[Package]>,
) -> NodeSoftware {
    NodeSoftware {
        name: name.parse().unwrap(),
        node: Arc::new(Characteristics {
            classes: vec![class.into()],
            location: location.map(str::to_owned),
            ..Characteristics::of_arch("x86_64")
        }),
        software: Arc::clone(software),
    }
}

fn found(nodes: &[NodeSoftware]) -> Vec<String> {
    let all = check(nodes, &Shelf::default());
    all.iter().map(ToString::to_string).collect()
}

#[test]
fn any_all_and_a_number_of_a_class_are_counted() {
    let (old, new) = (set(&[database("1")]), set(&[database("2")]));
    let two = |quantity: &str| {
        let web = set(&[asking("db", quantity, "fleet", "db >= 2")]);
        vec![
            node("web-1", "web", None, &web),
            node("db-1", "db", None, &old),
            node("db-2", "db", None, &new),
        ]
    };
    assert!(found(&two("any")).is_empty());
    assert!(found(&two("1")).is_empty());
    for quantity in ["all", "2"] {
        let told = found(&two(quantity));
        assert_eq!(told.len(), 1, "{quantity}: {told:?}");
        let both = told[0].contains("web-1") && told[0].contains("db-1");
        assert!(both && !told[0].contains("db-2"), "{told:?}");
    }
}

#[test]
fn a_location_is_asked_for_itself_and_an_unknown_one_cannot_be() {
    let (old, new) = (set(&[database("1")]), set(&[database("2")]));
    let web = set(&[asking("db", "any", "location", "db >= 2")]);
    let nodes = [
        node("web-b", "web", Some("berlin"), &web),
        node("web-p", "web", Some("paris"), &web),
        node("db-b", "db", Some("berlin"), &new),
        node("db-p", "db", Some("paris"), &old),
        node("web-x", "web", None, &web),
    ];
    let told = found(&nodes);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told.iter()
            .any(|one| one.contains("web-p") && one.contains("db-p")),
        "{told:?}"
    );
    assert!(told.iter().any(|one| one.contains("web-x")), "{told:?}");
}

#[test]
fn nodes_that_ask_in_vain_for_the_same_are_told_together() {
    let web = set(&[made("web", "1", |one| {
        one.requires.push("lib".parse().unwrap());
    })]);
    let nodes: Vec<_> = (0..5)
        .map(|i| node(&format!("n{i}"), "web", None, &web))
        .collect();
    let told = check(&nodes, &Shelf::default());
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].nodes.len(), 5);
    assert!(
        told[0]
            .to_string()
            .starts_with("n0, n1, n2 and 2 more: web 1 needs lib")
    );
}

#[test]
fn what_was_so_before_is_not_fresh() {
    let (old, new) = (set(&[database("1")]), set(&[database("2")]));
    let web = set(&[asking("db", "all", "fleet", "db >= 2")]);
    let before = [node("web", "web", None, &web), node("db", "db", None, &old)];
    let all = check(&before, &Shelf::default());
    assert_eq!(all.len(), 1);
    assert!(fresh(&all, &all).is_empty());
    let after = [node("web", "web", None, &web), node("db", "db", None, &new)];
    assert!(check(&after, &Shelf::default()).is_empty());
    assert_eq!(fresh(&[], &all).len(), 1);
}

#[test]
fn providers_change_before_their_consumers_and_after_those_that_still_need_the_old() {
    let (old, new) = (set(&[database("1")]), set(&[database("2")]));
    let web = |need: &str| set(&[asking("db", "all", "fleet", need)]);
    let plain = set(&[made("web", "1", |_| {})]);
    let fleet = |web: &Arc<[Package]>, db: &Arc<[Package]>| {
        [
            node("web", "web", None, web),
            node("db", "db", None, db),
            node("x", "x", None, &plain),
        ]
    };
    // The new web asks for the new db.
    assert_eq!(
        ranks(&fleet(&plain, &old), &fleet(&web("db >= 2"), &new)),
        [1, 0, 0]
    );
    // The old web asks for the old db.
    assert_eq!(
        ranks(&fleet(&web("db < 2"), &old), &fleet(&plain, &new)),
        [0, 1, 0]
    );
    // Each way at once: nothing but all together fits.
    let both = ranks(&fleet(&web("db < 2"), &old), &fleet(&web("db >= 2"), &new));
    assert_eq!(both, [0, 0, 0]);
}

#[test]
fn ten_thousand_nodes_are_checked_in_a_moment() {
    let packages: Vec<Package> = (0..200)
        .map(|i| {
            made(&format!("p{i}"), "1", |one| {
                one.requires
                    .push(format!("p{}", (i + 1) % 200).parse().unwrap());
            })
        })
        .collect();
    let sets: Vec<Arc<[Package]>> = (0..20)
        .map(|i| {
            let mut all = packages.clone();
            all.push(database(if i == 0 { "1" } else { "2" }));
            all.push(asking("c3", "all", "location", "db >= 2"));
            all.push(made(&format!("own{i}"), "1", |_| {}));
            set(&all)
        })
        .collect();
    let nodes: Vec<NodeSoftware> = (0..10_000)
        .map(|i| {
            let location = format!("l{}", i % 50);
            node(
                &format!("n{i}"),
                &format!("c{}", i % 20),
                Some(&location),
                &sets[i % 20],
            )
        })
        .collect();
    let began = Instant::now();
    let all = check(&nodes, &Shelf::default());
    let took = began.elapsed();
    assert!(all.is_empty(), "{:?}", all.first().map(ToString::to_string));
    assert!(took.as_secs() < 2, "{took:?}");
}

#[test]
fn those_that_need_each_others_new_software_are_a_circle_and_the_others_keep_their_order() {
    let needing = |name: &str, class: &str, need: &str| {
        made(name, "2", |one| {
            one.requires_remote.push(RequiresRemote {
                class: class.into(),
                quantity: "all".into(),
                scope: "fleet".into(),
                packages: vec![need.parse().unwrap()],
            });
        })
    };
    let old = set(&[]);
    let left = set(&[needing("left", "right", "right >= 2")]);
    let right = set(&[needing("right", "left", "left >= 2")]);
    let user = set(&[needing("user", "left", "left >= 2")]);
    let classes = ["left", "right", "user", "left"];
    let fleet = |sets: [&Arc<[Package]>; 4]| {
        let nodes = classes.iter().zip(sets).enumerate();
        nodes
            .map(|(i, (class, set))| node(&format!("n{i}"), class, None, set))
            .collect::<Vec<_>>()
    };
    let before = fleet([&old, &old, &old, &old]);
    let after = fleet([&left, &right, &user, &left]);
    assert_eq!(circles(&before, &after), [vec![vec![0, 3], vec![1]]]);
    assert_eq!(ranks(&before, &after), [0, 0, 1, 0]);
    // One after the other there is no circle.
    assert!(circles(&after, &fleet([&left, &right, &old, &left])).is_empty());
}
