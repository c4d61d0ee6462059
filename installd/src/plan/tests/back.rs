//! The way back: kept generations, state that cannot be read again, and what is lost.

use std::collections::BTreeMap;

use model::Generation;
use model::change::{Request, Verdict};
use model::process::Disruption;
use proptest::prelude::*;

use super::build::{LIB, Made, Node, data, expect, lib, name, package, program};
use crate::plan::Plan;
use crate::plan::collect::unreachable_without;

fn to(generation: u64) -> Request {
    Request {
        to: Some(Generation(generation)),
        ..Request::default()
    }
}

fn chains(plan: &Plan) -> BTreeMap<String, Vec<Vec<String>>> {
    let all = plan.report.processes.iter();
    all.map(|one| (one.name.to_string(), one.because.clone()))
        .collect()
}

#[test]
fn a_rollback_is_planned_as_the_forward_change_that_leads_to_the_same_set() {
    let old = package("libx", "1").file(lib("libx.so.1"));
    let node = Node::running(&[program("app", &["libx.so.1"]), program("other", &[]), old])
        .with(package("libx", "2").file(lib("libx.so.1").changed()));
    let with = node.after(&node.plan(&["+libx"]));
    let back = with.asked(&to(1));
    assert_eq!(back.report.unmet, []);
    let forward = with.plan(&["+libx=1"]);
    assert_eq!(back.report.set, forward.report.set);
    assert_eq!(chains(&back), chains(&forward));
    assert_eq!(back.report.order, [["stop app"], ["start app"]]);
    let verdicts: Vec<_> = back.processes.iter().map(|one| one.verdict).collect();
    assert_eq!(verdicts, [Verdict::Restart, Verdict::None]);
    assert!(with.asked(&to(2)).is_empty, "it is active");
}

#[test]
fn a_generation_that_is_not_kept_is_refused_with_those_that_are() {
    let node = Node::running(&[program("app", &[])])
        .with(package("a", "1"))
        .with(package("b", "1"));
    let unmet = node.asked(&to(7)).report.unmet;
    assert_eq!(unmet[0].needs, "generation 7, which is not kept");
    assert_eq!(unmet[0].hint, "no other generation is kept");
    let with = node.after(&node.plan(&["+a"]));
    let with = with.after(&with.plan(&["+b"]));
    let plan = with.asked(&to(7));
    assert_eq!(plan.report.unmet[0].hint, "these can be gone back to: 1, 2");
    assert!(plan.is_empty && plan.report.set.after == plan.report.set.before);
    let mut both = to(1);
    both.actions = vec![model::change::Action::Activate("a".parse().unwrap())];
    assert_eq!(with.asked(&both).report.unmet.len(), 1);
}

#[test]
fn a_package_of_a_kept_generation_that_the_store_lacks_is_named() {
    let node = Node::running(&[program("app", &[]), package("a", "1")]);
    let mut with = node.after(&node.plan(&["-a"]));
    let mut store = resolve::deps::Shelf::clone(&with.world.store);
    store.take(&package("a", "1").done().id);
    with.world.store = std::sync::Arc::new(store);
    let unmet = with.asked(&to(1)).report.unmet;
    assert_eq!(unmet.len(), 1);
    assert_eq!(unmet[0].by, "generation 1");
    assert!(unmet[0].needs.contains("a_1_"), "{unmet:?}");
}

#[test]
fn a_rollback_takes_the_objects_that_the_generation_had_and_leaves_equal_ones_alone() {
    let libx = |version: &str, file| package("libx", version).file(file);
    let file = || lib("libx.so.1");
    let node = Node::running(&[program("app", &["libx.so.1"]), libx("1", file())])
        .with(libx("2", file().rebuilt()))
        .with(libx("3", file().rebuilt().rebuilt().changed()));
    let path = format!("{LIB}/libx.so.1");
    let object = |node: &Node| {
        let (_, entry) = node.world.index.lookup(&path).unwrap();
        node.world.index.object(entry)
    };
    let first = object(&node);
    let second = node.after(&node.plan(&["+libx=2"]));
    assert_eq!(object(&second), first, "only rebuilt");
    let third = second.after(&second.plan(&["+libx=3"]));
    assert_ne!(object(&third), first);
    let plan = third.asked(&to(2));
    assert_eq!(plan.changes[0].new.as_ref().unwrap().object, first);
    let again = third.after(&plan);
    assert_eq!(object(&again), first, "what generation 2 ran");
    assert_eq!(
        again.world.index.active().kept,
        second.world.index.active().kept
    );
    let same = again.asked(&to(1));
    assert!(same.changes.is_empty(), "the bytes of generation 1 run");
    assert!(!same.is_empty, "but under another version");
}

#[test]
fn what_runs_in_the_place_of_an_equal_file_stays_known_over_a_way_back() {
    let made = |version, file| package("libx", version).file(file);
    let file = || lib("libx.so.1");
    let node = Node::running(&[program("app", &["libx.so.1"]), made("2", file().rebuilt())])
        .with(made("1", file()))
        .with(made("3", file().rebuilt().changed()));
    let older = node.after(&node.plan(&["+libx=1"]));
    let kept = older.world.index.active().kept.clone();
    assert_eq!(kept.len(), 1, "the bytes of version 2 under version 1");
    let newest = older.after(&older.plan(&["+libx=3"]));
    let again = newest.after(&newest.plan(&["+libx=2"]));
    let back = again.after(&again.asked(&to(2)));
    assert_eq!(back.world.index.active().kept, kept);
}

fn counted(version: &str, state: u32) -> Made {
    let made = program("db", &[]).version(version);
    made.spec(|spec| spec.state_version = Some(state))
}

#[test]
fn state_that_cannot_be_taken_back_needs_one_way_and_says_so() {
    let node = Node::running(&[counted("1", 1)]).with(counted("2", 2));
    let plan = node.plan(&["+db=2"]);
    assert_eq!(plan.report.one_way.len(), 1);
    assert_eq!(plan.report.unmet[0].by, "process db");
    assert!(plan.report.unmet[0].hint.contains("--one-way"));
    let mut request = node.request(&["+db=2"]);
    request.one_way = true;
    let plan = node.asked(&request);
    assert_eq!(plan.report.unmet, []);
    assert!(
        plan.report.warnings[0].contains("not rolled back"),
        "{:?}",
        plan.report.warnings
    );
    assert_eq!((plan.state[0].from, plan.state[0].to), (1, 2));
    let with = node.after(&plan);
    let back = with.asked(&to(1));
    assert_eq!(back.report.one_way.len(), 1, "no way down either");
    assert!(back.report.unmet[0].needs.contains("from version 2 to 1"));
}

#[test]
fn a_snapshot_or_a_migration_back_is_a_way_back() {
    let up = || vec!["/usr/bin/db-up".to_owned()];
    let down = || vec!["/usr/bin/db-down".to_owned()];
    let migrating = counted("2", 2).spec(|spec| {
        spec.migrate = up();
        spec.migrate_back = down();
    });
    let copying = counted("3", 3).spec(|spec| spec.snapshot = true);
    let node = Node::running(&[counted("1", 1)])
        .with(migrating)
        .with(copying);
    let plan = node.plan(&["+db=2"]);
    assert_eq!(
        (&plan.report.unmet, &plan.report.one_way),
        (&vec![], &vec![])
    );
    let step = &plan.state[0];
    assert_eq!((&step.migrate, &step.undo), (&Some(up()), &Some(down())));
    assert!(!step.snapshot && step.migrate_back.is_none());
    let with = node.after(&plan);
    let back = with.asked(&to(1));
    assert_eq!(back.report.unmet, []);
    assert_eq!(back.state[0].migrate_back, Some(down()));

    let plan = with.plan(&["+db=3"]);
    assert_eq!(plan.report.unmet, []);
    assert!(plan.state[0].snapshot && plan.state[0].migrate.is_none());
    let mut with = with.after(&plan);
    assert!(
        !with.asked(&to(2)).report.unmet.is_empty(),
        "the copy is gone"
    );
    with.world.snapshots.insert((name_of("db"), 2));
    let back = with.asked(&to(2));
    assert_eq!(back.report.unmet, []);
    assert!(back.state[0].restore && back.state[0].snapshot);
}

fn name_of(text: &str) -> model::ProcessName {
    text.parse().unwrap()
}

#[test]
fn a_restart_that_is_declared_disruptive_is_objected_to() {
    let quiet = |version: &str| {
        let made = program("switch", &["libx.so.1"]).version(version);
        made.spec(|spec| spec.disruption = Disruption::Veto)
    };
    let node = Node::running(&[
        quiet("1"),
        program("app", &["libx.so.1"]),
        package("libx", "1").file(lib("libx.so.1")),
    ])
    .with(package("libx", "2").file(lib("libx.so.1").changed()))
    .with(package("aside", "1"));
    let plan = node.plan(&["+libx"]);
    assert_eq!(plan.report.unmet, []);
    assert_eq!(plan.objections.len(), 1);
    assert_eq!(plan.objections[0].process.as_str(), "switch");
    assert!(plan.report.warnings[0].starts_with("switch objects: "));
    assert_eq!(node.plan(&["-switch"]).objections.len(), 1);
    assert_eq!(node.plan(&["+aside"]).objections, []);
    let down = node.mapped("app", "/usr/bin/app");
    assert_eq!(down.plan(&["+libx"]).objections, [], "it does not run");
}

#[test]
fn generations_that_retention_takes_are_told_beforehand() {
    let mut node = Node::running(&[program("app", &[])]);
    for version in ["1", "2", "3", "4"] {
        node = node.with(package("a", version).file(data(&format!("/usr/share/a/{version}"))));
    }
    node.world.keep = 2;
    let with = node.after(&node.plan(&["+a=1"]));
    let lost = |node: &Node, words: &[&str]| node.plan(words).report.rollback_points_lost;
    assert_eq!(lost(&with, &["+a=2"]), [Generation(1)]);
    assert_eq!(lost(&with, &[]), [], "nothing is done");
    let mut trial = with.request(&["+a=2"]);
    trial.trial = true;
    assert_eq!(with.asked(&trial).report.rollback_points_lost, []);
    let mut pinned = with.clone();
    pinned.world.pinned.insert(Generation(1));
    assert_eq!(lost(&pinned, &["+a=2"]), []);
    // A generation in which a process stays is kept while it lives there.
    let inhabited = with.mapped("app", "/usr/bin/app");
    assert_eq!(lost(&inhabited, &["+a=2"]), []);
    assert_eq!(lost(&inhabited, &["-app"]), [Generation(1)]);
    let a = package("a", "1")
        .file(data("/usr/share/a/1"))
        .done()
        .id
        .clone();
    let without = unreachable_without(&[a].into(), &inhabited.world.generations);
    assert_eq!(without, [Generation(2)]);
}

#[test]
fn a_trial_says_what_memory_it_takes_and_what_it_may_not_change() {
    let new = package("a", "1")
        .file(data("/usr/share/a"))
        .file(data("/etc/a.conf"));
    let mut node = Node::running(&[program("app", &[])]).with(new);
    let mut trial = node.request(&["+a"]);
    assert_eq!(node.asked(&trial).report.bytes.memory, 0);
    trial.trial = true;
    let plan = node.asked(&trial);
    assert_eq!(plan.report.bytes.memory, 200);
    assert_eq!(plan.report.unmet.len(), 1);
    assert!(plan.report.unmet[0].needs.contains("/etc/a.conf"));
    assert!(plan.report.unmet[0].hint.contains("--with-config"));
    trial.with_config = true;
    assert_eq!(node.asked(&trial).report.unmet, []);
    node.world.trial_max = 199;
    let unmet = node.asked(&trial).report.unmet;
    assert!(unmet[0].needs.contains("200 bytes of memory"), "{unmet:?}");
    node.world.free = Some(1 << 20);
    let unmet = node.plan(&["+a"]).report.unmet;
    assert!(unmet[0].needs.contains("1.0 MiB are free"), "{unmet:?}");
    node.world.free = Some(1 << 30);
    assert_eq!(node.plan(&["+a"]).report.unmet, []);
}

#[test]
fn what_came_as_a_dependency_is_known_as_such_after_a_rollback() {
    let node = Node::running(&[program("app", &[])])
        .with(package("a", "1").requires("b"))
        .with(package("b", "1"));
    let with = node.after(&node.plan(&["+a"]));
    assert_eq!(*with.world.automatic, [name("b")].into());
    let without = with.after(&with.plan(&["-a"]));
    assert_eq!(without.plan(&[]).report.set.before, ["app=1"]);
    let again = without.after(&without.asked(&to(2)));
    assert_eq!(*again.world.automatic, [name("b")].into());
    assert_eq!(again.plan(&["-a"]).report.set.after, ["app=1"]);
}

/// Packages `p0` to `p5` in three versions: a later one requires and has files of others.
fn shelf() -> Vec<Made> {
    let made = |i: usize, version: usize| {
        let mut made = package(&format!("p{i}"), &version.to_string());
        let file = lib(&format!("lib{i}.so"));
        made = made.file(match version {
            1 => file,
            2 => file.rebuilt(),
            _ => file.rebuilt().changed(),
        });
        made = made.file(data("/usr/share/shared").edit(|file| {
            let text = format!("{i} {version}");
            file.digest = model::Digest::of(text.as_bytes());
            file.signature = file.digest.to_string().parse().unwrap();
        }));
        if i + version < 6 {
            made = made.requires(&format!("p{}", i + version));
        }
        made
    };
    (0..6)
        .flat_map(|i| (1..4).map(move |version| made(i, version)))
        .collect()
}

proptest! {
    #[test]
    fn after_anything_every_kept_generation_can_be_gone_back_to_exactly(
        changes in proptest::collection::vec((0..6_usize, 0..4_usize), 1..10),
        goal in 0..10_u64,
    ) {
        let mut node = shelf().into_iter().fold(
            Node::running(&[program("app", &[])]),
            Node::with,
        );
        for (i, version) in changes {
            let word = match version {
                0 => format!("-p{i}"),
                version => format!("+p{i}={version}"),
            };
            let plan = node.plan(&[&word]);
            if plan.report.unmet.is_empty() && !plan.is_empty {
                node = node.after(&plan);
            }
        }
        let last = u64::try_from(node.world.generations.len()).unwrap();
        let goal = Generation(goal % last + 1);
        let kept = node.world.generations[&goal].clone();
        let before: Vec<_> = node.plan(&[]).tree(&node.world);
        let plan = node.asked(&to(goal.0));
        prop_assert_eq!(&plan.report.unmet, &[]);
        let ids: Vec<_> = plan.list.iter().map(|one| one.id.clone()).collect();
        prop_assert_eq!(&ids, &kept.list);
        prop_assert_eq!(&*plan.automatic, &kept.automatic);
        // Each file is of the substance that the generation had; equal ones were not touched.
        let was = node.tree_of(goal);
        let tree = plan.tree(&node.world);
        prop_assert_eq!(tree.len(), was.len());
        for (now, then) in tree.iter().zip(&was) {
            prop_assert_eq!(&now.entry, &then.entry);
            let stood = before.iter().find(|one| one.entry.path == now.entry.path);
            let stays = stood.is_some_and(|one| one.object == now.object);
            prop_assert!(stays || now.object == then.object, "{}", now.entry.path);
        }
    }
}

#[test]
fn a_node_that_goes_back_has_the_verdicts_of_that_set() {
    let node = Node::running(&[program("a", &[])]).with(program("b", &[]));
    let with = node.after(&node.plan(&["+b", "-a"]));
    let back = with.asked(&to(1));
    let verdicts = back.report.processes.iter();
    let verdicts: Vec<_> = verdicts
        .map(|one| (one.name.to_string(), one.verdict.to_string()))
        .collect();
    assert_eq!(verdicts, expect("a start, b stop"));
}
