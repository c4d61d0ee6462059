//! The plan against the obvious way of finding out: both sets composed, every closure walked.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::build::{LIB, Made, Node, elf, lib, package};

const LIBS: usize = 8;
const PROGRAMS: usize = 5;

/// Which libraries need which, which programs need which, and which libraries change how.
#[derive(Debug, Clone)]
struct Case {
    between: BTreeSet<(usize, usize)>,
    programs: BTreeSet<(usize, usize)>,
    change: Vec<u8>,
}

fn case() -> impl Strategy<Value = Case> {
    let between = proptest::collection::btree_set((0..LIBS, 0..LIBS), 0..16);
    let programs = proptest::collection::btree_set((0..PROGRAMS, 0..LIBS), 0..12);
    let change = proptest::collection::vec(0_u8..5, LIBS);
    (between, programs, change).prop_map(|(between, programs, change)| Case {
        between,
        programs,
        change,
    })
}

fn library(case: &Case, i: usize, version: &str) -> Made {
    let needed: Vec<String> = case
        .between
        .iter()
        .filter(|(from, _)| *from == i)
        .map(|(_, to)| format!("lib{to}.so"))
        .collect();
    let needed: Vec<&str> = needed.iter().map(String::as_str).collect();
    let file = lib(&format!("lib{i}.so")).needs(&needed);
    let file = match (version, case.change[i]) {
        ("2", 1) => file.changed(),
        ("2", 2) => file.rebuilt(),
        _ => file,
    };
    package(&format!("lib{i}"), version).file(file)
}

fn reached(case: &Case, program: usize) -> bool {
    let mut seen = BTreeSet::new();
    let mut open: Vec<usize> = case
        .programs
        .iter()
        .filter(|(from, _)| *from == program)
        .map(|(_, to)| *to)
        .collect();
    while let Some(at) = open.pop() {
        if seen.insert(at) {
            open.extend(
                case.between
                    .iter()
                    .filter(|(from, _)| *from == at)
                    .map(|(_, to)| *to),
            );
        }
    }
    seen.iter().any(|&i| case.change[i] == 1)
}

proptest! {
    #[test]
    fn exactly_those_restart_whose_closure_holds_a_changed_library(case in case()) {
        let mut packages = Vec::new();
        for i in 0..PROGRAMS {
            let needed: Vec<String> = case.programs.iter().filter(|(from, _)| *from == i)
                .map(|(_, to)| format!("lib{to}.so")).collect();
            let needed: Vec<&str> = needed.iter().map(String::as_str).collect();
            let path = format!("/usr/bin/p{i}");
            let made = package(&format!("p{i}"), "1").file(elf(&path).needs(&needed));
            packages.push(made.process(&format!("p{i}"), &path));
        }
        packages.extend((0..LIBS).map(|i| library(&case, i, "1")));
        let mut node = Node::running(&packages);
        let mut words = Vec::new();
        for i in (0..LIBS).filter(|&i| case.change[i] > 0) {
            node = node.with(library(&case, i, "2"));
            words.push(format!("+lib{i}=2"));
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let plan = node.plan(&words);
        prop_assert!(plan.report.unmet.is_empty());
        for (i, process) in plan.report.processes.iter().enumerate() {
            let restarts = process.verdict == model::change::Verdict::Restart;
            prop_assert_eq!(restarts, reached(&case, i), "p{}: {:?}", i, process);
            for chain in &process.because {
                prop_assert!(chain[0].starts_with(LIB), "{:?}", chain);
            }
        }
        // The plan, carried out, leaves an index equal to one built from nothing.
        let after = node.after(&plan);
        let back: Vec<String> = words.iter().map(|word| word.replace('+', "-")).collect();
        let back: Vec<&str> = back.iter().map(String::as_str).collect();
        let back = after.plan(&back);
        prop_assert_eq!(&back.report.set.after, &plan.report.set.before);
        let same = |changes: &[crate::plan::PathChange]| -> BTreeMap<String, bool> {
            let changed = changes.iter().map(|one| (one.path.to_string(), one.how == crate::plan::How::Changed));
            changed.filter(|(_, changed)| *changed).collect()
        };
        prop_assert_eq!(same(&back.changes), same(&plan.changes));
    }
}
