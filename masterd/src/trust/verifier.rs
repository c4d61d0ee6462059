//! What the TLS handshake takes of a client.
//!
//! A certificate that is out of date passes here, and only its date is passed over: what it is worth
//! then is [`Standing`](super::Standing)'s to say, which lets a node that was away too long renew,
//! and gives everybody else an answer that they can read instead of a broken handshake.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme,
};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::Ca;

/// Takes certificates of the fleet's CA, or none.
#[derive(Debug)]
pub struct Verifier(Arc<dyn ClientCertVerifier>);

impl Verifier {
    /// For clients of this fleet.
    pub fn new(ca: &Ca, provider: Arc<CryptoProvider>) -> Result<Self, rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(ca.certificate().clone())?;
        let built = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .allow_unauthenticated()
            .build();
        built
            .map(Self)
            .map_err(|error| rustls::Error::General(error.to_string()))
    }
}

/// The moment nearest to `now` at which the certificate is within its dates.
fn within(der: &[u8], now: UnixTime) -> Result<UnixTime, rustls::Error> {
    let bad = || rustls::Error::InvalidCertificate(CertificateError::BadEncoding);
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| bad())?;
    let seconds = |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp());
    let validity = certificate.validity();
    let from = seconds(validity.not_before).map_err(|_| bad())?;
    let until = seconds(validity.not_after).map_err(|_| bad())?;
    let time = now.as_secs().min(until).max(from);
    Ok(UnixTime::since_unix_epoch(Duration::from_secs(time)))
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let now = within(end_entity, now)?;
        self.0.verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
