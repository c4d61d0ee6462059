//! `org.changeover.SysMgr1.Manager`, on the system bus and on `sysmgrd.sock`.

use model::bus::{Error, decode, encode};
use model::{Generation, ProcessName};
use serde::Serialize;
use zbus::fdo::DBusProxy;
use zbus::message::Header;
use zbus::object_server::SignalEmitter;
use zbus::{Connection, OwnedFd, interface};

use crate::engine::{Handle, Members, Request};
use crate::sys::maps::{self, MappedFile};

/// The longest document that is read.
const LONGEST: usize = 64 * 1024 * 1024;
/// The most lines that are answered at once.
const MOST_LINES: u32 = 1_000;

/// Who may change things over a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Whoever is connected was let in because it may.
    Peer,
    /// A bus: its callers are looked at one by one.
    Bus,
}

/// The manager object.
#[derive(Debug)]
pub struct Manager {
    engine: Handle,
    trust: Trust,
}

/// The files that one process has mapped.
#[derive(Debug, Serialize)]
struct Mapped {
    process: ProcessName,
    pid: u32,
    generation: Generation,
    files: Vec<MappedFile>,
}

impl Manager {
    /// For one connection.
    pub fn new(engine: Handle, trust: Trust) -> Self {
        Self { engine, trust }
    }

    /// Whether the caller may change things: root, or who runs this daemon.
    async fn allow(&self, header: &Header<'_>, connection: &Connection) -> Result<(), Error> {
        if self.trust == Trust::Peer {
            return Ok(());
        }
        let nobody = || Error::NotAllowed("the bus does not say who asks".to_owned());
        let sender = header.sender().ok_or_else(nobody)?.to_owned();
        let bus = DBusProxy::new(connection).await?;
        let uid = bus
            .get_connection_unix_user(sender.into())
            .await
            .map_err(|_| nobody())?;
        if uid == 0 || uid == rustix::process::geteuid().as_raw() {
            return Ok(());
        }
        Err(Error::NotAllowed(format!(
            "user {uid} may only read; ask as root"
        )))
    }
}

#[interface(name = "org.changeover.SysMgr1.Manager")]
impl Manager {
    /// Every supervised process: a JSON list of their status.
    async fn processes(&self) -> Result<String, Error> {
        encode(&self.engine.ask(Request::Processes).await?)
    }

    /// The last lines that a process wrote, oldest first; at most 1,000.
    async fn logs(&self, process: &str, lines: u32) -> Result<Vec<String>, Error> {
        let name = name(process)?;
        let log = self.engine.ask(|reply| Request::Log(name, reply)).await?;
        log.flush().await;
        Ok(log.last(usize::try_from(lines.min(MOST_LINES)).unwrap_or_default()))
    }

    /// Stops and starts processes in order; answers a transition report.
    async fn restart(
        &self,
        processes: Vec<String>,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<String, Error> {
        self.allow(&header, connection).await?;
        let names = processes
            .iter()
            .map(|process| name(process))
            .collect::<Result<_, _>>()?;
        encode(
            &self
                .engine
                .ask(|reply| Request::Restart(names, reply))
                .await?,
        )
    }

    /// A descriptor of the mount namespace of the newest generation's view.
    async fn open_view(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<OwnedFd, Error> {
        self.allow(&header, connection).await?;
        let view = self.engine.ask(Request::View).await?;
        let copy = view.namespace.try_clone();
        Ok(copy
            .map_err(|error| Error::Failed(error.to_string()))?
            .into())
    }

    /// Asks processes: a question in, votes out.
    async fn ask(
        &self,
        document: &str,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<String, Error> {
        self.allow(&header, connection).await?;
        let ask = Box::new(read(document)?);
        encode(&self.engine.ask(|reply| Request::Ask(ask, reply)).await?)
    }

    /// *Going to change*: processes get ready and wait.
    async fn prepare(
        &self,
        document: &str,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<String, Error> {
        self.allow(&header, connection).await?;
        let prepare = Box::new(read(document)?);
        encode(
            &self
                .engine
                .ask(|reply| Request::Prepare(prepare, reply))
                .await?,
        )
    }

    /// The next state in, a report out when the machine is stable.
    async fn transition(
        &self,
        document: &str,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<String, Error> {
        self.allow(&header, connection).await?;
        let transition = Box::new(read(document)?);
        encode(
            &self
                .engine
                .ask(|reply| Request::Transition(transition, reply))
                .await?,
        )
    }

    /// Tells everyone who was told that a change has ended.
    async fn end(
        &self,
        document: &str,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(), Error> {
        self.allow(&header, connection).await?;
        let ended = read(document)?;
        self.engine.ask(|reply| Request::End(ended, reply)).await
    }

    /// For each process of each control group, the files that it has mapped.
    async fn mapped(&self) -> Result<String, Error> {
        let groups = self.engine.ask(Request::Members).await?;
        let look = move || {
            groups
                .into_iter()
                .flat_map(mapped_by)
                .collect::<Vec<Mapped>>()
        };
        let list = tokio::task::spawn_blocking(look).await;
        encode(&list.map_err(|error| Error::Failed(error.to_string()))?)
    }

    /// A step of a transition.
    #[zbus(signal)]
    pub async fn progress(emitter: &SignalEmitter<'_>, document: &str) -> zbus::Result<()>;

    /// A process came into another state.
    #[zbus(signal)]
    pub async fn process_changed(emitter: &SignalEmitter<'_>, document: &str) -> zbus::Result<()>;
}

fn name(text: &str) -> Result<ProcessName, Error> {
    text.parse()
        .map_err(|error: model::ids::NameError| Error::Invalid(error.to_string()))
}

fn read<T: serde::de::DeserializeOwned>(document: &str) -> Result<T, Error> {
    if document.len() > LONGEST {
        return Err(Error::Invalid(
            "the document is longer than 64 MiB".to_owned(),
        ));
    }
    decode(document)
}

fn mapped_by(group: Members) -> Vec<Mapped> {
    let Members {
        process,
        generation,
        pids,
    } = group;
    let one = |pid| Mapped {
        process: process.clone(),
        pid,
        generation,
        files: maps::of(pid),
    };
    pids.into_iter().map(one).collect()
}
