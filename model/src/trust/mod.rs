//! Whose packages a node takes: keys, signatures, and the decision.
//!
//! Files are signify's (and minisign's) forms, so that people know how to handle them and need not
//! believe our programs: two lines, a comment that proves nothing and base64.
//!
//! ```text
//! NAME.sec   "Ed" "BK" rounds=0 salt checksum id secret     signify -n; mode 0600
//! NAME.pub   "Ed" id public                                 then, on the node: packages:, expires:
//! .sig       "Ed" id signature                              one pair of lines for each signer
//! ```
//!
//! A key's id is the first eight bytes of BLAKE3 of the public key, so an id names one key. What is
//! signed is [`PREFIX`] and then the manifest's exact bytes; the manifest holds the digest of every
//! object. Nothing here reads a clock or chooses a policy: [`judge()`] says what holds.

mod admitted;
mod armour;
mod directory;
mod judge;
mod key;
mod keyring;
mod signatures;
mod signed;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use admitted::Admitted;
pub use directory::read;
pub use judge::{Checked, Finding, Judgement, Signer, judge};
pub use key::{KeyError, PublicKey, SecretKey};
pub use keyring::{Expiry, Keyring, Revoked, Trusted};
pub use signatures::{MOST_SIGNATURES, Signatures, SignaturesError};
pub use signed::{Kind, Signed, SignedError};

use crate::ids::NameError;

/// What is signed begins with this: a signature over a manifest is none over anything else.
pub const PREFIX: &[u8] = b"changeover manifest 1\n";

/// The bytes that a signature of this manifest is made over.
pub fn message(manifest: &[u8]) -> Vec<u8> {
    [PREFIX, manifest].concat()
}

/// A key's name: the first eight bytes of BLAKE3 of the public key; sixteen hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyId([u8; 8]);

impl KeyId {
    fn of(public: &[u8; 32]) -> Self {
        let mut id = [0; 8];
        for (to, from) in id.iter_mut().zip(blake3::hash(public).as_bytes()) {
            *to = *from;
        }
        Self(id)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for KeyId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || NameError::new("key id", "16 lower-case hexadecimal digits", text);
        let hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        if text.len() != 16 || !text.bytes().all(hex) {
            return Err(refuse());
        }
        let number = u64::from_str_radix(text, 16).map_err(|_| refuse())?;
        Ok(Self(number.to_be_bytes()))
    }
}

impl TryFrom<String> for KeyId {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<KeyId> for String {
    fn from(id: KeyId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests;
