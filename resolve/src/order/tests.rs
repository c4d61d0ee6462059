//! Random sequences of edits keep the list's rules.

use proptest::prelude::*;

use super::*;

const NAMES: usize = 9;

/// A package that requires these others, by name.
fn package(name: usize, version: u8, requires: &[usize]) -> Package {
    made(&format!("p{name}"), version, |manifest| {
        manifest.requires = requires
            .iter()
            .map(|i| format!("p{i}").parse().unwrap())
            .collect();
    })
}

fn made(name: &str, version: u8, edit: impl FnOnce(&mut Manifest)) -> Package {
    let mut manifest = Manifest::new(name.parse().unwrap(), version.to_string().parse().unwrap());
    edit(&mut manifest);
    let id = manifest.id(&manifest.to_bytes().unwrap());
    Package::new(id, Arc::new(manifest))
}

fn node() -> Characteristics {
    Characteristics::of_arch("x86_64")
}

fn names(list: &[Package]) -> Vec<String> {
    list.iter().map(|one| one.id.name_version()).collect()
}

/// What each package requires: only those after it (no circles), or any at all.
fn requirements(circles: bool) -> impl Strategy<Value = Vec<Vec<usize>>> {
    proptest::collection::vec(proptest::collection::btree_set(0..NAMES, 0..4), NAMES).prop_map(
        move |all| {
            let fits = |i: usize, to: usize| if circles { to != i } else { to > i };
            let of = |(i, to): (usize, _)| {
                let to: std::collections::BTreeSet<usize> = to;
                to.into_iter().filter(|&to| fits(i, to)).collect()
            };
            all.into_iter().enumerate().map(of).collect()
        },
    )
}

/// Every package stands before all that it requires.
fn assert_in_order(order: &[Package]) {
    for (at, one) in order.iter().enumerate() {
        for need in &one.manifest.requires {
            let found = order.iter().position(|other| other.manifest.answers(need));
            assert!(
                found.is_none_or(|found| found > at),
                "{:?}: {}",
                names(order),
                one.id
            );
        }
    }
}

proptest! {
    #[test]
    fn random_edits_keep_dependency_order_and_can_be_taken_back(
        requirements in requirements(false),
        edits in proptest::collection::vec((0..NAMES, 0_u8..3, proptest::collection::btree_set(0..NAMES, 0..3)), 1..40),
    ) {
        let mut list: Vec<Package> = Vec::new();
        for (name, version, others) in edits {
            let before = list.clone();
            let there = list.iter().find(|one| one.id.name.as_str() == format!("p{name}")).cloned();
            match there {
                None => {
                    let new = package(name, version, &requirements[name]);
                    let added = new.id.name.clone();
                    insert(&mut list, new, &node());
                    let mut undone = list.clone();
                    prop_assert_eq!(remove(&mut undone, &added).len(), 1);
                    prop_assert_eq!(&undone, &before, "add then remove");
                    prop_assert_eq!(effective(&undone, &node()), effective(&before, &node()));
                }
                Some(old) if version > 0 => {
                    let others: Vec<usize> = others.into_iter().filter(|&to| to > name).collect();
                    replace(&mut list, package(name, version, &others));
                    let mut undone = list.clone();
                    replace(&mut undone, old);
                    prop_assert_eq!(&undone, &before, "replace then replace back");
                }
                Some(old) => {
                    remove(&mut list, &old.id.name);
                }
            }
            let order = effective(&list, &node());
            assert_in_order(&order);
            let mut same: Vec<_> = names(&order);
            let mut kept = names(&list);
            same.sort();
            kept.sort();
            prop_assert_eq!(same, kept, "nothing is lost");
        }
    }

    #[test]
    fn a_list_whose_dependencies_go_in_first_is_its_own_order(requirements in requirements(false)) {
        let mut list = Vec::new();
        for name in (0..NAMES).rev() {
            insert(&mut list, package(name, 1, &requirements[name]), &node());
        }
        assert_in_order(&list);
        prop_assert_eq!(effective(&list, &node()), list);
    }

    #[test]
    fn circles_are_kept_as_they_stand_and_order_holds_around_them(requirements in requirements(true)) {
        let mut list = Vec::new();
        for (name, requires) in requirements.iter().enumerate() {
            insert(&mut list, package(name, 1, requires), &node());
        }
        let order = effective(&list, &node());
        prop_assert_eq!(&effective(&order, &node()), &order, "a second time moves nothing");
        let place = |name: usize| order.iter().position(|one| one.id.name.as_str() == format!("p{name}")).unwrap();
        for from in 0..NAMES {
            for &to in &requirements[from] {
                prop_assert!(place(from) < place(to) || reaches(&requirements, to, from));
            }
        }
    }
}

fn reaches(requirements: &[Vec<usize>], from: usize, to: usize) -> bool {
    let mut seen = [false; NAMES];
    let mut open = vec![from];
    while let Some(at) = open.pop() {
        if !std::mem::replace(&mut seen[at], true) {
            open.extend(&requirements[at]);
        }
    }
    seen[to]
}

fn upgrade(name: &str, version: u8, of: &str) -> Package {
    made(name, version, |manifest| {
        manifest.upgrades = Some(of.parse().unwrap());
    })
}

#[test]
fn upgrades_stand_directly_before_their_base_the_newest_first() {
    let mut list = Vec::new();
    insert(&mut list, package(1, 1, &[]), &node());
    insert(&mut list, upgrade("u-old", 1, "p1 = 1"), &node());
    insert(&mut list, upgrade("u-newest", 3, "p1 = 1"), &node());
    insert(&mut list, upgrade("u-mid", 2, "p1 < 2"), &node());
    insert(&mut list, package(0, 1, &[1]), &node());
    assert_eq!(
        names(&list),
        ["p0=1", "u-newest=3", "u-mid=2", "u-old=1", "p1=1"]
    );
    // Exactly those leave whose range excludes the new version.
    list.insert(4, upgrade("u-wide", 1, "p1 >= 1, <= 2"));
    let gone = replace(&mut list, package(1, 2, &[]));
    assert_eq!(names(&gone), ["u-newest=3", "u-mid=2", "u-old=1"]);
    assert_eq!(names(&list), ["p0=1", "u-wide=1", "p1=2"]);
    let gone = remove(&mut list, &"p1".parse().unwrap());
    assert_eq!(names(&gone), ["p1=2", "u-wide=1"]);
}

#[test]
fn a_new_version_that_requires_what_stood_before_it_moves_as_little_as_possible() {
    let mut list = vec![
        package(0, 1, &[]),
        package(1, 1, &[2]),
        package(2, 1, &[]),
        package(3, 1, &[]),
    ];
    replace(&mut list, package(2, 2, &[0]));
    assert_eq!(
        names(&effective(&list, &node())),
        ["p1=1", "p2=2", "p0=1", "p3=1"]
    );
}

#[test]
fn a_set_of_real_size_with_circles_is_arranged_at_once() {
    let edges: Vec<Vec<usize>> = (0..20_000_usize)
        .map(|i| vec![(i * 7 + 1) % 20_000, (i + 1) % 20_000])
        .collect();
    assert_eq!(arrange(&edges), (0..20_000).collect::<Vec<_>>());
}

#[test]
fn an_upgrade_that_becomes_the_newest_goes_before_the_others_and_back() {
    let mut list = vec![package(1, 1, &[])];
    insert(&mut list, upgrade("u-a", 1, "p1 = 1"), &node());
    insert(&mut list, upgrade("u-b", 2, "p1 = 1"), &node());
    let before = list.clone();
    assert_eq!(replace(&mut list, upgrade("u-a", 3, "p1 = 1")), []);
    assert_eq!(names(&list), ["u-a=3", "u-b=2", "p1=1"]);
    replace(&mut list, upgrade("u-a", 1, "p1 = 1"));
    assert_eq!(list, before);
}

proptest! {
    #[test]
    fn random_upgrades_stand_before_their_base_newest_first_and_leave_exactly_with_its_version(
        edits in proptest::collection::vec((0..4_usize, 1_u8..6, 1_u8..4, any::<bool>()), 1..30),
        to in 1_u8..4,
    ) {
        // An upgrade `uN=V` applies to versions of the base up to `of`.
        let mut list = vec![package(0, 1, &[1]), package(1, 1, &[])];
        for (name, version, of, add) in edits {
            let name = format!("u{name}");
            let made = upgrade(&name, version, &format!("p1 <= {of}"));
            let there = list.iter().any(|one| one.id.name == made.id.name);
            let before = list.clone();
            match (add, there) {
                (true, false) => {
                    insert(&mut list, made.clone(), &node());
                    let mut undone = list.clone();
                    remove(&mut undone, &made.id.name);
                    prop_assert_eq!(&undone, &before, "add then remove");
                }
                (true, true) => prop_assert_eq!(replace(&mut list, made), []),
                (false, _) => prop_assert!(remove(&mut list, &made.id.name).len() <= 1),
            }
            let versions: Vec<_> = list[1..list.len() - 1].iter()
                .map(|one| one.manifest.version.clone()).collect();
            prop_assert!(versions.is_sorted_by(|a, b| a >= b), "{:?}", names(&list));
            prop_assert_eq!(&effective(&list, &node()), &list);
        }
        let base = package(1, to, &[]);
        let stays = |one: &Package| one.manifest.upgrades.is_none() || upgrades(&one.manifest, &base.manifest);
        let (keep, leave): (Vec<Package>, Vec<Package>) = list.iter().cloned().partition(stays);
        let mut gone = replace(&mut list, base.clone());
        gone.sort_by(|a, b| a.id.cmp(&b.id));
        let mut leave = leave;
        leave.sort_by(|a, b| a.id.cmp(&b.id));
        prop_assert_eq!(gone, leave);
        prop_assert_eq!(names(&list[..list.len() - 1]), names(&keep[..keep.len() - 1]));
    }
}
