//! The one that is asked.

use std::sync::Arc;

use model::trust::SecretKey;
use model::wire::{FleetName, NodeName};
use tokio::sync::Mutex;

use super::known::Known;
use super::records::{IDENTITIES, Identity, Operator, State};
use super::standing::standing;
use super::{Ca, DAY, Error, Peer, Standing, Subject, secret};
use crate::audit::{Audit, Note};
use crate::store::{Outcome, Revision, Store, Txn};

/// What can be configured of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Seconds that a certificate lasts.
    pub life: u64,
    /// Seconds for which one that is out of date may still renew.
    pub grace: u64,
    /// Nodes that may wait to be accepted.
    pub most_pending: usize,
    /// Milliseconds after which a node that waits asks again.
    pub again_ms: u64,
    /// Where objects are to be had besides the master: told to nodes when they come in.
    pub mirrors: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            life: 90 * DAY,
            grace: 90 * DAY,
            most_pending: 1000,
            again_ms: 5000,
            mirrors: Vec::new(),
        }
    }
}

/// Says who somebody is, and lets nodes and operators in and out. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Authority {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) ca: Ca,
    pub(super) master_key: String,
    pub(super) settings: Settings,
    pub(super) store: Store,
    pub(super) audit: Audit,
    pub(super) known: Known,
    /// Changes of identities, tokens and operators go one after another: each compares what it read,
    /// and many nodes that come in at once would only make each other try again.
    pub(super) changing: Mutex<()>,
}

impl Authority {
    /// Reads who is who.
    pub async fn start(
        ca: Ca,
        master_key: &SecretKey,
        settings: Settings,
        (store, audit): (Store, Audit),
    ) -> Result<Self, Error> {
        let known = Known::start(&store).await?;
        let inner = Inner {
            ca,
            master_key: master_key.public().to_text(),
            settings,
            store,
            audit,
            known,
            changing: Mutex::new(()),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// The fleet's CA.
    pub fn ca(&self) -> &Ca {
        &self.inner.ca
    }

    /// What a certificate is worth now.
    pub fn standing(&self, peer: &Peer, now: u64) -> Standing {
        let identity = match &peer.subject {
            Subject::Node(name) => self.inner.known.node(name),
            Subject::Operator(name) => {
                let operator = self.inner.known.operator(name);
                operator.map(|operator| (State::Active, operator.generation))
            }
        };
        standing(peer, identity, now, self.inner.settings.grace)
    }

    /// The operator of this name.
    pub fn operator(&self, name: &FleetName) -> Option<Arc<Operator>> {
        self.inner.known.operator(name)
    }

    /// The operator whose token this is.
    pub fn bearer(&self, token: &str) -> Option<Arc<Operator>> {
        let (name, said) = token.strip_prefix("coo1.")?.rsplit_once('.')?;
        let operator = self.inner.known.operator(&name.parse().ok()?)?;
        secret::is(said, &operator.secret).then_some(operator)
    }

    /// The identity of a node.
    pub async fn identity(&self, name: &NodeName) -> Result<Option<Identity>, Error> {
        let found = self.inner.store.record(&identity_key(name)).await?;
        Ok(found.map(|(identity, _)| identity))
    }

    /// The node is gone: its certificates do not count any more. Its links are the engine's to cut.
    pub async fn retire(&self, name: &NodeName, by: &str, reason: &str) -> Result<(), Error> {
        self.end(name, State::Retired, (by, "retire", reason)).await
    }

    /// Somebody may have the node's key: its certificates do not count any more.
    pub async fn revoke(&self, name: &NodeName, by: &str, reason: &str) -> Result<(), Error> {
        self.end(name, State::Revoked, (by, "revoke", reason)).await
    }

    /// The node's certificates do not count any more, and a new key may take its name.
    pub async fn replace(&self, name: &NodeName, by: &str, reason: &str) -> Result<(), Error> {
        self.end(name, State::Open, (by, "replace", reason)).await
    }

    async fn end(
        &self,
        name: &NodeName,
        state: State,
        (by, what, reason): (&str, &str, &str),
    ) -> Result<(), Error> {
        let _changing = self.inner.changing.lock().await;
        let key = identity_key(name);
        let found = self.inner.store.record::<Identity>(&key).await?;
        let (mut identity, revision) = found.ok_or_else(|| Error::Unknown {
            what: "node",
            name: name.to_string(),
        })?;
        identity.state = state;
        identity.generation += 1;
        let txn = Txn::new().when(&key, revision).put(&key, &identity)?;
        let note = Note::new(by, what).on(name).because(reason);
        let at = self.committed(txn, note).await?;
        self.inner.known.settled(&key, at).await;
        Ok(())
    }

    pub(super) async fn committed(&self, txn: Txn, note: Note) -> Result<Revision, Error> {
        match self.inner.audit.commit(txn, note).await? {
            Outcome::Committed(revision) => Ok(revision),
            Outcome::Conflict => Err(Error::Conflict),
        }
    }
}

pub(super) fn identity_key(name: &NodeName) -> String {
    format!("{IDENTITIES}{name}")
}
