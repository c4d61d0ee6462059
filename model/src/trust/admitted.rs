//! On whose word a package came into a store.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{KeyId, Signer};

/// Why the store took a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "by")]
pub enum Admitted {
    /// These trusted keys have signed it.
    Keys {
        /// At least one.
        signers: Vec<Signer>,
    },
    /// Somebody allowed it, though no trusted key has signed it.
    Person {
        /// `root (pid 4711)`.
        who: String,
        /// What spoke against it.
        against: String,
    },
    /// The node's configuration asks for no signature.
    Configuration {
        /// What would have spoken against it.
        against: String,
    },
}

impl Admitted {
    /// The keys that it rests on.
    pub fn keys(&self) -> impl Iterator<Item = &KeyId> {
        let signers = match self {
            Self::Keys { signers } => signers.as_slice(),
            Self::Person { .. } | Self::Configuration { .. } => &[],
        };
        signers.iter().map(|signer| &signer.key)
    }

    /// A few words for a column.
    pub fn short(&self) -> String {
        match self {
            Self::Keys { signers } => {
                let keys: Vec<String> = signers.iter().map(|one| one.key.to_string()).collect();
                keys.join(" ")
            }
            Self::Person { who, .. } => format!("no: allowed by {who}"),
            Self::Configuration { .. } => "no".to_owned(),
        }
    }
}

impl fmt::Display for Admitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keys { signers } => {
                let all: Vec<String> = signers.iter().map(ToString::to_string).collect();
                write!(f, "signed by {}", all.join(" and "))
            }
            Self::Person { who, against } => write!(f, "allowed by {who}, though {against}"),
            Self::Configuration { against } => {
                write!(f, "taken without a trusted signature: {against}")
            }
        }
    }
}
