//! TLS as this master speaks it.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::trust::{Ca, Server, Verifier};

/// The master's own certificate, which may be changed while it works.
#[derive(Debug)]
pub(super) struct Own(RwLock<Arc<CertifiedKey>>);

impl Own {
    pub(super) fn new(server: &Server) -> anyhow::Result<Arc<Self>> {
        Ok(Arc::new(Self(RwLock::new(Arc::new(certified(server)?)))))
    }

    pub(super) fn change(&self, server: &Server) -> anyhow::Result<()> {
        let new = Arc::new(certified(server)?);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }
}

impl ResolvesServerCert for Own {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(
            &self.0.read().unwrap_or_else(PoisonError::into_inner),
        ))
    }
}

fn certified(server: &Server) -> anyhow::Result<CertifiedKey> {
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(server.chain.as_bytes()).collect();
    let key = PrivateKeyDer::from_pem_slice(server.key.as_bytes())?;
    let provider = ring::default_provider();
    Ok(CertifiedKey::from_der(chain?, key, &provider)?)
}

pub(super) fn config(ca: &Ca, own: Arc<Own>) -> anyhow::Result<Arc<ServerConfig>> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(Verifier::new(ca, Arc::clone(&provider))?);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(own);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A session is taken up again by its ticket, which the client keeps: nothing is stored here. What
    // its certificate is worth is asked anew each time.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = ring::Ticketer::new()?;
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}
