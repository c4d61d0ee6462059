//! Who runs and what each has mapped, as plans look it up.

use std::sync::Arc;

use model::Generation;

use super::super::{Running, RunningSet};
use super::build::{Node, program};

#[test]
fn each_is_found_by_what_it_has_mapped_and_by_its_number_whatever_the_order() {
    let node = Node::running(&[program("a", &[]), program("b", &[]), program("c", &[])]);
    let running = |name: &str| Running {
        name: name.parse().unwrap(),
        generation: Generation(1),
        registered: false,
    };
    let all = ["c", "gone", "a", "b"].map(running).to_vec();
    let mapped = [("/x", vec![2, 0]), ("/y", vec![0]), ("/x", vec![0, 1])];
    let mapped = mapped.map(|(path, by)| (path.to_owned(), by));
    let set = Arc::new(RunningSet::new(&node.world.index, all, mapped));
    assert_eq!(set.holders("/x"), [0, 1, 2]);
    assert_eq!(set.holders("/z"), [0; 0]);
    let known: Vec<bool> = (0..4).map(|place| set.knows(place)).collect();
    assert_eq!(known, [true, true, true, false]);
    let numbers: Vec<_> = (0..4).map(|place| set.number(place)).collect();
    assert_eq!(numbers, [Some(2), None, Some(0), Some(1)]);
    let places: Vec<_> = (0..3).map(|number| set.place(number)).collect();
    assert_eq!(places, [Some(2), Some(3), Some(0)]);
    assert!(Arc::ptr_eq(&set, &set.of(&node.world.index)));
    // In another set the same processes have other numbers.
    let other = Node::running(&[program("b", &[])]);
    let set = set.of(&other.world.index);
    let numbers: Vec<_> = (0..4).map(|place| set.number(place)).collect();
    assert_eq!(numbers, [None, None, None, Some(0)]);
    assert_eq!(set.holders("/x"), [0, 1, 2]);
}
