use proptest::prelude::*;

use super::*;

fn rules(ready: Ready) -> Rules {
    Rules {
        pre: 0,
        post: 0,
        stop: 0,
        ready,
        remain: false,
        kill: KillMode::ControlGroup,
    }
}

/// Feeds `events`; answers the last state and all actions.
fn run(rules: &Rules, events: impl IntoIterator<Item = Event>) -> (State, Vec<Action>) {
    let mut state = State::Stopped;
    let mut all = Vec::new();
    for event in events {
        let (next, actions) = step(rules, state, event);
        state = next;
        all.extend(actions);
    }
    (state, all)
}

fn stopping(why: Why) -> State {
    State::Stopping(Then::Ended(End::Failed(why)))
}

#[test]
fn a_process_becomes_ready_the_way_it_says() {
    let table = [
        (
            Ready::Exec,
            vec![Event::Start, Event::Started],
            State::Ready,
        ),
        (
            Ready::Notify,
            vec![Event::Start, Event::Started],
            State::Starting,
        ),
        (
            Ready::Notify,
            vec![Event::Start, Event::Started, Event::Ready],
            State::Ready,
        ),
        (
            Ready::Descriptor,
            vec![Event::Start, Event::Started, Event::Ready],
            State::Ready,
        ),
        (
            Ready::Socket,
            vec![Event::Start, Event::Started],
            State::Starting,
        ),
        (
            Ready::Forking,
            vec![Event::Start, Event::Started, Event::Exited(Exit::Code(0))],
            State::Starting,
        ),
        (
            Ready::Oneshot,
            vec![Event::Start, Event::Started, Event::Exited(Exit::Code(0))],
            State::Stopping(Then::Ended(End::Clean)),
        ),
    ];
    for (ready, events, expected) in table {
        assert_eq!(run(&rules(ready), events).0, expected, "{ready:?}");
    }
}

#[test]
fn an_end_before_ready_is_a_failure_whatever_its_code() {
    for ready in [Ready::Notify, Ready::Descriptor, Ready::Socket] {
        let (state, _) = run(
            &rules(ready),
            [Event::Start, Event::Started, Event::Exited(Exit::Code(0))],
        );
        assert_eq!(state, stopping(Why::Exited(Exit::Code(0))), "{ready:?}");
    }
    let bad = Event::Exited(Exit::Code(1));
    for ready in [Ready::Oneshot, Ready::Forking] {
        let (state, _) = run(&rules(ready), [Event::Start, Event::Started, bad.clone()]);
        assert_eq!(state, stopping(Why::Exited(Exit::Code(1))), "{ready:?}");
    }
}

#[test]
fn commands_run_one_after_the_other_and_a_failing_one_before_ready_fails_the_start() {
    let rules = Rules {
        pre: 2,
        post: 1,
        stop: 2,
        ..rules(Ready::Exec)
    };
    let ok = || Event::CommandEnded(Ok(()));
    let (state, actions) = run(&rules, [Event::Start, ok(), ok(), Event::Started, ok()]);
    assert_eq!(state, State::Ready);
    let expected = [
        Action::Arm(Timer::Start),
        Action::Run(Commands::Pre, 0),
        Action::Run(Commands::Pre, 1),
        Action::Spawn,
        Action::Run(Commands::Post, 0),
        Action::Disarm,
    ];
    assert_eq!(actions, expected);
    let failed = Event::CommandEnded(Err("no".into()));
    let (state, actions) = step(&rules, State::Pre(0), failed.clone());
    assert_eq!(
        (state, actions.last()),
        (stopping(Why::Command("no".into())), Some(&Action::Signal))
    );
    // Stopping goes on whatever its commands say.
    let (state, actions) = step(&rules, State::Ready, Event::Stop);
    assert_eq!(
        actions,
        [Action::Arm(Timer::Stop), Action::Run(Commands::Stop, 0)]
    );
    let (state, actions) = step(&rules, state, failed);
    assert_eq!(actions, [Action::Run(Commands::Stop, 1)]);
    let (state, actions) = step(&rules, state, ok());
    assert_eq!(actions, [Action::Arm(Timer::Stop), Action::Signal]);
    assert_eq!(state, State::Stopping(Then::Stop));
}

#[test]
fn a_stop_is_a_signal_then_a_kill_then_a_failure() {
    let rules = rules(Ready::Exec);
    let (state, actions) = step(&rules, State::Ready, Event::Stop);
    assert_eq!(actions, [Action::Arm(Timer::Stop), Action::Signal]);
    let (state, actions) = step(&rules, state, Event::Due);
    assert_eq!(
        (&state, actions),
        (
            &State::Killing(Then::Stop),
            vec![Action::Arm(Timer::Stop), Action::Kill]
        )
    );
    let (gone, actions) = step(&rules, state.clone(), Event::Emptied(Again::No));
    assert_eq!(
        (gone, actions),
        (State::Stopped, vec![Action::Disarm, Action::CleanUp])
    );
    assert_eq!(
        step(&rules, state, Event::Due).0,
        State::Failed(Why::Unkillable)
    );
}

#[test]
fn what_follows_from_an_end_is_what_the_policy_says() {
    let ended = || State::Stopping(Then::Ended(End::Clean));
    let rules = rules(Ready::Exec);
    assert_eq!(
        step(&rules, ended(), Event::Emptied(Again::No)).0,
        State::Done
    );
    assert_eq!(
        step(&rules, ended(), Event::Emptied(Again::TooOften)).0,
        State::Failed(Why::TooOften)
    );
    let delay = Duration::from_millis(7);
    let (state, actions) = step(&rules, ended(), Event::Emptied(Again::After(delay)));
    assert_eq!(
        actions,
        [Action::CleanUp, Action::Arm(Timer::Restart(delay))]
    );
    let (state, actions) = step(&rules, state, Event::Due);
    assert_eq!(
        (state, actions),
        (
            State::Starting,
            vec![Action::Arm(Timer::Start), Action::Spawn]
        )
    );
    // Somebody who asks in the meantime is served at once, or has it stopped for good.
    assert_eq!(
        step(&rules, State::Waiting, Event::Start).0,
        State::Starting
    );
    assert_eq!(step(&rules, State::Waiting, Event::Stop).0, State::Stopped);
}

#[test]
fn a_start_during_a_stop_waits_until_nothing_is_left() {
    let rules = rules(Ready::Exec);
    let (state, actions) = step(&rules, State::Stopping(Then::Stop), Event::Start);
    assert_eq!((&state, actions), (&State::Stopping(Then::Start), vec![]));
    let (state, actions) = step(&rules, state, Event::Emptied(Again::No));
    assert_eq!(state, State::Starting);
    assert_eq!(
        actions,
        [Action::CleanUp, Action::Arm(Timer::Start), Action::Spawn]
    );
    assert_eq!(
        step(&rules, State::Stopping(Then::Start), Event::Stop).0,
        State::Stopping(Then::Stop)
    );
}

#[test]
fn a_program_that_comes_up_while_it_is_being_stopped_gets_the_signal_too() {
    let rules = rules(Ready::Notify);
    let (state, _) = step(&rules, State::Starting, Event::Stop);
    assert_eq!(step(&rules, state, Event::Started).1, [Action::Signal]);
    assert_eq!(
        step(&rules, State::Killing(Then::Stop), Event::Started).1,
        [Action::Kill]
    );
}

#[test]
fn with_mixed_the_others_are_killed_when_the_main_process_has_ended() {
    let rules = Rules {
        kill: KillMode::Mixed,
        ..rules(Ready::Exec)
    };
    let (state, actions) = step(
        &rules,
        State::Stopping(Then::Stop),
        Event::Exited(Exit::Code(0)),
    );
    assert_eq!(
        (state, actions.last()),
        (State::Killing(Then::Stop), Some(&Action::Kill))
    );
}

#[test]
fn a_oneshot_that_remains_is_done_and_can_be_stopped() {
    let rules = Rules {
        remain: true,
        stop: 1,
        ..rules(Ready::Oneshot)
    };
    let (state, _) = run(
        &rules,
        [Event::Start, Event::Started, Event::Exited(Exit::Code(0))],
    );
    assert_eq!(state, State::Done);
    let (state, actions) = step(&rules, state, Event::Stop);
    assert_eq!(state, State::StopCommand(0, Then::Stop));
    assert_eq!(actions.last(), Some(&Action::Run(Commands::Stop, 0)));
}

#[test]
fn stop_commands_run_when_a_process_that_had_come_up_ends_by_itself_and_not_when_its_start_failed()
{
    let rules = Rules {
        stop: 1,
        post: 1,
        ..rules(Ready::Exec)
    };
    let crash = || Event::Exited(Exit::Signal(11));
    let died = End::Failed(Why::Exited(Exit::Signal(11)));
    let (state, actions) = step(&rules, State::Ready, crash());
    assert_eq!(state, State::StopCommand(0, Then::Ended(died.clone())));
    assert_eq!(actions.last(), Some(&Action::Run(Commands::Stop, 0)));
    let (state, actions) = step(&rules, state, Event::CommandEnded(Ok(())));
    assert_eq!(state, State::Stopping(Then::Ended(died)));
    assert_eq!(actions.last(), Some(&Action::Signal));
    for before in [State::Starting, State::Post(0)] {
        let (_, actions) = step(&rules, before, crash());
        assert_eq!(actions.last(), Some(&Action::Signal));
    }
    let once = Rules {
        ready: Ready::Oneshot,
        post: 0,
        ..rules
    };
    let (state, _) = step(&once, State::Starting, Event::Exited(Exit::Code(0)));
    assert_eq!(state, State::StopCommand(0, Then::Ended(End::Clean)));
}

fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        Just(Event::Start),
        Just(Event::Stop),
        Just(Event::Started),
        Just(Event::NotStarted("x".into())),
        Just(Event::CommandEnded(Ok(()))),
        Just(Event::CommandEnded(Err("x".into()))),
        Just(Event::Ready),
        Just(Event::MainLost("x".into())),
        Just(Event::Exited(Exit::Code(0))),
        Just(Event::Exited(Exit::Signal(9))),
        Just(Event::Emptied(Again::No)),
        Just(Event::Emptied(Again::After(Duration::from_millis(1)))),
        Just(Event::Emptied(Again::TooOften)),
        Just(Event::Due),
    ]
}

fn all_rules() -> impl Strategy<Value = Rules> {
    let ready = prop_oneof![
        Just(Ready::Exec),
        Just(Ready::Notify),
        Just(Ready::Descriptor),
        Just(Ready::Socket),
        Just(Ready::Forking),
        Just(Ready::Oneshot),
    ];
    let kill = prop_oneof![
        Just(KillMode::ControlGroup),
        Just(KillMode::Mixed),
        Just(KillMode::Process)
    ];
    let counts = (0_usize..3, 0_usize..3, 0_usize..3);
    (ready, kill, counts, any::<bool>()).prop_map(|(ready, kill, (pre, post, stop), remain)| {
        Rules {
            pre,
            post,
            stop,
            ready,
            remain,
            kill,
        }
    })
}

proptest! {
    #[test]
    fn whatever_happens_a_program_is_started_only_when_nothing_of_the_last_one_is_left(
        rules in all_rules(),
        events in proptest::collection::vec(events(), 0..60),
    ) {
        let mut state = State::Stopped;
        let mut may_run = false;
        for event in events {
            let emptied = matches!(event, Event::Emptied(_));
            let (next, actions) = step(&rules, state.clone(), event);
            if emptied && matches!(state, State::Stopping(_) | State::Killing(_)) {
                may_run = false;
            }
            for action in &actions {
                if *action == Action::Spawn {
                    prop_assert!(!may_run, "{state:?} → {next:?}");
                    may_run = !matches!(next, State::Pre(_));
                }
            }
            // A process that was given up on leaves what nobody can end.
            if matches!(next, State::Failed(Why::Unkillable)) || next == State::Stopped && state == State::Done {
                may_run = false;
            }
            if next == State::Done {
                may_run = false;
            }
            state = next;
        }
    }

    #[test]
    fn whatever_happened_a_stop_ends_in_stopped_once_the_group_is_empty(
        rules in all_rules(),
        events in proptest::collection::vec(events(), 0..60),
    ) {
        let (mut state, _) = run(&rules, events);
        state = step(&rules, state, Event::Stop).0;
        for _ in 0..=rules.stop {
            state = step(&rules, state, Event::CommandEnded(Ok(()))).0;
        }
        state = step(&rules, state, Event::Emptied(Again::After(Duration::ZERO))).0;
        prop_assert_eq!(state, State::Stopped);
    }
}
