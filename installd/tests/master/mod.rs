//! A master that says what the test says: real TLS with a CA of its own, a real WebSocket, and
//! objects from a real shelf, on loopback.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
#![allow(
    clippy::unused_self,
    clippy::too_many_lines,
    reason = "reads as a master does; its start is one list of parts"
)]

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::{SinkExt, StreamExt};
use model::Digest;
use model::envelope::WritePackage;
use model::trust::{Kind, SecretKey, Signed};
use model::wire::{
    Ask, Enrol, EnrolAnswer, Enrolled, Facts, FromNode, Join, LinkSettings, Listed, Orders,
    RolloutId, SoftwareList, ToNode, TokenText, Verdict, Wanted,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair,
};
use resolve::Characteristics;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex as AsyncMutex, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::node::Package;

/// How long anything is waited for.
const WITHIN: std::time::Duration = std::time::Duration::from_secs(30);

pub struct Master {
    pub url: String,
    pub token: String,
    pub ca: String,
    pub key: SecretKey,
    pub settings: Arc<Mutex<LinkSettings>>,
    /// What was answered to each request for enrolment: how many.
    pub enrolled: Arc<Mutex<Vec<Enrol>>>,
    /// Paths of plain requests.
    pub requests: Arc<Mutex<Vec<String>>>,
    /// An operator has still to accept whoever has no token.
    pub accepts: Arc<AtomicBool>,
    /// Seconds for which a certificate is good, from two seconds ago.
    pub good_for: Arc<Mutex<Option<u64>>>,
    /// What the certificates were that a new one was asked for with.
    pub renewed: Arc<Mutex<Vec<Vec<u8>>>>,
    /// Nobody reaches it.
    away: Arc<AtomicBool>,
    links: AsyncMutex<mpsc::Receiver<Link>>,
    shelf: transfer::Shelf,
    dir: tempfile::TempDir,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Master {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A link that a node has opened.
pub struct Link {
    socket: WebSocketStream<TlsStream<TcpStream>>,
    /// Whether the node showed a certificate.
    pub certified: bool,
    /// That certificate.
    pub certificate: Vec<u8>,
}

#[derive(Clone)]
struct Served {
    issuer: Arc<Issuer<'static, KeyPair>>,
    ca: String,
    master_key: String,
    secret: String,
    accepts: Arc<AtomicBool>,
    good_for: Arc<Mutex<Option<u64>>>,
    renewed: Arc<Mutex<Vec<Vec<u8>>>>,
    enrolled: Arc<Mutex<Vec<Enrol>>>,
    requests: Arc<Mutex<Vec<String>>>,
    public: PathBuf,
    links: mpsc::Sender<Link>,
}

/// A certificate authority: its PEM and what signs with it.
fn authority(name: &str) -> (String, Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    let pem = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::from_ca_cert_pem(&pem, key).unwrap();
    (pem, issuer)
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

impl Master {
    pub async fn start() -> Self {
        let (ca, issuer) = authority("fleet");
        let server = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&server, &issuer).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(der(&ca)).unwrap();
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .allow_unauthenticated()
                .build()
                .unwrap();
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients)
            .with_single_cert(
                vec![certificate.der().clone(), der(&ca)],
                PrivateKeyDer::from_pem_slice(server.serialize_pem().as_bytes()).unwrap(),
            )
            .unwrap();
        let dir = tempfile::tempdir().unwrap();
        let public = dir.path().join("public");
        let shelf = transfer::Shelf::open(&public, &dir.path().join("private")).unwrap();
        let key = SecretKey::new(&[7; 32], "master");
        let hash = blake3::hash(&der(&ca)).to_hex();
        let (links, opened) = mpsc::channel(8);
        let served = Served {
            issuer: Arc::new(issuer),
            ca: ca.clone(),
            master_key: key.public().to_text(),
            secret: "t1.s3cret".to_owned(),
            accepts: Arc::default(),
            good_for: Arc::default(),
            renewed: Arc::default(),
            enrolled: Arc::default(),
            requests: Arc::default(),
            public,
            links,
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!(
            "https://127.0.0.1:{}",
            listener.local_addr().unwrap().port()
        );
        let (accepts, good_for, renewed) = (
            Arc::clone(&served.accepts),
            Arc::clone(&served.good_for),
            Arc::clone(&served.renewed),
        );
        let (enrolled, requests) = (Arc::clone(&served.enrolled), Arc::clone(&served.requests));
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let away = Arc::new(AtomicBool::new(false));
        let is_away = Arc::clone(&away);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                if is_away.load(Ordering::SeqCst) {
                    continue;
                }
                let (acceptor, served) = (acceptor.clone(), served.clone());
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        served.serve(stream).await;
                    }
                });
            }
        });
        Self {
            token: format!("co1.t1.s3cret.{hash}"),
            url,
            ca,
            key,
            settings: Arc::new(Mutex::new(LinkSettings {
                ping_ms: 1000,
                retry_min_ms: 10,
                retry_max_ms: 50,
                rate: 0,
            })),
            enrolled,
            requests,
            accepts,
            good_for,
            renewed,
            away,
            links: AsyncMutex::new(opened),
            shelf,
            dir,
            task,
        }
    }

    /// From now on nobody reaches it, or everybody does again.
    pub fn away(&self, away: bool) {
        self.away.store(away, Ordering::SeqCst);
    }

    pub fn join(&self, name: &str) -> Join {
        Join {
            url: self.url.clone(),
            token: Some(TokenText(self.token.clone())),
            ca: None,
            name: Some(name.parse().unwrap()),
        }
    }

    /// The next link that a node opens.
    pub async fn link(&self) -> Link {
        let mut links = self.links.lock().await;
        let link = tokio::time::timeout(WITHIN, links.recv()).await;
        link.expect("a link is opened").expect("the master runs")
    }

    /// The next link, its hello heard and answered.
    pub async fn welcome(&self, verdict: Verdict) -> (Link, Box<model::wire::Hello>) {
        let mut link = self.link().await;
        let hello = match link.hear().await {
            FromNode::Hello(hello) => hello,
            other => panic!("{other:?} instead of a hello"),
        };
        let settings = *self.settings.lock().unwrap();
        link.say(&ToNode::Welcome { verdict, settings }).await;
        (link, hello)
    }

    /// Takes packages in; the list's digest, and the software hash that it gives on such a node.
    pub fn import(&self, packages: &[Package], node: &Characteristics) -> (Digest, Digest) {
        let (mut listed, mut set, mut objects) = (Vec::new(), Vec::new(), Vec::new());
        let mut import = self.shelf.begin();
        let mut put = |bytes: &[u8]| {
            let digest = Digest::of(bytes);
            import.put(&digest, bytes.len() as u64, bytes).unwrap();
            objects.push(digest);
            digest
        };
        for package in packages {
            let bytes = serde_json::to_vec(&package.manifest).unwrap();
            let id = package.manifest.id(&bytes);
            let _checked = WritePackage::new(package.manifest.clone()).unwrap();
            for content in package.contents() {
                put(content);
            }
            listed.push(Listed {
                id: id.clone(),
                manifest: put(&bytes),
                signatures: None,
            });
            set.push(resolve::Package::new(
                id,
                Arc::new(package.manifest.clone()),
            ));
        }
        let list = serde_json::to_vec(&SoftwareList { packages: listed }).unwrap();
        let list = put(&list);
        import.finish().unwrap();
        self.shelf.publish(&list, &objects).unwrap();
        let order = resolve::order::effective(&set, node);
        (list, resolve::fleet::software_hash(&order, node))
    }

    /// Offers a release document.
    pub fn release(&self, release: &Signed) -> Digest {
        let bytes = serde_json::to_vec(release).unwrap();
        let digest = Digest::of(&bytes);
        let mut import = self.shelf.begin();
        let size = bytes.len() as u64;
        import.put(&digest, size, bytes.as_slice()).unwrap();
        import.finish().unwrap();
        self.shelf.publish(&digest, &[digest]).unwrap();
        digest
    }

    pub fn wanted(&self, (list, software): (Digest, Digest), counter: u64) -> Wanted {
        let seconds = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
        Wanted {
            node: "n1".parse().unwrap(),
            epoch: model::wire::Epoch(1),
            counter: model::wire::Counter(counter),
            issued: seconds,
            expires: seconds + 3600,
            list,
            software,
            selected_for: Facts::default(),
            releases: Vec::new(),
            orders: Orders {
                rollout: Some(RolloutId(counter)),
                contact_timeout_ms: 60_000,
                ..Orders::default()
            },
            store: model::wire::StorePolicy::default(),
            boot_gate: model::wire::BootGate::default(),
        }
    }

    pub fn sign(&self, wanted: &Wanted) -> ToNode {
        ToNode::Wanted(Signed::new(Kind::Wanted, &self.key, wanted).unwrap())
    }

    pub fn ask((list, target): (Digest, Digest), rollout: u64) -> ToNode {
        ToNode::Ask(Box::new(Ask {
            rollout: RolloutId(rollout),
            round: 1,
            list,
            target,
            selected_for: Facts::default(),
            within_ms: 20_000,
            prefetch: false,
            store: model::wire::StorePolicy::default(),
        }))
    }
}

impl Link {
    pub async fn say(&mut self, what: &ToNode) {
        let text = serde_json::to_string(what).unwrap();
        self.socket.send(Message::Text(text.into())).await.unwrap();
    }

    /// The next message; pings are answered meanwhile.
    pub async fn hear(&mut self) -> FromNode {
        let next = async {
            loop {
                let frame = self.socket.next().await.expect("the link is open");
                if let Message::Text(text) = frame.unwrap() {
                    return serde_json::from_str(&text).unwrap();
                }
            }
        };
        tokio::time::timeout(WITHIN, next)
            .await
            .expect("the node says something")
    }

    /// The next message that this makes something of.
    pub async fn until<T>(&mut self, pick: impl Fn(FromNode) -> Option<T>) -> T {
        loop {
            if let Some(found) = pick(self.hear().await) {
                return found;
            }
        }
    }

    pub async fn ballot(&mut self) -> model::wire::Ballot {
        let pick = |message| match message {
            FromNode::Ballot(ballot) => Some(*ballot),
            _ => None,
        };
        self.until(pick).await
    }

    pub async fn end(&mut self) -> model::wire::NodeEnd {
        let pick = |message| match message {
            FromNode::Ended(end) => Some(*end),
            _ => None,
        };
        self.until(pick).await
    }

    pub async fn installed(&mut self) -> model::wire::Installed {
        let pick = |message| match message {
            FromNode::Installed(installed) => Some(*installed),
            _ => None,
        };
        self.until(pick).await
    }
}

impl Served {
    async fn serve(self, mut stream: TlsStream<TcpStream>) {
        while let Some(head) = head(&mut stream).await {
            let line = head.lines().next().unwrap_or_default().to_owned();
            let mut words = line.split_whitespace();
            let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
            self.requests.lock().unwrap().push(path.to_owned());
            match (method, path) {
                ("GET", "/v1/link") => return self.open_link(stream, &head).await,
                ("POST", "/v1/enrol") => {
                    let body = body(&mut stream, &head).await;
                    let answer = self.enrol(&body);
                    answer_with(&mut stream, answer).await;
                }
                ("POST", "/v1/certificate") => {
                    let body = body(&mut stream, &head).await;
                    self.renewed.lock().unwrap().push(shown(&stream));
                    *self.good_for.lock().unwrap() = None;
                    let certificate = self.certify(std::str::from_utf8(&body).unwrap());
                    let renewed = model::wire::Renewed { certificate };
                    let body = serde_json::to_vec(&renewed).unwrap();
                    answer_with(&mut stream, (200, body)).await;
                }
                ("GET", path) => self.file(&mut stream, path, &head).await,
                _ => answer_with(&mut stream, (404, b"{}".to_vec())).await,
            }
        }
    }

    async fn open_link(self, mut stream: TlsStream<TcpStream>, head: &str) {
        let certificate = shown(&stream);
        let certified = !certificate.is_empty();
        let key = field(head, "sec-websocket-key").unwrap();
        let accept = derive_accept_key(key.as_bytes());
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
        let socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
        drop(
            self.links
                .send(Link {
                    socket,
                    certified,
                    certificate,
                })
                .await,
        );
    }

    fn enrol(&self, body: &[u8]) -> (u16, Vec<u8>) {
        let enrol: Enrol = serde_json::from_slice(body).unwrap();
        let allowed = enrol.token.as_deref() == Some(&self.secret);
        self.enrolled.lock().unwrap().push(enrol.clone());
        if enrol.token.is_none() && !self.accepts.load(Ordering::SeqCst) {
            let pending = EnrolAnswer::Pending {
                fingerprint: "it says so itself".to_owned(),
                again_ms: 50,
            };
            return (202, serde_json::to_vec(&pending).unwrap());
        }
        if !allowed && enrol.token.is_some() {
            let refusal = br#"{"error":"not-allowed","message":"no such token","hint":""}"#;
            return (403, refusal.to_vec());
        }
        let certificate = self.certify(&enrol.request);
        let enrolled = EnrolAnswer::Enrolled(Box::new(Enrolled {
            name: enrol.name,
            classes: Vec::new(),
            certificate,
            ca: self.ca.clone(),
            master_key: self.master_key.clone(),
            mirrors: Vec::new(),
        }));
        (200, serde_json::to_vec(&enrolled).unwrap())
    }

    fn certify(&self, request: &str) -> String {
        let mut request = CertificateSigningRequestParams::from_pem(request).unwrap();
        request.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if let Some(seconds) = *self.good_for.lock().unwrap() {
            let from = std::time::SystemTime::now() - std::time::Duration::from_secs(2);
            request.params.not_before = from.into();
            request.params.not_after = (from + std::time::Duration::from_secs(seconds)).into();
        }
        request.signed_by(&self.issuer).unwrap().pem()
    }

    async fn file(&self, stream: &mut TlsStream<TcpStream>, path: &str, head: &str) {
        let Ok(bytes) = fs_err::read(self.public.join(path.trim_start_matches('/'))) else {
            return answer_with(stream, (404, Vec::new())).await;
        };
        let range = field(head, "range").and_then(|range| {
            let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
            let from: usize = from.parse().ok()?;
            let to = to.parse().map_or(bytes.len(), |to: usize| to + 1);
            Some((from, to.min(bytes.len())))
        });
        let Some((from, to)) = range else {
            return answer_with(stream, (200, bytes)).await;
        };
        let all = bytes.len();
        let part = &bytes[from..to];
        let head = format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {from}-{}/{all}\r\n\
             Content-Length: {}\r\n\r\n",
            to - 1,
            part.len()
        );
        drop(stream.write_all(&[head.as_bytes(), part].concat()).await);
    }
}

/// The certificate that the other side has shown; empty: none.
fn shown(stream: &TlsStream<TcpStream>) -> Vec<u8> {
    let chain = stream.get_ref().1.peer_certificates();
    let first = chain.and_then(|chain| chain.first());
    first.map(|one| one.to_vec()).unwrap_or_default()
}

async fn head(stream: &mut TlsStream<TcpStream>) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

fn field(head: &str, name: &str) -> Option<String> {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    let mut found = lines.filter(|(key, _)| key.eq_ignore_ascii_case(name));
    found.next().map(|(_, value)| value.trim().to_owned())
}

async fn body(stream: &mut TlsStream<TcpStream>, head: &str) -> Vec<u8> {
    let length = field(head, "content-length").unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    body
}

async fn answer_with(stream: &mut TlsStream<TcpStream>, (status, body): (u16, Vec<u8>)) {
    let head = format!(
        "HTTP/1.1 {status} so\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    drop(stream.write_all(&[head.as_bytes(), &body].concat()).await);
}
