//! How a node comes in, stays in, and is let in by an operator.
//!
//! The same request may be sent again at any time: a key that has the name gets its certificate again
//! and uses nothing up, so an answer that was lost on its way costs nothing.

use model::wire::{Enrol, EnrolAnswer, Enrolled, Facts, NodeName};

use super::authority::identity_key;
use super::ca::Request;
use super::records::{Identity, PENDING, Pending, State};
use super::{Authority, Error, Issued, Subject};
use crate::audit::Note;
use crate::store::{Revision, Txn};

/// What came of a request to be let in.
#[derive(Debug)]
pub enum Outcome {
    /// It is in; the engine has to know.
    In(Box<Entered>),
    /// It waits for an operator.
    Waits(EnrolAnswer),
}

/// A node that is in.
#[derive(Debug)]
pub struct Entered {
    /// What it is told.
    pub answer: EnrolAnswer,
    /// Its identity.
    pub identity: Identity,
}

/// A certificate in the place of another.
#[derive(Debug)]
pub struct Renewal {
    /// The new one.
    pub issued: Issued,
}

impl Authority {
    /// `POST /v1/enrol`.
    pub async fn enrol(&self, asked: Enrol, now: u64) -> Result<Outcome, Error> {
        let request = Request::read(&asked.request)?;
        let _changing = self.inner.changing.lock().await;
        let key = identity_key(&asked.name);
        let found = self.inner.store.record::<Identity>(&key).await?;
        let (txn, identity, note) = match found {
            Some((identity, at)) if identity.state == State::Active => {
                let has = identity.keys.contains(&request.hash);
                if !has {
                    return Err(Error::NameTaken { name: asked.name });
                }
                let note = Note::new(&identity.name, "enrol again");
                (Txn::new().when(&key, at), identity, note)
            }
            Some((identity, at)) => {
                check_out(&identity)?;
                let (old, from) = (Some(identity), at);
                let Some(begun) = self.admit(&asked, &request, (old, from), now).await? else {
                    return self.wait(&asked, &request, now).await;
                };
                begun
            }
            None => {
                let old = (None, Revision::ABSENT);
                let Some(begun) = self.admit(&asked, &request, old, now).await? else {
                    return self.wait(&asked, &request, now).await;
                };
                begun
            }
        };
        self.enter(txn, identity, (request, asked.facts), (note, now))
            .await
    }

    /// By its token; `None`: it has none.
    async fn admit(
        &self,
        asked: &Enrol,
        request: &Request,
        (old, at): (Option<Identity>, Revision),
        now: u64,
    ) -> Result<Option<(Txn, Identity, Note)>, Error> {
        let Some(token) = &asked.token else {
            return Ok(None);
        };
        let (txn, classes, id) = self.use_token(token, now).await?;
        let identity = begun(&asked.name, request, old, asked.facts.clone());
        let identity = Identity {
            classes,
            ..identity
        };
        let note = Note::new(&asked.name, "enrol").because(&format!("token {id}"));
        let txn = txn.when(identity_key(&asked.name), at);
        Ok(Some((txn, identity, note)))
    }

    /// Makes the certificate and writes the identity down.
    async fn enter(
        &self,
        txn: Txn,
        mut identity: Identity,
        (request, facts): (Request, Facts),
        (note, now): (Note, u64),
    ) -> Result<Outcome, Error> {
        let inner = &self.inner;
        let subject = Subject::Node(identity.name.clone());
        let dates = (now, inner.settings.life);
        let issued = inner
            .ca
            .client(&subject, identity.generation, &request, dates)?;
        identity.serial.clone_from(&issued.serial);
        identity.until = issued.until;
        identity.facts = facts;
        let key = identity_key(&identity.name);
        let at = self.committed(txn.put(&key, &identity)?, note).await?;
        inner.known.settled(&key, at).await;
        let answer = EnrolAnswer::Enrolled(Box::new(Enrolled {
            name: identity.name.clone(),
            classes: identity.classes.clone(),
            certificate: issued.pem,
            ca: inner.ca.pem().to_owned(),
            master_key: inner.master_key.clone(),
            mirrors: inner.settings.mirrors.clone(),
        }));
        Ok(Outcome::In(Box::new(Entered { answer, identity })))
    }

    async fn wait(&self, asked: &Enrol, request: &Request, now: u64) -> Result<Outcome, Error> {
        let fingerprint = fingerprint(&request.hash);
        let key = format!("{PENDING}{fingerprint}");
        let pending = Pending {
            name: asked.name.clone(),
            key: request.hash.clone(),
            facts: asked.facts.clone(),
            asked: now,
        };
        let known: Option<(Pending, _)> = self.inner.store.record(&key).await?;
        let is_new = match &known {
            None => {
                let count = self.pending().await?.len();
                if count >= self.inner.settings.most_pending {
                    return Err(Error::Crowd { count });
                }
                true
            }
            // Asking again writes nothing, unless it says something else of itself.
            Some((known, _)) => known.name != pending.name || known.facts != pending.facts,
        };
        if is_new {
            let note = Note::new(&asked.name, "ask to be let in").because(&fingerprint);
            self.committed(Txn::new().put(key, &pending)?, note).await?;
        }
        Ok(Outcome::Waits(EnrolAnswer::Pending {
            fingerprint,
            again_ms: self.inner.settings.again_ms,
        }))
    }

    /// Nodes that wait to be accepted, with the fingerprints of their keys.
    pub async fn pending(&self) -> Result<Vec<(String, Pending)>, Error> {
        let (entries, _) = self.inner.store.range(PENDING).await?;
        let read = |entry: crate::store::Entry| {
            let fingerprint = entry.key.trim_start_matches(PENDING).to_owned();
            Ok((fingerprint, entry.read()?))
        };
        entries.into_iter().map(read).collect()
    }

    /// An operator lets a node that waits in; it gets its certificate when it asks the next time.
    /// `fingerprint` says which, where two use the name.
    pub async fn accept(
        &self,
        name: &NodeName,
        fingerprint: Option<&str>,
        (by, reason): (&str, &str),
    ) -> Result<Identity, Error> {
        let _changing = self.inner.changing.lock().await;
        let mut waiting = self.pending().await?;
        waiting.retain(|(print, one)| {
            one.name == *name && fingerprint.is_none_or(|wanted| print.starts_with(wanted))
        });
        let ambiguous = Error::Ambiguous {
            name: name.to_string(),
            count: waiting.len(),
        };
        let (print, pending) = match (waiting.pop(), waiting.is_empty()) {
            (Some(one), true) => one,
            (Some(_), false) => return Err(ambiguous),
            (None, _) => {
                return Err(Error::Unknown {
                    what: "node that waits",
                    name: name.to_string(),
                });
            }
        };
        let key = identity_key(name);
        let found = self.inner.store.record::<Identity>(&key).await?;
        let (old, at) = match found {
            Some((identity, _)) if identity.state == State::Active => {
                return Err(Error::NameTaken { name: name.clone() });
            }
            Some((identity, at)) => (Some(identity), at),
            None => (None, Revision::ABSENT),
        };
        old.as_ref().map_or(Ok(()), check_out)?;
        let mut identity = begun(name, &Hashed(&pending.key), old, pending.facts);
        identity.classes = Vec::new();
        let txn = Txn::new().when(&key, at).put(&key, &identity)?;
        let txn = txn.delete(format!("{PENDING}{print}"));
        let note = Note::new(by, "accept").on(name).because(reason);
        let at = self.committed(txn, note).await?;
        self.inner.known.settled(&key, at).await;
        Ok(identity)
    }

    /// `POST /v1/certificate`: a new certificate for a new key of a node that has proved its old one.
    pub async fn renew(&self, name: &NodeName, pem: &str, now: u64) -> Result<Renewal, Error> {
        let request = Request::read(pem)?;
        let _changing = self.inner.changing.lock().await;
        let key = identity_key(name);
        let found = self.inner.store.record::<Identity>(&key).await?;
        let (mut identity, at) = found.ok_or_else(|| Error::Unknown {
            what: "node",
            name: name.to_string(),
        })?;
        check_out(&identity)?;
        // An answer that was lost: the newest key asks again. An older one is no new key.
        let is_newest = identity.keys.last() == Some(&request.hash);
        if !is_newest && identity.keys.contains(&request.hash) {
            return Err(Error::Request {
                what: "has the old key: make a new one",
            });
        }
        if !is_newest {
            identity.keys.push(request.hash.clone());
            let past = identity.keys.len().saturating_sub(2);
            identity.keys.drain(..past);
        }
        let subject = Subject::Node(name.clone());
        let dates = (now, self.inner.settings.life);
        let issued = self
            .inner
            .ca
            .client(&subject, identity.generation, &request, dates)?;
        identity.serial.clone_from(&issued.serial);
        identity.until = issued.until;
        let txn = Txn::new().when(&key, at).put(&key, &identity)?;
        self.committed(txn, Note::new(name, "renew").on(name))
            .await?;
        Ok(Renewal { issued })
    }
}

/// What names a key.
trait KeyHash {
    fn key_hash(&self) -> String;
}

impl KeyHash for Request {
    fn key_hash(&self) -> String {
        self.hash.clone()
    }
}

struct Hashed<'a>(&'a str);

impl KeyHash for Hashed<'_> {
    fn key_hash(&self) -> String {
        self.0.to_owned()
    }
}

/// The identity of a name that a key takes now.
fn begun(name: &NodeName, key: &impl KeyHash, old: Option<Identity>, facts: Facts) -> Identity {
    let (generation, classes) = match old {
        Some(old) => (old.generation + 1, old.classes),
        None => (0, Vec::new()),
    };
    Identity {
        name: name.clone(),
        state: State::Active,
        generation,
        keys: vec![key.key_hash()],
        serial: String::new(),
        until: 0,
        classes,
        facts,
    }
}

/// A name that was taken out of the fleet does not come back by itself.
fn check_out(identity: &Identity) -> Result<(), Error> {
    let how = match identity.state {
        State::Active | State::Open => return Ok(()),
        State::Retired => "retired",
        State::Revoked => "revoked",
    };
    Err(Error::Out {
        name: identity.name.clone(),
        how,
    })
}

fn fingerprint(hash: &str) -> String {
    hash.chars().take(16).collect()
}
