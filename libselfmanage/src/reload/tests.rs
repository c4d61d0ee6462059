//! The decision, over plain data.

use super::*;
use crate::link::Object;

/// Objects with what each needs and whether it is `nodelete`; inode = index, the program first.
fn graph(objects: &[(&str, &[&str])]) -> Graph {
    let object = |(at, (name, needed)): (usize, &(&str, &[&str]))| Object {
        path: format!("/usr/lib/{name}").into(),
        identity: Some((1, at as u64)),
        soname: (at > 0).then(|| (*name).trim_end_matches('!').to_owned()),
        needed: needed.iter().map(|needed| (*needed).to_owned()).collect(),
        nodelete: name.ends_with('!'),
        dynamic: 0x1000 * (at + 1),
        ..Object::default()
    };
    Graph::new(objects.iter().enumerate().map(object).collect())
}

fn changed(inodes: &[u64]) -> BTreeMap<Identity, PackagePath> {
    let file = |inode: &u64| ((1, *inode), format!("/usr/lib/f{inode}").parse().unwrap());
    inodes.iter().map(file).collect()
}

fn plugins(roots: &[usize]) -> Vec<(PluginId, usize)> {
    roots
        .iter()
        .enumerate()
        .map(|(id, root)| (PluginId(id), *root))
        .collect()
}

fn paths(inodes: &[u64]) -> Vec<PackagePath> {
    inodes
        .iter()
        .map(|inode| format!("/usr/lib/f{inode}").parse().unwrap())
        .collect()
}

#[test]
fn what_is_not_loaded_reaches_nobody() {
    let graph = graph(&[("a", &["c"]), ("c", &[]), ("p", &["c"])]);
    assert_eq!(
        decide(&graph, &changed(&[77]), &plugins(&[2])),
        Decision::Untouched
    );
}

#[test]
fn only_plugins_that_reach_the_change_are_closed_dependents_first() {
    // p1 → y → x, p2 → x, q → z, and top → p2.
    let graph = graph(&[
        ("a", &[]),
        ("p1", &["y"]),
        ("y", &["x"]),
        ("x", &[]),
        ("p2", &["x"]),
        ("q", &["z"]),
        ("z", &[]),
        ("top", &["p2"]),
    ]);
    let Decision::Reload(steps) = decide(&graph, &changed(&[3, 2]), &plugins(&[1, 4, 5, 7])) else {
        unreachable!("it can be reloaded");
    };
    assert_eq!(steps.close, [PluginId(3), PluginId(1), PluginId(0)]);
    assert_eq!(steps.libraries, paths(&[3, 2]));
}

#[test]
fn the_program_itself_being_linked_means_a_restart_and_says_how() {
    let graph = graph(&[("a", &["y"]), ("y", &["x"]), ("x", &[]), ("p", &["x"])]);
    let all = reached(&graph, &changed(&[2]), &plugins(&[3]));
    assert_eq!(all.len(), 2);
    assert_eq!(all[0].to_string(), "/usr/lib/f2 changed ← y ← a");
    assert_eq!(all[0].by, By::Static);
    assert_eq!(all[1].by, By::Opened(PluginId(0)));
    let decision = decide(&graph, &changed(&[2]), &plugins(&[3]));
    assert_eq!(
        decision,
        Decision::Restart(Obstacle::NotOurs(all[0].clone()))
    );
}

#[test]
fn what_other_code_opened_cannot_be_closed_here() {
    let graph = graph(&[("a", &[]), ("nss", &["x"]), ("x", &[]), ("p", &["x"])]);
    let decision = decide(&graph, &changed(&[2]), &plugins(&[3]));
    let Decision::Restart(Obstacle::NotOurs(foreign)) = decision else {
        unreachable!("somebody else holds it");
    };
    assert_eq!(
        (foreign.by, foreign.chain),
        (By::Elsewhere, vec!["x".to_owned(), "nss".to_owned()])
    );
}

#[test]
fn a_circle_that_nobody_owns_is_other_codes() {
    let graph = graph(&[("a", &[]), ("x", &["y"]), ("y", &["x"])]);
    let all = reached(&graph, &changed(&[1]), &[]);
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].by, By::Elsewhere);
}

#[test]
fn nodelete_anywhere_on_the_way_pins_what_it_needs() {
    for objects in [
        [("a", [].as_slice()), ("p!", &["x"]), ("x", &[])],
        [("a", [].as_slice()), ("p", &["x"]), ("x!", &[])],
    ] {
        let decision = decide(&graph(&objects), &changed(&[2]), &plugins(&[1]));
        let Decision::Restart(obstacle @ Obstacle::NeverUnloaded { .. }) = decision else {
            unreachable!("nodelete is seen beforehand");
        };
        assert!(
            obstacle.to_string().contains("never unloaded"),
            "{obstacle}"
        );
    }
}

#[test]
fn nodelete_beside_the_way_is_no_obstacle() {
    let graph = graph(&[("a", &[]), ("p", &["x", "z"]), ("x", &[]), ("z!", &[])]);
    assert!(matches!(
        decide(&graph, &changed(&[2]), &plugins(&[1])),
        Decision::Reload(_)
    ));
}

#[test]
fn only_libraries_that_were_there_before_count_as_mapped() {
    let file = |path: &str, old, library| crate::ChangedFile {
        path: path.parse().unwrap(),
        old,
        new: Some((1, 9)),
        library,
    };
    let announcement = Announcement {
        change: crate::ChangeId(1),
        entering: Vec::new(),
        leaving: Vec::new(),
        files: vec![
            file("/usr/lib/new.so", None, true),
            file("/usr/share/data", Some((1, 4)), false),
            file("/usr/lib/libx.so", Some((1, 5)), true),
        ],
    };
    let old = old_libraries(&announcement);
    assert_eq!(old.len(), 1);
    assert_eq!(old[&(1, 5)].as_str(), "/usr/lib/libx.so");
}
