//! A real masterd, and scripted nodes that speak the real link over real mutual TLS.

#![allow(
    dead_code,
    clippy::wildcard_enum_match_arm,
    reason = "each test uses its part of it"
)]

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use model::change::{ChangeReport, Outcome};
use model::envelope::{Compressor, WritePackage, Writer};
use model::manifest::{FileEntry, FileType, Node as FileNode, RegularFile};
use model::trust::{Kind, PublicKey};
use model::wire::{
    Ask, Ballot, Enrol, EnrolAnswer, Facts, FromNode, Have, Hello, Installed, IssuedToken, NodeEnd,
    NodeName, PROTOCOL, Profile, RolloutId, RolloutView, ToNode, Verdict, Vote, Wanted,
};
use model::{ChangeId, Digest, Generation, Manifest, Signature};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// Nothing here takes longer, however busy the machine is.
pub const SOON: Duration = Duration::from_secs(30);

/// A master with its directory; killed when it is dropped.
pub struct Master {
    dir: tempfile::TempDir,
    port: u16,
    child: Child,
    pub profile: Profile,
    client: reqwest::Client,
    environment: Vec<(String, String)>,
}

impl Drop for Master {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn start(config: &Path, environment: &[(String, String)]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_masterd"))
        .arg("--config")
        .arg(config)
        .envs(environment.iter().cloned())
        .env("CHANGEOVER_LOG", "warn")
        .stdin(Stdio::null())
        .spawn()
        .unwrap()
}

impl Master {
    pub async fn new() -> Self {
        Self::with("", &[]).await
    }

    /// With more in its configuration and its environment.
    pub async fn with(more: &str, environment: &[(String, String)]) -> Self {
        Self::made(more, "retry-from = \"1s\"", environment).await
    }

    /// With these settings of its links.
    pub async fn with_link(link: &str) -> Self {
        Self::made("", link, &[]).await
    }

    async fn made(more: &str, link: &str, environment: &[(String, String)]) -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let config = dir.path().join("masterd.toml");
        let state = dir.path().join("state");
        let text = format!(
            "state-dir = \"{}\"\nlisten = \"127.0.0.1:{port}\"\n{more}\n[link]\n{link}\n",
            state.display()
        );
        fs_err::write(&config, text).unwrap();
        let profile = dir.path().join("operator.toml");
        let init = Command::new(env!("CARGO_BIN_EXE_masterd"))
            .args([
                "--config",
                config.to_str().unwrap(),
                "init",
                "--name",
                "127.0.0.1",
            ])
            .args(["--profile", profile.to_str().unwrap()])
            .output()
            .unwrap();
        assert!(
            init.status.success(),
            "{}",
            String::from_utf8_lossy(&init.stderr)
        );
        let profile: Profile = toml::from_str(&fs_err::read_to_string(profile).unwrap()).unwrap();
        let ca = reqwest::Certificate::from_pem(profile.ca.as_bytes()).unwrap();
        let client = reqwest::Client::builder()
            .tls_certs_only([ca])
            .no_proxy()
            .build()
            .unwrap();
        let child = start(&config, environment);
        let master = Self {
            dir,
            port,
            child,
            profile,
            client,
            environment: environment.to_vec(),
        };
        master.is_up().await;
        master
    }

    async fn is_up(&self) {
        let up = async {
            while self.client.get(self.url("/healthz")).send().await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(SOON, up)
            .await
            .expect("masterd comes up");
    }

    /// Killed without a word, and started again.
    pub async fn killed(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = start(&self.dir.path().join("masterd.toml"), &self.environment);
        self.is_up().await;
    }

    pub fn state(&self) -> std::path::PathBuf {
        self.dir.path().join("state")
    }

    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Whatever is asked for, with the first operator's token.
    pub async fn ask(&self, method: reqwest::Method, path: &str, body: Vec<u8>) -> (u16, String) {
        // Links and streams of events end with the first answer: no upgrade is asked for.
        let request = self.client.request(method, self.url(path)).body(body);
        let sent = request.bearer_auth(&self.profile.token).send().await;
        let answer = sent.unwrap();
        let status = answer.status().as_u16();
        (status, answer.text().await.unwrap_or_default())
    }

    /// A POST as whoever has this token.
    pub async fn post_as(&self, token: &str, path: &str, body: &impl Serialize) -> (u16, String) {
        let request = self.client.post(self.url(path)).json(body);
        let answer = request.bearer_auth(token).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.text().await.unwrap_or_default())
    }

    /// A certificate that the fleet's CA has signed, whatever it says, good for so many seconds.
    pub fn minted(&self, uri: &str, seconds: u64) -> (String, String) {
        let read =
            |name: &str| fs_err::read_to_string(self.state().join("trust").join(name)).unwrap();
        let key = rcgen::KeyPair::from_pem(&read("ca.key")).unwrap();
        let issuer = rcgen::Issuer::from_ca_cert_pem(&read("ca.pem"), key).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names = vec![rcgen::SanType::URI(uri.try_into().unwrap())];
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now = Duration::from_secs(now.unwrap().as_secs());
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        params.not_before = epoch + now.saturating_sub(Duration::from_mins(1));
        params.not_after = epoch + (now + Duration::from_secs(seconds));
        let made = params.signed_by(&key, &issuer).unwrap();
        (made.pem(), key.serialize_pem())
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// The profile's file, as `pkgtool fleet` takes it.
    pub fn profile_file(&self) -> std::path::PathBuf {
        self.dir.path().join("operator.toml")
    }

    /// Looks on at what happens, as whoever has this token.
    pub async fn events(&self, token: &str) -> WebSocketStream<TlsStream<TcpStream>> {
        let mut roots = rustls::RootCertStore::empty();
        for one in CertificateDer::pem_slice_iter(self.profile.ca.as_bytes()) {
            roots.add(one.unwrap()).unwrap();
        }
        let config = rustls::ClientConfig::builder().with_root_certificates(roots);
        let stream = secured(self.port, config.with_no_client_auth()).await;
        let url = format!("wss://127.0.0.1:{}/v1/events", self.port);
        let mut request = url.into_client_request().unwrap();
        let bearer = format!("Bearer {token}").parse().unwrap();
        request.headers_mut().insert("authorization", bearer);
        let opened = tokio_tungstenite::client_async(request, stream).await;
        opened.unwrap().0
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.port)
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> (u16, String) {
        let answer = request
            .bearer_auth(&self.profile.token)
            .send()
            .await
            .unwrap();
        let status = answer.status().as_u16();
        (status, answer.text().await.unwrap())
    }

    async fn good<T: DeserializeOwned>(&self, request: reqwest::RequestBuilder) -> T {
        let (status, text) = self.answer(request).await;
        assert_eq!(status, 200, "{text}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> T {
        self.good(self.client.get(self.url(path))).await
    }

    pub async fn put<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> T {
        self.good(self.client.put(self.url(path)).json(body)).await
    }

    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> T {
        self.good(self.client.post(self.url(path)).json(body)).await
    }

    pub async fn refused(&self, path: &str, body: &impl Serialize) -> (u16, String) {
        self.answer(self.client.post(self.url(path)).json(body))
            .await
    }

    pub async fn import(&self, envelope: Vec<u8>) -> Vec<model::wire::ImportedPackage> {
        self.good(self.client.post(self.url("/v1/import")).body(envelope))
            .await
    }

    pub async fn rollout(&self, id: RolloutId) -> RolloutView {
        self.get(&format!("/v1/rollouts/{id}")).await
    }

    /// The update, once it is as it should be.
    pub async fn until(
        &self,
        id: RolloutId,
        as_it_should: impl Fn(&RolloutView) -> bool,
    ) -> RolloutView {
        let mut last = None;
        let wait = async {
            loop {
                let view = self.rollout(id).await;
                if as_it_should(&view) {
                    return view;
                }
                last = Some(view);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let waited = tokio::time::timeout(SOON, wait).await;
        waited.unwrap_or_else(|_| panic!("still {last:?}"))
    }

    /// A node that came in by a token of its own.
    pub async fn node(&self, name: &str, class: &str) -> Scripted {
        let new = serde_json::json!({"uses": 1, "seconds": 600, "classes": [class]});
        let token: IssuedToken = self.post("/v1/tokens", &new).await;
        let mut parts = token.token.0.split('.').skip(1);
        let secret = format!("{}.{}", parts.next().unwrap(), parts.next().unwrap());
        let mut newcomer = Newcomer::new(name);
        newcomer.enrol.token = Some(secret);
        self.comes_in(newcomer).await.expect("it is let in")
    }

    /// A machine with a token, that wants to have this name.
    pub async fn newcomer_with_token(&self, name: &str) -> Enrol {
        let new = serde_json::json!({"uses": 1, "seconds": 600});
        let token: IssuedToken = self.post("/v1/tokens", &new).await;
        let mut parts = token.token.0.split('.').skip(1);
        let secret = format!("{}.{}", parts.next().unwrap(), parts.next().unwrap());
        Enrol {
            token: Some(secret),
            ..Newcomer::new(name).enrol
        }
    }

    /// A node that has no token, and asks.
    pub async fn waits(&self, name: &str) -> Newcomer {
        let mut newcomer = Newcomer::new(name);
        let answer = self.post("/v1/enrol", &newcomer.enrol).await;
        let EnrolAnswer::Pending { fingerprint, .. } = answer else {
            panic!("it does not wait");
        };
        newcomer.fingerprint = Some(fingerprint);
        newcomer
    }

    /// Asks to be let in; `None`: it waits.
    pub async fn comes_in(&self, newcomer: Newcomer) -> Option<Scripted> {
        let enrolled = match self.post("/v1/enrol", &newcomer.enrol).await {
            EnrolAnswer::Enrolled(enrolled) => enrolled,
            EnrolAnswer::Pending { .. } => return None,
        };
        Some(Scripted {
            name: newcomer.enrol.name,
            facts: newcomer.enrol.facts,
            port: self.port,
            ca: enrolled.ca.clone(),
            certificate: enrolled.certificate.clone(),
            key: newcomer.key.serialize_pem(),
            master_key: PublicKey::parse(&enrolled.master_key).unwrap().0,
            installed: Installed::default(),
            have: Have::default(),
            boot: "first".to_owned(),
            socket: None,
        })
    }
}

/// A machine that wants to be a node.
pub struct Newcomer {
    key: rcgen::KeyPair,
    pub enrol: Enrol,
    pub fingerprint: Option<String>,
}

/// Whose a certificate is.
pub fn peer(pem: &str) -> Option<masterd::trust::Peer> {
    masterd::trust::Peer::read(&CertificateDer::from_pem_slice(pem.as_bytes()).ok()?)
}

impl Newcomer {
    pub fn new(name: &str) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut request = rcgen::CertificateParams::new(Vec::new()).unwrap();
        request
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        let enrol = Enrol {
            name: name.parse().unwrap(),
            request: request.serialize_request(&key).unwrap().pem().unwrap(),
            token: None,
            facts: Facts {
                arch: "x86_64".to_owned(),
                ..Facts::default()
            },
        };
        Self {
            key,
            enrol,
            fingerprint: None,
        }
    }
}

async fn secured(port: u16, config: rustls::ClientConfig) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let host = ServerName::try_from("127.0.0.1").unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    connector.connect(host, stream).await.unwrap()
}

/// A node that does what the test says.
pub struct Scripted {
    pub name: NodeName,
    pub facts: Facts,
    port: u16,
    ca: String,
    certificate: String,
    key: String,
    pub master_key: PublicKey,
    pub installed: Installed,
    pub have: Have,
    pub boot: String,
    socket: Option<WebSocketStream<TlsStream<TcpStream>>>,
}

impl Scripted {
    /// The same identity elsewhere.
    pub fn clone_of(&self, boot: &str) -> Self {
        Self {
            name: self.name.clone(),
            facts: self.facts.clone(),
            port: self.port,
            ca: self.ca.clone(),
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            master_key: self.master_key.clone(),
            installed: self.installed.clone(),
            have: self.have.clone(),
            boot: boot.to_owned(),
            socket: None,
        }
    }

    pub fn is_open(&self) -> bool {
        self.socket.is_some()
    }

    /// Another certificate and its key.
    pub fn wear(&mut self, (certificate, key): &(String, String)) {
        self.certificate.clone_from(certificate);
        self.key.clone_from(key);
    }

    /// A link on which nothing was said.
    pub async fn raw(&self) -> WebSocketStream<TlsStream<TcpStream>> {
        self.open().await
    }

    /// Opens the link, and says nothing.
    pub async fn open_silently(&mut self) {
        self.socket = Some(self.open().await);
    }

    /// Bytes that are no request: the status of the answer, 0 where there is none.
    pub async fn garbage(&self, bytes: &[u8]) -> (u16, String) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = self.secured().await;
        stream.write_all(bytes).await.ok();
        stream.shutdown().await.ok();
        let mut answer = Vec::new();
        drop(
            tokio::time::timeout(SOON, stream.read_to_end(&mut answer))
                .await
                .unwrap(),
        );
        let text = String::from_utf8_lossy(&answer).into_owned();
        let status = text.split(' ').nth(1).and_then(|it| it.parse().ok());
        (status.unwrap_or(0), text)
    }

    /// The same node, whose way to the master leads through another port.
    pub fn through(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    async fn open(&self) -> WebSocketStream<TlsStream<TcpStream>> {
        let url = format!("wss://127.0.0.1:{}/v1/link", self.port);
        let opened = tokio_tungstenite::client_async(url, self.secured().await).await;
        opened.unwrap().0
    }

    /// One request with the node's certificate: the status and the body.
    pub async fn request(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = self.secured().await;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // Closed without a word, behind what was wanted.
        drop(stream.read_to_end(&mut answer).await);
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    }

    async fn secured(&self) -> TlsStream<TcpStream> {
        let mut roots = rustls::RootCertStore::empty();
        for one in CertificateDer::pem_slice_iter(self.ca.as_bytes()) {
            roots.add(one.unwrap()).unwrap();
        }
        let chain = CertificateDer::pem_slice_iter(self.certificate.as_bytes());
        let chain = chain.map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        let config = rustls::ClientConfig::builder().with_root_certificates(roots);
        let config = config.with_client_auth_cert(chain, key).unwrap();
        secured(self.port, config).await
    }

    /// Whatever it wants to say.
    pub async fn say_text(&mut self, text: &str) {
        let socket = self.socket.as_mut().unwrap();
        drop(socket.send(Message::text(text.to_owned())).await);
    }

    /// Whether the master has read all that was said: it answers a ping; `false`: the link ended.
    pub async fn is_heard(&mut self) -> bool {
        let socket = self.socket.as_mut().unwrap();
        if socket.send(Message::Ping(Vec::new().into())).await.is_err() {
            return false;
        }
        loop {
            match tokio::time::timeout(SOON, socket.next()).await.unwrap() {
                Some(Ok(Message::Pong(_))) => return true,
                Some(Ok(Message::Close(_)) | Err(_)) | None => return false,
                Some(Ok(_)) => {}
            }
        }
    }

    /// Opens the link, says hello, and answers what the master says of it.
    pub async fn connect(&mut self) -> Verdict {
        self.socket = Some(self.open().await);
        let hello = Hello {
            protocol: PROTOCOL,
            facts: self.facts.clone(),
            installed: self.installed.clone(),
            boot: self.boot.clone(),
            boot_gate: false,
        };
        self.say(&FromNode::Hello(Box::new(hello))).await;
        match self.next().await {
            ToNode::Welcome { verdict, .. } => verdict,
            other => panic!("{other:?}"),
        }
    }

    pub fn disconnect(&mut self) {
        self.socket = None;
    }

    pub async fn say(&mut self, message: &FromNode) {
        let text = serde_json::to_string(message).unwrap();
        self.socket
            .as_mut()
            .unwrap()
            .send(Message::text(text))
            .await
            .unwrap();
    }

    /// The next message but for [`ToNode::List`], which is answered; `None`: the link has ended.
    pub async fn heard(&mut self) -> Option<ToNode> {
        loop {
            let socket = self.socket.as_mut().unwrap();
            let next = tokio::time::timeout(SOON, socket.next()).await;
            let text = match next.unwrap_or_else(|_| panic!("{}: nothing is heard", self.name)) {
                Some(Ok(Message::Text(text))) => text,
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => continue,
            };
            match serde_json::from_str(&text).unwrap() {
                ToNode::List => self.say(&FromNode::Have(self.have.clone())).await,
                message => return Some(message),
            }
        }
    }

    pub async fn next(&mut self) -> ToNode {
        self.heard()
            .await
            .unwrap_or_else(|| panic!("{}: the link has ended", self.name))
    }

    pub async fn asked(&mut self) -> Ask {
        match self.next().await {
            ToNode::Ask(ask) => *ask,
            other => panic!("{}: {other:?}", self.name),
        }
    }

    pub async fn vote(&mut self, ask: &Ask, vote: Vote) {
        let ballot = Ballot {
            rollout: ask.rollout,
            round: ask.round,
            base: self.installed.software.unwrap_or_else(|| Digest::of(b"")),
            target: ask.target,
            expires: 4_000_000_000,
            vote,
            reached: 1,
            restarts: 1,
            bytes: 0,
            reboot: None,
        };
        self.say(&FromNode::Ballot(Box::new(ballot))).await;
    }

    /// The next message is a wanted state that the master has signed for this node.
    pub async fn wanted(&mut self) -> Wanted {
        let ToNode::Wanted(signed) = self.next().await else {
            panic!("{}: no wanted state", self.name);
        };
        let keys = std::slice::from_ref(&self.master_key);
        let (wanted, _): (Wanted, _) = signed.open(Kind::Wanted, keys).unwrap();
        assert_eq!(wanted.node, self.name);
        assert!((wanted.epoch, wanted.counter) > (self.installed.epoch, self.installed.counter));
        wanted
    }

    /// It has become what is wanted.
    pub fn become_it(&mut self, wanted: &Wanted) {
        self.installed = Installed {
            software: Some(wanted.software),
            committed: Some(wanted.software),
            epoch: wanted.epoch,
            counter: wanted.counter,
            ..Installed::default()
        };
    }

    pub async fn end(&mut self, rollout: RolloutId, wanted: &Wanted, outcome: Outcome) {
        let end = NodeEnd {
            rollout,
            epoch: wanted.epoch,
            counter: wanted.counter,
            report: Some(Box::new(ChangeReport::new(
                ChangeId(1),
                outcome,
                Generation(1),
            ))),
            detail: None,
            check: None,
            installed: self.installed.clone(),
        };
        self.say(&FromNode::Ended(Box::new(end))).await;
    }

    /// It accepts, changes when it is told, and is committed; the ids are what it runs then.
    pub async fn follows(&mut self, id: RolloutId, active: &[model::PackageId]) {
        let wanted = self.wanted().await;
        self.become_it(&wanted);
        self.have.active = active.to_vec();
        self.end(id, &wanted, Outcome::Done).await;
        self.is_committed(id).await;
    }

    pub async fn is_committed(&mut self, id: RolloutId) {
        match self.next().await {
            ToNode::Commit { rollout } => assert_eq!(rollout, id),
            other => panic!("{}: {other:?}", self.name),
        }
    }
}

/// An envelope with one package of one file.
pub fn envelope(name: &str, version: &str, text: &str) -> Vec<u8> {
    packed(manifest(name, version, text), text)
}

/// The same, with more in its manifest.
pub fn envelope_with((name, version): (&str, &str), edit: impl FnOnce(&mut Manifest)) -> Vec<u8> {
    let text = format!("{name} {version}");
    let mut manifest = manifest(name, version, &text);
    edit(&mut manifest);
    packed(manifest, &text)
}

fn packed(manifest: Manifest, text: &str) -> Vec<u8> {
    let package = WritePackage::new(manifest).unwrap();
    let mut writer = Writer::new(Vec::new(), &[package]).unwrap();
    writer
        .object(&mut Compressor::new().unwrap(), text.as_bytes())
        .unwrap();
    writer.finish().unwrap()
}

/// A package of one file.
pub fn manifest(name: &str, version: &str, text: &str) -> Manifest {
    let mut manifest = Manifest::new(name.parse().unwrap(), version.parse().unwrap());
    let digest = Digest::of(text.as_bytes());
    manifest.files.push(FileEntry {
        path: format!("/usr/share/{name}").parse().unwrap(),
        mode: 0o644,
        owner: None,
        group: None,
        node: FileNode::File(Box::new(RegularFile {
            digest,
            size: text.len() as u64,
            signature: Signature::of_exact(digest),
            file_type: FileType::Data,
            function: None,
            architecture: None,
            capabilities: None,
            provides_apis: Vec::new(),
            consumes_apis: Vec::new(),
            elf: None,
            uses: None,
            interpreter: None,
        })),
    });
    manifest
}
