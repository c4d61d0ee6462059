//! The link of a node: one WebSocket that the node opened and holds.
//!
//! What an idle link costs decides how many nodes a master can have: small buffers, one task, one
//! queue of a few messages. A node that says nothing is asked after a while, and left after another;
//! one that says too much is read more slowly, and one that says what is no message is cut.

mod allowance;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code};
use axum::response::Response;
use axum::{Extension, Json};
use model::wire::{Check, Checked, FromNode, MOST_MESSAGE, NodeName};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use allowance::Allowance;

use super::{Access, Caller, Connection, Master, Refused, Route, Taken};
use crate::clock;
use crate::engine::{Handle, LinkId, Outgoing};

/// Bytes that are read at once.
const READ: usize = 1 << 10;
/// Messages that wait for a node; one that reads so slowly is cut.
const QUEUE: usize = 16;
/// A node says who it is within this time.
const HELLO: Duration = Duration::from_secs(20);
/// A node takes a message within this time.
const WRITE: Duration = Duration::from_secs(30);

pub(super) fn routes() -> Vec<Route> {
    let about = "The link of a node: a WebSocket of JSON texts";
    vec![
        Route::get("/v1/link", Access::Node, about, link).endless(),
        Route::post(
            "/v1/check",
            Access::Node,
            "Whether a node runs what it is to run, on a connection that it keeps open",
            check,
        )
        .body(1 << 10)
        .takes::<Check>()
        .gives::<Checked>(),
    ]
}

async fn check(
    State(master): State<Arc<Master>>,
    Extension(caller): Extension<Caller>,
    Taken(asked): Taken<Check>,
) -> Result<Json<Checked>, Refused> {
    let Caller::Node { name, .. } = caller else {
        return Err(Refused::not_allowed("only a node is checked"));
    };
    let verdict = master.engine.check(&name, asked.software);
    Ok(Json(Checked { verdict }))
}

async fn link(
    State(master): State<Arc<Master>>,
    Extension(caller): Extension<Caller>,
    Extension(connection): Extension<Arc<Connection>>,
    upgrade: WebSocketUpgrade,
) -> Result<Response, Refused> {
    let Caller::Node { name, .. } = caller else {
        return Err(Refused::not_allowed("only a node has a link"));
    };
    let engine = master.engine.clone();
    let until = connection.peer.as_ref().map_or(0, |peer| peer.until);
    let upgrade = upgrade
        .read_buffer_size(READ)
        .write_buffer_size(0)
        .max_write_buffer_size(MOST_MESSAGE + (64 << 10))
        .max_message_size(MOST_MESSAGE)
        .max_frame_size(MOST_MESSAGE);
    Ok(upgrade.on_upgrade(move |socket| async move {
        let begun = Session::greet(engine, (name, until), socket).await;
        if let Some((session, id, from_engine)) = begun {
            // A task of its own, for what the greeting needed is not kept as long as the link.
            tokio::spawn(session.run(id, from_engine));
        }
    }))
}

/// Why a link ends.
enum End {
    /// The other side, or the network, has ended it.
    Gone,
    /// We say so, with a reason for the node's log.
    Close(&'static str),
}

struct Session {
    engine: Handle,
    name: NodeName,
    socket: WebSocket,
    /// Whoever asked whether the node lives.
    asks: Option<oneshot::Sender<()>>,
    /// It was asked whether it lives, and has not answered.
    pinged: bool,
    /// Seconds since 1970: the end of its certificate.
    until: u64,
    allowance: Allowance,
}

impl Session {
    async fn greet(
        engine: Handle,
        (name, until): (NodeName, u64),
        mut socket: WebSocket,
    ) -> Option<(Self, LinkId, mpsc::Receiver<Outgoing>)> {
        let first = timeout(HELLO, socket.recv()).await.ok()??.ok()?;
        let Message::Text(text) = first else {
            return None;
        };
        let hello = serde_json::from_str(&text)
            .ok()
            .filter(|it| allowance::fits(it, text.len()));
        let Some(FromNode::Hello(hello)) = hello else {
            tracing::warn!(node = %name, "its first message is no hello");
            close(&mut socket, "the first message is no hello").await;
            return None;
        };
        let (to, from_engine) = mpsc::channel(QUEUE);
        let Ok(id) = engine.link_opened(name.clone(), *hello, to).await else {
            close(&mut socket, "the master is stopping").await;
            return None;
        };
        let session = Self {
            engine,
            name,
            socket,
            asks: None,
            pinged: false,
            until,
            allowance: Allowance::new(Instant::now()),
        };
        Some((session, id, from_engine))
    }

    async fn run(mut self, id: LinkId, mut from_engine: mpsc::Receiver<Outgoing>) {
        let end = self.serve(id, &mut from_engine).await;
        self.engine.link_closed(self.name.clone(), id).await;
        if let End::Close(reason) = end {
            tracing::info!(node = %self.name, reason, "link closed");
            Box::pin(close(&mut self.socket, reason)).await;
        }
    }

    /// What is not waiting is boxed: a link waits nearly always, and keeps only what that needs.
    async fn serve(&mut self, id: LinkId, from_engine: &mut mpsc::Receiver<Outgoing>) -> End {
        let silence = self.engine.silence();
        loop {
            // The node comes back with its new one, or renews it.
            if clock::now() > self.until {
                return End::Close("its certificate is out of date");
            }
            let next = tokio::select! {
                out = from_engine.recv() => Box::pin(self.out(out)).await,
                message = timeout(silence, self.socket.recv()) => match message {
                    Ok(Some(Ok(message))) => Box::pin(self.message(id, message)).await,
                    Ok(Some(Err(_)) | None) => Err(End::Gone),
                    Err(_) => Box::pin(self.silent()).await,
                },
            };
            if let Err(end) = next {
                return end;
            }
        }
    }

    async fn out(&mut self, out: Option<Outgoing>) -> Result<(), End> {
        match out {
            Some(Outgoing::Text(text)) => self.send(Message::Text(Utf8Bytes::from(&*text))).await,
            Some(Outgoing::Probe(asks)) => {
                self.asks = Some(asks);
                self.send(Message::Ping(Vec::new().into())).await
            }
            Some(Outgoing::Close(reason)) => Err(End::Close(reason)),
            None => Err(End::Close("another link has taken its place")),
        }
    }

    async fn send(&mut self, message: Message) -> Result<(), End> {
        match timeout(WRITE, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(End::Gone),
        }
    }

    async fn message(&mut self, id: LinkId, message: Message) -> Result<(), End> {
        self.pinged = false;
        let asked = self.asks.take();
        if asked.is_some_and(|asks| asks.send(()).is_err()) {
            tracing::debug!(node = %self.name, "its answer came too late");
        }
        let text = match message {
            Message::Text(text) => text,
            Message::Ping(_) | Message::Pong(_) => return Ok(()),
            Message::Binary(_) => return Err(End::Close("only texts are taken")),
            Message::Close(_) => return Err(End::Gone),
        };
        let message: FromNode = serde_json::from_str(&text).map_err(|error| {
            tracing::warn!(node = %self.name, %error, "a message that is none");
            End::Close("a message that is none")
        })?;
        if !allowance::fits(&message, text.len()) {
            return Err(End::Close("a message that is too long"));
        }
        if let Some(wait) = self.allowance.spend(text.len(), Instant::now()) {
            tokio::time::sleep(wait).await;
        }
        let told = self
            .engine
            .link_message(self.name.clone(), id, message)
            .await;
        told.map_err(|_| End::Close("the master is stopping"))
    }

    /// Nothing was heard for a while: it is asked once.
    async fn silent(&mut self) -> Result<(), End> {
        if self.pinged {
            return Err(End::Close("it does not answer"));
        }
        self.pinged = true;
        self.send(Message::Ping(Vec::new().into())).await
    }
}

async fn close(socket: &mut WebSocket, reason: &'static str) {
    let frame = CloseFrame {
        code: close_code::POLICY,
        reason: Utf8Bytes::from_static(reason),
    };
    // It may be gone already.
    drop(timeout(WRITE, socket.send(Message::Close(Some(frame)))).await);
}
