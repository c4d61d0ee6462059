//! Documents of a fleet with the signatures over them: their exact text is what was signed.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{KeyId, PublicKey, SecretKey, Signatures, SignaturesError};

/// What a document is: a signature over one kind is none over another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What a node is to run, signed by the master.
    Wanted,
    /// Which versions classes may run, signed by the offline release key.
    Release,
    /// What a master alone may not order, signed by an operator.
    Order,
}

impl Kind {
    fn prefix(self) -> &'static [u8] {
        match self {
            Self::Wanted => b"changeover wanted 1\n",
            Self::Release => b"changeover release 1\n",
            Self::Order => b"changeover order 1\n",
        }
    }

    fn message(self, text: &str) -> Vec<u8> {
        [self.prefix(), text.as_bytes()].concat()
    }
}

/// A document's exact text and the signatures over it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Signed {
    /// The JSON text that was signed.
    pub text: String,
    /// As a `.sig` file.
    pub signatures: String,
}

/// Why a signed document is not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignedError {
    /// None of the keys that count has signed it.
    #[error("no key that counts has signed it")]
    Unsigned,
    /// The signatures cannot be read.
    #[error("its signatures cannot be read")]
    Signatures(#[from] SignaturesError),
    /// It is no document of this kind.
    #[error("it is not a document of this kind")]
    Json(#[from] serde_json::Error),
}

impl Signed {
    /// Writes the document down and signs it.
    pub fn new(
        kind: Kind,
        key: &SecretKey,
        document: &impl Serialize,
    ) -> Result<Self, SignedError> {
        let text = serde_json::to_string(document)?;
        let mut signatures = Signatures::default();
        signatures.put(key.public().id(), key.sign_exactly(&kind.message(&text)));
        let bytes = signatures.to_bytes().unwrap_or_default();
        let signatures = String::from_utf8_lossy(&bytes).into_owned();
        Ok(Self { text, signatures })
    }

    /// The document, and which of `keys` have signed it: at least one.
    pub fn open<T: DeserializeOwned>(
        &self,
        kind: Kind,
        keys: &[PublicKey],
    ) -> Result<(T, Vec<KeyId>), SignedError> {
        let signatures = Signatures::parse(self.signatures.as_bytes())?;
        let message = kind.message(&self.text);
        let holds = |key: &&PublicKey| {
            let signature = signatures.of(key.id());
            signature.is_some_and(|signature| key.verifies(&message, signature))
        };
        let signers: Vec<KeyId> = keys.iter().filter(holds).map(PublicKey::id).collect();
        if signers.is_empty() {
            return Err(SignedError::Unsigned);
        }
        Ok((serde_json::from_str(&self.text)?, signers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> SecretKey {
        SecretKey::new(&[byte; 32], "test")
    }

    #[test]
    fn a_document_is_opened_by_its_signers_key_alone_and_only_as_what_it_is() {
        let (mine, other) = (key(1), key(2));
        let signed = Signed::new(Kind::Wanted, &mine, &vec![1, 2, 3]).unwrap();
        let keys = [mine.public().clone(), other.public().clone()];
        let (document, signers): (Vec<u8>, _) = signed.open(Kind::Wanted, &keys).unwrap();
        assert_eq!(document, [1, 2, 3]);
        assert_eq!(signers, [mine.public().id()]);
        let refused = |kind, keys: &[PublicKey], signed: &Signed| {
            let opened: Result<(Vec<u8>, _), _> = signed.open(kind, keys);
            matches!(opened, Err(SignedError::Unsigned))
        };
        assert!(refused(Kind::Order, &keys, &signed));
        assert!(refused(Kind::Wanted, &keys[1..], &signed));
        let tampered = Signed {
            text: "[1,2,4]".to_owned(),
            ..signed
        };
        assert!(refused(Kind::Wanted, &keys, &tampered));
    }
}
