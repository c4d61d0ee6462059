//! How a node comes into a fleet.

use serde::{Deserialize, Serialize};

use super::{ClassName, Facts, NodeName};

/// An enrolment token's text: `co1.ID.SECRET.CAHASH`, where the last part is the base-16 BLAKE3 of
/// the fleet's CA certificate (DER), so that the node checks the master before it says anything.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenText(pub String);

impl std::fmt::Debug for TokenText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenText(..)")
    }
}

/// `POST /v1/enrol`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Enrol {
    /// How it wants to be called.
    pub name: NodeName,
    /// PKCS #10 request, PEM; its key was made on the node.
    pub request: String,
    /// The token's `ID.SECRET`; absent: an operator is to accept it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// What it is.
    pub facts: Facts,
}

/// The answer to [`Enrol`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum EnrolAnswer {
    /// It is in.
    Enrolled(Box<Enrolled>),
    /// An operator has to accept it; the same request is to be sent again later.
    Pending {
        /// What the operator sees: the first digits of the key's hash, to be compared.
        fingerprint: String,
        /// Milliseconds to wait.
        again_ms: u64,
    },
}

/// What a node gets when it is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Enrolled {
    /// How it is called.
    pub name: NodeName,
    /// The classes that its token put it in.
    #[serde(default)]
    pub classes: Vec<ClassName>,
    /// Its certificate, PEM.
    pub certificate: String,
    /// The fleet's CA, PEM.
    pub ca: String,
    /// The key that signs wanted states, as a `.pub` file.
    pub master_key: String,
    /// Where objects are to be had besides the master: base URLs.
    #[serde(default)]
    pub mirrors: Vec<String>,
}

/// The answer to `POST /v1/certificate`, which has a PKCS #10 request (PEM) of a new key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Renewed {
    /// The new certificate, PEM.
    pub certificate: String,
}
