//! What people's programs and a master say about people: profiles, operators, tokens, the audit
//! log, and why something was refused.

use serde::{Deserialize, Serialize};

use super::{ClassName, FleetName, TokenText};

/// What `pkgtool fleet` needs to speak with a master: a file, TOML, of mode 0600. `masterd init`
/// writes the first one.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Profile {
    /// `https://HOST:PORT`
    pub master: String,
    /// The operator's token: who has it is the operator.
    pub token: String,
    /// The fleet's CA, PEM: the only one that is believed.
    pub ca: String,
}

impl std::fmt::Debug for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Profile")
            .field("master", &self.master)
            .finish_non_exhaustive()
    }
}

/// What an operator may do; each may what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// See everything.
    Read,
    /// Assign, update, decide.
    Operate,
    /// Operators, tokens, certificates.
    Admin,
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Admin => "admin",
        })
    }
}

/// `POST /v1/operators`; a name that exists gets a new token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct NewOperator {
    /// How the operator is called in the audit log.
    pub name: FleetName,
    /// What they may.
    pub role: Role,
    /// In these classes only; empty: all.
    #[serde(default)]
    pub classes: Vec<ClassName>,
}

/// The answer to [`NewOperator`]: the only time that the token is told.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct IssuedOperator {
    /// Who.
    pub operator: OperatorView,
    /// Their token.
    pub token: String,
}

impl std::fmt::Debug for IssuedOperator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IssuedOperator")
            .field("operator", &self.operator)
            .finish_non_exhaustive()
    }
}

/// An operator: `GET /v1/operators`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct OperatorView {
    /// Who.
    pub name: FleetName,
    /// What they may.
    pub role: Role,
    /// In these classes only; empty: all.
    #[serde(default)]
    pub classes: Vec<ClassName>,
    /// Since when, RFC 3339 in UTC.
    pub created: String,
}

/// `POST /v1/tokens`: an enrolment token for nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct NewToken {
    /// How many nodes may come in with it.
    pub uses: u32,
    /// Seconds until it ends.
    pub seconds: u64,
    /// Nodes that come in with it are put into these classes.
    #[serde(default)]
    pub classes: Vec<ClassName>,
}

/// The answer to [`NewToken`]: the only time that the secret is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct IssuedToken {
    /// `co1.ID.SECRET.CAHASH`
    pub token: TokenText,
    /// What it is good for.
    pub view: TokenView,
}

/// An enrolment token: `GET /v1/tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TokenView {
    /// The part of it that is no secret.
    pub id: String,
    /// How many more nodes may come in with it.
    pub uses: u32,
    /// Its end, RFC 3339 in UTC.
    pub until: String,
    /// Classes that its nodes are put into.
    #[serde(default)]
    pub classes: Vec<ClassName>,
    /// Who made it.
    pub by: FleetName,
}

/// One line of the audit log: `GET /v1/audit?after=SEQ&most=N`, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AuditEntry {
    /// Counts up, without holes.
    pub seq: u64,
    /// When, RFC 3339 in UTC.
    pub at: String,
    /// An operator, a node, or `masterd`.
    pub by: String,
    /// What was done: `decide force-all`, `accept node7`.
    pub what: String,
    /// Of which update, node or package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<String>,
    /// Why, in the words of whoever did it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// What every refused request is answered with, besides its status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Refusal {
    /// For programs: `unmet`, `busy`, `overlap`, `not-allowed`, `not-found`, `invalid`, `failed`.
    pub error: String,
    /// The thing and the reason.
    pub message: String,
    /// The next step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}
