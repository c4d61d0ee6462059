//! `org.changeover.SysMgr1.Process`: an object for each supervised process, at
//! `/org/changeover/SysMgr1/process/NAME`, below the manager's `ObjectManager`.
//!
//! The objects show what the engine said last and have no state of their own. They are kept by a
//! task beside the engine, on a bus only: a change never waits for them. Of a process that goes
//! through several states in a moment, listeners are told the last.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use model::ProcessName;
use model::bus::sysmgrd::PATH;
use model::bus::{encode, path_part};
use model::change::ProcessStatus;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, sleep_until};
use zbus::fdo::Properties;
use zbus::object_server::SignalEmitter;
use zbus::{Connection, Variant, interface};

use super::manager::Manager;
use crate::engine::{Handle, Request, Signal};

/// The interface's name.
const INTERFACE: &str = "org.changeover.SysMgr1.Process";
/// Changes are told at most so often.
const PAUSE: Duration = Duration::from_millis(100);

/// The object of one process.
#[derive(Debug)]
pub struct Process {
    status: ProcessStatus,
}

#[interface(name = "org.changeover.SysMgr1.Process")]
impl Process {
    /// Its name.
    #[zbus(property)]
    fn name(&self) -> String {
        self.status.name.to_string()
    }

    /// The package that exports it.
    #[zbus(property)]
    fn package(&self) -> String {
        self.status.package.to_string()
    }

    /// Its main process; 0 while it does not run.
    #[zbus(property)]
    fn pid(&self) -> u32 {
        self.status.pid.unwrap_or_default()
    }

    /// `starting`, `ready`, `stopping`, `stopped`, `waiting`, `failed`, `done`.
    #[zbus(property)]
    fn state(&self) -> String {
        self.status.state.clone()
    }

    /// The generation that it runs in.
    #[zbus(property)]
    fn generation(&self) -> u64 {
        self.status.generation.0
    }

    /// When it came into this state, RFC 3339 in UTC.
    #[zbus(property)]
    fn since(&self) -> String {
        self.status.since.clone()
    }

    /// Starts since it was first asked for, without the first.
    #[zbus(property)]
    fn restarts(&self) -> u32 {
        self.status.restarts
    }

    /// Whether it has registered for changes.
    #[zbus(property)]
    fn registered(&self) -> bool {
        self.status.registered
    }

    /// What it says of itself, or why it failed; may be empty.
    #[zbus(property)]
    fn status(&self) -> String {
        self.status.status.clone().unwrap_or_default()
    }
}

/// What `now` says that `before` did not.
fn differing(
    before: &ProcessStatus,
    now: &ProcessStatus,
) -> HashMap<&'static str, Variant<'static>> {
    let mut changed = HashMap::new();
    let mut put = |name, differs: bool, value: Variant<'static>| {
        if differs {
            changed.insert(name, value);
        }
    };
    let text = |text: &str| Variant::from(text.to_owned());
    put(
        "Package",
        before.package != now.package,
        text(now.package.as_str()),
    );
    put(
        "Pid",
        before.pid != now.pid,
        now.pid.unwrap_or_default().into(),
    );
    put("State", before.state != now.state, text(&now.state));
    put(
        "Generation",
        before.generation != now.generation,
        now.generation.0.into(),
    );
    put("Since", before.since != now.since, text(&now.since));
    put(
        "Restarts",
        before.restarts != now.restarts,
        now.restarts.into(),
    );
    put(
        "Registered",
        before.registered != now.registered,
        now.registered.into(),
    );
    let status = now.status.as_deref().unwrap_or_default();
    put("Status", before.status != now.status, text(status));
    changed
}

/// The objects on one connection.
struct Shown<'c> {
    connection: &'c Connection,
    /// What listeners were told last.
    told: BTreeMap<ProcessName, ProcessStatus>,
    /// What the objects say already and listeners were not told.
    newer: BTreeMap<ProcessName, ProcessStatus>,
}

fn path(name: &ProcessName) -> String {
    format!("{PATH}/process/{}", path_part(name.as_str()))
}

impl Shown<'_> {
    async fn put(&mut self, status: ProcessStatus) -> zbus::Result<()> {
        let (server, path) = (self.connection.object_server(), path(&status.name));
        if self.told.contains_key(&status.name) {
            let object = server.interface::<_, Process>(path).await?;
            object.get_mut().await.status = status.clone();
        } else {
            server
                .at(
                    path,
                    Process {
                        status: status.clone(),
                    },
                )
                .await?;
            self.told.insert(status.name.clone(), status.clone());
        }
        self.newer.insert(status.name.clone(), status);
        Ok(())
    }

    async fn remove(&mut self, name: &ProcessName) -> zbus::Result<()> {
        self.newer.remove(name);
        if self.told.remove(name).is_some() {
            let server = self.connection.object_server();
            server.remove::<Process, _>(path(name)).await?;
        }
        Ok(())
    }

    /// Exactly the processes that there are.
    async fn all(&mut self, list: Vec<ProcessStatus>) -> zbus::Result<()> {
        let known = |name: &ProcessName| list.iter().any(|one| one.name == *name);
        let gone: Vec<_> = self
            .told
            .keys()
            .filter(|name| !known(name))
            .cloned()
            .collect();
        for name in gone {
            self.remove(&name).await?;
        }
        for status in list {
            self.put(status).await?;
        }
        Ok(())
    }

    async fn tell(&mut self) -> zbus::Result<()> {
        let manager = SignalEmitter::new(self.connection, PATH)?;
        for (name, now) in std::mem::take(&mut self.newer) {
            Manager::process_changed(&manager, &encode(&now).unwrap_or_default()).await?;
            let Some(before) = self.told.insert(name.clone(), now.clone()) else {
                continue;
            };
            let changed = differing(&before, &now);
            if changed.is_empty() {
                continue;
            }
            let emitter = SignalEmitter::new(self.connection, path(&name))?;
            let interface = INTERFACE.try_into()?;
            Properties::properties_changed(&emitter, interface, changed, Cow::Borrowed(&[]))
                .await?;
        }
        Ok(())
    }
}

/// Keeps the objects on a bus until it goes away.
pub(super) async fn show(connection: &Connection, engine: &Handle) {
    if let Err(error) = keep(connection, engine).await {
        tracing::warn!(%error, "the objects of processes are shown no more");
        connection.closed().await;
    }
}

async fn keep(connection: &Connection, engine: &Handle) -> zbus::Result<()> {
    let mut signals = engine.signals();
    let mut shown = Shown {
        connection,
        told: BTreeMap::new(),
        newer: BTreeMap::new(),
    };
    shown.all(list(engine).await).await?;
    shown.newer.clear();
    let mut due: Option<Instant> = None;
    loop {
        let signal = tokio::select! {
            () = connection.closed() => return Ok(()),
            signal = signals.recv() => signal,
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                due = None;
                shown.tell().await?;
                continue;
            }
        };
        match signal {
            Ok(Signal::ProcessChanged(status)) => shown.put(status).await?,
            Ok(Signal::ProcessGone(name)) => shown.remove(&name).await?,
            Ok(Signal::Progress(_)) => {}
            Err(RecvError::Lagged(_)) => shown.all(list(engine).await).await?,
            Err(RecvError::Closed) => return Ok(()),
        }
        if !shown.newer.is_empty() && due.is_none() {
            due = Some(Instant::now() + PAUSE);
        }
    }
}

async fn list(engine: &Handle) -> Vec<ProcessStatus> {
    engine.ask(Request::Processes).await.unwrap_or_default()
}
