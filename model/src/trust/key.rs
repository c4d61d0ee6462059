//! The two halves of a key, as files.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use sha2::{Digest, Sha512};

use super::armour::{self, part};
use super::{KeyId, message};

/// Ed25519, as signify spells it.
pub(super) const ALGORITHM: [u8; 2] = *b"Ed";
/// bcrypt, which a key without a passphrase names and does not use.
const DERIVATION: [u8; 2] = *b"BK";

/// Why a key file was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Not the form of a key file.
    #[error(
        "it is not a {kind} key: a line \"untrusted comment: …\", then one of base64, as pkgtool \
         keygen writes them"
    )]
    Form {
        /// `public` or `secret`.
        kind: &'static str,
    },
    /// Another kind of key.
    #[error("it is a key of another kind than Ed25519")]
    Algorithm,
    /// Bytes that are no key, or one of the few with which anybody can sign.
    #[error("its key is none that can be relied on")]
    Weak,
    /// Its id is not the one that its key gives.
    #[error(
        "it says that its id is {said}, but its key gives {found}: it is damaged, or made by \
         another program; pkgtool keygen makes one"
    )]
    Id {
        /// In the file.
        said: KeyId,
        /// What BLAKE3 gives.
        found: KeyId,
    },
    /// Encrypted, which is not supported.
    #[error("it has a passphrase: use one without, made by pkgtool keygen and kept offline")]
    Passphrase,
    /// The bytes do not give their checksum.
    #[error("it is damaged: its checksum is wrong")]
    Checksum,
    /// A line behind the key says something unknown.
    #[error("line {line}: {text:?} {rule}")]
    Line {
        /// Its number in the file, from 1.
        line: usize,
        /// What stands there.
        text: String,
        /// What may stand there.
        rule: &'static str,
    },
}

/// The half that everyone may have.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    id: KeyId,
    key: VerifyingKey,
    comment: String,
}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PublicKey({} {:?})", self.id, self.comment)
    }
}

impl PublicKey {
    /// The key of a `.pub` file; what stands behind its two lines is answered with it.
    pub fn parse(text: &str) -> Result<(Self, &str), KeyError> {
        let opened: armour::Opened<'_, 42> =
            armour::open(text).ok_or(KeyError::Form { kind: "public" })?;
        let bytes = &opened.bytes;
        if part(bytes, 0) != ALGORITHM {
            return Err(KeyError::Algorithm);
        }
        let key = VerifyingKey::from_bytes(&part(bytes, 10)).map_err(|_| KeyError::Weak)?;
        if key.is_weak() {
            return Err(KeyError::Weak);
        }
        let (said, found) = (KeyId(part(bytes, 2)), KeyId::of(key.as_bytes()));
        if said != found {
            return Err(KeyError::Id { said, found });
        }
        let key = Self {
            id: found,
            key,
            comment: opened.comment.to_owned(),
        };
        Ok((key, opened.rest))
    }

    /// The file.
    pub fn to_text(&self) -> String {
        let bytes = [&ALGORITHM[..], &self.id.0, self.key.as_bytes()].concat();
        armour::close(&self.comment, &bytes)
    }

    /// Its name.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// What its file says of it; proves nothing.
    pub fn comment(&self) -> &str {
        &self.comment
    }

    /// Whether `signature` is this key's over `message`.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        let signature = Signature::from_bytes(signature);
        self.key.verify_strict(message, &signature).is_ok()
    }
}

/// The half that is kept.
pub struct SecretKey {
    key: SigningKey,
    public: PublicKey,
}

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SecretKey({})", self.public.id)
    }
}

impl SecretKey {
    /// The key of 32 random bytes.
    pub fn new(random: &[u8; 32], comment: &str) -> Self {
        let key = SigningKey::from_bytes(random);
        Self::of(key, comment.to_owned())
    }

    fn of(key: SigningKey, comment: String) -> Self {
        let verifying = key.verifying_key();
        let public = PublicKey {
            id: KeyId::of(verifying.as_bytes()),
            key: verifying,
            comment,
        };
        Self { key, public }
    }

    /// The key of a `.sec` file.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let opened: armour::Opened<'_, 104> =
            armour::open(text).ok_or(KeyError::Form { kind: "secret" })?;
        let bytes = &opened.bytes;
        if part(bytes, 0) != ALGORITHM || part(bytes, 2) != DERIVATION {
            return Err(KeyError::Algorithm);
        }
        if part::<4>(bytes, 4) != [0; 4] {
            return Err(KeyError::Passphrase);
        }
        let pair: [u8; 64] = part(bytes, 40);
        if part(bytes, 24) != checksum(&pair) {
            return Err(KeyError::Checksum);
        }
        let key = SigningKey::from_keypair_bytes(&pair).map_err(|_| KeyError::Weak)?;
        let made = Self::of(key, opened.comment.to_owned());
        let said = KeyId(part(bytes, 32));
        if said != made.public.id {
            return Err(KeyError::Id {
                said,
                found: made.public.id,
            });
        }
        Ok(made)
    }

    /// The file: whoever can read it can sign.
    pub fn to_text(&self) -> String {
        let pair = self.key.to_keypair_bytes();
        let bytes = [
            &ALGORITHM[..],
            &DERIVATION,
            // No rounds, no salt: no passphrase.
            &[0; 20],
            &checksum(&pair),
            &self.public.id.0,
            &pair,
        ]
        .concat();
        armour::close(&self.public.comment, &bytes)
    }

    /// The other half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs the manifest that has these bytes.
    pub(super) fn sign(&self, manifest: &[u8]) -> [u8; 64] {
        self.sign_exactly(&message(manifest))
    }

    /// Signs these bytes, which begin with what they are.
    pub(super) fn sign_exactly(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }
}

fn checksum(pair: &[u8; 64]) -> [u8; 8] {
    part(&Sha512::digest(pair), 0)
}
