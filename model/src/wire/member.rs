//! What a node says at its own bus of the fleet that it is in.

use serde::{Deserialize, Serialize};

use super::{Counter, Epoch, Installed, NodeName, RolloutId, TokenText};
use crate::digest::Digest;

/// What a node is told to enter a fleet with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Join {
    /// The master: `https://HOST[:PORT]`.
    pub url: String,
    /// An enrolment token; absent: an operator has to accept the node, and `ca` says which master.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenText>,
    /// The fleet's CA, PEM, where there is no token to know it by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// How it wants to be called; its host name where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<NodeName>,
}

/// How a node stands to its fleet; `pkgtool status` on a managed node shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Membership {
    /// Whether it is in one.
    pub state: MemberState,
    /// The master.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// How the node is called there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeName>,
    /// The beginning of its key's hash, to be compared by whoever accepts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Whether the link is open.
    pub connected: bool,
    /// Since when, RFC 3339 in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connected_since: Option<String>,
    /// Why it is not, or what else is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Its certificate's end, RFC 3339 in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_until: Option<String>,
    /// The software hash of the newest wanted state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<Digest>,
    /// Of the newest wanted state.
    #[serde(default)]
    pub epoch: Epoch,
    /// Of that epoch.
    #[serde(default)]
    pub counter: Counter,
    /// The change that was ordered and has not come to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<FleetChange>,
    /// What it tells the master that it runs.
    pub installed: Installed,
}

/// Whether a node is in a fleet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemberState {
    /// It is not.
    #[default]
    Alone,
    /// It has asked to be let in.
    Pending,
    /// It is.
    Member,
}

/// A change that a fleet's master ordered and that is not at its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FleetChange {
    /// The update; absent: none, the wanted state itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutId>,
    /// Where it is: `fetch`, `change`, `waiting`, `contact`, `trial`.
    pub phase: String,
    /// Seconds since 1970 at which it goes back by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back_at: Option<u64>,
}
