//! Where the manager object can be reached: the system bus, and `RUN_DIR/sysmgrd.sock`.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::bus::encode;
use model::bus::gate::Gate;
use model::bus::sysmgrd::{NAME, PATH};
use rustix::net::{SocketType, sockopt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::broadcast::{self, error::RecvError};
use zbus::connection::Builder;
use zbus::object_server::SignalEmitter;
use zbus::{Connection, Guid};

use super::manager::{Manager, Trust};
use super::process;
use crate::engine::{Handle, Signal};
use crate::sys::sockets::bind_unix;

/// A bus that was there and has gone is tried again this often.
const AGAIN: Duration = Duration::from_secs(1);

/// The private socket: installd's way in, broker or not.
#[derive(Debug)]
pub struct Door {
    listener: UnixListener,
    path: PathBuf,
}

impl Door {
    /// Opens it, for this daemon's own user only; must be called on the runtime.
    pub fn open(run_dir: &Path) -> io::Result<Self> {
        let path = run_dir.join("sysmgrd.sock");
        let socket = bind_unix(&path, SocketType::STREAM, 0o600)?;
        rustix::net::listen(&socket, 128)?;
        let listener = UnixListener::from_std(socket.into())?;
        Ok(Self { listener, path })
    }

    /// Lets callers in until the daemon ends.
    pub async fn serve(self, engine: Handle) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => drop(tokio::spawn(serve_peer(stream, engine.clone()))),
                Err(error) => {
                    tracing::warn!(%error, "a caller was lost");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        drop(fs_err::remove_file(&self.path));
    }
}

async fn serve_peer(stream: UnixStream, engine: Handle) {
    match peer(stream, engine.clone()).await {
        Ok(connection) => forward(&connection, engine.signals()).await,
        Err(error) => tracing::debug!(%error, "a caller did not come in"),
    }
}

async fn peer(stream: UnixStream, engine: Handle) -> zbus::Result<Connection> {
    let caller = sockopt::socket_peercred(&stream)
        .map_err(io::Error::from)?
        .uid;
    if !caller.is_root() && caller != rustix::process::geteuid() {
        return Err(io::Error::from(io::ErrorKind::PermissionDenied).into());
    }
    let builder = Builder::unix_stream(stream.into_std()?)
        .server(Guid::generate())
        .p2p();
    builder
        .serve_at(PATH, Manager::new(engine, Trust::Peer))
        .build()
        .await
}

/// Serves on `bus` (`system` or an address) until the daemon ends; a bus that goes away costs outside
/// callers only, and is tried again.
pub async fn on_bus(bus: String, engine: Handle) {
    loop {
        match connect(&bus, engine.clone()).await {
            Ok(connection) => {
                tracing::info!(bus, "on the bus as {NAME}");
                tokio::select! {
                    () = forward(&connection, engine.signals()) => {}
                    () = process::show(&connection, &engine) => {}
                }
                tracing::warn!(bus, "the bus has gone; trying again");
            }
            Err(error) => tracing::warn!(bus, %error, "not on the bus; trying again"),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn connect(bus: &str, engine: Handle) -> zbus::Result<Connection> {
    let builder = if bus == "system" {
        Builder::system()
    } else {
        Builder::address(bus)
    };
    let gate = Gate::new(rustix::process::geteuid().as_raw());
    builder
        .serve_at(PATH, zbus::fdo::ObjectManager)
        .serve_at(PATH, Manager::new(engine, Trust::Bus(gate)))
        .name(NAME)
        .build()
        .await
}

/// Tells one connection how far transitions are, until it closes. Processes are told by
/// [`process::show`], on the bus only: installd asks how they are when it needs to know.
async fn forward(connection: &Connection, mut signals: broadcast::Receiver<Signal>) {
    let Ok(emitter) = SignalEmitter::new(connection, PATH) else {
        return;
    };
    loop {
        let signal = tokio::select! {
            () = connection.closed() => return,
            signal = signals.recv() => signal,
        };
        let sent = match signal {
            Ok(Signal::Progress(progress)) => {
                Manager::progress(&emitter, &encode(&progress).unwrap_or_default()).await
            }
            // A listener that is too slow misses steps; the next one says where things are.
            Ok(Signal::ProcessChanged(_) | Signal::ProcessGone(_)) | Err(RecvError::Lagged(_)) => {
                continue;
            }
            Err(RecvError::Closed) => return,
        };
        if sent.is_err() {
            return;
        }
    }
}
