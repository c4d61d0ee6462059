//! The daemon as a whole: wiring, and its own start and end.

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use crate::config::Config;
use crate::dbus::serve::{Door, on_bus};
use crate::engine::{Engine, Handle, Request, Tools};
use crate::sys::cgroup::Cgroups;
use crate::sys::fd_store::FdStore;
use crate::sys::open_files;
use crate::sys::places::Places;
use crate::sys::reap::{Children, reap_orphans};
use crate::sys::state_files::StateFiles;

/// Why the daemon could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// A file, socket or signal of its own.
    #[error("could not {doing}")]
    Os {
        /// What.
        doing: &'static str,
        /// Why.
        source: io::Error,
    },
}

fn os(doing: &'static str) -> impl FnOnce(io::Error) -> DaemonError {
    move |source| DaemonError::Os { doing, source }
}

/// Runs until it is told to end. SIGTERM leaves every process running, for the next daemon to
/// find; SIGINT stops them all first, in order.
pub async fn run(config: Config) -> Result<(), DaemonError> {
    open_files::raise();
    make_run_dir(&config.run_dir).map_err(os("make the run directory"))?;
    let own = rustix::process::getpid();
    // Orphans of supervised processes come here, so that their end is seen.
    rustix::process::set_child_subreaper(Some(own))
        .map_err(io::Error::from)
        .map_err(os("become a subreaper"))?;
    let files = StateFiles::open(&config.run_dir).map_err(os("open the live state"))?;
    let cgroups = Cgroups::find(config.cgroup.as_deref(), &group_name(&config.run_dir));
    let children = Children::default();
    tokio::spawn(reap_orphans(children.clone()));
    let places = Arc::new(Places::new(&config));
    let (engine, handle) = Engine::new(Tools {
        places,
        cgroups: cgroups.clone(),
        children,
        files,
        store: FdStore::inherit(),
    });
    tokio::spawn(engine.work());
    let mut terminate = signal(SignalKind::terminate()).map_err(os("hear SIGTERM"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(os("hear SIGINT"))?;
    let door = Door::open(&config.run_dir).map_err(os("open sysmgrd.sock"))?;
    let door = tokio::spawn(door.serve(handle.clone()));
    if config.bus != "none" {
        tokio::spawn(on_bus(config.bus.clone(), handle.clone()));
    }
    tell_supervisor("READY=1");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => stop_all(&handle, &cgroups).await,
    }
    tell_supervisor("STOPPING=1");
    door.abort();
    drop(door.await);
    Ok(())
}

async fn stop_all(handle: &Handle, cgroups: &Cgroups) {
    match handle.ask(Request::StopAll).await {
        Ok(()) => cgroups.remove(),
        Err(error) => tracing::error!(%error, "processes were left running"),
    }
}

/// Open to all for looking through: sockets and logs in it have their own modes.
fn make_run_dir(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path)
}

/// The control group directory of this daemon: two daemons on a machine differ by their run
/// directories.
fn group_name(run_dir: &Path) -> String {
    if run_dir == Path::new("/run/changeover") {
        return "changeover.slice".to_owned();
    }
    let bytes = run_dir.as_os_str().as_encoded_bytes();
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("changeover-{hash:016x}.slice")
}

/// Says `what` to whoever supervises this daemon, by systemd's protocol.
fn tell_supervisor(what: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let sent = send_notification(Path::new(&path), what);
    if let Err(error) = sent {
        tracing::warn!(%error, "could not notify the supervisor");
    }
}

fn send_notification(path: &Path, what: &str) -> io::Result<()> {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    let bytes = path.as_os_str().as_encoded_bytes();
    let address = match bytes.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(path)?,
    };
    UnixDatagram::unbound()?
        .send_to_addr(what.as_bytes(), &address)
        .map(drop)
}
