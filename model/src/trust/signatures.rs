//! The signatures of one package: the bytes of `manifest.json.sig`.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::armour::{self, part};
use super::key::ALGORITHM;
use super::{KeyId, SecretKey};

/// More signatures than anybody needs to rotate keys would only cost the node time.
pub const MOST_SIGNATURES: usize = 16;

/// Why a `.sig` was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignaturesError {
    /// Not the form of signatures.
    #[error("its signature is damaged: sign it again")]
    Form,
    /// There are too many.
    #[error("it has more than {MOST_SIGNATURES} signatures")]
    TooMany,
    /// One key signed twice.
    #[error("key {0} signed it twice: sign it again")]
    Double(KeyId),
}

/// At most [`MOST_SIGNATURES`] signatures of one manifest, one for each key. Nothing is known of
/// whether they hold; that is for [`super::judge()`] to say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signatures(BTreeMap<KeyId, [u8; 64]>);

impl Signatures {
    /// Reads them.
    pub fn parse(bytes: &[u8]) -> Result<Self, SignaturesError> {
        let mut rest = std::str::from_utf8(bytes).map_err(|_| SignaturesError::Form)?;
        let mut all = BTreeMap::new();
        while !rest.is_empty() {
            if all.len() == MOST_SIGNATURES {
                return Err(SignaturesError::TooMany);
            }
            let opened: armour::Opened<'_, 74> = armour::open(rest).ok_or(SignaturesError::Form)?;
            if part(&opened.bytes, 0) != ALGORITHM {
                return Err(SignaturesError::Form);
            }
            let id = KeyId(part(&opened.bytes, 2));
            match all.entry(id) {
                Entry::Vacant(vacant) => {
                    vacant.insert(part(&opened.bytes, 10));
                }
                Entry::Occupied(_) => return Err(SignaturesError::Double(id)),
            }
            rest = opened.rest;
        }
        Ok(Self(all))
    }

    /// The file: the same signatures give the same bytes. `None` where there is none.
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        let one = |(id, signature): (&KeyId, &[u8; 64])| {
            let bytes = [&ALGORITHM[..], &id.0, signature].concat();
            armour::close(&format!("signed by key {id}"), &bytes)
        };
        let text: String = self.0.iter().map(one).collect();
        (!text.is_empty()).then(|| text.into_bytes())
    }

    /// Adds this key's signature of the manifest that has these bytes.
    pub fn sign(&mut self, key: &SecretKey, manifest: &[u8]) -> Result<(), SignaturesError> {
        let id = key.public().id();
        if self.0.len() == MOST_SIGNATURES && !self.0.contains_key(&id) {
            return Err(SignaturesError::TooMany);
        }
        self.0.insert(id, key.sign(manifest));
        Ok(())
    }

    /// One key's signature, whatever it is over.
    pub(super) fn put(&mut self, id: KeyId, signature: [u8; 64]) {
        self.0.insert(id, signature);
    }

    /// The signature that this key is said to have made.
    pub(super) fn of(&self, id: KeyId) -> Option<&[u8; 64]> {
        self.0.get(&id)
    }

    /// Takes a key's signature away; whether there was one.
    pub fn remove(&mut self, id: KeyId) -> bool {
        self.0.remove(&id).is_some()
    }

    /// Takes all of them away.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Each with the key that it names.
    pub fn iter(&self) -> impl Iterator<Item = (KeyId, &[u8; 64])> {
        self.0.iter().map(|(id, signature)| (*id, signature))
    }
}
