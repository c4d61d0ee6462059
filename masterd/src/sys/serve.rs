//! The daemon: everything wired together, until it is told to stop.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use model::trust::SecretKey;
use model::wire::LinkSettings;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use transfer::Shelf;

use super::backup::STORE;
use super::lock::Lock;
use super::notify::notify;
use super::{listen, tls};
use crate::api::metrics::Metrics;
use crate::api::rates::Rates;
use crate::api::{self, Master};
use crate::audit::Audit;
use crate::config::Config;
use crate::engine;
use crate::hooks::Hooks;
use crate::store::Store;
use crate::store::sqlite::Sqlite;
use crate::trust::{Authority, Ca, Files};

/// The master's own certificate is looked at so often.
const LOOK: Duration = Duration::from_hours(6);

/// Serves until SIGTERM or SIGINT.
pub async fn serve(config: Config) -> anyhow::Result<()> {
    let files = Files::new(&config.state_dir);
    if !files.exist() {
        bail!(
            "there is no fleet in {}: masterd init --name HOST",
            config.state_dir.display()
        );
    }
    let _lock = Lock::take(&config.state_dir)?;
    raise_descriptors(config.limits.connections);
    let ca = files.ca()?;
    let own = tls::Own::new(&files.server(&ca, crate::clock::now())?)?;
    let acceptor = TlsAcceptor::from(tls::config(&ca, Arc::clone(&own))?);
    let (master, mut engine) = start(&config, &files, ca).await?;
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("could not listen on {}", config.listen))?;
    let (stop, stopping) = watch::channel(false);
    let served = (acceptor, api::router(Arc::clone(&master)));
    let count = master.metrics.connections.clone();
    let listening = listen::listen(listener, served, (config.limits, count), stopping);
    let listening = tokio::spawn(listening);
    let renewing = tokio::spawn(renew(files, own));
    notify("READY=1\n");
    tracing::info!(address = %config.listen, "the master is up");
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let ended = tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        ended = &mut engine => Err(anyhow::anyhow!("the engine ended by itself: {ended:?}")),
    };
    notify("STOPPING=1\n");
    renewing.abort();
    stop.send_replace(true);
    listening.await?;
    ended
}

async fn start(
    config: &Config,
    files: &Files,
    ca: Ca,
) -> anyhow::Result<(
    Arc<Master>,
    tokio::task::JoinHandle<Result<(), engine::Error>>,
)> {
    let store_file = config.state_dir.join(STORE);
    let store = Store::new(Arc::new(Sqlite::open(&store_file)?));
    let audit = Audit::start(store.clone()).await?;
    let key = files.master_key()?;
    let parts = (store.clone(), audit.clone());
    let authority = Authority::start(ca, &key, config.trust.clone(), parts).await?;
    let (engine, running) =
        engine::start(parts_of(config, (store.clone(), audit.clone()), key)?).await?;
    let master = Master {
        store,
        audit,
        authority,
        engine,
        public: config.state_dir.join("public"),
        store_file,
        metrics: Metrics::default(),
        rates: Rates::new(config.requests, config.refused),
    };
    Ok((Arc::new(master), running))
}

/// What the engine is started with.
pub(super) fn parts_of(
    config: &Config,
    (store, audit): (Store, Audit),
    key: SecretKey,
) -> anyhow::Result<engine::Parts> {
    let (public, spool) = (
        config.state_dir.join("public"),
        config.state_dir.join("spool"),
    );
    fs_err::create_dir_all(&spool)?;
    let shelf = Arc::new(Shelf::open(&public, &config.state_dir.join("private"))?);
    let (ping_ms, retry_min_ms, retry_max_ms) = config.link;
    let link = LinkSettings {
        ping_ms,
        retry_min_ms,
        retry_max_ms,
        rate: 0,
    };
    Ok(engine::Parts {
        store,
        shelf,
        key,
        spool,
        link,
        audit,
        hooks: Hooks::start(config.hooks.clone())?,
    })
}

/// Keeps the master's own certificate in date.
async fn renew(files: Files, own: Arc<tls::Own>) {
    let mut tick = tokio::time::interval(LOOK);
    tick.tick().await;
    loop {
        tick.tick().await;
        let renewed = files
            .ca()
            .and_then(|ca| files.server(&ca, crate::clock::now()));
        let changed = renewed
            .map_err(anyhow::Error::from)
            .and_then(|server| own.change(&server));
        if let Err(error) = changed {
            tracing::error!(%error, "the master's own certificate could not be renewed");
        }
    }
}

/// As many descriptors as connections need, where the machine allows it.
fn raise_descriptors(connections: usize) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: now.maximum.or(now.current),
        maximum: now.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, wanted) {
        tracing::warn!(%error, "the number of descriptors could not be raised");
    }
    let has = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let needs = u64::try_from(connections)
        .unwrap_or(u64::MAX)
        .saturating_add(256);
    if has < needs {
        tracing::warn!(
            has,
            needs,
            "fewer descriptors than connections: raise LimitNOFILE, or lower limits.connections"
        );
    }
}
