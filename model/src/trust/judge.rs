//! The decision: which of a package's signatures hold, and whether one of them is enough.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{KeyId, Keyring, Signatures, SignaturesError, Trusted, message};
use crate::ids::PackageName;

/// What one signature is worth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum Finding {
    /// It holds, and its key is trusted for this package.
    Good,
    /// It is not this key's signature of this manifest.
    Bad,
    /// No key file has this key.
    Unknown,
    /// The key was trusted until then.
    Expired {
        /// As the key file says it.
        expires: String,
    },
    /// The key is trusted for other packages.
    OutOfScope {
        /// The patterns of the key file.
        packages: Vec<String>,
    },
    /// The key is revoked.
    Revoked {
        /// The file that says so.
        file: String,
    },
}

/// One signature with what it is worth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Checked {
    /// The key that made it, or so it says.
    pub signer: Signer,
    /// What it is worth.
    pub finding: Finding,
}

/// A key, for people and programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Signer {
    /// Its name.
    pub key: KeyId,
    /// What the node's own file says of it; empty where there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
}

impl fmt::Display for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key.fmt(f)?;
        if self.comment.is_empty() {
            return Ok(());
        }
        write!(f, " ({})", self.comment)
    }
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signer = &self.signer;
        match &self.finding {
            Finding::Good => write!(f, "signed by key {signer}"),
            Finding::Bad => write!(
                f,
                "bad signature: key {signer} has not signed these bytes; the package was altered or \
                 the signature is another package's"
            ),
            Finding::Unknown => write!(f, "unknown key {signer}"),
            Finding::Expired { expires } => write!(f, "key {signer} expired: {expires}"),
            Finding::OutOfScope { packages } => write!(
                f,
                "out of scope: key {signer} is trusted for {} only",
                packages.join(" ")
            ),
            Finding::Revoked { file } => write!(f, "key {signer} is revoked by {file}"),
        }
    }
}

/// What is known of a package's origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// Every signature, by key.
    pub signatures: Vec<Checked>,
    /// Why the signatures cannot be read at all.
    pub damaged: Option<SignaturesError>,
}

impl Judgement {
    /// The keys on whose word the package is to be trusted; empty: it is not.
    pub fn signers(&self) -> Vec<Signer> {
        let good = |one: &&Checked| one.finding == Finding::Good;
        self.signatures
            .iter()
            .filter(good)
            .map(|one| one.signer.clone())
            .collect()
    }

    /// Whether one signature is enough.
    pub fn is_trusted(&self) -> bool {
        !self.signers().is_empty()
    }

    /// Why it is not trusted; empty where it is.
    pub fn against(&self) -> String {
        if self.is_trusted() {
            return String::new();
        }
        if let Some(damaged) = &self.damaged {
            return damaged.to_string();
        }
        if self.signatures.is_empty() {
            return "it is not signed".to_owned();
        }
        let all: Vec<String> = self.signatures.iter().map(ToString::to_string).collect();
        all.join("; ")
    }
}

/// Judges the package `name`, whose manifest has exactly the bytes `manifest`, by the bytes of its
/// `.sig`, at `now`, in seconds since 1970.
pub fn judge(
    (name, manifest): (&PackageName, &[u8]),
    signatures: Option<&[u8]>,
    keyring: &Keyring,
    now: u64,
) -> Judgement {
    let signatures = match Signatures::parse(signatures.unwrap_or_default()) {
        Ok(signatures) => signatures,
        Err(damaged) => {
            return Judgement {
                signatures: Vec::new(),
                damaged: Some(damaged),
            };
        }
    };
    let message = message(manifest);
    let check = |(id, signature): (KeyId, &[u8; 64])| {
        let known: Vec<&Trusted> = keyring
            .keys
            .iter()
            .filter(|trusted| trusted.key.id() == id)
            .collect();
        Checked {
            signer: Signer {
                key: id,
                comment: comment(id, &known, keyring),
            },
            finding: finding(id, &known, keyring, (name, now), &|key| {
                key.key.verifies(&message, signature)
            }),
        }
    };
    Judgement {
        signatures: signatures.iter().map(check).collect(),
        damaged: None,
    }
}

fn comment(id: KeyId, known: &[&Trusted], keyring: &Keyring) -> String {
    let revoked = keyring.revoked.get(&id).map(|one| one.comment.as_str());
    let trusted = known.first().map(|one| one.key.comment());
    trusted.or(revoked).unwrap_or_default().to_owned()
}

/// Several files may trust one key for different packages; the best of them counts.
fn finding(
    id: KeyId,
    known: &[&Trusted],
    keyring: &Keyring,
    (name, now): (&PackageName, u64),
    verifies: &dyn Fn(&Trusted) -> bool,
) -> Finding {
    if let Some(revoked) = keyring.revoked.get(&id) {
        return Finding::Revoked {
            file: revoked.file.clone(),
        };
    }
    let Some(first) = known.first() else {
        return Finding::Unknown;
    };
    if !verifies(first) {
        return Finding::Bad;
    }
    let expired = |one: &Trusted| one.expires.as_ref().is_some_and(|at| at.is_past(now));
    let covering: Vec<&&Trusted> = known.iter().filter(|one| one.covers(name)).collect();
    if covering.iter().any(|one| !expired(one)) {
        return Finding::Good;
    }
    match covering.first().and_then(|one| one.expires.as_ref()) {
        Some(expires) => Finding::Expired {
            expires: expires.to_string(),
        },
        None => Finding::OutOfScope {
            packages: known.iter().flat_map(|one| one.packages.clone()).collect(),
        },
    }
}
