//! A real masterd, and scripted nodes that speak the real link over real mutual TLS.

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

/// Nothing here takes longer, however busy the machine is.
pub const SOON: Duration = Duration::from_secs(30);

/// A master with its directory; killed when it is dropped.
pub struct Master {
    dir: tempfile::TempDir,
    port: u16,
    child: Child,
    pub profile: Profile,
    client: reqwest::Client,
}

impl Drop for Master {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn start(config: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_masterd"))
        .arg("--config")
        .arg(config)
        .env("CHANGEOVER_LOG", "warn")
        .stdin(Stdio::null())
        .spawn()
        .unwrap()
}

impl Master {
    pub async fn new() -> Self {
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
            "state-dir = \"{}\"\nlisten = \"127.0.0.1:{port}\"\n[link]\nretry-from = \"1s\"\n",
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
        let child = start(&config);
        let master = Self {
            dir,
            port,
            child,
            profile,
            client,
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
        self.child = start(&self.dir.path().join("masterd.toml"));
        self.is_up().await;
    }

    fn url(&self, path: &str) -> String {
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
        let key = rcgen::KeyPair::generate().unwrap();
        let name: NodeName = name.parse().unwrap();
        let mut request = rcgen::CertificateParams::new(Vec::new()).unwrap();
        request
            .distinguished_name
            .push(rcgen::DnType::CommonName, name.as_str());
        let facts = Facts {
            arch: "x86_64".to_owned(),
            ..Facts::default()
        };
        let enrol = Enrol {
            name: name.clone(),
            request: request.serialize_request(&key).unwrap().pem().unwrap(),
            token: Some(secret),
            facts: facts.clone(),
        };
        let EnrolAnswer::Enrolled(enrolled) = self.post("/v1/enrol", &enrol).await else {
            panic!("not enrolled");
        };
        Scripted {
            name,
            facts,
            port: self.port,
            ca: enrolled.ca.clone(),
            certificate: enrolled.certificate.clone(),
            key: key.serialize_pem(),
            master_key: PublicKey::parse(&enrolled.master_key).unwrap().0,
            installed: Installed::default(),
            have: Have::default(),
            boot: "first".to_owned(),
            socket: None,
        }
    }
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

    async fn open(&self) -> WebSocketStream<TlsStream<TcpStream>> {
        let mut roots = rustls::RootCertStore::empty();
        for one in CertificateDer::pem_slice_iter(self.ca.as_bytes()) {
            roots.add(one.unwrap()).unwrap();
        }
        let chain = CertificateDer::pem_slice_iter(self.certificate.as_bytes());
        let chain = chain.map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        let config = rustls::ClientConfig::builder().with_root_certificates(roots);
        let config = config.with_client_auth_cert(chain, key).unwrap();
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let host = ServerName::try_from("127.0.0.1").unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let stream = connector.connect(host, stream).await.unwrap();
        let url = format!("wss://127.0.0.1:{}/v1/link", self.port);
        tokio_tungstenite::client_async(url, stream)
            .await
            .unwrap()
            .0
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

    pub async fn is_committed(&mut self, id: RolloutId) {
        match self.next().await {
            ToNode::Commit { rollout } => assert_eq!(rollout, id),
            other => panic!("{}: {other:?}", self.name),
        }
    }
}

/// An envelope with one package of one file.
pub fn envelope(name: &str, version: &str, text: &str) -> Vec<u8> {
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
    let package = WritePackage::new(manifest).unwrap();
    let mut writer = Writer::new(Vec::new(), &[package]).unwrap();
    writer
        .object(&mut Compressor::new().unwrap(), text.as_bytes())
        .unwrap();
    writer.finish().unwrap()
}
