//! Anything in any order: what must never happen does not, nobody is left unexplained, and it always
//! comes to an end.

use std::collections::BTreeMap;

use model::Digest;
use model::change::Outcome;
use model::wire::{
    Absent, Ballot, Choice, Decision, Installed, NodeName, NodePhase, Phase, Strategy, Vote,
};
use proptest::prelude::{Just, ProptestConfig, any, prop_assert_eq, prop_oneof, proptest};
use proptest::strategy::Strategy as _;

use super::super::index::Index;
use super::super::{Action, Event, Rollout};
use super::fleet::{
    BEGIN, Fleet, ID, decision, digest, name, operator, planned, reloaded, veto, woken,
};

const NODES: [&str; 4] = ["n0", "n1", "n2", "n3"];

/// What the master decided last for a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Nothing,
    Target { together: bool },
    Base,
}

/// A node as it really is.
#[derive(Debug, Clone)]
struct Node {
    present: bool,
    software: Digest,
    /// A change of this update is going on, or waits for its commit.
    ours: bool,
    waiting: bool,
    /// The round of a question that it has not answered.
    asked: Option<u32>,
    wanted: Wanted,
    /// What it holds of that.
    taken: Wanted,
    /// `Go` has reached it.
    go: bool,
    /// The yes that counts: for this software, until then.
    yes: Option<(Digest, u64)>,
    forced: bool,
    /// A `Want` was sent at some time.
    decided: bool,
    /// One was sent, and nothing took it back.
    allowed: bool,
}

struct World {
    rollout: Rollout,
    now: u64,
    nodes: BTreeMap<NodeName, Node>,
    wake: Option<u64>,
    decided: bool,
    strategy: Strategy,
}

/// A random number that is used up from its low end.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        let rolled = self.0 % sides;
        self.0 /= sides;
        rolled
    }
}

impl World {
    fn new(strategy: &Strategy, waves: &[u32], present: &[bool]) -> Self {
        let mut planned_all = Vec::new();
        let mut nodes = BTreeMap::new();
        for ((node, wave), present) in NODES.iter().zip(waves).zip(present) {
            let mut one = planned(node, *wave);
            one.present = *present;
            planned_all.push(one);
            nodes.insert(
                name(node),
                Node {
                    present: *present,
                    software: digest("base"),
                    ours: false,
                    waiting: false,
                    asked: None,
                    wanted: Wanted::Nothing,
                    taken: Wanted::Nothing,
                    go: false,
                    yes: None,
                    forced: false,
                    decided: false,
                    allowed: false,
                },
            );
        }
        let rollout = Fleet::of(strategy.clone(), planned_all).rollout;
        let mut world = Self {
            rollout,
            now: BEGIN,
            nodes,
            wake: None,
            decided: false,
            strategy: strategy.clone(),
        };
        world.step(Event::Began);
        world
    }

    /// One step, of the machine and of a twin that was written down and read before it.
    fn step(&mut self, event: Event) {
        let mut twin = reloaded(&self.rollout);
        for (node, part) in &mut twin.parts {
            part.present = self.rollout.parts[node].present;
        }
        twin.index = Index::of(&twin.parts);
        twin.inspecting = self.rollout.inspecting;
        assert_eq!(twin.index, self.rollout.index, "the index went its own way");
        let was_paused = self.rollout.head().paused;
        let before = self.rollout.clone();
        let actions = self.rollout.step(self.now, event.clone());
        assert_eq!(
            actions,
            twin.step(self.now, event),
            "what was read behaves otherwise"
        );
        assert_eq!(twin.head, self.rollout.head);
        self.check_stored(&before);
        self.wake = woken(&actions);
        for action in &actions {
            self.check_action(action, &before, was_paused);
        }
        self.check_state();
        for action in actions {
            self.carry_out(action);
        }
    }

    /// Whatever changed is named, so that it gets stored.
    fn check_stored(&mut self, before: &Rollout) {
        let changes = self.rollout.take_changes();
        assert!(
            changes.head || before.head == self.rollout.head,
            "head not stored"
        );
        for (node, part) in self.rollout.parts() {
            let mut old = before.parts()[node].clone();
            old.present = part.present;
            old.progress.clone_from(&part.progress);
            assert!(
                changes.parts.contains(node) || old == *part,
                "{node} not stored"
            );
        }
    }

    fn check_action(&self, action: &Action, before: &Rollout, was_paused: bool) {
        match action {
            Action::Want { node, orders } => {
                let known = &self.nodes[node];
                let part = &before.parts()[node];
                if known.allowed && part.begun {
                    return;
                }
                assert!(
                    !was_paused || !self.rollout.head().paused,
                    "{node} begun while paused"
                );
                let base = self.rollout.parts()[node].base;
                let yes = known
                    .yes
                    .is_some_and(|(of, until)| Some(of) == base && until > self.now);
                assert!(yes || known.forced, "{node} was not decided");
                assert!(!orders.force || known.forced, "{node} forced by nobody");
                self.check_nobody_objects(before);
            }
            Action::Go { node } => {
                assert!(self.rollout.head().go, "go before it was decided");
                assert!(self.nodes[node].allowed, "{node} told go and nothing else");
            }
            Action::Commit { node } => {
                let phase = &self.rollout.parts()[node].phase;
                // The end of one may be what has the others, and it, taken back.
                let fits = matches!(
                    phase,
                    NodePhase::Done | NodePhase::WentBack { .. } | NodePhase::GoingBack
                );
                assert!(fits, "{node} committed in {phase:?}");
            }
            Action::Wake { at_ms } => assert!(*at_ms > self.now),
            Action::Ask { .. }
            | Action::Withdraw { .. }
            | Action::Return { .. }
            | Action::Keep { .. }
            | Action::Abort { .. }
            | Action::FollowUp { .. }
            | Action::Inspect { .. }
            | Action::Note(_) => {}
        }
    }

    /// One veto and nothing is touched, unless an operator has decided.
    fn check_nobody_objects(&self, before: &Rollout) {
        let head = self.rollout.head();
        for (node, part) in self.rollout.parts() {
            let objects = matches!(
                part.phase,
                NodePhase::Vetoed { .. } | NodePhase::Later { .. } | NodePhase::Impossible { .. }
            );
            let concerned = part.wave == head.wave || !(self.decided || before.head().touched);
            assert!(!(objects && concerned), "{node} objects, and others begin");
        }
    }

    fn check_state(&self) {
        let head = self.rollout.head();
        let person = head.paused
            || matches!(
                head.phase,
                Phase::Approval | Phase::Held | Phase::Stopped | Phase::Trial
            );
        if head.phase.is_end() {
            for (node, part) in self.rollout.parts() {
                let explained = match &part.phase {
                    NodePhase::Done => true,
                    NodePhase::LeftOut { reason }
                    | NodePhase::Failed { reason }
                    | NodePhase::WentBack { reason } => !reason.is_empty(),
                    _ => false,
                };
                assert!(explained, "{node} is {:?} in {}", part.phase, head.phase);
            }
        } else {
            assert!(
                person || self.wake.is_some(),
                "nobody wakes it: {:#?}",
                self.rollout.view()
            );
        }
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Ask { node, round } => self.node(&node).asked = Some(round),
            Action::Want { node, orders } => {
                let node = self.node(&node);
                node.allowed = true;
                node.decided = true;
                let together = orders.together;
                node.wanted = Wanted::Target { together };
                node.take();
            }
            Action::Return { node, .. } | Action::Keep { node } => {
                let node = self.node(&node);
                node.allowed = false;
                node.forced = false;
                node.yes = None;
                node.wanted = Wanted::Base;
                node.take();
            }
            Action::Go { node } => {
                let node = self.node(&node);
                node.go |= node.present && node.waiting;
            }
            Action::Abort { node, .. } => {
                let node = self.node(&node);
                if node.present {
                    node.software = digest("base");
                    node.drop_change();
                }
            }
            Action::Commit { node } => {
                let node = self.node(&node);
                node.ours &= !node.present;
            }
            Action::Withdraw { node, .. } => self.node(&node).asked = None,
            Action::Wake { .. }
            | Action::FollowUp { .. }
            | Action::Inspect { .. }
            | Action::Note(_) => {}
        }
    }

    fn node(&mut self, node: &NodeName) -> &mut Node {
        self.nodes.get_mut(node).unwrap()
    }

    fn chaos(&mut self, mut dice: Dice) {
        let node = name(NODES[usize::try_from(dice.roll(4)).unwrap()]);
        match dice.roll(16) {
            0..=4 => self.answers(&node, &mut dice),
            5..=8 => self.changes(&node, &mut dice),
            9 | 10 => self.comes_or_goes(&node),
            11 => self.sleeps(),
            12 => {
                self.now += dice.roll(90_000);
                self.step(Event::Due);
            }
            13 => self.decides(&node, &mut dice),
            14 if dice.roll(3) == 0 => self.dies(),
            14 => self.runs_another(&node),
            _ => self.step(Event::Heard { node }),
        }
    }

    fn answers(&mut self, node: &NodeName, dice: &mut Dice) {
        let Some(round) = self.nodes[node].asked.filter(|_| self.nodes[node].present) else {
            return;
        };
        let base = self.nodes[node].software;
        let vote = match dice.roll(8) {
            0 => veto("call in progress"),
            1 => Vote::Later {
                objections: Vec::new(),
                not_before: (self.now + dice.roll(80_000)) / 1000,
            },
            2 if dice.roll(4) == 0 => Vote::Failed {
                reason: "no room".into(),
            },
            _ => Vote::Accept,
        };
        let expires = self.now / 1000 + dice.roll(200);
        let round = round - u32::from(dice.roll(10) == 0);
        let counts = round == self.rollout.parts()[node].round;
        if counts {
            let yes = vote == Vote::Accept;
            let yes = yes.then_some((base, expires * 1000));
            self.node(node).yes = yes;
        }
        let ballot = Ballot {
            rollout: ID,
            round,
            base,
            target: digest("target"),
            expires,
            vote,
            reached: 0,
            restarts: 0,
            bytes: 0,
            reboot: None,
        };
        // A force that carries over holds for this vote, too.
        let carries = self.rollout.head().force_later;
        self.node(node).forced |= carries;
        self.step(Event::Voted {
            node: node.clone(),
            ballot,
        });
    }

    /// The node goes on with what it was told.
    fn changes(&mut self, node: &NodeName, dice: &mut Dice) {
        let known = self.nodes[node].clone();
        match known.taken {
            Wanted::Nothing => {}
            Wanted::Base => {
                if known.software != digest("base") || known.ours {
                    self.node(node).software = digest("base");
                    self.node(node).drop_change();
                    self.ends(node, Some(Outcome::Done));
                }
            }
            Wanted::Target { together } => {
                if known.software == digest("target") {
                    self.ends(node, Some(Outcome::Done));
                } else if together && !known.waiting {
                    self.node(node).ours = true;
                    self.node(node).waiting = true;
                    self.says_waiting(node);
                } else if together && !known.go {
                    if dice.roll(4) == 0 {
                        // Its deadline.
                        self.node(node).drop_change();
                        self.ends(node, None);
                    } else {
                        self.says_waiting(node);
                    }
                } else {
                    self.switches(node, dice);
                }
            }
        }
    }

    fn switches(&mut self, node: &NodeName, dice: &mut Dice) {
        assert!(
            self.nodes[node].decided,
            "{node} acts, and nothing was decided"
        );
        match dice.roll(6) {
            0 => {
                self.node(node).drop_change();
                self.ends(node, Some(Outcome::RolledBack));
            }
            1 => {
                self.node(node).drop_change();
                self.ends(node, None);
            }
            2 => {
                let vetoed = Some(Outcome::Vetoed);
                self.node(node).drop_change();
                self.ends(node, vetoed);
            }
            _ => {
                let known = self.node(node);
                known.software = digest("target");
                known.ours = true;
                known.waiting = false;
                self.ends(node, Some(Outcome::Done));
            }
        }
    }

    fn says_waiting(&mut self, node: &NodeName) {
        if self.nodes[node].present {
            self.step(Event::Waiting { node: node.clone() });
        }
    }

    fn ends(&mut self, node: &NodeName, outcome: Option<Outcome>) {
        if !self.nodes[node].present {
            return;
        }
        let mut end = Fleet::end(outcome.map(Fleet::report), "base");
        end.installed = self.nodes[node].installed();
        self.step(Event::Ended {
            node: node.clone(),
            end: Box::new(end),
        });
    }

    fn comes_or_goes(&mut self, node: &NodeName) {
        if self.nodes[node].present {
            self.node(node).present = false;
            self.node(node).asked = None;
            return self.step(Event::Away { node: node.clone() });
        }
        self.returns(node);
    }

    fn returns(&mut self, node: &NodeName) {
        self.node(node).present = true;
        let installed = self.nodes[node].installed();
        self.step(Event::Back {
            node: node.clone(),
            installed,
        });
        // The wanted state that is stored follows the answer to its hello.
        self.node(node).take();
    }

    /// Without contact it goes back; somebody at the node does something; a trial is lost.
    fn runs_another(&mut self, node: &NodeName) {
        let known = self.node(node);
        if known.software == digest("target") && known.ours {
            known.software = digest("base");
            known.drop_change();
        } else if known.software == digest("base") && !known.ours {
            known.software = digest("other");
        } else if known.software == digest("other") {
            known.software = digest("base");
        }
        if known.present {
            let installed = known.installed();
            self.step(Event::Runs {
                node: node.clone(),
                installed,
            });
        }
    }

    fn sleeps(&mut self) {
        if let Some(at) = self.wake {
            self.now = self.now.max(at);
            self.step(Event::Due);
        }
    }

    fn decides(&mut self, node: &NodeName, dice: &mut Dice) {
        let choice = match dice.roll(12) {
            0 => Choice::Approve,
            1 => Choice::Accepting,
            2 => Choice::Force(vec![node.clone()]),
            3 => Choice::ForceAll,
            4 if dice.roll(3) == 0 => Choice::Abort,
            5 => Choice::AskAgain,
            6 => Choice::Pause,
            7 | 8 => Choice::Resume,
            9 if dice.roll(3) == 0 => Choice::TakeBack,
            _ => Choice::Commit,
        };
        let carries_over = dice.roll(2) == 0;
        self.decide(Decision {
            carries_over,
            ..decision(choice)
        });
    }

    fn decide(&mut self, decision: Decision) {
        let by = operator("bob");
        if self.rollout.check(&by, &decision).is_err() {
            return;
        }
        let forced: Vec<NodeName> = match &decision.choice {
            Choice::ForceAll => self.nodes.keys().cloned().collect(),
            Choice::Force(nodes) => nodes.clone(),
            _ => Vec::new(),
        };
        for node in forced {
            // Those that have answered, or were asked; the others only if it carries over.
            let known = self.rollout.parts()[&node].clone();
            let asked = known.round > 0 && !matches!(known.phase, NodePhase::Absent);
            self.node(&node).forced |= asked || decision.carries_over;
        }
        let goes_on = matches!(
            decision.choice,
            Choice::Accepting | Choice::Force(_) | Choice::ForceAll
        );
        self.decided |= goes_on;
        self.step(Event::Decided { by, decision });
    }

    /// The master dies, perhaps before it has done what it has stored, and starts again.
    fn dies(&mut self) {
        self.rollout = reloaded(&self.rollout);
        let present: Vec<NodeName> = self
            .nodes
            .iter()
            .filter(|(_, one)| one.present)
            .map(|(node, _)| node.clone())
            .collect();
        for node in &present {
            self.node(node).asked = None;
        }
        self.step(Event::Restarted);
        for node in &present {
            self.returns(node);
        }
    }

    /// Nodes and people do what they should: it comes to an end.
    fn calms_down(&mut self) {
        for _ in 0..200 {
            if self.rollout.head().phase.is_end() {
                return;
            }
            for node in NODES.map(name) {
                if !self.nodes[&node].present {
                    self.returns(&node);
                }
                if self.nodes[&node].asked.is_some() {
                    let expires = self.now / 1000 + 3600;
                    let (base, round) = (
                        self.nodes[&node].software,
                        self.rollout.parts()[&node].round,
                    );
                    let ballot = Ballot {
                        rollout: ID,
                        round,
                        base,
                        target: digest("target"),
                        expires,
                        vote: Vote::Accept,
                        reached: 0,
                        restarts: 0,
                        bytes: 0,
                        reboot: None,
                    };
                    self.node(&node).asked = None;
                    self.node(&node).yes = Some((base, expires * 1000));
                    self.step(Event::Voted {
                        node: node.clone(),
                        ballot,
                    });
                }
                // High dice: no failure.
                self.changes(&node, &mut Dice(5 + 6 * 5));
            }
            let choice = match self.rollout.head().phase {
                Phase::Approval => Choice::Approve,
                Phase::Held
                    if self
                        .rollout
                        .check(&operator("bob"), &decision(Choice::Accepting))
                        .is_ok() =>
                {
                    Choice::Accepting
                }
                Phase::Held => Choice::Abort,
                Phase::Trial => Choice::Commit,
                _ => Choice::Resume,
            };
            if self.rollout.head().paused {
                self.decide(decision(Choice::Resume));
            } else {
                self.decide(decision(choice));
            }
            self.sleeps();
        }
        panic!("it does not end: {:#?}", self.rollout.view());
    }
}

impl Node {
    fn installed(&self) -> Installed {
        Installed {
            software: Some(self.software),
            rollout: self.ours.then_some(ID),
            ..Installed::default()
        }
    }

    fn drop_change(&mut self) {
        self.ours = false;
        self.waiting = false;
        self.go = false;
        self.taken = Wanted::Nothing;
    }

    /// The wanted state reaches it.
    fn take(&mut self) {
        if !self.present {
            return;
        }
        if self.wanted == Wanted::Base && matches!(self.taken, Wanted::Target { .. }) {
            self.waiting = false;
            self.go = false;
        }
        self.taken = self.wanted;
    }
}

fn strategies() -> impl proptest::strategy::Strategy<Value = Strategy> {
    let absent = prop_oneof![Just(Absent::Hold), Just(Absent::Skip), Just(Absent::Abort)];
    let window = prop_oneof![3 => Just(None), 1 => Just(Some("12:00-13:00".to_owned()))];
    let flags = any::<[bool; 5]>();
    let failed = prop_oneof![Just(None), Just(Some(0)), Just(Some(1))];
    (absent, window, flags, failed, 0..3_u64).prop_map(
        |(
            absent,
            window,
            [together, trial, take_back, second_person, soak],
            most_failed,
            share,
        )| {
            Strategy {
                absent,
                window,
                together,
                trial,
                take_back,
                second_person: second_person && share == 0,
                soak_ms: if soak { 10_000 } else { 0 },
                most_failed,
                most_failed_percent: (share == 1).then_some(30),
                sample: 2,
                ..Strategy::default()
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn nothing_undecided_is_done_nobody_is_unexplained_and_it_ends(
        strategy in strategies(),
        waves in proptest::collection::vec(0..3_u32, 4),
        present in proptest::collection::vec(proptest::bool::weighted(0.8), 4),
        dice in proptest::collection::vec(any::<u64>(), 0..120),
    ) {
        let mut world = World::new(&strategy, &waves, &present);
        for rolled in dice {
            world.chaos(Dice(rolled));
        }
        world.calms_down();
        prop_assert_eq!(&world.strategy, &strategy);
    }
}
