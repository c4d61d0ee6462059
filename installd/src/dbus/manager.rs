//! `org.changeover.Install1.Manager`.

use std::fs::File;
use std::os::fd::OwnedFd as StdFd;

use model::bus::gate::{Gate, Pass};
use model::bus::{self, Error};
use model::change::{ChangeReport, PackageRef, Request, Thoroughness};
use model::{ChangeId, Generation};
use rustix::fs::OFlags;
use tokio::sync::Semaphore;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use zbus::message::Header;
use zbus::object_server::SignalEmitter;
use zbus::{Connection, OwnedFd, interface};

use super::caller::Allowed;
use super::errors::{told, told_of_fleet};
use super::objects::Objects;
use crate::engine::{Handle, View};
use crate::follow;

/// The longest request, filter and path that are read, in bytes.
const LONGEST: usize = 1024 * 1024;
/// The longest name or path.
const LONGEST_NAME: usize = 4096;
/// The most packages that one call names.
const MOST: usize = 10_000;

/// The manager's object.
#[derive(Debug)]
pub struct Manager {
    engine: Handle,
    follow: follow::Handle,
    gate: Gate,
    /// One look at everything at a time.
    verifying: Semaphore,
}

impl Manager {
    /// The object over this engine.
    pub fn new(engine: Handle, follow: follow::Handle) -> Self {
        Self {
            engine,
            follow,
            gate: Gate::new(rustix::process::geteuid().as_raw()),
            verifying: Semaphore::new(1),
        }
    }

    /// Lets a call in that only looks; it is counted while the pass is there.
    async fn look(&self, connection: &Connection, header: &Header<'_>) -> Result<Pass, Error> {
        self.gate.look(connection, header).await
    }

    /// Lets a call in that changes the node: root's, or one that polkit consents to.
    async fn change_node(
        &self,
        connection: &Connection,
        header: &Header<'_>,
    ) -> Result<Allowed, Error> {
        self.gate
            .change(connection, header)
            .await
            .map(Allowed::from)
    }

    /// The same for a change of what runs, which on a managed node is the fleet's.
    async fn change_set(
        &self,
        connection: &Connection,
        header: &Header<'_>,
    ) -> Result<Allowed, Error> {
        let allowed = self.change_node(connection, header).await?;
        match self.follow.refuses_local_change() {
            None => Ok(allowed),
            Some(why) => Err(Error::NotAllowed(why)),
        }
    }
}

/// An envelope: a regular file, whose end comes. A pipe or a device could keep every later package
/// waiting for ever.
fn regular(envelope: OwnedFd) -> Result<File, Error> {
    let file = File::from(StdFd::from(envelope));
    let kind = file.metadata().map(|data| data.file_type());
    let flags = rustix::fs::fcntl_getfl(&file);
    match (kind, flags) {
        (Ok(kind), Ok(flags)) if kind.is_file() && !flags.contains(OFlags::PATH) => Ok(file),
        _ => Err(Error::Invalid(
            "an envelope comes as a regular file that is open for reading".to_owned(),
        )),
    }
}

/// A request, of a length and a number of actions that the engine can be asked for.
fn request(text: &str) -> Result<Request, Error> {
    let request: Request = bus::decode_short(text, LONGEST)?;
    few(request.actions.len())?;
    few(request.force_processes.len())?;
    Ok(request)
}

fn few(count: usize) -> Result<(), Error> {
    if count > MOST {
        return Err(Error::LimitsExceeded(format!(
            "{count} things are not done by one call: {MOST} are the most"
        )));
    }
    Ok(())
}

#[interface(name = "org.changeover.Install1.Manager")]
impl Manager {
    async fn add(
        &self,
        envelope: OwnedFd,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<String, Error> {
        let _allowed = self.change_node(connection, &header).await?;
        let added = self.engine.add(regular(envelope)?).await;
        bus::encode(&added.map_err(|error| told(&error))?)
    }

    async fn add_unsigned(
        &self,
        envelope: OwnedFd,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<String, Error> {
        let pass = self.gate.change(connection, &header).await?;
        if pass.caller.uid != 0 {
            return Err(Error::NotAllowed(
                "only root takes packages that no trusted key has signed".to_owned(),
            ));
        }
        let allowed = Allowed::from(pass);
        let envelope = regular(envelope)?;
        let added = self
            .engine
            .add_allowed(envelope, Some(allowed.by.clone()))
            .await;
        bus::encode(&added.map_err(|error| told(&error))?)
    }

    async fn remove(
        &self,
        packages: Vec<String>,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<Vec<String>, Error> {
        let _allowed = self.change_node(connection, &header).await?;
        few(packages.len())?;
        let parse = |text: &String| {
            text.parse::<PackageRef>()
                .map_err(|error| Error::Invalid(error.to_string()))
        };
        let packages = packages.iter().map(parse).collect::<Result<_, _>>()?;
        let removed = self
            .engine
            .remove(packages)
            .await
            .map_err(|error| told(&error))?;
        Ok(removed.iter().map(ToString::to_string).collect())
    }

    async fn list(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<String, Error> {
        let _pass = self.look(connection, &header).await?;
        bus::encode(&self.engine.list().await.map_err(|error| told(&error))?)
    }

    async fn plan(
        &self,
        request: &str,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<String, Error> {
        let _pass = self.look(connection, &header).await?;
        let plan = self.engine.plan(self::request(request)?).await;
        bus::encode(&plan.map_err(|error| told(&error))?)
    }

    async fn apply(
        &self,
        request: &str,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<String, Error> {
        let allowed = self.change_set(connection, &header).await?;
        let report = self
            .engine
            .apply(self::request(request)?, allowed.by.clone())
            .await;
        bus::encode(&report.map_err(|error| told(&error))?)
    }

    async fn status(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<String, Error> {
        let _pass = self.look(connection, &header).await?;
        bus::encode(&self.engine.status().await.map_err(|error| told(&error))?)
    }

    async fn why(
        &self,
        what: &str,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<String, Error> {
        let _pass = self.look(connection, &header).await?;
        if what.len() > LONGEST_NAME {
            return Err(Error::LimitsExceeded(format!(
                "a name or path has at most {LONGEST_NAME} bytes"
            )));
        }
        let why = self.engine.why(what.to_owned()).await;
        bus::encode(&why.map_err(|error| told(&error))?)
    }

    async fn commit(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<String, Error> {
        let allowed = self.change_set(connection, &header).await?;
        let report = self.engine.commit(allowed.by.clone()).await;
        bus::encode(&report.map_err(|error| told(&error))?)
    }

    async fn pin(
        &self,
        generation: u64,
        pinned: bool,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<bool, Error> {
        let _allowed = self.change_node(connection, &header).await?;
        let news = self.engine.pin(Generation(generation), pinned).await;
        news.map_err(|error| told(&error))
    }

    async fn forget(
        &self,
        generations: Vec<u64>,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<Vec<u64>, Error> {
        let _allowed = self.change_node(connection, &header).await?;
        few(generations.len())?;
        let numbers = generations.into_iter().map(Generation).collect();
        let gone = self.engine.forget(numbers).await;
        let gone = gone.map_err(|error| told(&error))?;
        Ok(gone.into_iter().map(|number| number.0).collect())
    }

    async fn history(
        &self,
        filter: &str,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<String, Error> {
        let _pass = self.look(connection, &header).await?;
        let history = self
            .engine
            .history(bus::decode_short(filter, LONGEST)?)
            .await;
        bus::encode(&history.map_err(|error| told(&error))?)
    }

    async fn change(
        &self,
        change: u64,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<String, Error> {
        let _pass = self.look(connection, &header).await?;
        let record = self.engine.change(ChangeId(change)).await;
        bus::encode(&record.map_err(|error| told(&error))?)
    }

    async fn verify(
        &self,
        thoroughness: &str,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<String, Error> {
        let thoroughness = bus::decode_short(thoroughness, LONGEST_NAME)?;
        // Reading every byte costs the whole node: that is not for anybody to ask.
        let _pass = match thoroughness {
            Thoroughness::Metadata => self.look(connection, &header).await?,
            Thoroughness::Content => self.gate.change(connection, &header).await?,
        };
        let _only = self.verifying.try_acquire().map_err(|_| {
            Error::Busy("the node is being verified already: wait for the end of it".to_owned())
        })?;
        let report = self.engine.verify(thoroughness).await;
        bus::encode(&report.map_err(|error| told(&error))?)
    }

    async fn join(
        &self,
        join: &str,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<String, Error> {
        let _allowed = self.change_node(connection, &header).await?;
        let joined = self.follow.join(bus::decode_short(join, LONGEST)?).await;
        bus::encode(&joined.map_err(|error| told_of_fleet(&error))?)
    }

    async fn leave(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<bool, Error> {
        let _allowed = self.change_node(connection, &header).await?;
        let left = self.follow.leave().await;
        left.map_err(|error| told_of_fleet(&error))
    }

    async fn fleet(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<String, Error> {
        let _pass = self.look(connection, &header).await?;
        bus::encode(&self.follow.membership())
    }

    async fn hold(
        &self,
        reason: &str,
        until: u64,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<String, Error> {
        let _allowed = self.change_node(connection, &header).await?;
        let held = self.follow.hold(reason.to_owned(), until).await;
        bus::encode(&held.map_err(|error| told_of_fleet(&error))?)
    }

    #[zbus(signal)]
    async fn progress(emitter: &SignalEmitter<'_>, document: &str) -> zbus::Result<()>;

    #[zbus(signal)]
    async fn ended(emitter: &SignalEmitter<'_>, document: &str) -> zbus::Result<()>;

    #[zbus(property)]
    fn generation(&self) -> u64 {
        self.engine.view().borrow().generation.0
    }

    #[zbus(property)]
    fn active(&self) -> Vec<String> {
        self.engine.view().borrow().active.clone()
    }

    #[zbus(property)]
    fn discrepancies(&self) -> Vec<String> {
        self.engine.view().borrow().discrepancies.clone()
    }
}

/// Passes on the reports of changes that have ended, as signals.
async fn tell_ends(connection: Connection, mut ends: Receiver<ChangeReport>) {
    let Ok(emitter) = SignalEmitter::new(&connection, bus::installd::PATH) else {
        return;
    };
    loop {
        let told = match ends.recv().await.map(|report| bus::encode(&report)) {
            Ok(Ok(document)) => Manager::ended(&emitter, &document).await,
            // Whoever is too slow finds them in the history.
            Ok(Err(_)) | Err(RecvError::Lagged(_)) => Ok(()),
            Err(RecvError::Closed) => return,
        };
        if told.is_err() {
            return;
        }
    }
}

/// Passes on what the engine tells: progress as signals, what it shows as changed properties.
pub(super) fn tell(connection: &Connection, engine: &Handle) {
    let (mut progress, mut view) = (engine.progress(), engine.view());
    tokio::spawn(tell_ends(connection.clone(), engine.ends()));
    let own = connection.clone();
    tokio::spawn(async move {
        loop {
            match progress.recv().await {
                Ok(one) => {
                    let Ok(document) = bus::encode(&one) else {
                        continue;
                    };
                    let Ok(emitter) = SignalEmitter::new(&own, bus::installd::PATH) else {
                        return;
                    };
                    if Manager::progress(&emitter, &document).await.is_err() {
                        return;
                    }
                }
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
        }
    });
    let (own, engine) = (connection.clone(), engine.clone());
    tokio::spawn(async move {
        let mut objects = Objects::new();
        let mut known = View::default();
        loop {
            let now = view.borrow_and_update().clone();
            let told = match properties(&own, &known, &now).await {
                Ok(()) => objects.follow(&own, &engine, &now).await,
                Err(error) => Err(error),
            };
            if own.is_closed() {
                return;
            }
            if let Err(error) = told {
                tracing::warn!(%error, "changed properties were not told");
                return;
            }
            known = now;
            if view.changed().await.is_err() {
                return;
            }
        }
    });
}

/// Tells the properties of the manager that have changed.
async fn properties(connection: &Connection, before: &View, now: &View) -> zbus::Result<()> {
    let object = connection
        .object_server()
        .interface::<_, Manager>(bus::installd::PATH)
        .await?;
    let emitter = object.signal_emitter();
    let manager = object.get().await;
    if before.generation != now.generation {
        manager.generation_changed(emitter).await?;
    }
    if before.active != now.active {
        manager.active_changed(emitter).await?;
    }
    if before.discrepancies != now.discrepancies {
        manager.discrepancies_changed(emitter).await?;
    }
    Ok(())
}
