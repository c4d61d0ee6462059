//! TLS to the master: its CA is known by a hash or as a whole, and we show who we are.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::Error;
use super::identity::Identity;

/// How the fleet's CA is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Anchor {
    /// By the BLAKE3 of its certificate's DER, base 16: a token has it.
    Hash(String),
    /// By itself, PEM.
    Certificate(String),
}

impl Anchor {
    /// Whether this CA, PEM, is the one.
    pub fn is(&self, pem: &str) -> bool {
        match (self, certificate(pem)) {
            (Self::Hash(hash), Ok(found)) => *hash == blake3::hash(&found).to_hex().to_string(),
            (Self::Certificate(known), Ok(found)) => {
                certificate(known).is_ok_and(|known| known == found)
            }
            (_, Err(_)) => false,
        }
    }
}

fn bad(what: impl std::fmt::Display) -> Error {
    Error::Keys {
        what: what.to_string(),
    }
}

fn certificate(pem: &str) -> Result<CertificateDer<'static>, Error> {
    CertificateDer::from_pem_slice(pem.as_bytes())
        .map_err(|error| bad(format!("the fleet's CA cannot be read: {error}")))
}

/// How connections to the master are made; with an identity, the master is shown it.
pub fn client(anchor: &Anchor, identity: Option<&Identity>) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| bad(format!("TLS is not to be had: {error}")))?;
    let builder = match anchor {
        Anchor::Certificate(pem) => {
            let mut roots = RootCertStore::empty();
            roots
                .add(certificate(pem)?)
                .map_err(|error| bad(format!("the fleet's CA is of no use: {error}")))?;
            builder.with_root_certificates(roots)
        }
        Anchor::Hash(hash) => {
            let pinned = Pinned {
                hash: hash.clone(),
                provider,
            };
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(pinned))
        }
    };
    match identity {
        None => Ok(builder.with_no_client_auth()),
        Some(identity) => {
            let (key, chain) = identity.parts()?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| bad(format!("the node's certificate is of no use: {error}")))
        }
    }
}

/// Believes a server whose chain holds the CA of this hash and is signed by it; everything else is
/// checked as always.
#[derive(Debug)]
struct Pinned {
    hash: String,
    provider: Arc<CryptoProvider>,
}

impl Pinned {
    fn found<'a>(
        &self,
        mut shown: impl Iterator<Item = &'a CertificateDer<'a>>,
    ) -> Result<CertificateDer<'static>, rustls::Error> {
        let found = shown.find(|one| blake3::hash(one).to_hex().to_string() == self.hash);
        let found = found.map(|one| one.clone().into_owned());
        found.ok_or_else(|| {
            rustls::Error::General(
                "the server does not show the CA that the token names: this is not the master of \
                 that fleet, or somebody stands in between"
                    .to_owned(),
            )
        })
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let shown = intermediates.iter().chain([end_entity]);
        let mut roots = RootCertStore::empty();
        roots.add(self.found(shown)?)?;
        let provider = Arc::clone(&self.provider);
        let usual = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        usual.verify_server_cert(end_entity, intermediates, server_name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
