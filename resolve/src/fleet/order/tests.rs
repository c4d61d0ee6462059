//! Which packages a node gets, and in which order.

use std::sync::Arc;

use model::Manifest;
use model::manifest::RequiresWhen;

use super::*;

fn made(name: &str, version: &str, edit: impl FnOnce(&mut Manifest)) -> Package {
    let mut manifest = Manifest::new(name.parse().unwrap(), version.parse().unwrap());
    edit(&mut manifest);
    let id = manifest.id(&manifest.to_bytes().unwrap());
    Package::new(id, Arc::new(manifest))
}

fn needing(name: &str, version: &str, need: &str) -> Package {
    made(name, version, |one| {
        one.requires.push(need.parse().unwrap());
    })
}

fn plain(name: &str, version: &str) -> Package {
    made(name, version, |_| {})
}

fn names(ordered: &Ordered) -> Vec<String> {
    ordered
        .order
        .iter()
        .map(|one| one.id.name_version())
        .collect()
}

fn refs(texts: &[&str]) -> Vec<PackageRef> {
    texts.iter().map(|one| one.parse().unwrap()).collect()
}

fn node() -> Characteristics {
    Characteristics::of_arch("x86_64")
}

#[test]
fn what_is_required_comes_along_and_stands_behind() {
    let shelf = Shelf::new([
        needing("app", "1", "lib >= 2"),
        plain("lib", "1"),
        plain("lib", "2"),
    ]);
    let ordered = order_for(&refs(&["app"]), &[], &shelf, &node());
    assert_eq!(names(&ordered), ["app=1", "lib=2"]);
    assert!(ordered.unmet.is_empty() && ordered.unknown.is_empty());
}

#[test]
fn what_the_node_runs_is_kept_where_it_still_answers() {
    let app2 = needing("app", "2", "lib >= 1");
    let shelf = Shelf::new([app2, plain("lib", "1"), plain("lib", "2")]);
    let current = [needing("app", "1", "lib"), plain("lib", "1")];
    let ordered = order_for(&refs(&["app"]), &current, &shelf, &node());
    assert_eq!(names(&ordered), ["app=2", "lib=1"]);
    let app3 = needing("app", "3", "lib >= 2");
    let shelf = Shelf::new([app3, plain("lib", "1"), plain("lib", "2")]);
    let ordered = order_for(&refs(&["app"]), &current, &shelf, &node());
    assert_eq!(names(&ordered), ["app=3", "lib=2"]);
    assert!(ordered.unmet.is_empty(), "{:?}", ordered.unmet);
}

#[test]
fn each_architecture_gets_its_own_package_of_a_name() {
    let of = |machine: &str| made("app", "1", |one| one.architecture = Some(machine.into()));
    let shelf = Shelf::new([of("x86_64"), of("aarch64")]);
    for arch in ["x86_64", "aarch64"] {
        let node = Characteristics::of_arch(arch);
        let ordered = order_for(&refs(&["app"]), &[], &shelf_for(&shelf, &node), &node);
        assert_eq!(
            ordered.order[0].manifest.architecture.as_deref(),
            Some(arch)
        );
    }
    let ordered = order_for(
        &refs(&["app"]),
        &[],
        &shelf,
        &Characteristics::of_arch("riscv64"),
    );
    assert_eq!(ordered.unknown, refs(&["app"]));
}

#[test]
fn two_nodes_of_one_type_with_different_features_get_different_packages() {
    let app = made("app", "1", |one| {
        one.requires_when.push(RequiresWhen {
            arch: None,
            node_type: Some("router".into()),
            class: None,
            feature: Some("gps".into()),
            location: None,
            packages: vec!["gpsd".parse().unwrap()],
        });
    });
    let shelf = Shelf::new([app, plain("gpsd", "3")]);
    let router = Characteristics {
        node_type: Some("router".into()),
        ..node()
    };
    let with_gps = Characteristics {
        features: vec!["gps".into()],
        ..router.clone()
    };
    let of = |node: &Characteristics| order_for(&refs(&["app"]), &[], &shelf, node);
    assert_eq!(names(&of(&router)), ["app=1"]);
    assert_eq!(names(&of(&with_gps)), ["app=1", "gpsd=3"]);
}

#[test]
fn what_is_not_there_and_what_is_not_met_is_told() {
    let shelf = Shelf::new([needing("app", "1", "lib >= 3"), plain("lib", "2")]);
    let ordered = order_for(&refs(&["app", "nothing", "app=2"]), &[], &shelf, &node());
    assert_eq!(ordered.unknown, refs(&["nothing"]));
    assert_eq!(ordered.unmet.len(), 1, "{:?}", ordered.unmet);
    assert!(ordered.unmet[0].by.contains("app") && ordered.unmet[0].needs.contains("lib >= 3"));
}

#[test]
fn the_first_of_a_name_counts() {
    let shelf = Shelf::new([plain("app", "1"), plain("app", "2")]);
    let ordered = order_for(&refs(&["app=1", "app=2"]), &[], &shelf, &node());
    assert_eq!(names(&ordered), ["app=1"]);
}
