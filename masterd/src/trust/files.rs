//! The authority's files, below the state directory: `trust/`, mode 0700.
//!
//! ```text
//! ca.pem ca.key            the fleet's CA
//! server.pem server.key    the master's own certificate and the CA behind it; made anew when needed
//! names                    host names and addresses of the master, one a line
//! master.sec master.pub    signs wanted states
//! epoch                    the highest epoch that this machine's master has had
//! ```

use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use fs_err::os::unix::fs::OpenOptionsExt as _;
use model::trust::SecretKey;

use super::{Ca, DAY, Error};

/// Days that the master's own certificate lasts.
const SERVER_DAYS: u64 = 90;

/// Where they are.
#[derive(Debug, Clone)]
pub struct Files {
    directory: PathBuf,
}

/// The master's own certificate.
pub struct Server {
    /// It, and the CA's behind it, PEM: who joins knows the CA by its hash alone and looks for it
    /// here.
    pub chain: String,
    /// Its key, PEM.
    pub key: String,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Server(..)")
    }
}

impl Files {
    /// Below a state directory.
    pub fn new(state_dir: &Path) -> Self {
        Self {
            directory: state_dir.join("trust"),
        }
    }

    /// Where they are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether a fleet was made here.
    pub fn exist(&self) -> bool {
        self.directory.join("ca.key").exists()
    }

    /// Makes a fleet: its CA, and the key that signs wanted states.
    pub fn make(&self, fleet: &str, names: &[String], now: u64) -> Result<Ca, Error> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory)?;
        let (ca, key) = Ca::make(fleet, now)?;
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(Error::Random)?;
        let master = SecretKey::new(&random, &format!("masterd of fleet {fleet}"));
        self.write("master.sec", &master.to_text())?;
        self.write("master.pub", &master.public().to_text())?;
        self.write("names", &(names.join("\n") + "\n"))?;
        self.write("ca.pem", ca.pem())?;
        self.renew_server(&ca, now)?;
        // Last: where it is, the fleet is made.
        self.write("ca.key", &key)?;
        Ok(ca)
    }

    /// The CA.
    pub fn ca(&self) -> Result<Ca, Error> {
        Ca::load(&self.read("ca.pem")?, &self.read("ca.key")?)
    }

    /// The key that signs wanted states.
    pub fn master_key(&self) -> Result<SecretKey, Error> {
        let text = self.read("master.sec")?;
        SecretKey::parse(&text).map_err(|error| self.wrong("master.sec", &error))
    }

    /// The names of the master, as `init` was told.
    pub fn names(&self) -> Result<Vec<String>, Error> {
        Ok(self.read("names")?.lines().map(str::to_owned).collect())
    }

    /// The master's own certificate, made anew when two thirds of it are over.
    pub fn server(&self, ca: &Ca, now: u64) -> Result<Server, Error> {
        let chain = self.read("server.pem")?;
        if is_due(&chain, now) {
            self.renew_server(ca, now)?;
        }
        Ok(Server {
            chain: self.read("server.pem")?,
            key: self.read("server.key")?,
        })
    }

    fn renew_server(&self, ca: &Ca, now: u64) -> Result<(), Error> {
        let (issued, key) = ca.server(&self.names()?, now, SERVER_DAYS * DAY)?;
        self.write("server.key", &key)?;
        self.write("server.pem", &format!("{}{}", issued.pem, ca.pem()))
    }

    /// The highest epoch that was ever used here; 0 where none was.
    pub fn epoch(&self) -> u64 {
        let text = fs_err::read_to_string(self.directory.join("epoch"));
        text.ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(0)
    }

    /// Remembers it.
    pub fn set_epoch(&self, epoch: u64) -> Result<(), Error> {
        self.write("epoch", &format!("{epoch}\n"))
    }

    fn read(&self, name: &str) -> Result<String, Error> {
        Ok(fs_err::read_to_string(self.directory.join(name))?)
    }

    fn wrong(&self, name: &str, error: &dyn std::error::Error) -> Error {
        Error::File {
            path: self.directory.join(name).display().to_string(),
            what: format!("cannot be read: {error}"),
        }
    }

    fn write(&self, name: &str, text: &str) -> Result<(), Error> {
        Ok(write_private(&self.directory.join(name), text.as_bytes())?)
    }
}

/// Writes a file that only its owner reads: wholly, and on the disk, or not at all.
pub fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = fs_err::OpenOptions::new();
    file.write(true).create(true).truncate(true).mode(0o600);
    let mut file = file.open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs_err::rename(&beside, path)?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    fs_err::File::open(directory)?.sync_all()
}

/// Whether two thirds of the first certificate's time are over, or it cannot be read.
fn is_due(chain: &str, now: u64) -> bool {
    let parsed = x509_parser::pem::parse_x509_pem(chain.as_bytes());
    let Ok((_, pem)) = parsed else {
        return true;
    };
    let Ok(certificate) = pem.parse_x509() else {
        return true;
    };
    let validity = certificate.validity();
    let (from, until) = (
        validity.not_before.timestamp(),
        validity.not_after.timestamp(),
    );
    let due = from + (until - from) / 3 * 2;
    i64::try_from(now).map_or(true, |now| now >= due)
}
