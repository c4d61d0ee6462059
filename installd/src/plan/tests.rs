//! Tables of small sets: what a change of one thing reaches, and what it leaves alone.

mod back;
mod build;
mod running;
mod set;
mod spread;
mod verdicts;

use build::{Node, elf, lib, package, program};

#[test]
fn nothing_asked_for_is_nothing_done() {
    let node = Node::running(&[program("app", &[])]);
    let plan = node.plan(&[]);
    assert!(plan.is_empty);
    assert_eq!(plan.report.set.before, ["app=1"]);
    assert_eq!(plan.report.set.before, plan.report.set.after);
    assert_eq!(node.verdicts(&[]), [("app".to_owned(), "none".to_owned())]);
}

#[test]
fn the_tree_of_a_plan_links_what_runs_where_only_the_bytes_differ() {
    let old = package("libx", "1").file(lib("libx.so.1"));
    let node = Node::running(&[old]).with(package("libx", "2").file(lib("libx.so.1").rebuilt()));
    let plan = node.plan(&["+libx=2"]);
    let tree = plan.tree(&node.world);
    let path = "/usr/lib/x86_64-linux-gnu/libx.so.1";
    let selected = tree
        .iter()
        .find(|one| one.entry.path.as_str() == path)
        .unwrap();
    let (_, running) = node.world.index.lookup(path).unwrap();
    assert_eq!(selected.object, node.world.index.object(running));
    assert_eq!(
        selected.package.to_string(),
        plan.entering[0].id.to_string()
    );
    assert_eq!(plan.report.bytes.store, 0);

    // The kept object is kept on, through the next generation, and given up with a change.
    let next = node.after(&plan);
    assert_eq!(next.world.index.object(&selected.entry), selected.object);
    let next = next.with(package("libx", "3").file(lib("libx.so.1").rebuilt().changed()));
    let plan = next.plan(&["+libx=3"]);
    assert!(plan.kept.is_empty());
    assert_eq!(plan.report.libraries.changed.len(), 1);
}

#[test]
fn a_file_that_is_the_directory_of_another_is_refused() {
    let node = Node::running(&[package("a", "1").file(elf("/usr/lib/x/y/z"))])
        .with(package("b", "1").file(elf("/usr/lib/x/y")))
        .with(package("c", "1").file(elf("/usr/lib/x/y/z/deep")));
    for name in ["b", "c"] {
        let plan = node.plan(&[&format!("+{name}")]);
        assert_eq!(
            plan.report.unmet.len(),
            1,
            "{name}: {:?}",
            plan.report.unmet
        );
        assert!(plan.report.unmet[0].needs.contains("directory"));
    }
}
