//! Content digests and substance signatures: both are BLAKE3, and never to be mixed up.

use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::NameError;

macro_rules! hash_type {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name([u8; 32]);

        impl $name {
            /// The raw 32 bytes.
            pub fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl From<blake3::Hash> for $name {
            fn from(hash: blake3::Hash) -> Self {
                Self(*hash.as_bytes())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let lower = text.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c));
                match blake3::Hash::from_hex(text) {
                    Ok(hash) if lower => Ok(hash.into()),
                    _ => Err(NameError::new($what, "64 lower-case hexadecimal digits", text)),
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.to_string()
            }
        }
    };
}

hash_type! {
    /// BLAKE3 of exact bytes; 64 hexadecimal digits.
    Digest, "digest"
}
hash_type! {
    /// BLAKE3 of a file's substance: equal when the file was only rebuilt at another time or place.
    Signature, "signature"
}

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        blake3::hash(bytes).into()
    }

    /// The digest and the length of all that `reader` still holds.
    pub fn of_reader(mut reader: impl Read) -> io::Result<(Self, u64)> {
        let mut hasher = blake3::Hasher::new();
        let length = io::copy(&mut reader, &mut hasher)?;
        Ok((hasher.finalize().into(), length))
    }
}

impl Signature {
    /// Where nothing is known to be without substance, the exact bytes are the substance.
    pub fn of_exact(digest: Digest) -> Self {
        Self(digest.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_reads_back_and_bad_ones_are_refused() {
        let digest = Digest::of(b"x");
        assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
        let upper = digest.to_string().to_uppercase();
        for bad in ["", "00", &upper, &format!("{digest}0")] {
            bad.parse::<Digest>().unwrap_err();
        }
    }

    #[test]
    fn a_reader_gives_the_same_digest_as_its_bytes() {
        let bytes = vec![7_u8; 100_000];
        assert_eq!(
            Digest::of_reader(&bytes[..]).unwrap(),
            (Digest::of(&bytes), 100_000)
        );
    }
}
