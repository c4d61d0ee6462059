//! What the node knows of its fleet, on the disk: `STATE/fleet/`.
//!
//! ```text
//! member.json     the master, our name, the fleet's CA, the master's key
//! identity.pem    our key and certificate, in one file: both change together
//! joining.json    what was asked for while an operator has not accepted us
//! state.json      the newest epoch and counter, the wanted state, an order's progress
//! spool/          objects on their way
//! ```
//! Each is written beside itself, synced, and renamed: old or new, never half.

use std::io::Write;
use std::path::{Path, PathBuf};

use model::trust::Signed;
use model::wire::{ClassName, Counter, Epoch, Hold, Join, NodeEnd, NodeName, RolloutId, Wanted};
use model::{Digest, PackageId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::sys::master::identity::Identity;
use crate::sys::{Doing, Error};

/// The fleet that the node is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Member {
    /// The master.
    pub url: String,
    /// How the node is called.
    pub node: NodeName,
    /// The fleet's CA, PEM.
    pub ca: String,
    /// The key that signs wanted states, as a `.pub` file.
    pub master_key: String,
    /// Other places that have objects.
    #[serde(default)]
    pub mirrors: Vec<String>,
    /// The classes that its token put it in.
    #[serde(default)]
    pub classes: Vec<ClassName>,
}

/// A node that waits for an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Joining {
    /// What was asked for.
    pub join: Join,
    /// The key, PEM.
    pub key: String,
}

/// What must survive the daemon and the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct State {
    /// The highest that was seen.
    pub epoch: Epoch,
    /// The highest of that epoch.
    pub counter: Counter,
    /// The wanted state with them.
    pub wanted: Option<Signed>,
    /// An order that is not at its end.
    pub pending: Option<Pending>,
    /// How the newest order ended; told again until the master has heard it.
    pub end: Option<NodeEnd>,
    /// The software list that was committed last.
    pub list: Option<Digest>,
    /// The newest release document of each class that was seen.
    pub releases: Vec<Signed>,
    /// Taken out of the fleet's hands.
    pub hold: Option<Hold>,
}

/// An order that is not at its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Pending {
    /// The order.
    pub wanted: Wanted,
    /// Where it is.
    pub phase: Phase,
    /// What its check said.
    #[serde(default)]
    pub check: Option<(i32, String)>,
    /// Why it goes back.
    #[serde(default)]
    pub back: Option<String>,
    /// It takes an update back.
    #[serde(default)]
    pub is_back: bool,
    /// What ran before, front first, where that was in memory only.
    #[serde(default)]
    pub before: Option<Vec<PackageId>>,
}

/// Where an order is that has begun to change the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The engine was told, or is about to be.
    Changing,
    /// The new set runs, and its check goes on.
    Check,
    /// The new set runs; it goes back by itself then. After a reboot it is back already.
    Contact {
        /// Seconds since the machine was started: the time of day may be set meanwhile.
        back_at: u64,
    },
    /// The new set runs, the master has been heard since, and it waits for an operator's word.
    Trial,
    /// It is on its way back.
    Back,
}

impl Pending {
    /// One of which the engine is about to be told.
    pub fn new(wanted: Wanted) -> Self {
        Self {
            wanted,
            phase: Phase::Changing,
            check: None,
            back: None,
            is_back: false,
            before: None,
        }
    }

    /// The update that it is of.
    pub fn rollout(&self) -> Option<RolloutId> {
        self.wanted.orders.rollout
    }
}

/// The directory.
#[derive(Debug)]
pub struct Kept {
    root: PathBuf,
}

impl Kept {
    /// Opens it; made where it is missing.
    pub fn open(root: &Path) -> Result<Self, Error> {
        let what = || "open what is known of the fleet".to_owned();
        fs_err::create_dir_all(root).doing(what)?;
        rustix::fs::chmod(root, rustix::fs::Mode::RWXU).doing(what)?;
        Ok(Self {
            root: root.to_owned(),
        })
    }

    /// Where objects on their way are.
    pub fn spool(&self) -> PathBuf {
        self.root.join("spool")
    }

    /// The fleet, and who we are there.
    pub fn member(&self) -> Result<Option<(Member, Identity)>, Error> {
        let Some(member) = self.read("member.json")? else {
            return Ok(None);
        };
        let what = || "read the node's certificate".to_owned();
        let pem = fs_err::read_to_string(self.root.join("identity.pem")).doing(what)?;
        let identity = Identity::parse(&pem)
            .map_err(|error| Error::Damaged(format!("{error}: join the fleet again")))?;
        Ok(Some((member, identity)))
    }

    /// The node is in: identity first, for without it the rest is of no use.
    pub fn set_member(&self, member: &Member, identity: &Identity) -> Result<(), Error> {
        self.set_identity(identity)?;
        self.write("member.json", member)?;
        self.remove("joining.json")
    }

    /// Another key and certificate.
    pub fn set_identity(&self, identity: &Identity) -> Result<(), Error> {
        self.replace("identity.pem", identity.to_pem().as_bytes())
    }

    /// What was asked for and is not granted yet.
    pub fn joining(&self) -> Result<Option<Joining>, Error> {
        self.read("joining.json")
    }

    /// The node waits for an operator.
    pub fn set_joining(&self, joining: &Joining) -> Result<(), Error> {
        self.write("joining.json", joining)
    }

    /// Nothing is known of a fleet any more.
    pub fn forget(&self) -> Result<(), Error> {
        for name in ["member.json", "joining.json", "identity.pem", "state.json"] {
            self.remove(name)?;
        }
        let spool = self.spool();
        if spool.exists() {
            let what = || "empty the spool".to_owned();
            fs_err::remove_dir_all(spool).doing(what)?;
        }
        Ok(())
    }

    /// What survived.
    pub fn state(&self) -> Result<State, Error> {
        Ok(self.read("state.json")?.unwrap_or_default())
    }

    /// On the disk when it returns.
    pub fn set_state(&self, state: &State) -> Result<(), Error> {
        self.write("state.json", state)
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Error> {
        let path = self.root.join(name);
        let text = match fs_err::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).doing(|| format!("read {name} of the fleet")),
        };
        serde_json::from_slice(&text).map(Some).map_err(|error| {
            Error::Damaged(format!(
                "{} cannot be read ({error}): leave the fleet and join it again",
                path.display()
            ))
        })
    }

    fn write<T: Serialize>(&self, name: &str, value: &T) -> Result<(), Error> {
        let bytes = serde_json::to_vec(value)
            .map_err(|error| Error::Damaged(format!("{name} cannot be written: {error}")))?;
        self.replace(name, &bytes)
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let what = || format!("write {name} of the fleet");
        let new = self.root.join(format!("{name}.new"));
        let mut options = fs_err::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        fs_err::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&new).doing(what)?;
        file.write_all(bytes).doing(what)?;
        file.sync_all().doing(what)?;
        fs_err::rename(&new, self.root.join(name)).doing(what)?;
        let directory = fs_err::File::open(&self.root).doing(what)?;
        directory.sync_all().doing(what)
    }

    fn remove(&self, name: &str) -> Result<(), Error> {
        match fs_err::remove_file(self.root.join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).doing(|| format!("remove {name} of the fleet"))
            }
            _ => Ok(()),
        }
    }
}
