//! Coming into a fleet, staying in it, and leaving it.

use std::time::Duration;

use model::report::Chain;
use model::wire::{Enrol, EnrolAnswer, Enrolled, Join, NodeName};

use super::kept::{Joining, Member, State};
use super::{Error, Follower, Message, now};
use crate::sys::master::identity::{Identity, Key};
use crate::sys::master::tls::{self, Anchor};
use crate::sys::master::{Address, http};

/// A master that was away is asked again after so long.
const AGAIN: Duration = Duration::from_secs(30);
/// The longest wait that a master may ask for.
const LONGEST: Duration = Duration::from_mins(10);

/// A token's parts: what the master is told, and how its CA is known.
fn token(text: &str) -> Option<(String, Anchor)> {
    let mut parts = text.trim().split('.');
    let (form, id, secret, hash) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hash = hash.len() == 64 && hash.bytes().all(|one| one.is_ascii_hexdigit());
    let whole = form == "co1" && !id.is_empty() && !secret.is_empty() && parts.next().is_none();
    let said = format!("{id}.{secret}");
    (whole && is_hash).then(|| (said, Anchor::Hash(hash.to_ascii_lowercase())))
}

fn anchor(join: &Join) -> Result<(Option<String>, Anchor), Error> {
    if let Some(text) = &join.token {
        let (said, anchor) = token(&text.0).ok_or_else(|| {
            Error::Invalid(
                "that is no enrolment token: pkgtool fleet token makes one, co1.ID.SECRET.CA"
                    .to_owned(),
            )
        })?;
        return Ok((Some(said), anchor));
    }
    let ca = join.ca.clone().ok_or_else(|| {
        Error::Invalid(
            "neither a token nor the fleet's CA is given: without one of them nobody knows whose \
             master answers"
                .to_owned(),
        )
    })?;
    Ok((None, Anchor::Certificate(ca)))
}

/// The host name, as far as it can name a node.
fn own_name() -> Result<NodeName, Error> {
    let host = nix::unistd::gethostname().unwrap_or_default();
    let host = host.to_string_lossy().to_ascii_lowercase();
    host.parse().map_err(|error| {
        Error::Invalid(format!(
            "the host name cannot name a node ({error}): give it one with --name"
        ))
    })
}

impl Follower {
    /// Asks to be let in; where an operator has to agree, that is asked again by itself.
    pub(super) async fn join(&mut self, mut join: Join) -> Result<(), Error> {
        if let Some((member, _)) = &self.member {
            return Err(Error::Invalid(format!(
                "this node is {} of the fleet at {}: pkgtool leave first",
                member.node, member.url
            )));
        }
        let address: Address = join.url.parse()?;
        address.url.clone_into(&mut join.url);
        anchor(&join)?;
        join.name = Some(join.name.map_or_else(own_name, Ok)?);
        let key = Key::generate()?.to_pem();
        self.enter(Joining { join, key }).await
    }

    /// One try.
    pub(super) async fn enter(&mut self, joining: Joining) -> Result<(), Error> {
        let Joining { join, key } = &joining;
        let (said, anchor) = anchor(join)?;
        let address: Address = join.url.parse()?;
        let key = Key::parse(key)?;
        let name = join.name.clone().map_or_else(own_name, Ok)?;
        let enrol = Enrol {
            request: key.request(&name)?,
            token: said,
            facts: self.facts(),
            name,
        };
        let client = http::client(tls::client(&anchor, None)?)?;
        match http::enrol(&client, &address, &enrol).await? {
            EnrolAnswer::Enrolled(enrolled) => self.entered(&joining, (&anchor, &key), *enrolled),
            EnrolAnswer::Pending { again_ms, .. } => {
                self.kept.set_joining(&joining)?;
                self.closed = Some("an operator has to accept this node".to_owned());
                self.enter_again(Duration::from_millis(again_ms).min(LONGEST));
                Ok(())
            }
        }
    }

    fn entered(
        &mut self,
        joining: &Joining,
        (anchor, key): (&Anchor, &Key),
        enrolled: Enrolled,
    ) -> Result<(), Error> {
        if !anchor.is(&enrolled.ca) {
            return Err(Error::Invalid(
                "the master gives another CA than the one that it was known by".to_owned(),
            ));
        }
        model::trust::PublicKey::parse(&enrolled.master_key)
            .map_err(|error| Error::Invalid(format!("the master's key is of no use: {error}")))?;
        let identity = key.certified(&enrolled.certificate)?;
        let member = Member {
            url: joining.join.url.clone(),
            node: enrolled.name,
            ca: enrolled.ca,
            master_key: enrolled.master_key,
            mirrors: enrolled.mirrors,
            classes: enrolled.classes,
        };
        self.state = State::default();
        self.save()?;
        self.kept.set_member(&member, &identity)?;
        tracing::info!(node = %member.node, master = member.url, "in the fleet");
        self.member = Some((member, identity));
        self.closed = None;
        self.open_link();
        Ok(())
    }

    fn enter_again(&self, wait: Duration) {
        let mailbox = self.mailbox.clone();
        tokio::spawn(async move {
            tokio::time::sleep(wait.max(Duration::from_millis(100))).await;
            drop(mailbox.send(Message::Enter).await);
        });
    }

    /// What was asked for before the daemon was stopped.
    pub(super) fn go_on_joining(&self) {
        if self.member.is_none() && matches!(self.kept.joining(), Ok(Some(_))) {
            self.enter_again(Duration::ZERO);
        }
    }

    /// It is time to ask again.
    pub(super) async fn try_to_enter(&mut self) {
        let Ok(Some(joining)) = self.kept.joining() else {
            return;
        };
        if self.member.is_some() {
            return;
        }
        if let Err(error) = self.enter(joining).await {
            self.closed = Some(Chain(&error).to_string());
            self.enter_again(AGAIN);
        }
    }

    pub(super) async fn leave(&mut self) -> Result<bool, Error> {
        let was = self.member.is_some() || matches!(self.kept.joining(), Ok(Some(_)));
        self.withdraw("the node leaves the fleet");
        if self.carrying.is_some() || self.state.pending.is_some() {
            return Err(Error::Invalid(
                "a change of the fleet is going on: leave when it has ended".to_owned(),
            ));
        }
        self.open_gate("the node leaves the fleet").await;
        self.close_link();
        self.kept.forget()?;
        self.member = None;
        self.state = State::default();
        self.told = None;
        self.closed = None;
        Ok(was)
    }

    /// A new key and certificate, when two thirds of the old one's time are over.
    pub(super) async fn renew(&mut self) {
        let due = |identity: &Identity| identity.renew_at().max(self.renew_after) <= now();
        if !self
            .member
            .as_ref()
            .is_some_and(|(_, identity)| due(identity))
        {
            return;
        }
        match self.renewed().await {
            Ok(()) => {
                tracing::info!("the node has a new certificate");
                self.open_link();
            }
            Err(error) => {
                let why = format!("the certificate was not renewed: {}", Chain(&error));
                tracing::warn!("{why}");
                self.problems = vec![why];
                // One that fails is not tried in a circle.
                self.renew_after = now() + 60;
            }
        }
    }

    async fn renewed(&mut self) -> Result<(), Error> {
        let Some((member, identity)) = &self.member else {
            return Ok(());
        };
        let anchor = Anchor::Certificate(member.ca.clone());
        let client = http::client(tls::client(&anchor, Some(identity))?)?;
        let key = Key::generate()?;
        let request = key.request(&member.node)?;
        let renewed = http::renew(&client, &member.url.parse()?, request).await?;
        let identity = key.certified(&renewed.certificate)?;
        self.kept.set_identity(&identity)?;
        self.member = Some((member.clone(), identity));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_what_the_master_hears_and_which_ca_it_has() {
        let hash = "ab".repeat(32);
        let (said, anchor) = token(&format!("co1.id.secret.{hash}\n")).unwrap();
        assert_eq!(said, "id.secret");
        assert_eq!(anchor, Anchor::Hash(hash.clone()));
        for bad in [
            format!("co2.id.secret.{hash}"),
            format!("co1.id.secret.{hash}.more"),
            format!("co1..secret.{hash}"),
            "co1.id.secret.abcd".to_owned(),
            String::new(),
        ] {
            assert!(token(&bad).is_none(), "{bad}");
        }
    }
}
