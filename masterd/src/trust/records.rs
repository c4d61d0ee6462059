//! What the store holds of people and nodes.

use model::wire::{ClassName, Facts, FleetName, NodeName, Role};
use serde::{Deserialize, Serialize};

/// Keys of [`Identity`].
pub(super) const IDENTITIES: &str = "identity/";
/// Keys of [`Operator`].
pub(super) const OPERATORS: &str = "operator/";
/// Keys of [`Pending`].
pub(super) const PENDING: &str = "pending/";
/// Keys of [`Token`].
pub(super) const TOKENS: &str = "token/";

/// `identity/NAME`: a node's right to its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Identity {
    /// The node.
    pub name: NodeName,
    /// Whether its certificates count.
    pub state: State,
    /// Certificates of another generation do not count.
    pub generation: u64,
    /// BLAKE3 of its public keys, base 16; the last two, the newest last.
    pub keys: Vec<String>,
    /// The number of its newest certificate.
    pub serial: String,
    /// Seconds since 1970: the end of its newest certificate.
    pub until: u64,
    /// The classes that its token put it in.
    pub classes: Vec<ClassName>,
    /// What it said of itself when it came.
    pub facts: Facts,
}

/// Whether a node's certificates count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// They do.
    Active,
    /// A new key may take the name: by a token, or an operator's word.
    Open,
    /// The node is gone.
    Retired,
    /// Somebody may have its key.
    Revoked,
}

/// `operator/NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Operator {
    /// Who.
    pub name: FleetName,
    /// What they may.
    pub role: Role,
    /// In these classes; empty: in all.
    pub classes: Vec<ClassName>,
    /// BLAKE3 of the token's secret.
    pub secret: String,
    /// Certificates of another generation do not count.
    pub generation: u64,
    /// Seconds since 1970.
    pub created: u64,
}

/// `pending/FINGERPRINT`: a node that asks to be let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Pending {
    /// How it wants to be called.
    pub name: NodeName,
    /// BLAKE3 of its public key, base 16.
    pub key: String,
    /// What it says that it is.
    pub facts: Facts,
    /// Seconds since 1970: when it asked last.
    pub asked: u64,
}

/// `token/ID`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Token {
    /// BLAKE3 of the secret.
    pub(super) secret: String,
    /// How many more nodes it lets in.
    pub(super) uses: u32,
    /// Seconds since 1970.
    pub(super) until: u64,
    /// Classes for its nodes.
    pub(super) classes: Vec<ClassName>,
    /// Who made it.
    pub(super) by: FleetName,
}
