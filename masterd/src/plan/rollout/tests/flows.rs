//! Votes, waves, failures, absence.

use model::change::Outcome;
use model::wire::{Absent, Choice, Counter, NodePhase, Phase, Strategy, Vote};

use super::super::{Action, Event, Note};
use super::fleet::{BEGIN, Fleet, ID, digest, name, planned, veto, woken};

fn absent(absent: Absent) -> Strategy {
    Strategy {
        absent,
        ..Strategy::default()
    }
}

#[test]
fn all_accept_and_all_are_changed() {
    let mut fleet = Fleet::begun(Strategy::default(), &[0, 0]);
    assert_eq!((fleet.phase(), fleet.told("ask").len()), (Phase::Asking, 2));
    fleet.vote("n0", Vote::Accept);
    assert!(fleet.told("want").is_empty());
    fleet.vote("n1", Vote::Accept);
    assert_eq!(fleet.told("want"), ["n0", "n1"]);
    fleet.well(&["n0"]);
    assert_eq!(fleet.told("commit"), ["n0"]);
    fleet.well(&["n1"]);
    assert_eq!(fleet.phase(), Phase::Done);
    assert!(woken(&fleet.actions).is_none());
}

#[test]
fn nothing_to_do_is_done_at_once() {
    let fleet = Fleet::begun(Strategy::default(), &[]);
    assert_eq!(fleet.phase(), Phase::Done);
}

#[test]
fn one_veto_and_nothing_is_touched_until_an_operator_has_decided() {
    let mut fleet = Fleet::begun(Strategy::default(), &[0, 0, 0]);
    fleet.accept(&["n0", "n1"]);
    fleet.vote("n2", veto("call in progress"));
    assert_eq!((fleet.phase(), fleet.told("want").len()), (Phase::Held, 0));
    let view = fleet.rollout.view();
    assert_eq!((view.tally.accept, view.tally.veto), (2, 1));
    assert_eq!(view.tally.reasons[0].reason, "call in progress");
    fleet.decide(Choice::Accepting);
    assert_eq!(fleet.told("want"), ["n0", "n1"]);
    assert_eq!(fleet.told("withdraw"), ["n2"]);
    fleet.well(&["n0", "n1"]);
    assert_eq!(fleet.phase(), Phase::Partial);
    let NodePhase::LeftOut { reason } = fleet.node("n2") else {
        panic!()
    };
    assert!(reason.contains("voip: call in progress"), "{reason}");
}

#[test]
fn a_ballot_on_another_base_is_asked_for_again_but_not_for_ever() {
    let mut fleet = Fleet::begun(Strategy::default(), &[0]);
    let mut ballot = fleet.ballot("n0", Vote::Accept);
    ballot.base = digest("other");
    fleet.step(Event::Voted {
        node: name("n0"),
        ballot: ballot.clone(),
    });
    assert_eq!((fleet.phase(), fleet.told("ask").len()), (Phase::Asking, 1));
    // The old round's does not count any more.
    fleet.step(Event::Voted {
        node: name("n0"),
        ballot,
    });
    assert_eq!(*fleet.node("n0"), NodePhase::Asked);
    for i in 0..20 {
        let mut ballot = fleet.ballot("n0", Vote::Accept);
        ballot.base = digest(&format!("base {i}"));
        fleet.step(Event::Voted {
            node: name("n0"),
            ballot,
        });
    }
    assert!(matches!(fleet.node("n0"), NodePhase::Impossible { .. }));
    assert_eq!(fleet.phase(), Phase::Held);
}

#[test]
fn another_target_or_an_expired_answer_is_named() {
    for edit in [0, 1] {
        let mut fleet = Fleet::begun(Strategy::default(), &[0]);
        let mut ballot = fleet.ballot("n0", Vote::Accept);
        if edit == 0 {
            ballot.target = digest("false");
        } else {
            ballot.expires = fleet.now / 1000 - 1;
        }
        fleet.step(Event::Voted {
            node: name("n0"),
            ballot,
        });
        let NodePhase::Impossible { reason } = fleet.node("n0") else {
            panic!()
        };
        assert!(reason.contains(["computes", "clock"][edit]), "{reason}");
        assert_eq!(fleet.phase(), Phase::Held);
    }
}

#[test]
fn a_node_that_changes_its_mind_before_the_decision_is_heard() {
    let mut fleet = Fleet::begun(Strategy::default(), &[0, 0]);
    fleet.accept(&["n0"]);
    fleet.vote("n0", veto("a call came"));
    fleet.accept(&["n1"]);
    assert_eq!(fleet.phase(), Phase::Held);
}

#[test]
fn later_is_asked_again_at_its_moment_if_the_vote_lasts_so_long() {
    let mut fleet = Fleet::begun(Strategy::default(), &[0]);
    let at = BEGIN / 1000 + 20;
    let later = |not_before| Vote::Later {
        objections: Vec::new(),
        not_before,
    };
    fleet.vote("n0", later(at));
    assert_eq!(fleet.phase(), Phase::Asking);
    fleet.sleep();
    assert_eq!((fleet.now, fleet.told("ask").len()), (at * 1000, 1));
    fleet.vote("n0", later(at + 3600));
    assert_eq!(fleet.phase(), Phase::Held);
}

#[test]
fn silence_is_no_consent() {
    let mut fleet = Fleet::begun(Strategy::default(), &[0, 0]);
    fleet.accept(&["n0"]);
    fleet.sleep();
    assert_eq!(fleet.phase(), Phase::Held);
    fleet.decide(Choice::Accepting);
    fleet.well(&["n0"]);
    let NodePhase::LeftOut { reason } = fleet.node("n1") else {
        panic!()
    };
    assert!(reason.contains("did not answer"), "{reason}");
}

#[test]
fn the_absent_are_waited_for_left_out_or_end_it_as_the_strategy_says() {
    let of = |policy: Absent| {
        let mut away = planned("n1", 0);
        away.present = false;
        let mut fleet = Fleet::of(absent(policy), vec![planned("n0", 0), away]);
        fleet.step(Event::Began);
        fleet
    };
    let mut fleet = of(Absent::Hold);
    fleet.accept(&["n0"]);
    assert_eq!(fleet.phase(), Phase::Asking);
    fleet.back("n1", "base", false);
    assert_eq!(fleet.told("ask"), ["n1"]);
    fleet.accept(&["n1"]);
    assert_eq!(fleet.phase(), Phase::Rolling);

    let mut fleet = of(Absent::Hold);
    fleet.accept(&["n0"]);
    fleet.sleep();
    assert_eq!(fleet.phase(), Phase::Held);

    let mut fleet = of(Absent::Skip);
    fleet.accept(&["n0"]);
    assert_eq!(fleet.told("want"), ["n0"]);
    // It returns while the others change, and is asked itself.
    fleet.back("n1", "base", false);
    assert_eq!(fleet.told("ask"), ["n1"]);
    fleet.accept(&["n1"]);
    assert_eq!(fleet.told("want"), ["n1"]);
    fleet.well(&["n0", "n1"]);
    assert_eq!(fleet.phase(), Phase::Done);

    assert_eq!(of(Absent::Abort).phase(), Phase::Aborted);
}

#[test]
fn one_that_returns_after_the_end_is_followed_up_once() {
    let mut away = planned("n1", 0);
    away.present = false;
    let mut fleet = Fleet::of(absent(Absent::Skip), vec![planned("n0", 0), away]);
    fleet.step(Event::Began);
    fleet.accept(&["n0"]);
    fleet.well(&["n0"]);
    assert_eq!(fleet.phase(), Phase::Partial);
    fleet.back("n1", "base", false);
    assert_eq!(fleet.told("follow-up"), ["n1"]);
    fleet.back("n1", "base", false);
    assert!(fleet.told("follow-up").is_empty());
}

#[test]
fn each_wave_is_asked_again_just_before_it_and_may_still_object() {
    let strategy = Strategy {
        soak_ms: 1_000,
        ..Strategy::default()
    };
    let mut fleet = Fleet::begun(strategy, &[0, 1, 1]);
    fleet.accept(&["n0", "n1", "n2"]);
    assert_eq!(fleet.told("want"), ["n0"]);
    fleet.well(&["n0"]);
    assert_eq!(fleet.phase(), Phase::Soaking);
    fleet.sleep();
    assert_eq!((fleet.told("ask").len(), fleet.told("want").len()), (2, 0));
    fleet.accept(&["n1"]);
    fleet.vote("n2", veto("backup"));
    assert_eq!(fleet.phase(), Phase::Held);
    fleet.decide(Choice::Force(vec![name("n2")]));
    let forced = |node: &str| {
        fleet.actions.iter().any(|action| {
            matches!(action, Action::Want { node: n, orders } if *n == name(node) && orders.force)
        })
    };
    assert!(forced("n2") && !forced("n1"));
    fleet.well(&["n1", "n2"]);
    assert_eq!(fleet.phase(), Phase::Done);
}

#[test]
fn too_many_failures_stop_it_and_a_person_goes_on_or_takes_it_back() {
    let mut fleet = Fleet::begun(Strategy::default(), &[0, 0, 1]);
    fleet.accept(&["n0", "n1", "n2"]);
    fleet.well(&["n0"]);
    fleet.badly("n1");
    assert_eq!(fleet.told("keep"), ["n1"]);
    assert_eq!(fleet.phase(), Phase::Stopped);
    let mut back = Fleet {
        rollout: fleet.rollout.clone(),
        now: fleet.now,
        actions: Vec::new(),
    };
    fleet.decide(Choice::Resume);
    assert_eq!(fleet.told("ask"), ["n2"]);
    fleet.accept(&["n2"]);
    fleet.well(&["n2"]);
    assert_eq!(fleet.phase(), Phase::Partial);

    back.decide(Choice::TakeBack);
    assert_eq!(
        (back.phase(), back.told("return")),
        (Phase::TakingBack, vec!["n0".to_owned()])
    );
    let report = Fleet::report(Outcome::Done);
    back.ended("n0", Fleet::end(Some(report), "base"));
    assert!(matches!(back.node("n0"), NodePhase::WentBack { .. }));
    assert!(back.phase().is_end());
}

#[test]
fn a_percentage_counts_once_enough_have_ended() {
    let strategy = Strategy {
        most_failed: None,
        most_failed_percent: Some(20),
        sample: 4,
        ..Strategy::default()
    };
    let mut fleet = Fleet::begun(strategy, &[0, 0, 0, 0, 0, 1]);
    fleet.accept(&["n0", "n1", "n2", "n3", "n4", "n5"]);
    fleet.badly("n0");
    fleet.well(&["n1", "n2"]);
    assert_eq!(fleet.phase(), Phase::Rolling);
    fleet.well(&["n3"]);
    assert_eq!(fleet.phase(), Phase::Stopped);
}

#[test]
fn a_node_that_is_cut_off_is_given_up_and_believed_when_it_returns() {
    let mut fleet = Fleet::begun(Strategy::default(), &[0, 1]);
    fleet.accept(&["n0", "n1"]);
    fleet.away("n0");
    fleet.sleep();
    assert_eq!(fleet.now, BEGIN + 60_000);
    assert!(matches!(fleet.node("n0"), NodePhase::Failed { .. }));
    assert_eq!(fleet.phase(), Phase::Stopped);
    let mut late = Fleet {
        rollout: fleet.rollout.clone(),
        now: fleet.now,
        actions: Vec::new(),
    };
    // It went back by itself.
    fleet.back("n0", "base", false);
    let NodePhase::Failed { reason } = fleet.node("n0") else {
        panic!()
    };
    assert!(reason.contains("went back by itself"), "{reason}");
    assert_eq!(fleet.told("keep"), ["n0"]);
    // Or it was only out of sight.
    late.back("n0", "base", true);
    assert_eq!(*late.node("n0"), NodePhase::Changing);
}

#[test]
fn a_trial_stays_until_somebody_commits_it_or_takes_it_back() {
    let strategy = Strategy {
        trial: true,
        ..Strategy::default()
    };
    let mut fleet = Fleet::begun(strategy, &[0, 0]);
    fleet.accept(&["n0", "n1"]);
    fleet.well(&["n0", "n1"]);
    assert_eq!(
        (fleet.phase(), fleet.told("commit").len()),
        (Phase::Trial, 0)
    );
    let mut back = Fleet {
        rollout: fleet.rollout.clone(),
        now: fleet.now,
        actions: Vec::new(),
    };
    fleet.decide(Choice::Commit);
    assert_eq!(
        (fleet.phase(), fleet.told("commit").len()),
        (Phase::Done, 2)
    );
    back.decide(Choice::TakeBack);
    assert_eq!(back.told("abort"), ["n0", "n1"]);
    back.back("n0", "base", false);
    back.back("n1", "base", false);
    assert_eq!(back.phase(), Phase::TakenBack);
}

#[test]
fn a_failed_check_takes_its_node_back() {
    let strategy = Strategy {
        check: vec!["/usr/bin/check".into()],
        ..Strategy::default()
    };
    let mut fleet = Fleet::begun(strategy, &[0]);
    fleet.accept(&["n0"]);
    let mut end = Fleet::end(Some(Fleet::report(Outcome::Done)), "target");
    end.check = Some((3, "no route\n".into()));
    fleet.ended("n0", end);
    assert_eq!(
        (fleet.told("abort"), fleet.told("commit").len()),
        (vec!["n0".to_owned()], 0)
    );
    fleet.back("n0", "base", false);
    let NodePhase::WentBack { reason } = fleet.node("n0") else {
        panic!("{:?}", fleet.node("n0"))
    };
    assert!(reason.contains("no route"), "{reason}");
    assert_eq!(fleet.phase(), Phase::Partial);
}

#[test]
fn nothing_begins_outside_of_the_nodes_window() {
    // BEGIN is 08:00 in UTC.
    let strategy = Strategy {
        window: Some("22:00-23:00".into()),
        ..Strategy::default()
    };
    let mut east = planned("n1", 0);
    east.utc_offset = 14 * 60;
    let mut fleet = Fleet::of(strategy, vec![planned("n0", 0), east]);
    fleet.step(Event::Began);
    fleet.accept(&["n0", "n1"]);
    assert_eq!(fleet.told("want"), ["n1"], "it is 22:00 there");
    fleet.well(&["n1"]);
    fleet.sleep();
    assert_eq!(fleet.now, BEGIN + 14 * 3_600_000);
    // What it said fourteen hours ago does not count any more.
    assert_eq!(
        (fleet.told("ask"), fleet.told("want").len()),
        (vec!["n0".to_owned()], 0)
    );
    fleet.accept(&["n0"]);
    assert_eq!(fleet.told("want"), ["n0"]);
}

#[test]
fn the_fleet_is_checked_before_each_wave_where_that_is_wanted() {
    let fleet = Fleet::new(Strategy::default(), &[0, 1]);
    let rollout = fleet.rollout.with_inspection();
    let mut fleet = Fleet {
        rollout,
        now: BEGIN,
        actions: Vec::new(),
    };
    fleet.step(Event::Began);
    fleet.accept(&["n0", "n1"]);
    assert!(fleet.actions.contains(&Action::Inspect { wave: 0 }));
    assert!(fleet.told("want").is_empty());
    fleet.step(Event::Inspected {
        wave: 0,
        discrepancies: Vec::new(),
    });
    assert_eq!(fleet.told("want"), ["n0"]);
    fleet.well(&["n0"]);
    assert!(fleet.actions.contains(&Action::Inspect { wave: 1 }));
    let text = "n1: web 3 needs db >= 2".to_owned();
    fleet.step(Event::Inspected {
        wave: 1,
        discrepancies: vec![text.clone()],
    });
    assert_eq!(fleet.phase(), Phase::Held);
    assert_eq!(fleet.rollout.head().discrepancies, [text]);
}

#[test]
fn a_master_that_dies_asks_sends_and_commits_again() {
    let mut fleet = Fleet::begun(Strategy::default(), &[0, 0]);
    fleet.accept(&["n0"]);
    fleet.die();
    fleet.back("n0", "base", false);
    assert!(fleet.told("ask").is_empty(), "its answer was stored");
    fleet.back("n1", "base", false);
    assert_eq!(fleet.told("ask"), ["n1"]);
    fleet.accept(&["n1"]);
    assert_eq!(fleet.told("want").len(), 2);
    fleet.die();
    fleet.back("n0", "base", false);
    assert_eq!(fleet.told("want"), ["n0"]);
    fleet.back("n1", "target", true);
    assert_eq!(*fleet.node("n1"), NodePhase::Switched);
    fleet.well(&["n0", "n1"]);
    assert_eq!(fleet.phase(), Phase::Done);
    fleet.die();
    let installed = Fleet::installed("target", true);
    assert_eq!(installed.rollout, Some(ID));
    fleet.back("n1", "target", true);
    assert_eq!(fleet.told("commit"), ["n1"]);
}

#[test]
fn ten_thousand_nodes_cost_no_more_each_than_ten() {
    let began = std::time::Instant::now();
    let mut fleet = Fleet::new(Strategy::default(), &vec![0; 10_000]);
    fleet.step(Event::Began);
    let names: Vec<String> = (0..10_000).map(|i| format!("n{i}")).collect();
    // Half of them go and come while the others vote.
    for away in &names[5_000..] {
        fleet.away(away);
    }
    fleet.accept(
        &names[..5_000]
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>(),
    );
    for back in &names[5_000..] {
        fleet.back(back, "base", false);
        fleet.accept(&[back.as_str()]);
    }
    assert_eq!(fleet.told("want").len(), 10_000);
    fleet.well(&names.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(fleet.phase(), Phase::Done);
    let took = began.elapsed();
    assert!(took.as_secs() < 10, "{took:?}");
}

#[test]
fn a_done_node_that_then_says_that_it_went_back_is_believed_after_the_end_too() {
    let mut fleet = Fleet::begun(Strategy::default(), &[0, 0]);
    fleet.accept(&["n0", "n1"]);
    fleet.well(&["n0", "n1"]);
    assert_eq!(fleet.phase(), Phase::Done);
    // Its first word had waited in a dead link; the later one counts.
    fleet.badly("n1");
    assert!(matches!(fleet.node("n1"), NodePhase::WentBack { .. }));
    assert_eq!(fleet.phase(), Phase::Partial);
    let detail = fleet.rollout.head().detail.clone().unwrap();
    assert!(detail.contains("n1"), "{detail}");
    // It is not to begin again by itself, its report has arrived, and people hear of it.
    assert_eq!(fleet.told("keep"), ["n1"]);
    assert_eq!(fleet.told("commit"), ["n1"]);
    let failed = |action: &Action| matches!(action, Action::Note(Note::Failed { node, .. }) if *node == name("n1"));
    assert!(fleet.actions.iter().any(failed), "{:?}", fleet.actions);
    let partial = Action::Note(Note::Phase(Phase::Partial));
    assert!(fleet.actions.contains(&partial), "{:?}", fleet.actions);
    // Said again, and after the master's death, it is no news.
    fleet.die();
    fleet.badly("n1");
    assert!(!fleet.actions.iter().any(failed), "{:?}", fleet.actions);
}

#[test]
fn a_done_node_that_went_back_counts_among_the_failed_while_the_others_change() {
    let strategy = Strategy {
        most_failed: Some(0),
        ..Strategy::default()
    };
    let mut fleet = Fleet::begun(strategy, &[0, 0, 1]);
    fleet.accept(&["n0", "n1", "n2"]);
    fleet.well(&["n0"]);
    fleet.badly("n0");
    assert_eq!(fleet.phase(), Phase::Stopped);
    fleet.well(&["n1"]);
    assert_eq!(*fleet.node("n1"), NodePhase::Done);
}

#[test]
fn an_older_change_of_a_done_node_says_nothing_of_this_one() {
    let mut fleet = Fleet::begun(Strategy::default(), &[0]);
    fleet.accept(&["n0"]);
    fleet.rollout.signed(&name("n0"), Counter(5));
    let mut end = Fleet::end(Some(Fleet::report(Outcome::Done)), "target");
    end.counter = Counter(5);
    fleet.ended("n0", end);
    assert_eq!(fleet.phase(), Phase::Done);
    fleet.badly("n0");
    assert_eq!(*fleet.node("n0"), NodePhase::Done);
}
