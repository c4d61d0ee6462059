//! What a node refuses, whoever its master is: what the release key has not released for it, what
//! is below the floor, and what needs an operator's own signature.

use std::path::Path;

use model::trust::{Keyring, Kind, PublicKey, Signed};
use model::wire::{OperatorOrder, Orders, Release};
use model::{Digest, PackageName};
use resolve::fleet::{Change, Refusal, is_older, refusals};
use resolve::{Characteristics, Package};

use super::now;
use crate::sys::trust::keyring;

/// By what a node judges.
#[derive(Debug, Clone, Default)]
pub(super) struct Rules {
    /// The keys of `trust.d` whose word on releases counts.
    pub(super) release_keys: Vec<PublicKey>,
    /// The operators' keys.
    pub(super) operators: Vec<PublicKey>,
    /// The newest release of each class that was seen.
    pub(super) known: Vec<Signed>,
}

/// A change to judge.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) node: &'a Characteristics,
    pub(super) current: &'a [Package],
    pub(super) target: &'a [Package],
    pub(super) software: Digest,
}

/// Keys that count now, for any package.
fn good(keyring: Keyring) -> Vec<PublicKey> {
    let Keyring { keys, revoked, .. } = keyring;
    let counts = keys.into_iter().filter(|one| {
        let past = one.expires.as_ref().is_some_and(|end| end.is_past(now()));
        !past && one.packages.is_empty() && !revoked.contains_key(&one.key.id())
    });
    counts.map(|one| one.key).collect()
}

impl Rules {
    /// As the node's key files are now.
    pub(super) fn read(trust: &Path, operators: &Path, known: &[Signed]) -> Self {
        Self {
            release_keys: good(keyring(trust)),
            operators: good(keyring(operators)),
            known: known.to_vec(),
        }
    }

    /// With the releases that the master has shown; the newest of each class, to be kept.
    pub(super) fn with(mut self, shown: Vec<Signed>) -> Result<Self, String> {
        for signed in shown {
            let opened = signed.open::<Release>(Kind::Release, &self.release_keys);
            let (release, _) = opened.map_err(|error| {
                format!("a release document is not one of a release key of this node: {error}")
            })?;
            let known = self.releases();
            if is_older(&known, &release) {
                return Err(format!(
                    "release {} of class {} is older than one that was seen",
                    release.number, release.class
                ));
            }
            let is_other =
                |one: &Signed| read(one).is_none_or(|known| known.class != release.class);
            self.known.retain(is_other);
            self.known.push(signed);
        }
        Ok(self)
    }

    fn releases(&self) -> Vec<Release> {
        self.known.iter().filter_map(read).collect()
    }

    /// Whether an operator has signed just this.
    fn operator(&self, orders: &Orders, software: Digest) -> Result<bool, String> {
        let Some(signed) = &orders.operator else {
            return Ok(false);
        };
        let opened = signed.open::<OperatorOrder>(Kind::Order, &self.operators);
        let (order, _) = opened
            .map_err(|error| format!("the operator's order is not one of an operator: {error}"))?;
        if Some(order.rollout) != orders.rollout || !order.targets.contains(&software) {
            return Err("the operator's order is for another update, or another set".to_owned());
        }
        if order.expires <= now() {
            return Err("the operator's order has expired".to_owned());
        }
        Ok(true)
    }

    /// Why this could not be done even with an operator's word.
    pub(super) fn released(&self, asked: Asked<'_>) -> Result<(), String> {
        let change = Change {
            current: asked.current,
            target: asked.target,
            force: false,
            operator: true,
        };
        let releases = self.releases();
        told(&refusals(&releases, &own(asked.node, &releases), change))
    }

    /// Why this is not done.
    pub(super) fn check(&self, asked: Asked<'_>, orders: &Orders) -> Result<(), String> {
        let force = orders.force || !orders.force_processes.is_empty();
        let operator = self.operator(orders, asked.software)?;
        let change = Change {
            current: asked.current,
            target: asked.target,
            force,
            operator,
        };
        let releases = self.releases();
        let mut all = refusals(&releases, &own(asked.node, &releases), change);
        // A node that knows its operators asks for their word, released or not.
        if !self.operators.is_empty() && !operator {
            all.extend(force.then_some(Refusal::Force));
            let stays = |name: &PackageName| asked.target.iter().any(|one| one.id.name == *name);
            let current = asked.current.iter().map(|one| &one.id.name);
            let leaves = current.filter(|name| !stays(name));
            all.extend(leaves.cloned().map(Refusal::Removal));
        }
        all.sort();
        all.dedup();
        told(&all)
    }
}

/// A class whose release a node has seen stays one of its own: a master that no longer names it does
/// not get round it.
fn own(node: &Characteristics, releases: &[Release]) -> Characteristics {
    let mut own = node.clone();
    own.classes
        .extend(releases.iter().map(|one| one.class.to_string()));
    own
}

fn told(all: &[Refusal]) -> Result<(), String> {
    if all.is_empty() {
        return Ok(());
    }
    let all: Vec<String> = all.iter().map(ToString::to_string).collect();
    Err(all.join("; "))
}

fn read(signed: &Signed) -> Option<Release> {
    serde_json::from_str(&signed.text).ok()
}
