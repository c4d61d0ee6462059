//! A node in the master's memory.

use model::Digest;
use model::wire::{
    ClassName, Counter, Facts, FleetEvent, FleetName, Have, Installed, NodeName, Presence,
    Selector, Wanted,
};
use tokio::sync::mpsc;

use super::handle::Opening;
use super::link::{LinkId, Outgoing};
use super::records::{self, InstalledRecord, NodeRecord, WantedRecord};
use super::writes::{Effect, Rank};
use super::{Engine, rfc3339};
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
    /// What is stored of it; equal records are not written again.
    stored: Option<NodeRecord>,
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
        node.stored = Some(record.clone());
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

    /// The classes that count: its own, and those that its token gave it.
    pub(super) fn classes(&self) -> Vec<ClassName> {
        let given = self.identity.iter().flat_map(|identity| &identity.classes);
        let own = &self.record.facts.classes;
        let mut all: Vec<ClassName> = own.iter().chain(given).cloned().collect();
        all.sort();
        all.dedup();
        all
    }

    pub(super) fn node_type(&self) -> Option<&FleetName> {
        self.record
            .node_type
            .as_ref()
            .or(self.record.facts.node_type.as_ref())
    }

    pub(super) fn location(&self) -> Option<&FleetName> {
        self.record
            .location
            .as_ref()
            .or(self.record.facts.location.as_ref())
    }

    /// What counts of it, with the roles that the master gives it.
    pub(super) fn facts(&self, roles: &[FleetName]) -> Facts {
        let mut facts = self.record.facts.clone();
        facts.node_type = self.node_type().cloned();
        facts.location = self.location().cloned();
        facts.classes = self.classes();
        facts.features.extend(roles.iter().cloned());
        facts.features.sort();
        facts.features.dedup();
        facts
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

    /// Whether a selection means it; groups are resolved by the caller.
    pub(super) fn is_in(&self, selector: &Selector) -> bool {
        let among = |wanted: &[FleetName], have: Option<&FleetName>| {
            wanted.is_empty() || have.is_some_and(|have| wanted.contains(have))
        };
        let classes = self.classes();
        let wanted = &selector.classes;
        let labels = &self.record.labels;
        (selector.nodes.is_empty() || selector.nodes.contains(&self.record.name))
            && (wanted.is_empty() || wanted.iter().any(|class| classes.contains(class)))
            && among(&selector.node_types, self.node_type())
            && among(&selector.locations, self.location())
            && selector
                .labels
                .iter()
                .all(|(name, value)| labels.get(name) == Some(value))
    }
}

impl Engine {
    /// Stores what is known of the node, where that has changed.
    pub(super) fn keep_node(&mut self, name: &NodeName) {
        let Some(node) = self.nodes.get_mut(name) else {
            return;
        };
        if node.stored.as_ref() != Some(&node.record) {
            node.stored = Some(node.record.clone());
            self.pending
                .put(Rank::Plain, records::node(name), &node.record);
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
    }

    /// Signs nothing: stores a decided state that was signed, or that there is none.
    pub(super) fn keep_wanted(&mut self, name: &NodeName) {
        if let Some(node) = self.nodes.get(name) {
            self.pending
                .put(Rank::Wanted, records::wanted(name), &node.signed);
        }
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
