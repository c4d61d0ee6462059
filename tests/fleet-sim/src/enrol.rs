//! Bringing simulated nodes into the fleet, each with a key and certificate of its own.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use model::wire::{Enrol, EnrolAnswer, Facts, NodeName};
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::http::{self, Master};
use crate::tls::{Ground, Identity};

/// What a simulated node says that it is.
pub(crate) fn facts() -> Facts {
    Facts {
        arch: std::env::consts::ARCH.to_owned(),
        kernel: "simulated".to_owned(),
        installd: "simulated".to_owned(),
        ..Facts::default()
    }
}

/// Enrols `count` nodes, a few at a time.
pub(crate) async fn all(
    master: &Master,
    ground: &Ground,
    token: &str,
    count: usize,
) -> Result<Vec<Arc<Identity>>> {
    // `co1.ID.SECRET.CAHASH`: the CA was given by hand.
    let parts: Vec<&str> = token.split('.').collect();
    let [_, id, secret, ..] = parts[..] else {
        bail!("not an enrolment token: {} parts", parts.len());
    };
    let secret = format!("{id}.{secret}");
    let tls = Arc::new(ground.nobody()?);
    let one = |number: usize| {
        let (tls, secret) = (Arc::clone(&tls), secret.clone());
        async move { enrol(master, tls, &secret, number).await.map(Arc::new) }
    };
    stream::iter(0..count)
        .map(one)
        .buffer_unordered(8)
        .try_collect()
        .await
}

async fn enrol(
    master: &Master,
    tls: Arc<rustls::ClientConfig>,
    token: &str,
    number: usize,
) -> Result<Identity> {
    let name: NodeName = format!("sim-{number:06}").parse()?;
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::new())?;
    params
        .distinguished_name
        .push(DnType::CommonName, name.as_str());
    let enrol = Enrol {
        name: name.clone(),
        request: params.serialize_request(&key)?.pem()?,
        token: Some(token.to_owned()),
        facts: facts(),
    };
    let request = http::json("POST", "/v1/enrol", None, serde_json::to_vec(&enrol)?)?;
    let answer: EnrolAnswer = http::ask(master, tls, request).await?;
    let EnrolAnswer::Enrolled(enrolled) = answer else {
        bail!("{name} is to be accepted by hand");
    };
    let pem = enrolled.certificate.as_bytes();
    let certificate: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    Ok(Identity {
        name,
        certificate: certificate.context("a node's certificate cannot be read")?,
        key: PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?,
    })
}
