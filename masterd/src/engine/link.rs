//! The engine's side of a node's link.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use model::wire::{
    FleetEvent, FromNode, Hello, Installed, NodeEnd, NodeName, NodeProgress, PROTOCOL, RolloutId,
    ToNode, Verdict, Vote,
};
use tokio::sync::{mpsc, oneshot};

use super::handle::{Message, Opening};
use super::node::{Link, Newcomer, Node, Seen};
use super::writes::Effect;
use super::{Engine, now_ms};
use crate::plan::rollout::Event;

/// A link that does not answer so long, while another one has its identity, is dead.
const PROBE: Duration = Duration::from_secs(2);

/// Which link; never used again while the master runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkId(u64);

impl LinkId {
    pub(super) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// What a link has to do.
#[derive(Debug)]
pub enum Outgoing {
    /// Send this.
    Text(Arc<str>),
    /// Ping, and say whether anything came back.
    Probe(oneshot::Sender<()>),
    /// Close; the reason is for the node's log.
    Close(&'static str),
}

impl Engine {
    pub(super) fn opened(&mut self, opening: Opening) {
        // Who it is, and that it may be here, was found at the door.
        let name = &opening.node;
        self.foretell(name, &opening.hello.facts);
        let node = self
            .nodes
            .entry(name.clone())
            .or_insert_with(|| Node::new(name.clone(), opening.hello.facts.clone()));
        if !node.is_member() {
            return refuse(&opening.to, "not in the fleet");
        }
        if node.record.quarantined {
            return self.quarantined(&opening.to);
        }
        if !(PROTOCOL.saturating_sub(1)..=PROTOCOL).contains(&opening.hello.protocol) {
            return refuse(&opening.to, "another protocol");
        }
        let other = node.link.as_ref();
        if let Some(other) = other.filter(|other| other.boot != opening.hello.boot) {
            let (alive, answered) = oneshot::channel();
            let asked = other.to.try_send(Outgoing::Probe(alive)).is_ok();
            let (name, link) = (opening.node.clone(), opening.link);
            node.newcomer = Some(Newcomer(opening));
            self.watch_probe(name, link, asked.then_some(answered));
            return;
        }
        self.admit(opening);
    }

    /// Comes back with [`Message::Probed`] for the newcomer `link`.
    fn watch_probe(&self, node: NodeName, link: LinkId, answered: Option<oneshot::Receiver<()>>) {
        let mailbox = self.mailbox.clone();
        tokio::spawn(async move {
            let alive = match answered {
                Some(answered) => tokio::time::timeout(PROBE, answered)
                    .await
                    .is_ok_and(|answer| answer.is_ok()),
                None => false,
            };
            if let Some(mailbox) = mailbox.upgrade() {
                drop(mailbox.send(Message::Probed(node, link, alive)).await);
            }
        });
    }

    pub(super) fn probed(&mut self, name: &NodeName, link: LinkId, alive: bool) {
        let Some(node) = self.nodes.get_mut(name) else {
            return;
        };
        let waits = node.newcomer.take_if(|Newcomer(one)| one.link == link);
        let Some(Newcomer(opening)) = waits else {
            return;
        };
        if !alive {
            return self.admit(opening);
        }
        tracing::warn!(node = %name, "two live links have this identity: quarantined");
        self.quarantined(&opening.to);
        self.quarantine(name);
    }

    /// Neither is believed until an operator has decided.
    fn quarantine(&mut self, name: &NodeName) {
        let Some(node) = self.nodes.get_mut(name) else {
            return;
        };
        node.record.quarantined = true;
        self.keep_node(name);
        let message = ToNode::Welcome {
            verdict: Verdict::Quarantined,
            settings: self.link,
        };
        self.pending.effect(Effect::send(name, &message));
        self.pending
            .effect(Effect::Cut(name.clone(), "quarantined"));
        self.gone(name, "its identity has two live links");
        self.cloned(name);
        self.tell_node(name);
    }

    fn quarantined(&self, to: &mpsc::Sender<Outgoing>) {
        let message = ToNode::Welcome {
            verdict: Verdict::Quarantined,
            settings: self.link,
        };
        let text = serde_json::to_string(&message).unwrap_or_default();
        drop(to.try_send(Outgoing::Text(text.into())));
        refuse(to, "quarantined");
    }

    fn admit(&mut self, opening: Opening) {
        let (name, now) = (opening.node, now_ms());
        let Hello {
            facts,
            installed,
            boot,
            ..
        } = opening.hello;
        let Some(node) = self.nodes.get_mut(&name) else {
            return;
        };
        let link = Link {
            id: opening.link,
            to: opening.to,
            boot,
        };
        if let Some(old) = node.link.replace(link) {
            refuse(&old.to, "another link has taken its place");
        }
        node.seen = Seen::Connected { since_ms: now };
        node.record.facts = facts;
        let told = node.told(&installed, now / 1000);
        self.keep_node(&name);
        self.runs(&name, installed.clone());
        for what in told.discrepancies {
            tracing::warn!(node = %name, %what, "discrepancy");
        }
        let verdict = told.verdict;
        let settings = self.link;
        self.pending
            .effect(Effect::send(&name, &ToNode::Welcome { verdict, settings }));
        if told.send {
            self.enforce(&name);
        }
        self.ask_for_packages(&name);
        self.tell_node(&name);
        let node = name.clone();
        self.all_of(&name, move |_| Event::Back {
            node: node.clone(),
            installed: installed.clone(),
        });
    }

    pub(super) fn heard(&mut self, name: &NodeName, link: LinkId, message: FromNode) {
        let current = self.nodes.get(name).and_then(|node| node.link.as_ref());
        if current.is_none_or(|current| current.id != link) {
            return;
        }
        match message {
            FromNode::Hello(_) => self
                .pending
                .effect(Effect::Cut(name.clone(), "a second hello")),
            FromNode::Installed(installed) => self.changed(name, *installed),
            FromNode::Have(have) => self.has(name, have),
            FromNode::Ballot(ballot) => {
                let (node, ballot) = (name.clone(), *ballot);
                let (id, objects) = (ballot.rollout, matches!(ballot.vote, Vote::Veto { .. }));
                let before = self.pending.effects.len();
                self.step(id, Event::Voted { node, ballot });
                if objects {
                    self.vetoed(id, name, before);
                }
            }
            FromNode::Progress(progress) => self.progressed(name, progress),
            FromNode::Waiting { rollout } => {
                let node = name.clone();
                self.step(rollout, Event::Waiting { node });
            }
            FromNode::Ended(end) => self.ended(name, end),
        }
    }

    /// What a node runs has changed while its link was open.
    fn changed(&mut self, name: &NodeName, installed: Installed) {
        self.runs(name, installed.clone());
        self.ask_for_packages(name);
        self.tell_node(name);
        let node = name.clone();
        self.all_of(name, move |_| Event::Runs {
            node: node.clone(),
            installed: installed.clone(),
        });
    }

    fn progressed(&mut self, name: &NodeName, progress: NodeProgress) {
        let id = progress.rollout;
        if let Some(rollout) = self.rollouts.get_mut(&id) {
            rollout.progress(name, format!("{}: {}", progress.phase, progress.what));
            let node = name.clone();
            self.step(id, Event::Heard { node });
        }
        let node = name.clone();
        self.pending
            .effect(Effect::Tell(FleetEvent::Progress { node, progress }));
    }

    fn ended(&mut self, name: &NodeName, end: Box<NodeEnd>) {
        let id = end.rollout;
        self.runs(name, end.installed.clone());
        self.ask_for_packages(name);
        self.tell_node(name);
        if self
            .rollouts
            .get(&id)
            .is_some_and(|one| one.parts().contains_key(name))
        {
            let node = name.clone();
            self.step(id, Event::Ended { node, end });
            return;
        }
        // Nobody else will tell it that its report has arrived.
        let commit = ToNode::Commit { rollout: id };
        self.pending.effect(Effect::send(name, &commit));
    }

    pub(super) fn closed(&mut self, name: &NodeName, link: LinkId) {
        let Some(node) = self.nodes.get_mut(name) else {
            return;
        };
        drop(node.newcomer.take_if(|Newcomer(one)| one.link == link));
        if node.link.take_if(|one| one.id == link).is_none() {
            return;
        }
        node.seen = Seen::Away {
            last_ms: Some(now_ms()),
        };
        self.tell_node(name);
        let node = name.clone();
        self.all_of(name, move |_| Event::Away { node: node.clone() });
    }

    /// The node takes no part in anything any more.
    pub(super) fn gone(&mut self, name: &NodeName, reason: &str) {
        let (node, reason) = (name.clone(), reason.to_owned());
        self.all_of(name, move |_| Event::Gone {
            node: node.clone(),
            reason: reason.clone(),
        });
    }

    /// Every update that the node has a part in hears it.
    fn all_of(&mut self, name: &NodeName, event: impl Fn(RolloutId) -> Event) {
        let has = |rollout: &crate::plan::rollout::Rollout| rollout.parts().contains_key(name);
        let all = self.rollouts.iter().filter(|(_, one)| has(one));
        let ids: Vec<RolloutId> = all.map(|(id, _)| *id).collect();
        for id in ids {
            self.step(id, event(id));
        }
    }

    /// Where the packages of a node are not known, it is asked for them.
    fn ask_for_packages(&mut self, name: &NodeName) {
        let Some(node) = self.nodes.get(name) else {
            return;
        };
        let known = node.have.is_some() && !node.have_is_old;
        if !known && node.link.is_some() {
            self.pending.effect(Effect::send(name, &ToNode::List));
        }
    }

    pub(super) fn send(&mut self, name: &NodeName, text: Arc<str>) {
        let Some(node) = self.nodes.get_mut(name) else {
            return;
        };
        let Some(link) = &node.link else {
            return;
        };
        // A node that does not read is as good as away, and is told again when it is back.
        if link.to.try_send(Outgoing::Text(text)).is_err() {
            self.cut_now(name, "it does not read");
        }
    }

    pub(super) fn cut_now(&mut self, name: &NodeName, reason: &'static str) {
        let link = self.nodes.get_mut(name).and_then(|node| node.link.take());
        if let Some(link) = link {
            refuse(&link.to, reason);
            let gone = Message::Closed(name.clone(), link.id);
            if let Some(node) = self.nodes.get_mut(name) {
                node.link = Some(link);
            }
            if let Message::Closed(name, id) = gone {
                self.closed(&name, id);
            }
        }
    }
}

/// Ends a link; one whose queue is full ends when its sender is dropped.
fn refuse(to: &mpsc::Sender<Outgoing>, reason: &'static str) {
    drop(to.try_send(Outgoing::Close(reason)));
}
