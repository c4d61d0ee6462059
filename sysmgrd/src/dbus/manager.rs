//! `org.changeover.SysMgr1.Manager`, on the system bus and on `sysmgrd.sock`.

use model::ProcessName;
use model::bus::gate::{Gate, Pass};
use model::bus::{Error, decode_short, encode};
use model::mappings::{Mapper, Mappings};
use zbus::message::Header;
use zbus::object_server::SignalEmitter;
use zbus::{Connection, OwnedFd, interface};

use crate::engine::{Handle, Members, Request};
use crate::sys::maps;
use crate::sys::parallel::in_parts;

/// The longest document of a whole node: a change's, with every process of it.
const LONGEST: usize = model::bus::LONGEST;
/// The most processes that one call names.
const MOST_PROCESSES: usize = 10_000;
/// The most lines that are answered at once.
const MOST_LINES: u32 = 1_000;

/// Who may change things over a connection.
#[derive(Debug, Clone)]
pub enum Trust {
    /// Whoever is connected was let in because it may.
    Peer,
    /// A bus: its callers are looked at one by one.
    Bus(Gate),
}

/// The manager object.
#[derive(Debug)]
pub struct Manager {
    engine: Handle,
    trust: Trust,
}

impl Manager {
    /// For one connection.
    pub fn new(engine: Handle, trust: Trust) -> Self {
        Self { engine, trust }
    }

    /// Lets a call in that only looks.
    async fn look(
        &self,
        header: &Header<'_>,
        connection: &Connection,
    ) -> Result<Option<Pass>, Error> {
        match &self.trust {
            Trust::Peer => Ok(None),
            Trust::Bus(gate) => gate.look(connection, header).await.map(Some),
        }
    }

    /// Lets a call in that changes things: root's, or one that polkit consents to.
    async fn change(
        &self,
        header: &Header<'_>,
        connection: &Connection,
    ) -> Result<Option<Pass>, Error> {
        match &self.trust {
            Trust::Peer => Ok(None),
            Trust::Bus(gate) => gate.change(connection, header).await.map(Some),
        }
    }
}

#[interface(name = "org.changeover.SysMgr1.Manager")]
impl Manager {
    /// Every supervised process: a JSON list of their status.
    async fn processes(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<String, Error> {
        let _pass = self.look(&header, connection).await?;
        encode(&self.engine.ask(Request::Processes).await?)
    }

    /// The last lines that a process wrote, oldest first; at most 1,000.
    async fn logs(
        &self,
        process: &str,
        lines: u32,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<Vec<String>, Error> {
        let _pass = self.look(&header, connection).await?;
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
        let _pass = self.change(&header, connection).await?;
        if processes.len() > MOST_PROCESSES {
            return Err(Error::LimitsExceeded(format!(
                "{} processes are not restarted by one call: {MOST_PROCESSES} are the most",
                processes.len()
            )));
        }
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
        let _pass = self.change(&header, connection).await?;
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
        let _pass = self.change(&header, connection).await?;
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
        let _pass = self.change(&header, connection).await?;
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
        let _pass = self.change(&header, connection).await?;
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
        let _pass = self.change(&header, connection).await?;
        let ended = read(document)?;
        self.engine.ask(|reply| Request::End(ended, reply)).await
    }

    /// The files that the processes of each control group have mapped.
    async fn mapped(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<String, Error> {
        let _pass = self.look(&header, connection).await?;
        let groups = self.engine.ask(Request::Members).await?;
        let mappings = tokio::task::spawn_blocking(move || mappings(&groups)).await;
        encode(&mappings.map_err(|error| Error::Failed(error.to_string()))?)
    }

    /// A step of a transition.
    #[zbus(signal)]
    pub async fn progress(emitter: &SignalEmitter<'_>, document: &str) -> zbus::Result<()>;

    /// A process came into another state; of several within a tenth of a second, the last.
    #[zbus(signal)]
    pub async fn process_changed(emitter: &SignalEmitter<'_>, document: &str) -> zbus::Result<()>;
}

fn name(text: &str) -> Result<ProcessName, Error> {
    text.parse()
        .map_err(|error: model::ids::NameError| Error::Invalid(error.to_string()))
}

fn read<T: serde::de::DeserializeOwned>(document: &str) -> Result<T, Error> {
    decode_short(document, LONGEST)
}

/// Looks at every process of these groups.
fn mappings(groups: &[Members]) -> Mappings {
    let mapper = |group: &Members, pid| Mapper {
        process: group.process.clone(),
        pid,
        generation: group.generation,
    };
    let processes = in_parts(groups, |_, groups| {
        let all = groups.iter().flat_map(|group| {
            let pids = group.pids().into_iter();
            pids.map(move |pid| mapper(group, pid))
        });
        all.collect::<Vec<Mapper>>()
    });
    let processes = processes.concat();
    let pids: Vec<u32> = processes.iter().map(|one| one.pid).collect();
    Mappings {
        files: maps::of_all(&pids),
        processes,
    }
}
