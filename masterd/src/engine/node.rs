//! A node in the master's memory.

use model::Digest;
use model::wire::{
    ClassName, Counter, Facts, FleetEvent, Have, Installed, NodeName, Presence, Wanted,
};
use tokio::sync::mpsc;

use super::handle::Opening;
use super::link::{LinkId, Outgoing};
use super::records::{self, InstalledRecord, NodeRecord, WantedRecord};
use super::writes::{Effect, Rank};
use super::{Engine, rfc3339};
use crate::plan::negotiate::{Answer, Decided, answer};
use crate::plan::select::Recorded;
use crate::trust::{Identity, State};

/// The link of a node that has made itself known.
pub(super) struct Link {
    pub(super) id: LinkId,
    pub(super) to: mpsc::Sender<Outgoing>,
    /// The kernel's id of that boot.
    pub(super) boot: String,
}

/// A second link, until it is known whether the first one lives.
pub(super) struct Newcomer(pub(super) Opening);

/// Whether it is there.
pub(super) enum Seen {
    Connected { since_ms: u64 },
    Away { last_ms: Option<u64> },
}

/// A node, with all that is known of it.
pub(super) struct Node {
    pub(super) record: NodeRecord,
    /// Hash of the record that is stored of it; equal ones are not written again.
    stored: Option<Digest>,
    pub(super) identity: Option<Identity>,
    pub(super) seen: Seen,
    pub(super) link: Option<Link>,
    pub(super) newcomer: Option<Newcomer>,
    pub(super) installed: Option<Installed>,
    pub(super) have: Option<Have>,
    /// What it runs has changed since it said what packages it has.
    pub(super) have_is_old: bool,
    pub(super) wanted: Option<Box<Wanted>>,
    pub(super) signed: WantedRecord,
}

impl Node {
    pub(super) fn new(name: NodeName, facts: Facts) -> Self {
        Self {
            record: NodeRecord {
                name,
                quarantined: false,
                facts,
                node_type: None,
                location: None,
                classes: Vec::new(),
                labels: std::collections::BTreeMap::new(),
            },
            stored: None,
            identity: None,
            seen: Seen::Away { last_ms: None },
            link: None,
            newcomer: None,
            installed: None,
            have: None,
            have_is_old: false,
            wanted: None,
            signed: WantedRecord::default(),
        }
    }

    /// As it was stored.
    pub(super) fn from_record(record: NodeRecord) -> Self {
        let mut node = Self::new(record.name.clone(), record.facts.clone());
        node.stored = Some(hash(&record));
        node.record = record;
        node
    }

    /// Whether it may be here; one whose identity was not heard of yet was let in just now.
    pub(super) fn is_member(&self) -> bool {
        let identity = self.identity.as_ref();
        identity.is_none_or(|identity| matches!(identity.state, State::Active))
    }

    pub(super) fn connected(&self) -> bool {
        self.link.is_some()
    }

    pub(super) fn software(&self) -> Option<Digest> {
        self.installed.as_ref()?.software
    }

    /// The classes that count: its own, those that its token gave it, those of an image.
    pub(super) fn classes(&self) -> Vec<ClassName> {
        let mut all = self.recorded().classes;
        all.extend(self.record.facts.classes.iter().cloned());
        all.sort();
        all.dedup();
        all
    }

    /// What operators and its token say of it.
    pub(super) fn recorded(&self) -> Recorded {
        let identity = self.identity.iter();
        let mut classes = self.record.classes.clone();
        classes.extend(identity.flat_map(|identity| identity.classes.iter().cloned()));
        Recorded {
            node_type: self.record.node_type.clone(),
            location: self.record.location.clone(),
            classes,
            labels: self.record.labels.clone(),
        }
    }

    /// What the node is to be told of what it says that it runs; `now` in seconds since 1970.
    pub(super) fn told(&self, installed: &Installed, now: u64) -> Answer {
        let decided = self.wanted.as_ref().map(|wanted| Decided {
            software: wanted.software,
            epoch: wanted.epoch,
            counter: wanted.counter,
        });
        answer(installed, decided, self.record.quarantined, now)
    }

    pub(super) fn presence(&self) -> Presence {
        if !self.is_member() {
            return Presence::Retired;
        }
        if self.record.quarantined {
            return Presence::Quarantined;
        }
        match self.seen {
            Seen::Connected { since_ms } => Presence::Connected {
                since: rfc3339(since_ms),
            },
            Seen::Away { last_ms } => Presence::Away {
                last: last_ms.map(rfc3339),
            },
        }
    }
}

impl Engine {
    /// Stores what is known of the node, where that has changed.
    pub(super) fn keep_node(&mut self, name: &NodeName) {
        let Some(node) = self.nodes.get_mut(name) else {
            return;
        };
        let hash = Some(hash(&node.record));
        if node.stored != hash {
            node.stored = hash;
            self.pending
                .put(Rank::Plain, records::node(name), &node.record);
            self.recheck(name);
        }
    }

    /// Notes what a node says that it runs, and stores it where it is something else.
    pub(super) fn runs(&mut self, name: &NodeName, installed: Installed) {
        let Some(node) = self.nodes.get_mut(name) else {
            return;
        };
        if node.installed.as_ref() == Some(&installed) {
            return;
        }
        let software = |one: &Installed| (one.software, one.committed);
        if node.installed.as_ref().map(software) != Some(software(&installed)) {
            node.have_is_old = true;
        }
        node.installed = Some(installed);
        self.keep_installed(name);
    }

    /// Notes which packages a node has.
    pub(super) fn has(&mut self, name: &NodeName, have: Have) {
        let Some(node) = self.nodes.get_mut(name) else {
            return;
        };
        node.have_is_old = false;
        if node.have.as_ref() != Some(&have) {
            node.have = Some(have);
            self.keep_installed(name);
        }
    }

    fn keep_installed(&mut self, name: &NodeName) {
        let Some(node) = self.nodes.get(name) else {
            return;
        };
        let record = InstalledRecord {
            installed: node.installed.clone(),
            have: node.have.clone(),
        };
        self.pending
            .put(Rank::Plain, records::installed(name), &record);
        self.recheck(name);
    }

    /// Signs nothing: stores a decided state that was signed, or that there is none.
    pub(super) fn keep_wanted(&mut self, name: &NodeName) {
        if let Some(node) = self.nodes.get(name) {
            self.pending
                .put(Rank::Wanted, records::wanted(name), &node.signed);
        }
        self.recheck(name);
    }

    /// The number of the next wanted state of a node.
    pub(super) fn next_counter(&self, name: &NodeName) -> Counter {
        let node = self.nodes.get(name);
        let last = node.map_or(Counter(0), |node| node.signed.counter);
        let seen = node.and_then(|node| node.installed.as_ref());
        let seen = seen.filter(|seen| seen.epoch == self.epoch);
        // A node that saw more than the store knows is believed: it would refuse less.
        Counter(last.max(seen.map_or(Counter(0), |seen| seen.counter)).0 + 1)
    }

    pub(super) fn tell_node(&mut self, name: &NodeName) {
        let Some(node) = self.nodes.get(name) else {
            return;
        };
        let event = FleetEvent::Node {
            node: name.clone(),
            presence: node.presence(),
            software: node.software(),
            trial: node.installed.as_ref().is_some_and(|one| one.trial),
        };
        self.pending.effect(Effect::Tell(event));
    }
}

fn hash(record: &NodeRecord) -> Digest {
    // Our own type: it can be written down.
    Digest::of(&serde_json::to_vec(record).unwrap_or_default())
}
