//! Requests to a master.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use model::wire::{Profile, Refusal};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;

use super::upload::Upload;
use crate::outcome::{CommandError, Kind};
use crate::show::ProgressLine;

/// For an answer; an import takes as long as its bytes do.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes that an answer may have: a document of a fleet of many thousands.
const MOST_ANSWER: usize = 256 << 20;

/// A master to be spoken with.
pub struct Master {
    runtime: Runtime,
    client: Client,
    base: String,
    token: String,
    ca: String,
}

impl std::fmt::Debug for Master {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Master")
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

impl Master {
    /// The one that this profile names; nothing is sent yet.
    pub fn new(profile: &Profile) -> Result<Self, CommandError> {
        let base = profile.master.trim_end_matches('/').to_owned();
        if !base.starts_with("https://") {
            let words = format!("{base:?} in the profile is no https:// address");
            return Err(CommandError::usage(words).hint("master = \"https://HOST:PORT\""));
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("could not start the event loop")?;
        let client = Client::builder()
            .tls_backend_preconfigured(tls(&profile.ca)?)
            .https_only(true)
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(10))
            .user_agent(concat!("pkgtool/", env!("CARGO_PKG_VERSION")))
            .build()
            .context("could not set up TLS")?;
        Ok(Self {
            runtime,
            client,
            base,
            token: profile.token.clone(),
            ca: profile.ca.clone(),
        })
    }

    /// Its address.
    pub fn address(&self) -> &str {
        &self.base
    }

    /// The CA that it is known by, PEM.
    pub fn ca(&self) -> &str {
        &self.ca
    }

    /// `GET` of a document.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CommandError> {
        self.send(self.request(Method::GET, path))
    }

    /// `PUT` of a document.
    pub fn put<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, CommandError> {
        self.send(self.request(Method::PUT, path).json(body))
    }

    /// `POST` of a document.
    pub fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, CommandError> {
        self.send(self.request(Method::POST, path).json(body))
    }

    /// `POST` without a body.
    pub fn tell<T: DeserializeOwned>(&self, path: &str) -> Result<T, CommandError> {
        self.send(self.request(Method::POST, path))
    }

    /// `DELETE`; what is answered is not looked at.
    pub fn delete(&self, path: &str) -> Result<(), CommandError> {
        let request = self.request(Method::DELETE, path);
        self.runtime.block_on(async {
            let answer = request.timeout(PATIENCE).send().await;
            self.body(answer).await.map(drop)
        })
    }

    /// `POST` of a file, with how far it is.
    pub fn upload<T: DeserializeOwned>(
        &self,
        path: &str,
        file: &std::path::Path,
        line: &mut ProgressLine,
    ) -> Result<T, CommandError> {
        let upload = Upload::open(file)?;
        let (sent, size) = (upload.sent(), upload.size());
        let name = file.display().to_string();
        let request = self
            .request(Method::POST, path)
            .header("content-type", "application/octet-stream")
            .header("content-length", size)
            .body(reqwest::Body::wrap_stream(upload));
        let bytes = self.runtime.block_on(async {
            let answer = async { self.body(request.send().await).await };
            tokio::pin!(answer);
            let mut tick = tokio::time::interval(Duration::from_millis(100));
            loop {
                tokio::select! {
                    answer = &mut answer => return answer,
                    _ = tick.tick() => line.bytes(&name, sent.load(std::sync::atomic::Ordering::Relaxed), size),
                }
            }
        });
        line.clear();
        self.decode(&bytes?)
    }

    /// Waits for as long as this, or until interrupted.
    pub fn pause(&self, time: Duration) {
        self.runtime
            .block_on(async { tokio::time::sleep(time).await });
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client
            .request(method, format!("{}{path}", self.base))
            .bearer_auth(&self.token)
    }

    fn send<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, CommandError> {
        let bytes = self.runtime.block_on(async {
            let answer = request.timeout(PATIENCE).send().await;
            self.body(answer).await
        })?;
        self.decode(&bytes)
    }

    async fn body(
        &self,
        answer: Result<reqwest::Response, reqwest::Error>,
    ) -> Result<Vec<u8>, CommandError> {
        let mut answer = answer.map_err(|error| self.unreachable(error))?;
        let status = answer.status();
        let mut bytes = Vec::new();
        while let Some(chunk) = answer
            .chunk()
            .await
            .map_err(|error| self.unreachable(error))?
        {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > MOST_ANSWER {
                let words = format!("{} answers without an end", self.base);
                return Err(CommandError::failed(words));
            }
        }
        if status.is_success() {
            return Ok(bytes);
        }
        Err(refused(status, &bytes))
    }

    fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, CommandError> {
        // Nothing at all is a document too, where nothing is expected.
        let bytes = if bytes.is_empty() { b"null" } else { bytes };
        serde_json::from_slice(bytes).map_err(|error| {
            CommandError::new(Kind::Failed, error)
                .context(format!(
                    "{} answered something that this pkgtool does not know",
                    self.base
                ))
                .hint("use the pkgtool that came with the master")
        })
    }

    fn unreachable(&self, error: reqwest::Error) -> CommandError {
        let (connect, timeout) = (error.is_connect(), error.is_timeout());
        let text = chain(&error);
        let report = CommandError::from(error.without_url())
            .context(format!("could not speak with the master at {}", self.base));
        if text.contains("certificate") || text.contains("UnknownIssuer") {
            return report
                .hint("its certificate is not of the CA in the profile: is this the right master, and the right profile?")
                .hint("a name or address that the certificate lacks: masterd certificate --name HOST on the master");
        }
        if connect {
            return report
                .hint("is it running? on the master: systemctl status masterd")
                .hint("is the address in the profile right, and HTTPS_PROXY?");
        }
        if timeout {
            return report.hint("on the master: journalctl -u masterd");
        }
        report.hint("what was asked may or may not have happened: pkgtool fleet status")
    }
}

/// All causes as one text, for looking at only.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

/// TLS that believes this CA and nobody else.
fn tls(ca: &str) -> Result<rustls::ClientConfig, CommandError> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
        let certificate = certificate
            .map_err(|error| anyhow::anyhow!("the CA in the profile is not readable: {error:?}"))?;
        roots
            .add(certificate)
            .context("the CA in the profile is no certificate")?;
    }
    if roots.is_empty() {
        return Err(CommandError::usage("the profile has no CA certificate")
            .hint("ca = \"\"\"-----BEGIN CERTIFICATE-----…\"\"\""));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("TLS")?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// A refusal as an error with the exit code that it means.
fn refused(status: StatusCode, bytes: &[u8]) -> CommandError {
    let Ok(refusal) = serde_json::from_slice::<Refusal>(bytes) else {
        let words = format!("the master answered {status}");
        return CommandError::new(kind(status, ""), anyhow::Error::msg(words))
            .hint("on the master: journalctl -u masterd");
    };
    let error = CommandError::new(
        kind(status, &refusal.error),
        anyhow::Error::msg(refusal.message),
    );
    match refusal.hint {
        Some(hint) => error.hint(hint),
        None if status == StatusCode::UNAUTHORIZED => {
            error.hint("pkgtool fleet operators add NAME on another profile gives a new token")
        }
        None => error,
    }
}

fn kind(status: StatusCode, error: &str) -> Kind {
    match (error, status) {
        ("unmet", _) | (_, StatusCode::UNPROCESSABLE_ENTITY) => Kind::Dependencies,
        ("not-allowed", _) | (_, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
            Kind::NotAllowed
        }
        ("busy" | "overlap", _)
        | (
            _,
            StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE,
        ) => Kind::Busy,
        _ => Kind::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_has_the_exit_code_that_scripts_rely_on() {
        let cases = [
            (422, "unmet", Kind::Dependencies),
            (409, "overlap", Kind::Busy),
            (409, "busy", Kind::Busy),
            (403, "not-allowed", Kind::NotAllowed),
            (401, "who", Kind::NotAllowed),
            (404, "not-found", Kind::Failed),
            (500, "failed", Kind::Failed),
        ];
        for (status, error, expected) in cases {
            let body = serde_json::json!({"error": error, "message": "m", "hint": "h"});
            let status = StatusCode::from_u16(status).unwrap();
            let error = refused(status, body.to_string().as_bytes());
            assert_eq!(error.kind, expected, "{status}");
            assert_eq!(error.hints, ["h"]);
        }
    }

    #[test]
    fn an_answer_that_is_no_refusal_still_has_a_kind_and_a_next_step() {
        let error = refused(StatusCode::BAD_GATEWAY, b"<html>");
        assert_eq!(error.kind, Kind::Failed);
        assert!(error.error.to_string().contains("502"));
        assert!(!error.hints.is_empty());
    }

    #[test]
    fn a_profile_without_https_is_refused_before_a_token_is_sent() {
        let profile = Profile {
            master: "http://m".to_owned(),
            token: "t".to_owned(),
            ca: String::new(),
        };
        assert_eq!(Master::new(&profile).unwrap_err().kind, Kind::Usage);
    }
}
