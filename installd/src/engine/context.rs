//! What every task of the engine needs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use model::change::Progress;
use resolve::Characteristics;
use tokio::sync::{broadcast, mpsc};

use super::request::{Error, Message};
use crate::config::{self, Config};
use crate::sys::Doing;
use crate::sys::clock;
use crate::sys::generation::Generations;
use crate::sys::memory::Memory;
use crate::sys::objects::Objects;
use crate::sys::rooted::Root;
use crate::sys::sysmgr::Sysmgr;

/// What a task needs besides a database connection; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Context {
    pub(super) config: Arc<Config>,
    pub(super) objects: Objects,
    /// For software that is not kept.
    pub(super) memory: Memory,
    pub(super) generations: Generations,
    /// Where `etc`, `var`, `run` and `srv` are.
    pub(super) machine: Arc<Root>,
    /// What the node is, and what its fleet adds to it.
    pub(super) node: Arc<Characteristics>,
    /// This boot.
    pub(super) boot: String,
    pub(super) told: broadcast::Sender<Progress>,
    pub(super) mailbox: mpsc::WeakSender<Message>,
}

impl Context {
    pub(super) fn database(&self) -> PathBuf {
        self.config.state_dir.join("state.db")
    }

    pub(super) fn sysmgr(&self) -> Sysmgr {
        let limit = self
            .config
            .timeouts
            .sysmgrd
            .limit()
            .unwrap_or(Duration::from_hours(1));
        Sysmgr::new(&self.config.run_dir.join("sysmgrd.sock"), limit)
    }

    pub(super) fn progress(&self, phase: &str, what: impl Into<String>, count: Option<(u64, u64)>) {
        let progress = Progress {
            phase: phase.to_owned(),
            what: what.into(),
            count,
        };
        if let Some(mailbox) = self.mailbox.upgrade() {
            drop(mailbox.try_send(Message::Phase(phase.to_owned())));
        }
        drop(self.told.send(progress));
    }
}

/// Opens everything but the database.
pub(super) fn open(
    config: Config,
    told: broadcast::Sender<Progress>,
    mailbox: mpsc::WeakSender<Message>,
) -> Result<Context, Error> {
    let what = || format!("open {}", config.state_dir.display());
    fs_err::create_dir_all(&config.state_dir).doing(what)?;
    rustix::fs::chmod(&config.state_dir, rustix::fs::Mode::RWXU).doing(what)?;
    fs_err::create_dir_all(&config.run_dir).doing(|| "open the run directory".to_owned())?;
    let memory = Memory::new(&config.run_dir);
    let machine =
        Root::open(&config.machine_root).doing(|| "open the machine's root".to_owned())?;
    Ok(Context {
        objects: Objects::open(&config.state_dir.join("store"))?.with_memory(memory.clone()),
        memory,
        generations: Generations::open(&config.state_dir.join("generations"))?,
        machine: Arc::new(machine),
        boot: clock::boot_id(&config.boot_id_file)?,
        node: Arc::new(characteristics(&config.node)),
        config: Arc::new(config),
        told,
        mailbox,
    })
}

fn characteristics(node: &config::Node) -> Characteristics {
    let node = node.clone();
    Characteristics {
        arch: node.arch,
        node_type: node.node_type,
        classes: node.class,
        features: node.features,
        location: node.location,
    }
}
