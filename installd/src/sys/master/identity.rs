//! A node's key, which never leaves it, and its certificate.

use model::wire::NodeName;
use rcgen::{CertificateParams, DnType, KeyPair, PublicKeyData};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::Error;

/// Digits of the key's hash that people compare.
const SHOWN: usize = 16;

/// A key without a certificate yet.
#[derive(Debug)]
pub struct Key {
    pair: KeyPair,
}

/// A key and the certificate that the master made for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Both, PEM, in one file: one is of no use without the other.
    pem: String,
    /// Seconds since 1970 between which the certificate counts.
    pub valid: (u64, u64),
}

fn bad(what: impl std::fmt::Display) -> Error {
    Error::Keys {
        what: what.to_string(),
    }
}

impl Key {
    /// A new one: ECDSA P-256.
    pub fn generate() -> Result<Self, Error> {
        let pair = KeyPair::generate().map_err(|error| bad(format!("no key was made: {error}")))?;
        Ok(Self { pair })
    }

    /// From its PEM.
    pub fn parse(pem: &str) -> Result<Self, Error> {
        let pair = KeyPair::from_pem(pem)
            .map_err(|error| bad(format!("the key cannot be read: {error}")))?;
        Ok(Self { pair })
    }

    /// PEM: whoever can read it is the node.
    pub fn to_pem(&self) -> String {
        self.pair.serialize_pem()
    }

    /// The beginning of the public key's hash, as the operator sees it who accepts the node.
    pub fn fingerprint(&self) -> String {
        let hash = blake3::hash(self.pair.der_bytes()).to_hex();
        hash.chars().take(SHOWN).collect()
    }

    /// PKCS #10, PEM.
    pub fn request(&self, name: &NodeName) -> Result<String, Error> {
        let failed = |error: rcgen::Error| bad(format!("no request was made: {error}"));
        let mut params = CertificateParams::new(Vec::new()).map_err(failed)?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, name.as_str());
        let request = params.serialize_request(&self.pair).map_err(failed)?;
        request.pem().map_err(failed)
    }

    /// With the certificate that the master made for it.
    pub fn certified(&self, certificate: &str) -> Result<Identity, Error> {
        Identity::parse(&format!("{}{certificate}", self.to_pem()))
    }
}

impl Identity {
    /// From the PEM of both.
    pub fn parse(pem: &str) -> Result<Self, Error> {
        let (_, chain) = parts(pem)?;
        let first = chain
            .first()
            .ok_or_else(|| bad("there is no certificate"))?;
        let (_, certificate) = X509Certificate::from_der(first)
            .map_err(|error| bad(format!("the certificate cannot be read: {error}")))?;
        let valid = certificate.validity();
        let seconds = |time: i64| u64::try_from(time).unwrap_or(0);
        Ok(Self {
            pem: pem.to_owned(),
            valid: (
                seconds(valid.not_before.timestamp()),
                seconds(valid.not_after.timestamp()),
            ),
        })
    }

    /// The PEM of both.
    pub fn to_pem(&self) -> &str {
        &self.pem
    }

    /// For a handshake.
    pub fn parts(&self) -> Result<(PrivateKeyDer<'static>, Vec<CertificateDer<'static>>), Error> {
        parts(&self.pem)
    }

    /// Seconds since 1970 from which a new one is asked for: two thirds of its time are over.
    pub fn renew_at(&self) -> u64 {
        let (from, until) = self.valid;
        from + until.saturating_sub(from) / 3 * 2
    }
}

type Parts = (PrivateKeyDer<'static>, Vec<CertificateDer<'static>>);

fn parts(pem: &str) -> Result<Parts, Error> {
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes())
        .map_err(|error| bad(format!("the key cannot be read: {error}")))?;
    let chain = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>();
    let chain = chain.map_err(|error| bad(format!("the certificate cannot be read: {error}")))?;
    Ok((key, chain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_by_its_hash_and_asks_for_a_certificate_of_its_own() {
        let key = Key::generate().unwrap();
        let again = Key::parse(&key.to_pem()).unwrap();
        assert_eq!(key.fingerprint(), again.fingerprint());
        assert_eq!(key.fingerprint().len(), SHOWN);
        assert_ne!(key.fingerprint(), Key::generate().unwrap().fingerprint());
        let request = key.request(&"n1".parse().unwrap()).unwrap();
        assert!(request.starts_with("-----BEGIN CERTIFICATE REQUEST-----"));
        assert!(Identity::parse(&key.to_pem()).is_err(), "no certificate");
    }

    #[test]
    fn a_certificate_is_renewed_at_two_thirds() {
        let identity = Identity {
            pem: String::new(),
            valid: (1000, 4000),
        };
        assert_eq!(identity.renew_at(), 3000);
    }
}
