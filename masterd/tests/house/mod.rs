//! A real masterd on loopback, and clients of every kind.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    unreachable_pub,
    missing_debug_implementations,
    reason = "a test"
)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use model::wire::{Enrol, EnrolAnswer, Enrolled, Facts, IssuedOperator, IssuedToken, Profile};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType};
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub struct House {
    pub dir: tempfile::TempDir,
    pub profile: Profile,
    port: u16,
    master: Option<Child>,
}

/// What a client shows of itself.
#[derive(Clone, Default)]
pub struct Show {
    /// Certificate and key, PEM.
    pub certificate: Option<(String, String)>,
    pub bearer: Option<String>,
}

pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.stop();
    }
}

impl House {
    pub fn start(extra: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let text = format!(
            "state-dir = \"{}\"\nlisten = \"127.0.0.1:{port}\"\n{extra}",
            dir.path().join("state").display()
        );
        fs_err::write(dir.path().join("masterd.toml"), text).unwrap();
        let profile = dir.path().join("operator.toml");
        let made = command(dir.path())
            .args([
                "init",
                "--name",
                "127.0.0.1",
                "--name",
                "localhost",
                "--profile",
            ])
            .arg(&profile)
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        let profile = toml::from_str(&fs_err::read_to_string(profile).unwrap()).unwrap();
        let mut house = Self {
            dir,
            profile,
            port,
            master: None,
        };
        house.serve();
        house
    }

    /// Starts the master and waits until it says that it is up.
    pub fn serve(&mut self) {
        let mut master = command(self.dir.path())
            .arg("serve")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(master.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("the master is up") {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "masterd ended");
        }
        std::thread::spawn(move || log.lines().for_each(drop));
        self.master = Some(master);
    }

    pub fn kill(&mut self) {
        if let Some(mut master) = self.master.take() {
            master.kill().unwrap();
            master.wait().unwrap();
        }
    }

    /// Asks it to stop, and answers with its exit code.
    pub fn stop(&mut self) -> Option<i32> {
        let mut master = self.master.take()?;
        let pid = rustix::process::Pid::from_child(&master);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        master.wait().unwrap().code()
    }

    pub fn run(&self, arguments: &[&str]) -> std::process::Output {
        command(self.dir.path()).args(arguments).output().unwrap()
    }

    pub fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    pub fn admin(&self) -> Show {
        bearer(&self.profile.token)
    }

    pub async fn connect(&self, show: &Show) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_slice(self.profile.ca.as_bytes()).unwrap();
        roots.add(ca).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match &show.certificate {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
    }

    /// One request on a connection of its own.
    pub async fn ask(&self, show: &Show, method: &str, path: &str, body: &[u8]) -> Answer {
        self.try_ask(show, (method, path), "", body).await.unwrap()
    }

    pub async fn try_ask(
        &self,
        show: &Show,
        (method, path): (&str, &str),
        headers: &str,
        body: &[u8],
    ) -> std::io::Result<Answer> {
        let mut stream = self.connect(show).await?;
        let bearer = show.bearer.as_ref();
        let bearer =
            bearer.map_or_else(String::new, |it| format!("Authorization: Bearer {it}\r\n"));
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{bearer}{headers}\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await?;
        // It may have answered, and closed, before it had all.
        drop(stream.write_all(body).await);
        drop(stream.flush().await);
        read(&mut stream).await
    }

    pub async fn token(&self, uses: u32) -> String {
        let new = format!(r#"{{"uses":{uses},"seconds":600}}"#);
        let made = self
            .ask(&self.admin(), "POST", "/v1/tokens", new.as_bytes())
            .await;
        assert_eq!(made.status, 200, "{}", String::from_utf8_lossy(&made.body));
        let made: IssuedToken = serde_json::from_slice(&made.body).unwrap();
        let parts: Vec<&str> = made.token.0.split('.').collect();
        format!("{}.{}", parts[1], parts[2])
    }

    /// A node of the fleet, as it shows itself.
    pub async fn node(&self, name: &str) -> Show {
        let key = KeyPair::generate().unwrap();
        let asked = Enrol {
            name: name.parse().unwrap(),
            request: request(&key),
            token: Some(self.token(1).await),
            facts: Facts::default(),
        };
        let body = serde_json::to_vec(&asked).unwrap();
        let answer = self.ask(&Show::default(), "POST", "/v1/enrol", &body).await;
        assert_eq!(
            answer.status,
            200,
            "{}",
            String::from_utf8_lossy(&answer.body)
        );
        let EnrolAnswer::Enrolled(enrolled) = serde_json::from_slice(&answer.body).unwrap() else {
            panic!("it waits");
        };
        let Enrolled { certificate, .. } = *enrolled;
        Show {
            certificate: Some((certificate, key.serialize_pem())),
            bearer: None,
        }
    }

    pub async fn operator(&self, name: &str, role: &str) -> Show {
        let new = format!(r#"{{"name":"{name}","role":"{role}"}}"#);
        let made = self
            .ask(&self.admin(), "POST", "/v1/operators", new.as_bytes())
            .await;
        let made: IssuedOperator = serde_json::from_slice(&made.body).unwrap();
        bearer(&made.token)
    }

    /// A certificate that the fleet's CA has signed, whatever it says.
    pub fn minted(&self, uri: &str, days: (i32, i32)) -> Show {
        let read =
            |name: &str| fs_err::read_to_string(self.state().join("trust").join(name)).unwrap();
        let key = KeyPair::from_pem(&read("ca.key")).unwrap();
        let issuer = Issuer::from_ca_cert_pem(&read("ca.pem"), key).unwrap();
        mint(&issuer, uri, days)
    }

    /// A certificate of somebody else's CA of the same name.
    pub fn foreign(&self, uri: &str) -> Show {
        let pem = fs_err::read_to_string(self.state().join("trust/ca.pem")).unwrap();
        let issuer = Issuer::from_ca_cert_pem(&pem, KeyPair::generate().unwrap()).unwrap();
        mint(&issuer, uri, (-1, 1))
    }
}

fn mint(issuer: &Issuer<'_, KeyPair>, uri: &str, days: (i32, i32)) -> Show {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, "minted");
    params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let at = |days: i32| {
        let seconds = i64::try_from(since).unwrap() + i64::from(days) * 86_400;
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(u64::try_from(seconds).unwrap())
    };
    (params.not_before, params.not_after) = (at(days.0), at(days.1));
    let made = params.signed_by(&key, issuer).unwrap();
    Show {
        certificate: Some((made.pem(), key.serialize_pem())),
        bearer: None,
    }
}

pub fn bearer(token: &str) -> Show {
    Show {
        certificate: None,
        bearer: Some(token.to_owned()),
    }
}

pub fn request(key: &KeyPair) -> String {
    let params = CertificateParams::new(Vec::new()).unwrap();
    params.serialize_request(key).unwrap().pem().unwrap()
}

/// Head and, up to a limit, what follows until the end.
pub async fn read(stream: &mut (impl AsyncReadExt + Unpin)) -> std::io::Result<Answer> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    while bytes.len() < 4 << 20 {
        match stream.read(&mut chunk).await {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
            // Closed without a word behind what was wanted.
            Err(_) if !bytes.is_empty() => break,
            Err(error) => return Err(error),
        }
    }
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Ok(Answer {
        status,
        body: bytes.split_off(end + 4),
        head: head.to_ascii_lowercase(),
    })
}

fn command(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_masterd"));
    command.arg("--config").arg(dir.join("masterd.toml"));
    command
        .env_remove("NOTIFY_SOCKET")
        .env_remove("JOURNAL_STREAM");
    command.env("CHANGEOVER_LOG", "info");
    command
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
