//! A session against a real peer-to-peer D-Bus server on the other end of a socket pair.

#![expect(clippy::unwrap_used, reason = "tests")]

mod peer;

use std::time::Duration;

use model::change::Verdict;
use peer::{Peer, Taken};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use selfmanage::session::SessionError;
use selfmanage::{Announcement, Asked, ChangeId, Ended, Event, Reason, Session};

const CHANGE: ChangeId = ChangeId(7);

fn announcement() -> Announcement {
    Announcement {
        change: CHANGE,
        entering: vec!["libx=2".to_owned()],
        leaving: vec!["libx=1".to_owned()],
        files: Vec::new(),
    }
}

fn asked() -> Asked {
    Asked {
        process: "app".parse().unwrap(),
        verdict: Verdict::Notify,
        because: vec![vec!["libx.so.1".to_owned(), "app".to_owned()]],
    }
}

fn readable(session: &Session) -> bool {
    let mut waited = [PollFd::new(session, PollFlags::IN)];
    poll(&mut waited, Some(&Timespec::default())).unwrap() == 1
}

#[test]
fn registering_answers_the_name_that_the_other_end_knows() {
    let (_peer, session) = Peer::start();
    assert_eq!(session.register().unwrap(), "app");
}

#[test]
fn the_descriptor_is_readable_exactly_while_an_event_waits() {
    let (peer, session) = Peer::start();
    session.register().unwrap();
    assert!(!readable(&session));
    assert_eq!(session.try_next(), None);
    peer.evaluate(&announcement(), &asked());
    peer.prepare(&announcement());
    peer.changed(CHANGE);
    let ended = Ended {
        change: CHANGE,
        completed: true,
        detail: "done".to_owned(),
    };
    peer.ended(&ended);

    let mut waited = [PollFd::new(&session, PollFlags::IN)];
    poll(&mut waited, None).unwrap();
    assert_eq!(
        session.next_event().unwrap(),
        Event::Evaluate(announcement(), asked())
    );
    assert_eq!(
        session.next_event().unwrap(),
        Event::Prepare(announcement())
    );
    assert_eq!(session.next_event().unwrap(), Event::Changed(CHANGE));
    assert_eq!(session.next_event().unwrap(), Event::Ended(ended));
    assert!(!readable(&session));
    assert_eq!(session.try_next(), None);
}

#[test]
fn every_answer_arrives_as_it_was_meant() {
    let (peer, session) = Peer::start();
    let reason = || Reason::new("a call is up").unwrap();
    session.accept(CHANGE).unwrap();
    session.accept_reached(CHANGE).unwrap();
    session.veto(CHANGE, reason()).unwrap();
    session.veto_reached(CHANGE, reason()).unwrap();
    session.ready_and_waiting(CHANGE).unwrap();
    session.not_ready(CHANGE, reason()).unwrap();
    session.done(CHANGE).unwrap();
    session.ask_restart(CHANGE, reason()).unwrap();
    let text = |text: &str| text.to_owned();
    let expected = [
        Taken::Vote(7, true, text(""), false),
        Taken::Vote(7, true, text(""), true),
        Taken::Vote(7, false, text("a call is up"), false),
        Taken::Vote(7, false, text("a call is up"), true),
        Taken::Prepared(7, text("")),
        Taken::Prepared(7, text("a call is up")),
        Taken::Done(7, text("")),
        Taken::Done(7, text("a call is up")),
    ];
    for expected in expected {
        assert_eq!(peer.taken(), expected);
    }
}

#[test]
fn more_time_is_what_the_other_end_grants() {
    let (peer, session) = Peer::start();
    let (much, limit) = (Duration::from_mins(10), Duration::from_secs(30));
    assert_eq!(session.more_time(CHANGE, much).unwrap(), limit);
    assert_eq!(peer.taken(), Taken::MoreTime(7, 600_000));
    session.unregister().unwrap();
    assert_eq!(peer.taken(), Taken::Unregister);
}

#[test]
fn an_end_that_is_told_again_is_acknowledged_again_and_seen_once() {
    let (peer, session) = Peer::start();
    session.register().unwrap();
    let ended = |completed| Ended {
        change: CHANGE,
        completed,
        detail: String::new(),
    };
    for completed in [false, false, true] {
        peer.ended(&ended(completed));
        assert_eq!(peer.heard(), 7);
    }
    peer.changed(CHANGE);
    for completed in [false, true] {
        assert_eq!(
            session.next_event().unwrap(),
            Event::Ended(ended(completed))
        );
    }
    assert_eq!(session.next_event().unwrap(), Event::Changed(CHANGE));
}

#[test]
fn what_the_other_end_refuses_is_an_error_and_the_session_goes_on() {
    let (_peer, session) = Peer::start();
    let error = session.accept(ChangeId(peer::UNKNOWN)).unwrap_err();
    assert!(matches!(error, SessionError::Refused(_)), "{error:?}");
    session.accept(CHANGE).unwrap();
}

#[test]
fn a_document_that_cannot_be_read_is_passed_over() {
    let (peer, session) = Peer::start();
    session.register().unwrap();
    peer.garbage();
    peer.changed(CHANGE);
    assert_eq!(session.next_event().unwrap(), Event::Changed(CHANGE));
}

#[test]
fn the_end_of_the_other_side_is_an_event_and_then_nothing_can_be_answered() {
    let (peer, session) = Peer::start();
    session.register().unwrap();
    peer.changed(CHANGE);
    drop(peer);
    assert_eq!(session.next_event().unwrap(), Event::Changed(CHANGE));
    assert_eq!(session.next_event().unwrap(), Event::Disconnected);
    assert_eq!(session.next_event().unwrap(), Event::Disconnected);
    assert!(matches!(
        session.done(CHANGE).unwrap_err(),
        SessionError::Over
    ));
}

#[test]
fn a_dropped_session_is_seen_at_the_other_end() {
    let (peer, session) = Peer::start();
    session.register().unwrap();
    drop(session);
    peer.wait_for_the_end();
}

#[test]
fn a_program_run_by_hand_has_no_session() {
    assert!(
        std::env::var_os("SELFMANAGE_FD").is_none(),
        "the tests run outside of sysmgrd"
    );
    assert!(Session::from_env().unwrap().is_none());
}
