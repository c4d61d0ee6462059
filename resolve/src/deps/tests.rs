//! What a set asks of itself, and what a store can bring.

use std::sync::Arc;

use model::Manifest;
use model::manifest::{LibraryNeed, Provided, RequiresWhen};

use super::*;
use crate::{Characteristics, Package};

fn package(name: &str, version: &str, edit: impl FnOnce(&mut Manifest)) -> Package {
    let mut manifest = Manifest::new(name.parse().unwrap(), version.parse().unwrap());
    edit(&mut manifest);
    Package::new(
        manifest.id(&manifest.to_bytes().unwrap()),
        Arc::new(manifest),
    )
}

fn requires(name: &str, version: &str, needs: &[&str]) -> Package {
    package(name, version, |one| {
        one.requires = needs.iter().map(|need| need.parse().unwrap()).collect();
    })
}

fn node() -> Characteristics {
    Characteristics::of_arch("x86_64")
}

fn names(packages: &[Package]) -> Vec<String> {
    packages.iter().map(|one| one.id.name_version()).collect()
}

#[test]
fn conditions_on_the_node_decide_what_is_required() {
    let when = RequiresWhen {
        arch: Some("x86_64".into()),
        node_type: None,
        class: Some("edge".into()),
        feature: None,
        location: None,
        packages: vec!["asic >= 2".parse().unwrap()],
    };
    let set = [package("app", "1", |one| one.requires_when.push(when))];
    assert!(check(&set, &Shelf::default(), &node()).is_empty());
    let edge = Characteristics {
        classes: vec!["edge".into()],
        ..node()
    };
    let unmet = check(&set, &Shelf::new([requires("asic", "2", &[])]), &edge);
    assert_eq!(unmet.len(), 1);
    assert_eq!(unmet[0].hint, "activate asic=2 in the same command");
}

#[test]
fn provided_names_and_alternatives_answer() {
    let provides = |version: Option<&str>| {
        package("exim", "4", |one| {
            let version = version.map(|text| text.parse().unwrap());
            one.provides.push(Provided {
                name: "mta".parse().unwrap(),
                version,
            });
        })
    };
    let cases = [
        ("mta", None, true),
        ("mta >= 1", None, false),
        ("mta >= 1", Some("2"), true),
        ("postfix | mta", None, true),
        ("postfix", Some("2"), false),
    ];
    for (need, version, met) in cases {
        let set = [requires("app", "1", &[need]), provides(version)];
        assert_eq!(
            check(&set, &Shelf::default(), &node()).is_empty(),
            met,
            "{need} {version:?}"
        );
    }
}

#[test]
fn the_closure_takes_the_newest_admitted_and_prefers_what_is_there() {
    let library = |version: &str, symbols: &[&str]| {
        package("libx", version, |one| {
            let versions = symbols.iter().map(|&one| one.to_owned()).collect();
            one.provides_libraries.push(LibraryNeed {
                soname: "libx.so.1".into(),
                versions,
            });
        })
    };
    let app = package("app", "1", |one| {
        one.requires = vec!["a < 3".parse().unwrap(), "gone | c".parse().unwrap()];
        let versions = vec!["X_2".to_owned()];
        one.requires_libraries.push(LibraryNeed {
            soname: "libx.so.1".into(),
            versions,
        });
    });
    let shelf = Shelf::new([
        requires("a", "1", &[]),
        requires("a", "2", &["b", "c"]),
        requires("a", "3", &[]),
        requires("b", "1", &["a"]),
        requires("c", "1", &[]),
        requires("c", "9", &[]),
        library("2", &["X_1", "X_2"]),
        library("1", &["X_1"]),
    ]);
    let set = [requires("c", "1", &[]), library("1", &["X_1"])];
    let mut found = names(&closure(&set, std::slice::from_ref(&app), &shelf, &node()));
    found.sort();
    // c is there and stays; libx lacks a symbol and gives way to a newer version of itself.
    assert_eq!(found, ["a=2", "b=1", "libx=2"]);
    // What the request itself names is not changed behind its back.
    let fixed = closure(&set, &[app, library("1", &["X_1"])], &shelf, &node());
    assert!(!names(&fixed).contains(&"libx=2".to_owned()));
}

#[test]
fn nothing_goes_back_to_an_older_version_by_itself() {
    let set = [requires("a", "3", &[])];
    let shelf = Shelf::new([requires("a", "1", &[])]);
    assert!(closure(&set, &[requires("app", "1", &["a < 2"])], &shelf, &node()).is_empty());
}
