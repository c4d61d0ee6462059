//! TLS as a node has it: its own key and certificate, the fleet's CA and no other.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Who a simulated node is.
pub(crate) struct Identity {
    pub(crate) name: model::wire::NodeName,
    pub(crate) certificate: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

/// What all of them share.
#[derive(Clone)]
pub(crate) struct Ground {
    provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
}

impl Ground {
    pub(crate) fn new(ca: &[u8]) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca) {
            roots.add(certificate.context("the CA cannot be read")?)?;
        }
        Ok(Self {
            provider: Arc::new(rustls::crypto::ring::default_provider()),
            roots: Arc::new(roots),
        })
    }

    /// For a client without a certificate.
    pub(crate) fn nobody(&self) -> Result<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider));
        let builder = builder.with_protocol_versions(&[&rustls::version::TLS13])?;
        let builder = builder.with_root_certificates(Arc::clone(&self.roots));
        Ok(builder.with_no_client_auth())
    }

    /// For one node; every handshake is a whole one.
    pub(crate) fn node(&self, who: &Identity) -> Result<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider));
        let builder = builder.with_protocol_versions(&[&rustls::version::TLS13])?;
        let builder = builder.with_root_certificates(Arc::clone(&self.roots));
        let mut config =
            builder.with_client_auth_cert(who.certificate.clone(), who.key.clone_key())?;
        config.resumption = Resumption::disabled();
        Ok(config)
    }

    /// For the bare server, which has the master's own certificate and key (two files, PEM).
    pub(crate) fn server(&self, identity: &[PathBuf]) -> Result<ServerConfig> {
        let [certificate, key] = identity else {
            bail!("a certificate and a key make an identity");
        };
        let chain: Result<Vec<_>, _> =
            CertificateDer::pem_slice_iter(&fs_err::read(certificate)?).collect();
        let key = PrivateKeyDer::from_pem_slice(&fs_err::read(key)?)?;
        let roots = Arc::clone(&self.roots);
        let provider = Arc::clone(&self.provider);
        let verifier =
            WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider)).build()?;
        let builder = ServerConfig::builder_with_provider(provider);
        let builder = builder.with_protocol_versions(&[&rustls::version::TLS13])?;
        let builder = builder.with_client_cert_verifier(verifier);
        let mut config = builder.with_single_cert(chain?, key)?;
        config.send_tls13_tickets = 0;
        Ok(config)
    }
}
