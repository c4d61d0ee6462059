//! `org.changeover.Install1.Manager`.

use std::fs::File;
use std::os::fd::OwnedFd as StdFd;

use model::ChangeId;
use model::bus::{self, Error};
use model::change::PackageRef;
use tokio::sync::broadcast::error::RecvError;
use zbus::message::Header;
use zbus::object_server::SignalEmitter;
use zbus::{Connection, OwnedFd, interface};

use super::caller::may_change;
use super::errors::told;
use crate::engine::Handle;

/// The manager's object.
#[derive(Debug)]
pub struct Manager {
    engine: Handle,
}

impl Manager {
    /// The object over this engine.
    pub fn new(engine: Handle) -> Self {
        Self { engine }
    }
}

#[interface(name = "org.changeover.Install1.Manager")]
impl Manager {
    async fn add(
        &self,
        envelope: OwnedFd,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<String, Error> {
        may_change(connection, &header).await?;
        let added = self.engine.add(File::from(StdFd::from(envelope))).await;
        bus::encode(&added.map_err(|error| told(&error))?)
    }

    async fn remove(
        &self,
        packages: Vec<String>,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<Vec<String>, Error> {
        may_change(connection, &header).await?;
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

    async fn list(&self) -> Result<String, Error> {
        bus::encode(&self.engine.list().await.map_err(|error| told(&error))?)
    }

    async fn plan(&self, request: &str) -> Result<String, Error> {
        let plan = self.engine.plan(bus::decode(request)?).await;
        bus::encode(&plan.map_err(|error| told(&error))?)
    }

    async fn apply(
        &self,
        request: &str,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<String, Error> {
        let by = may_change(connection, &header).await?;
        let report = self.engine.apply(bus::decode(request)?, by).await;
        bus::encode(&report.map_err(|error| told(&error))?)
    }

    async fn status(&self) -> Result<String, Error> {
        bus::encode(&self.engine.status().await.map_err(|error| told(&error))?)
    }

    async fn why(&self, what: &str) -> Result<String, Error> {
        let why = self.engine.why(what.to_owned()).await;
        bus::encode(&why.map_err(|error| told(&error))?)
    }

    async fn history(&self, filter: &str) -> Result<String, Error> {
        let history = self.engine.history(bus::decode(filter)?).await;
        bus::encode(&history.map_err(|error| told(&error))?)
    }

    async fn change(&self, change: u64) -> Result<String, Error> {
        let record = self.engine.change(ChangeId(change)).await;
        bus::encode(&record.map_err(|error| told(&error))?)
    }

    #[zbus(signal)]
    async fn progress(emitter: &SignalEmitter<'_>, document: &str) -> zbus::Result<()>;

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

/// Passes on what the engine tells: progress as signals, what it shows as changed properties.
pub(super) fn tell(connection: &Connection, engine: &Handle) {
    let (mut progress, mut view) = (engine.progress(), engine.view());
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
    let own = connection.clone();
    tokio::spawn(async move {
        while view.changed().await.is_ok() {
            if own.is_closed() {
                return;
            }
            if let Err(error) = properties(&own).await {
                tracing::warn!(%error, "changed properties were not told");
                return;
            }
        }
    });
}

async fn properties(connection: &Connection) -> zbus::Result<()> {
    let object = connection
        .object_server()
        .interface::<_, Manager>(bus::installd::PATH)
        .await?;
    let emitter = object.signal_emitter();
    let manager = object.get().await;
    manager.generation_changed(emitter).await?;
    manager.active_changed(emitter).await?;
    manager.discrepancies_changed(emitter).await
}
