//! What the store has, taken into memory; and identities as trust changes them.

use std::collections::BTreeMap;

use model::Digest;
use model::trust::Kind;
use model::wire::{Epoch, FleetEvent, NodeName, RolloutId, Wanted};
use serde::{Deserialize, Serialize};
use tokio::sync::{broadcast, mpsc};

use super::handle::Message;
use super::node::Node;
use super::records::{
    self, ImageRecord, InUseRecord, InstalledRecord, KeyRecord, NodeRecord, PackageRecord,
    WantedRecord,
};
use super::writes::{Fence, Pending};
use super::{Engine, Error, Parts, now_ms};
use crate::plan::rollout::{Event, Head, Part, Rollout};
use crate::store::{Entry, Followed, Outcome, Store, Txn};
use crate::trust::{Identity, State};

const FENCE: &str = "meta/engine";
const EPOCH: &str = "meta/epoch";

/// Which run of a master writes.
#[derive(Serialize, Deserialize)]
struct Run {
    since_ms: u64,
}

impl Engine {
    pub(super) async fn load(
        parts: Parts,
        events: broadcast::Sender<FleetEvent>,
        mailbox: mpsc::WeakSender<Message>,
    ) -> Result<Self, Error> {
        let store = parts.store;
        let fence = fence(&store).await?;
        let epoch = store.record::<Epoch>(EPOCH).await?;
        let mut engine = Self {
            fence,
            audit: parts.audit,
            hooks: parts.hooks,
            checks: super::notes::Checks::default(),
            patches: super::patches::Patches::start(std::sync::Arc::clone(&parts.shelf)),
            shelf: parts.shelf,
            key: parts.key,
            link: parts.link,
            epoch: epoch.map_or(Epoch(1), |(epoch, _)| epoch),
            nodes: BTreeMap::new(),
            assignments: BTreeMap::new(),
            groups: BTreeMap::new(),
            packages: BTreeMap::new(),
            candidates: super::documents::Candidates::default(),
            documents: super::documents::Documents::default(),
            images: super::images::Images::default(),
            ready: None,
            rollouts: BTreeMap::new(),
            wakes: BTreeMap::new(),
            next_rollout: 1,
            keys: std::collections::HashMap::new(),
            pending: Pending::default(),
            events,
            mailbox,
            store,
        };
        engine.read_images().await?;
        engine.read_nodes().await?;
        engine.read_people().await?;
        engine.read_rollouts().await?;
        engine.read_ready().await?;
        engine.learn_documents();
        engine.follow_identities();
        Ok(engine)
    }

    async fn all(&self, prefix: &str) -> Result<Vec<Entry>, Error> {
        Ok(self.store.range(prefix).await?.0)
    }

    /// Before the nodes: images say what they are.
    async fn read_images(&mut self) -> Result<(), Error> {
        for entry in self.all("image/").await? {
            let record: ImageRecord = entry.read()?;
            self.take_up_image(record)?;
        }
        for entry in self.all("image-in-use/").await? {
            let record: InUseRecord = entry.read()?;
            if let Some(Ok(name)) = entry.key.strip_prefix("image-in-use/").map(str::parse) {
                self.images.in_use.insert(name, record.version);
            }
        }
        Ok(())
    }

    async fn read_nodes(&mut self) -> Result<(), Error> {
        for entry in self.all("node/").await? {
            let record: NodeRecord = entry.read()?;
            self.nodes
                .insert(record.name.clone(), Node::from_record(record));
        }
        for entry in self.all("identity/").await? {
            self.identity(entry.read()?);
        }
        for entry in self.all("installed/").await? {
            let record: InstalledRecord = entry.read()?;
            if let Some(node) = self.node_of(&entry, "installed/") {
                node.installed = record.installed;
                node.have = record.have;
            }
        }
        let key = self.key.public().clone();
        for entry in self.all("wanted/").await? {
            let record: WantedRecord = entry.read()?;
            let Some(node) = self.node_of(&entry, "wanted/") else {
                continue;
            };
            let signed = record.signed.as_ref();
            let opened = signed
                .map(|signed| signed.open::<Wanted>(Kind::Wanted, std::slice::from_ref(&key)));
            node.wanted = opened.transpose()?.map(|(wanted, _)| Box::new(wanted));
            node.signed = record;
        }
        Ok(())
    }

    fn node_of(&mut self, entry: &Entry, prefix: &str) -> Option<&mut Node> {
        let name: NodeName = entry.key.strip_prefix(prefix)?.parse().ok()?;
        self.nodes.get_mut(&name)
    }

    async fn read_people(&mut self) -> Result<(), Error> {
        for entry in self.all("assign/").await? {
            let scope = entry
                .key
                .strip_prefix("assign/")
                .and_then(records::scope_of);
            if let Some(scope) = scope {
                self.assignments.insert(scope, entry.read()?);
            }
        }
        for entry in self.all("group/").await? {
            if let Some(Ok(name)) = entry.key.strip_prefix("group/").map(str::parse) {
                self.groups.insert(name, entry.read()?);
            }
        }
        for entry in self.all("package/").await? {
            let record: PackageRecord = entry.read()?;
            self.take_up(&record)?;
            self.packages.insert(record.id.clone(), record);
        }
        for entry in self.all("update-key/").await? {
            let record: KeyRecord = entry.read()?;
            self.keys.insert(entry.key.clone(), record.rollout);
        }
        Ok(())
    }

    async fn read_rollouts(&mut self) -> Result<(), Error> {
        let mut heads = BTreeMap::new();
        for entry in self.all("rollout/").await? {
            let head: Head = entry.read()?;
            heads.insert(head.id, head);
        }
        for (id, head) in heads {
            let prefix = format!("rollout-node/{:020}/", id.0);
            let mut parts = BTreeMap::new();
            for entry in self.all(&prefix).await? {
                let part: Part = entry.read()?;
                if let Some(Ok(name)) = entry.key.strip_prefix(&prefix).map(str::parse) {
                    parts.insert(name, part);
                }
            }
            self.next_rollout = self.next_rollout.max(id.0 + 1);
            self.rollouts.insert(id, Rollout::load(head, parts));
        }
        Ok(())
    }

    /// Which software lists give which hashes, as far as decisions that are kept say so.
    fn learn_documents(&mut self) {
        let mut pairs: Vec<(Digest, Digest)> = Vec::new();
        for rollout in self.rollouts.values() {
            for part in rollout.parts().values() {
                pairs.push((part.target, part.list));
                pairs.extend(part.base.zip(part.base_list));
            }
        }
        for wanted in self.nodes.values().filter_map(|node| node.wanted.as_ref()) {
            pairs.push((wanted.software, wanted.list));
        }
        for (software, list) in pairs {
            self.documents.learn(software, list);
        }
    }

    /// Every update is told that the master was restarted.
    pub(super) fn restarted(&mut self) {
        let ids: Vec<RolloutId> = self.rollouts.keys().copied().collect();
        for id in ids {
            self.step(id, Event::Restarted);
        }
    }

    /// Trust has changed, or told for the first time, a node's right to its name.
    pub(super) fn identity(&mut self, identity: Identity) {
        let name = identity.name.clone();
        self.foretell(&name, &identity.facts);
        let node = self
            .nodes
            .entry(name.clone())
            .or_insert_with(|| Node::new(name.clone(), identity.facts.clone()));
        let was = node.is_member();
        let new_key = node
            .identity
            .as_ref()
            .is_some_and(|old| old.generation != identity.generation);
        let reason = match identity.state {
            State::Active => None,
            State::Open => Some("it is being replaced"),
            State::Retired => Some("it was retired"),
            State::Revoked => Some("its certificate was revoked"),
        };
        node.identity = Some(identity);
        if let Some(reason) = reason.filter(|_| was) {
            self.cut_now(&name, reason);
            self.gone(&name, reason);
            self.tell_node(&name);
        } else if new_key {
            self.cut_now(&name, "its certificate was replaced");
        }
    }

    fn follow_identities(&self) {
        let mut follow = self.store.follow("identity/");
        let mailbox = self.mailbox.clone();
        tokio::spawn(async move {
            while let Ok(followed) = follow.next().await {
                let identities = identities(followed);
                let Some(mailbox) = mailbox.upgrade() else {
                    return;
                };
                let take = Box::new(move |engine: &mut Self| {
                    for identity in identities {
                        engine.identity(identity);
                    }
                });
                if mailbox.send(Message::Do(take)).await.is_err() {
                    return;
                }
            }
        });
    }
}

fn identities(followed: Followed) -> Vec<Identity> {
    let read = |result: Result<Option<Identity>, crate::store::Error>| match result {
        Ok(identity) => identity,
        Err(error) => {
            tracing::error!(%error, "an identity is passed over");
            None
        }
    };
    match followed {
        Followed::All(entries, _) => {
            let entries = entries.iter();
            entries
                .filter_map(|entry| read(entry.read().map(Some)))
                .collect()
        }
        Followed::Changed(changes) => {
            let changes = changes.iter();
            changes.filter_map(|change| read(change.read())).collect()
        }
    }
}

/// Takes the store over: what an earlier run still writes is refused from now on.
async fn fence(store: &Store) -> Result<Fence, Error> {
    let key = FENCE.to_owned();
    let txn = Txn::new().put(key.clone(), &Run { since_ms: now_ms() })?;
    match store.commit(txn).await? {
        Outcome::Committed(revision) => Ok(Fence { key, revision }),
        Outcome::Conflict => Err(Error::Conflict("the store is taken".to_owned())),
    }
}
