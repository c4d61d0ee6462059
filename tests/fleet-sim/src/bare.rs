//! What mutual TLS alone costs: the same library, the same keys, nothing behind the handshake.
//!
//! The server is a process of its own, as masterd is: both ends of ten thousand connections do not
//! fit one table of descriptors.

#![expect(clippy::print_stdout, reason = "the address is read by the parent")]

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio_rustls::TlsAcceptor;

use crate::args::{Run, Serve};
use crate::http::Master;
use crate::measure::{self, Watch};
use crate::tls::{Ground, Identity};

/// Does handshakes until it is killed.
pub(crate) async fn serve(args: &Serve) -> Result<()> {
    let ground = Ground::new(&fs_err::read(&args.ca)?)?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let acceptor = TlsAcceptor::from(Arc::new(ground.server(&args.identity)?));
    println!("{}", listener.local_addr()?);
    loop {
        let (socket, _) = listener.accept().await?;
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            socket.set_nodelay(true).ok();
            if let Ok(mut stream) = acceptor.accept(socket).await {
                // A client that left is counted on its own side.
                drop(stream.write_all(b"1").await);
                drop(stream.read_u8().await);
            }
        });
    }
}

/// What handshakes alone cost.
pub(crate) struct Bare {
    /// Until every node had its byte.
    pub(crate) took: Duration,
    /// Processor time of the server.
    pub(crate) spent: Duration,
    /// Memory of the server, all connections being open.
    pub(crate) memory: u64,
}

/// Every node does one handshake and gets one byte.
pub(crate) async fn handshakes(
    args: &Run,
    ground: &Ground,
    nodes: &[Arc<Identity>],
) -> Result<Bare> {
    let (server, address) = start(args).await?;
    let pid = server.id().context("the bare server has ended")?;
    let master = Master {
        address,
        name: args.server_name.clone(),
    };
    let empty = measure::pss(pid)?;
    let watch = Watch::start();
    let one = |node: Arc<Identity>| {
        let master = master.clone();
        async move {
            let mut stream = master.connect(Arc::new(ground.node(&node)?)).await?;
            stream.read_u8().await?;
            anyhow::Ok(stream)
        }
    };
    let streams: Vec<_> = stream::iter(nodes.iter().map(Arc::clone))
        .map(one)
        .buffer_unordered(args.at_once)
        .try_collect()
        .await?;
    let took = watch.elapsed();
    let bare = Bare {
        took,
        spent: measure::cpu(pid)?,
        memory: measure::pss(pid)?.saturating_sub(empty),
    };
    drop(streams);
    Ok(bare)
}

async fn start(args: &Run) -> Result<(Child, SocketAddr)> {
    let mut server = Command::new(std::env::current_exe()?)
        .arg("serve")
        .arg("--ca")
        .arg(&args.ca)
        .arg("--identity")
        .args(&args.identity)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let said = server.stdout.take().context("no output")?;
    let mut line = String::new();
    BufReader::new(said).read_line(&mut line).await?;
    let address = line.trim().parse();
    Ok((server, address.context("the bare server did not start")?))
}
