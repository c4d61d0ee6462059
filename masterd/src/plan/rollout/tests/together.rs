//! All at one moment.

use model::wire::{Choice, NodePhase, Phase, Strategy};

use super::super::Event;
use super::fleet::{BEGIN, Fleet, name};

fn together() -> Strategy {
    Strategy {
        together: true,
        ..Strategy::default()
    }
}

fn all_changing() -> Fleet {
    let mut fleet = Fleet::begun(together(), &[0, 0]);
    fleet.accept(&["n0", "n1"]);
    assert_eq!(fleet.told("want").len(), 2);
    fleet
}

fn waiting(fleet: &mut Fleet, node: &str) {
    fleet.step(Event::Waiting { node: name(node) });
}

fn gone() -> Fleet {
    let mut fleet = all_changing();
    waiting(&mut fleet, "n0");
    waiting(&mut fleet, "n1");
    fleet
}

#[test]
fn go_comes_when_all_wait_and_is_in_the_head_that_is_stored() {
    let mut fleet = all_changing();
    waiting(&mut fleet, "n0");
    assert!(fleet.told("go").is_empty());
    fleet.rollout.take_changes();
    waiting(&mut fleet, "n1");
    assert_eq!(fleet.told("go"), ["n0", "n1"]);
    assert!(fleet.rollout.head().go && fleet.rollout.take_changes().head);
    fleet.well(&["n0", "n1"]);
    assert_eq!(fleet.phase(), Phase::Done);
}

#[test]
fn one_that_is_not_ready_in_time_ends_it_for_all() {
    let mut fleet = all_changing();
    waiting(&mut fleet, "n0");
    fleet.sleep();
    assert_eq!(fleet.now, BEGIN + 27_000);
    assert_eq!(
        (fleet.phase(), fleet.told("abort").len()),
        (Phase::TakingBack, 2)
    );
    fleet.ended("n0", Fleet::end(None, "base"));
    fleet.ended("n1", Fleet::end(None, "base"));
    assert_eq!(fleet.phase(), Phase::TakenBack);
}

#[test]
fn one_that_is_away_is_not_told_go_and_neither_are_the_others() {
    let mut fleet = all_changing();
    waiting(&mut fleet, "n0");
    fleet.away("n0");
    waiting(&mut fleet, "n1");
    assert!(fleet.told("go").is_empty());
    fleet.back("n0", "base", true);
    assert_eq!(fleet.told("go"), ["n0", "n1"]);
}

#[test]
fn one_that_fails_before_go_ends_it_for_all() {
    let mut fleet = all_changing();
    waiting(&mut fleet, "n0");
    fleet.not_begun("n1");
    assert_eq!(
        (fleet.phase(), fleet.told("abort")),
        (Phase::TakingBack, vec!["n0".to_owned()])
    );
}

#[test]
fn a_failure_after_go_takes_the_group_back() {
    let mut fleet = gone();
    fleet.well(&["n0"]);
    fleet.badly("n1");
    assert_eq!(
        (fleet.phase(), fleet.told("return")),
        (Phase::TakingBack, vec!["n0".to_owned()])
    );
    fleet.back("n0", "base", false);
    assert!(fleet.phase().is_end());
}

#[test]
fn one_that_missed_go_is_named_and_follows_alone() {
    let mut fleet = gone();
    fleet.well(&["n0"]);
    fleet.not_begun("n1");
    assert_eq!(fleet.told("want"), ["n1"]);
    assert!(fleet.rollout.head().discrepancies[0].contains("n1 missed go"));
    assert!(fleet.part("n1").missed);
    fleet.well(&["n1"]);
    assert_eq!(fleet.phase(), Phase::Done);

    let mut fleet = gone();
    fleet.well(&["n0"]);
    fleet.not_begun("n1");
    fleet.not_begun("n1");
    assert_eq!(
        fleet.told("return"),
        ["n0"],
        "the second time it is a failure"
    );
}

#[test]
fn a_master_that_dies_before_go_lets_them_abort_and_one_that_dies_after_it_says_it_again() {
    let mut fleet = all_changing();
    waiting(&mut fleet, "n0");
    fleet.die();
    fleet.back("n0", "base", true);
    fleet.back("n1", "base", true);
    waiting(&mut fleet, "n0");
    waiting(&mut fleet, "n1");
    assert_eq!(fleet.told("go").len(), 2);
    fleet.die();
    fleet.back("n0", "base", true);
    assert_eq!(fleet.told("go"), ["n0"]);
    assert_eq!(*fleet.node("n1"), NodePhase::Switched);
}

#[test]
fn an_abort_tells_those_that_wait() {
    let mut fleet = all_changing();
    waiting(&mut fleet, "n0");
    fleet.decide(Choice::Abort);
    assert_eq!(fleet.told("abort").len(), 2);
}
