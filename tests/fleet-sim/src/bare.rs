//! What mutual TLS alone costs: the same library, the same keys, nothing behind the handshake.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::measure::Watch;
use crate::tls::{Ground, Identity};

/// How long it takes every node to do one handshake and to get one byte.
pub(crate) async fn handshakes(
    ground: &Ground,
    nodes: &[Arc<Identity>],
    server: &Identity,
    at_once: usize,
) -> Result<Duration> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let acceptor = TlsAcceptor::from(Arc::new(ground.server(server)?));
    let serving = tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(mut stream) = acceptor.accept(socket).await {
                    // A client that left is counted on its own side.
                    drop(stream.write_all(b"1").await);
                    drop(stream.read_u8().await);
                }
            });
        }
    });
    let name = server.name.as_str().to_owned();
    let watch = Watch::start();
    let one = |node: Arc<Identity>| {
        let (ground, name) = (ground.clone(), name.clone());
        async move {
            let socket = TcpStream::connect(address).await?;
            socket.set_nodelay(true)?;
            let connector = TlsConnector::from(Arc::new(ground.node(&node)?));
            let mut stream = connector
                .connect(ServerName::try_from(name)?, socket)
                .await?;
            stream.read_u8().await?;
            anyhow::Ok(stream)
        }
    };
    let streams: Vec<_> = stream::iter(nodes.iter().map(Arc::clone))
        .map(one)
        .buffer_unordered(at_once)
        .try_collect()
        .await?;
    let took = watch.elapsed();
    drop(streams);
    serving.abort();
    Ok(took)
}
