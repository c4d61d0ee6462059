//! What may be decided when, and how far a force reaches.

use model::wire::{Choice, Decision, NodePhase, Phase, RolloutId, Strategy, Vote};

use super::super::{Event, Refused};
use super::fleet::{Fleet, decision, digest, name, operator, planned, veto};

#[test]
fn who_asks_for_it_is_not_who_approves_it() {
    let strategy = Strategy {
        second_person: true,
        ..Strategy::default()
    };
    let mut fleet = Fleet::begun(strategy, &[0]);
    assert_eq!(
        (fleet.phase(), fleet.told("ask").len()),
        (Phase::Approval, 0)
    );
    let approve = decision(Choice::Approve);
    let refused = fleet.rollout.check(&operator("ada"), &approve);
    assert_eq!(refused, Err(Refused::SamePerson(operator("ada"))));
    fleet.decide_as("bob", approve);
    assert_eq!((fleet.phase(), fleet.told("ask").len()), (Phase::Asking, 1));
}

#[test]
fn a_choice_that_does_not_fit_is_refused_and_changes_nothing() {
    let mut fleet = Fleet::begun(Strategy::default(), &[0]);
    for choice in [
        Choice::Accepting,
        Choice::ForceAll,
        Choice::TakeBack,
        Choice::Commit,
    ] {
        let choice = decision(choice);
        fleet.rollout.check(&operator("ada"), &choice).unwrap_err();
        fleet.step(Event::Decided {
            by: operator("ada"),
            decision: choice,
        });
        assert_eq!(fleet.phase(), Phase::Asking);
    }
    fleet.vote("n0", veto("no"));
    let held = |choice| fleet.rollout.check(&operator("ada"), &decision(choice));
    assert_eq!(held(Choice::Accepting), Err(Refused::NobodyAccepts));
    assert_eq!(held(Choice::TakeBack), Err(Refused::NothingDone));
    assert_eq!(
        held(Choice::Force(vec![name("x")])),
        Err(Refused::NotIn(name("x")))
    );
    fleet.decide(Choice::Abort);
    assert_eq!(
        (fleet.phase(), fleet.told("withdraw").len()),
        (Phase::Aborted, 1)
    );
    let ended = fleet
        .rollout
        .check(&operator("ada"), &decision(Choice::Abort));
    assert_eq!(ended, Err(Refused::Ended(Phase::Aborted)));
}

fn with_one_away() -> Fleet {
    let mut away = planned("n1", 0);
    away.present = false;
    let mut fleet = Fleet::of(Strategy::default(), vec![planned("n0", 0), away]);
    fleet.step(Event::Began);
    fleet.vote("n0", veto("no"));
    fleet.sleep();
    assert_eq!(fleet.phase(), Phase::Held);
    fleet
}

#[test]
fn force_does_not_carry_over_to_one_that_returns_unless_the_decision_says_so() {
    let mut fleet = with_one_away();
    fleet.decide(Choice::ForceAll);
    assert_eq!(fleet.told("want"), ["n0"]);
    fleet.back("n1", "base", false);
    fleet.vote("n1", veto("no"));
    assert!(matches!(fleet.node("n1"), NodePhase::LeftOut { .. }));

    let mut fleet = with_one_away();
    let all = Decision {
        carries_over: true,
        ..decision(Choice::ForceAll)
    };
    fleet.decide_as("ada", all);
    fleet.back("n1", "base", false);
    fleet.vote("n1", veto("no"));
    assert_eq!(fleet.told("want"), ["n1"]);
    assert!(fleet.part("n1").forced);
}

#[test]
fn force_is_void_when_the_node_runs_something_else_by_then() {
    let strategy = Strategy {
        window: Some("22:00-23:00".into()),
        ..Strategy::default()
    };
    let mut fleet = Fleet::begun(strategy, &[0]);
    fleet.vote("n0", veto("no"));
    fleet.decide(Choice::ForceAll);
    assert!(fleet.part("n0").forced && fleet.told("want").is_empty());
    let installed = Fleet::installed("other", false);
    fleet.step(Event::Runs {
        node: name("n0"),
        installed,
    });
    assert!(!fleet.part("n0").forced);
    let mut ballot = fleet.ballot("n0", veto("still no"));
    ballot.base = digest("other");
    fleet.step(Event::Voted {
        node: name("n0"),
        ballot,
    });
    assert_eq!(fleet.phase(), Phase::Held);
}

#[test]
fn paused_nothing_new_begins() {
    let mut fleet = Fleet::begun(Strategy::default(), &[0, 1]);
    fleet.decide(Choice::Pause);
    fleet.accept(&["n0", "n1"]);
    assert!(fleet.told("want").is_empty());
    fleet.decide(Choice::Resume);
    assert_eq!(fleet.told("want"), ["n0"]);
    fleet.decide(Choice::Pause);
    fleet.well(&["n0"]);
    assert!(fleet.told("ask").is_empty());
    fleet.decide(Choice::Resume);
    assert_eq!(fleet.told("ask"), ["n1"]);
}

#[test]
fn held_may_be_asked_again() {
    let mut fleet = Fleet::begun(Strategy::default(), &[0, 0]);
    fleet.accept(&["n0"]);
    fleet.vote("n1", veto("no"));
    fleet.decide(Choice::AskAgain);
    assert_eq!(
        (fleet.phase(), fleet.told("ask")),
        (Phase::Asking, vec!["n1".to_owned()])
    );
    fleet.vote("n1", Vote::Accept);
    assert_eq!(fleet.told("want").len(), 2);
}

#[test]
fn an_abort_in_the_middle_takes_back_what_is_on_its_way_and_leaves_what_is_done() {
    let mut fleet = Fleet::begun(Strategy::default(), &[0, 0]);
    fleet.accept(&["n0", "n1"]);
    fleet.well(&["n0"]);
    fleet.decide(Choice::Abort);
    assert_eq!(
        (fleet.told("abort"), fleet.told("return").len()),
        (vec!["n1".to_owned()], 0)
    );
    fleet.ended("n1", Fleet::end(None, "base"));
    assert_eq!(fleet.phase(), Phase::Partial);
    assert_eq!(*fleet.node("n0"), NodePhase::Done);
}

#[test]
fn a_superseded_update_ends_with_every_node_explained() {
    let mut fleet = Fleet::begun(Strategy::default(), &[0, 1]);
    fleet.accept(&["n0", "n1"]);
    fleet.step(Event::Superseded { by: RolloutId(8) });
    assert_eq!(
        (fleet.phase(), fleet.told("abort")),
        (Phase::Superseded, vec!["n0".to_owned()])
    );
    for node in ["n0", "n1"] {
        assert!(matches!(fleet.node(node), NodePhase::LeftOut { .. }));
    }
}
