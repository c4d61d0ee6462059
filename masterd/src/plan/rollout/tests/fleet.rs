//! A fleet of simulated nodes around an update: what a test tells them to do, they do.

use std::collections::BTreeMap;

use model::Digest;
use model::change::{ChangeReport, Failure, Outcome};
use model::ids::{ChangeId, Generation};
use model::wire::{
    Ballot, Choice, Counter, Decision, Epoch, FleetName, Installed, NodeEnd, NodeName, NodePhase,
    Objection, Phase, RolloutId, Strategy, Update, Vote,
};

use super::super::{Action, Event, Part, Planned, Rollout};

pub(super) const ID: RolloutId = RolloutId(7);
pub(super) const BEGIN: u64 = 1_800_000_000_000;

pub(super) fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

pub(super) fn name(text: &str) -> NodeName {
    text.parse().unwrap()
}

pub(super) fn operator(text: &str) -> FleetName {
    text.parse().unwrap()
}

pub(super) fn planned(node: &str, wave: u32) -> Planned {
    Planned {
        node: name(node),
        wave,
        base: Some(digest("base")),
        base_list: None,
        target: digest("target"),
        list: digest("list"),
        utc_offset: 0,
        present: true,
        impossible: None,
    }
}

pub(super) fn veto(reason: &str) -> Vote {
    Vote::Veto {
        objections: vec![Objection {
            process: "voip".parse().unwrap(),
            reason: reason.to_owned(),
        }],
    }
}

pub(super) struct Fleet {
    pub(super) rollout: Rollout,
    pub(super) now: u64,
    /// Of the last step.
    pub(super) actions: Vec<Action>,
}

impl Fleet {
    /// Nodes `n0`, `n1`, … in these waves.
    pub(super) fn new(strategy: Strategy, waves: &[u32]) -> Self {
        let nodes = waves.iter().enumerate();
        let nodes = nodes
            .map(|(i, wave)| planned(&format!("n{i}"), *wave))
            .collect();
        Self::of(strategy, nodes)
    }

    pub(super) fn of(strategy: Strategy, nodes: Vec<Planned>) -> Self {
        let update = Update {
            strategy,
            ..Update::default()
        };
        let rollout = Rollout::new(ID, update, operator("ada"), BEGIN, nodes);
        Self {
            rollout,
            now: BEGIN,
            actions: Vec::new(),
        }
    }

    pub(super) fn begun(strategy: Strategy, waves: &[u32]) -> Self {
        let mut fleet = Self::new(strategy, waves);
        fleet.step(Event::Began);
        fleet
    }

    pub(super) fn step(&mut self, event: Event) -> &[Action] {
        self.actions = self.rollout.step(self.now, event);
        &self.actions
    }

    pub(super) fn phase(&self) -> Phase {
        self.rollout.head().phase
    }

    pub(super) fn part(&self, node: &str) -> &Part {
        &self.rollout.parts()[&name(node)]
    }

    pub(super) fn node(&self, node: &str) -> &NodePhase {
        &self.part(node).phase
    }

    /// A node's vote on what it was asked last.
    pub(super) fn vote(&mut self, node: &str, vote: Vote) -> &[Action] {
        let ballot = self.ballot(node, vote);
        self.step(Event::Voted {
            node: name(node),
            ballot,
        })
    }

    pub(super) fn ballot(&self, node: &str, vote: Vote) -> Ballot {
        Ballot {
            rollout: ID,
            round: self.part(node).round,
            base: digest("base"),
            target: digest("target"),
            expires: self.now / 1000 + 600,
            vote,
            reached: 1,
            restarts: 0,
            bytes: 0,
            reboot: None,
        }
    }

    pub(super) fn accept(&mut self, nodes: &[&str]) {
        for node in nodes {
            self.vote(node, Vote::Accept);
        }
    }

    pub(super) fn installed(software: &str, ours: bool) -> Installed {
        Installed {
            software: Some(digest(software)),
            rollout: ours.then_some(ID),
            ..Installed::default()
        }
    }

    pub(super) fn end(report: Option<ChangeReport>, software: &str) -> NodeEnd {
        NodeEnd {
            rollout: ID,
            epoch: Epoch(1),
            counter: Counter(1),
            detail: report.is_none().then(|| "it did not want to".to_owned()),
            report: report.map(Box::new),
            check: None,
            installed: Self::installed(software, false),
        }
    }

    pub(super) fn report(outcome: Outcome) -> ChangeReport {
        ChangeReport::new(ChangeId(1), outcome, Generation(2))
    }

    pub(super) fn ended(&mut self, node: &str, end: NodeEnd) -> &[Action] {
        let end = Box::new(end);
        self.step(Event::Ended {
            node: name(node),
            end,
        })
    }

    pub(super) fn well(&mut self, nodes: &[&str]) {
        for node in nodes {
            self.ended(node, Self::end(Some(Self::report(Outcome::Done)), "target"));
        }
    }

    pub(super) fn badly(&mut self, node: &str) -> &[Action] {
        self.ended(
            node,
            Self::end(Some(Self::report(Outcome::RolledBack)), "base"),
        )
    }

    /// It failed, and nothing was touched.
    pub(super) fn not_begun(&mut self, node: &str) -> &[Action] {
        let mut report = Self::report(Outcome::Failed);
        report.failure = Some(Failure::Unchanged);
        self.ended(node, Self::end(Some(report), "base"))
    }

    pub(super) fn away(&mut self, node: &str) -> &[Action] {
        self.step(Event::Away { node: name(node) })
    }

    pub(super) fn back(&mut self, node: &str, software: &str, ours: bool) -> &[Action] {
        let installed = Self::installed(software, ours);
        self.step(Event::Back {
            node: name(node),
            installed,
        })
    }

    pub(super) fn decide(&mut self, choice: Choice) -> &[Action] {
        self.decide_as("ada", decision(choice))
    }

    pub(super) fn decide_as(&mut self, by: &str, decision: Decision) -> &[Action] {
        let by = operator(by);
        self.rollout.check(&by, &decision).unwrap();
        self.step(Event::Decided { by, decision })
    }

    /// Time passes until the update wants to be woken.
    pub(super) fn sleep(&mut self) -> &[Action] {
        let Some(at) = woken(&self.actions) else {
            panic!("no Wake among {:?}", self.actions);
        };
        self.now = at;
        self.step(Event::Due)
    }

    /// The master dies and is started again; the nodes are there at once.
    pub(super) fn die(&mut self) {
        self.rollout = reloaded(&self.rollout);
        self.step(Event::Restarted);
    }

    /// Those that the last step told to do something, by what.
    pub(super) fn told(&self, what: &str) -> Vec<String> {
        let told = self.actions.iter().filter_map(|action| match action {
            Action::Ask { node, .. } => Some(("ask", node)),
            Action::Withdraw { node, .. } => Some(("withdraw", node)),
            Action::Want { node, .. } => Some(("want", node)),
            Action::Return { node, .. } => Some(("return", node)),
            Action::Keep { node } => Some(("keep", node)),
            Action::Go { node } => Some(("go", node)),
            Action::Abort { node, .. } => Some(("abort", node)),
            Action::Commit { node } => Some(("commit", node)),
            Action::FollowUp { node } => Some(("follow-up", node)),
            Action::Inspect { .. } | Action::Wake { .. } | Action::Note(_) => None,
        });
        told.filter(|(one, _)| *one == what)
            .map(|(_, node)| node.to_string())
            .collect()
    }
}

pub(super) fn woken(actions: &[Action]) -> Option<u64> {
    actions.iter().rev().find_map(|action| match action {
        Action::Wake { at_ms } => Some(*at_ms),
        _ => None,
    })
}

pub(super) fn decision(choice: Choice) -> Decision {
    Decision {
        choice,
        reason: "because".to_owned(),
        carries_over: false,
        signed: None,
    }
}

/// As the store has it: head and parts, each by itself, through their text.
pub(super) fn reloaded(rollout: &Rollout) -> Rollout {
    let head = serde_json::to_string(rollout.head()).unwrap();
    let parts: BTreeMap<NodeName, Part> = rollout
        .parts()
        .iter()
        .map(|(node, part)| {
            let text = serde_json::to_string(part).unwrap();
            (node.clone(), serde_json::from_str(&text).unwrap())
        })
        .collect();
    Rollout::load(serde_json::from_str(&head).unwrap(), parts)
}
