//! Bringing simulated nodes into the fleet, each with a key and certificate of its own.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use futures_util::future::try_join_all;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1;
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

/// Connections that enrol at the same time, each one node after another.
const AT_ONCE: usize = 32;

/// Enrols `count` nodes.
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
    let token = format!("{id}.{secret}");
    let tls = Arc::new(ground.nobody()?);
    let some = (0..AT_ONCE).map(|first| {
        let numbers = (first..count).step_by(AT_ONCE);
        several(master, Arc::clone(&tls), &token, numbers)
    });
    Ok(try_join_all(some).await?.into_iter().flatten().collect())
}

async fn several(
    master: &Master,
    tls: Arc<rustls::ClientConfig>,
    token: &str,
    numbers: impl Iterator<Item = usize>,
) -> Result<Vec<Arc<Identity>>> {
    let mut sender = master.open(tls).await?;
    let mut enrolled = Vec::new();
    for number in numbers {
        enrolled.push(Arc::new(enrol(&mut sender, token, number).await?));
    }
    Ok(enrolled)
}

async fn enrol(
    sender: &mut http1::SendRequest<Full<Bytes>>,
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
    sender.ready().await?;
    let answer = http::read(sender.send_request(request).await?).await?;
    let EnrolAnswer::Enrolled(enrolled) = serde_json::from_slice(&answer)? else {
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
