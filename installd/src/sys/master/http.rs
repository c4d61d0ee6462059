//! Requests to the master: entering, and a new certificate.

use std::time::Duration;

use model::wire::{Enrol, EnrolAnswer, Renewed};
use reqwest::{Client, Response};
use rustls::ClientConfig;
use serde::de::DeserializeOwned;

use super::{Address, Error};

/// Bytes of an answer at most.
const MOST: usize = 1 << 20;

/// A client that believes and shows what `tls` says.
pub fn client(tls: ClientConfig) -> Result<Client, Error> {
    let client = Client::builder()
        .tls_backend_preconfigured(tls)
        .connect_timeout(Duration::from_secs(20))
        .read_timeout(Duration::from_mins(1))
        .redirect(reqwest::redirect::Policy::none());
    Ok(client.build()?)
}

/// Asks to be let in.
pub async fn enrol(client: &Client, to: &Address, enrol: &Enrol) -> Result<EnrolAnswer, Error> {
    let url = format!("{}/v1/enrol", to.url);
    answer(client.post(url).json(enrol).send().await?).await
}

/// Asks for a certificate for a new key, with the old one shown; `request` is PKCS #10, PEM.
pub async fn renew(client: &Client, to: &Address, request: String) -> Result<Renewed, Error> {
    let url = format!("{}/v1/certificate", to.url);
    let request = client
        .post(url)
        .header("content-type", "application/x-pem-file")
        .body(request);
    answer(request.send().await?).await
}

async fn answer<T: DeserializeOwned>(mut response: Response) -> Result<T, Error> {
    let status = response.status();
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await? {
        if body.len() + part.len() > MOST {
            return Err(Error::Refused("its answer has no end".to_owned()));
        }
        body.extend_from_slice(&part);
    }
    if status.is_success() {
        return serde_json::from_slice(&body)
            .map_err(|error| Error::Refused(format!("its answer is not understood: {error}")));
    }
    Err(refused(status, &body))
}

/// What a master that refuses says.
pub(super) fn refused(status: impl std::fmt::Display, body: &[u8]) -> Error {
    let said: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let text = |field: &str| {
        let value = said.as_ref()?.get(field)?.as_str()?;
        Some(value.chars().take(500).collect::<String>())
    };
    let message = text("message").unwrap_or_else(|| format!("it answers {status}"));
    let hint = text("hint").filter(|hint| !hint.is_empty());
    let hint = hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
    Error::Refused(format!("{message}{hint}"))
}
