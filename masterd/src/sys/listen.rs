//! The listener: accept, handshake, HTTP, each within a time and all within a number.
//!
//! Idle links are what the master has most of. What one costs is here: the TLS session and one small
//! task; HTTP's buffers go when the link is upgraded, and with them this module's task.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::api::Connection;
use crate::api::metrics::Connections;
use crate::trust::Peer;

/// How long things may take, and how many there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once.
    pub connections: usize,
    /// Handshakes at once: a storm waits in the kernel's queue, and is not all in memory.
    pub handshakes: usize,
    /// Until a handshake is done.
    pub handshake: Duration,
    /// Until a request's head is there; a connection that asks for nothing ends then, too.
    pub head: Duration,
    /// Until the requests that are on their way are answered, when the master stops.
    pub stop: Duration,
}

/// What a connection is served with.
struct Shared {
    tls: TlsAcceptor,
    router: Router,
    limits: Limits,
    count: Connections,
    stopping: watch::Receiver<bool>,
}

/// Serves until `stopping` says so, and then what is on its way.
pub async fn listen(
    listener: TcpListener,
    (tls, router): (TlsAcceptor, Router),
    (limits, count): (Limits, Connections),
    stopping: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let handshakes = Arc::new(Semaphore::new(limits.handshakes));
    let mut stop = stopping.clone();
    let shared = Arc::new(Shared {
        tls,
        router,
        limits,
        count,
        stopping,
    });
    loop {
        let next = tokio::select! {
            next = next(&listener, &places, &handshakes) => next,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let Some((stream, address, place, turn)) = next else {
            break;
        };
        shared.count.accepted.inc();
        let shared = Arc::clone(&shared);
        tokio::spawn(async move { greet(shared, stream, address, (place, turn)).await });
    }
    drop(listener);
    // Each task holds one: when this is the last, all are done.
    let all_done = async {
        while Arc::strong_count(&shared) > 1 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    drop(tokio::time::timeout(limits.stop, all_done).await);
}

/// The next connection, once there is room for it.
async fn next(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    handshakes: &Arc<Semaphore>,
) -> Option<(
    TcpStream,
    SocketAddr,
    OwnedSemaphorePermit,
    OwnedSemaphorePermit,
)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    let turn = Arc::clone(handshakes).acquire_owned().await.ok()?;
    loop {
        match listener.accept().await {
            Ok((stream, address)) => return Some((stream, address, place, turn)),
            // Out of descriptors, or a client that went away: the next may be better.
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn greet(
    shared: Arc<Shared>,
    stream: TcpStream,
    address: SocketAddr,
    (place, turn): (OwnedSemaphorePermit, OwnedSemaphorePermit),
) {
    drop(stream.set_nodelay(true));
    if let Err(error) = keep_alive(&stream) {
        tracing::debug!(%error, "a connection's options could not be set");
    }
    let accept = shared.tls.accept(stream);
    let Ok(Ok(stream)) = tokio::time::timeout(shared.limits.handshake, accept).await else {
        shared.count.failed.inc();
        return;
    };
    drop(turn);
    let connection = Arc::new(seen(&stream, address));
    let counted = Counted::new(stream, place, &shared.count);
    // Boxed: the handshake's state is gone, and this is what an open connection keeps.
    Box::pin(serve(shared, counted, connection)).await;
}

fn seen(stream: &TlsStream<TcpStream>, address: SocketAddr) -> Connection {
    let certificate = stream
        .get_ref()
        .1
        .peer_certificates()
        .and_then(<[_]>::first);
    let peer = certificate.and_then(|certificate| Peer::read(certificate));
    Connection {
        address,
        is_strange: certificate.is_some() && peer.is_none(),
        peer,
    }
}

/// A peer that is gone without a word is found out within about two minutes.
fn keep_alive(stream: &TcpStream) -> rustix::io::Result<()> {
    use rustix::net::sockopt;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, Duration::from_mins(1))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(15))?;
    sockopt::set_tcp_keepcnt(stream, 4)
}

async fn serve(shared: Arc<Shared>, stream: Counted, connection: Arc<Connection>) {
    let router = shared.router.clone();
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(Arc::clone(&connection));
        let service = TowerToHyperService::new(router.clone());
        hyper::service::Service::call(&service, request)
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(shared.limits.head)
        .max_headers(64)
        .max_buf_size(16 << 10)
        .half_close(false);
    let served = http
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut served = std::pin::pin!(served);
    let mut stop = shared.stopping.clone();
    tokio::select! {
        ended = served.as_mut() => return log(ended),
        _ = stop.wait_for(|stop| *stop) => served.as_mut().graceful_shutdown(),
    }
    log(served.await);
}

fn log(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended");
    }
}

/// A connection that has its place among all, also when it has become a link.
struct Counted {
    stream: TlsStream<TcpStream>,
    count: Connections,
    _place: OwnedSemaphorePermit,
}

impl Counted {
    fn new(stream: TlsStream<TcpStream>, place: OwnedSemaphorePermit, count: &Connections) -> Self {
        count.open.inc();
        Self {
            stream,
            count: count.clone(),
            _place: place,
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.count.open.dec();
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
