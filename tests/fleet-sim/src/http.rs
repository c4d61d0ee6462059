//! Single requests to masterd.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use anyhow::{Context, Result, ensure};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Where masterd is, and how it is called.
#[derive(Clone)]
pub(crate) struct Master {
    pub(crate) address: SocketAddr,
    pub(crate) name: String,
}

impl Master {
    /// A connection with the handshake done.
    pub(crate) async fn connect(&self, tls: Arc<ClientConfig>) -> Result<TlsStream<TcpStream>> {
        // A local address out of many: one has 28,000 ports, of which many still cool down.
        static TURN: AtomicU8 = AtomicU8::new(0);
        let turn = TURN.fetch_add(1, Ordering::Relaxed) % 8;
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from(([127, 0, 1, turn + 1], 0)))?;
        let socket = socket.connect(self.address).await?;
        socket.set_nodelay(true)?;
        let name = ServerName::try_from(self.name.clone())?;
        Ok(TlsConnector::from(tls).connect(name, socket).await?)
    }

    /// A connection that takes requests one after another.
    pub(crate) async fn open(
        &self,
        tls: Arc<ClientConfig>,
    ) -> Result<http1::SendRequest<Full<Bytes>>> {
        let io = TokioIo::new(self.connect(tls).await?);
        let (sender, connection) = http1::handshake(io).await?;
        tokio::spawn(connection);
        Ok(sender)
    }
}

/// A request with a JSON body; no body where `body` is empty.
pub(crate) fn json(
    method: &str,
    path: &str,
    token: Option<&str>,
    body: impl Into<Bytes>,
) -> Result<Request<Full<Bytes>>> {
    let builder = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost")
        .header("content-type", "application/json");
    let builder = match token {
        Some(token) => builder.header("authorization", format!("Bearer {token}")),
        None => builder,
    };
    Ok(builder.body(Full::new(body.into()))?)
}

/// The body of an answer that is a success.
pub(crate) async fn read(answer: Response<hyper::body::Incoming>) -> Result<Bytes> {
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    let text = || String::from_utf8_lossy(&body).into_owned();
    ensure!(status.is_success(), "masterd says {status}: {}", text());
    Ok(body)
}

/// Asks masterd as an operator.
pub(crate) async fn ask<T: serde::de::DeserializeOwned>(
    master: &Master,
    tls: Arc<ClientConfig>,
    request: Request<Full<Bytes>>,
) -> Result<T> {
    let what = request.uri().path().to_owned();
    let mut sender = master.open(tls).await?;
    let answer = sender.send_request(request).await?;
    let body = read(answer).await.with_context(|| what.clone())?;
    serde_json::from_slice(&body).with_context(|| format!("the answer to {what}"))
}
