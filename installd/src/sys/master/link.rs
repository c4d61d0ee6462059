//! The link: one WebSocket that the node opens and holds, and opens again when it is lost.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use model::report::Chain;
use model::wire::{FromNode, LinkSettings, MOST_MESSAGE, ToNode};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};

use super::{Address, Error, http, proxy};

/// How long opening may take.
const OPENING: Duration = Duration::from_secs(30);
/// Signs of life that may be missed before the link counts as lost.
const MISSED: u32 = 3;

/// Before the master has said how.
pub const AT_FIRST: LinkSettings = LinkSettings {
    ping_ms: 20_000,
    retry_min_ms: 500,
    retry_max_ms: 5_000,
    rate: 0,
};

/// What becomes of the link.
#[derive(Debug)]
pub enum Event {
    /// It is open; what is sent here goes to the master.
    Opened(mpsc::Sender<FromNode>),
    /// The master says something.
    Message(Box<ToNode>),
    /// The master is there: it has answered a sign of life.
    Alive,
    /// It is lost, or could not be opened.
    Closed(String),
}

/// Opens the link and holds it, for as long as somebody listens.
pub async fn hold(
    address: Address,
    tls: Arc<ClientConfig>,
    settings: watch::Receiver<LinkSettings>,
    events: mpsc::Sender<Event>,
) {
    loop {
        let why = match tokio::time::timeout(OPENING, open(&address, &tls)).await {
            Ok(Ok(link)) => converse(link, &settings, &events).await,
            Ok(Err(error)) => Chain(&error).to_string(),
            Err(_) => format!("it was not open within {} s", OPENING.as_secs()),
        };
        if events.send(Event::Closed(why)).await.is_err() {
            return;
        }
        let settings = *settings.borrow();
        tokio::time::sleep(jitter(settings.retry_min_ms, settings.retry_max_ms)).await;
    }
}

type Link = WebSocketStream<TlsStream<TcpStream>>;

async fn open(address: &Address, tls: &Arc<ClientConfig>) -> Result<Link, Error> {
    let stream = proxy::connect(address).await?;
    let to = format!("{}:{}", address.host, address.port);
    let failed = |source| Error::Connect {
        to: to.clone(),
        source,
    };
    stream.set_nodelay(true).map_err(failed)?;
    let host = address.host.trim_matches(['[', ']']).to_owned();
    let name = ServerName::try_from(host).map_err(|_| Error::Address {
        text: address.url.clone(),
    })?;
    let connector = TlsConnector::from(Arc::clone(tls));
    let stream = connector.connect(name, stream).await.map_err(failed)?;
    let config = WebSocketConfig::default()
        .max_message_size(Some(MOST_MESSAGE))
        .max_frame_size(Some(MOST_MESSAGE));
    let url = format!("wss://{to}/v1/link");
    let opened = tokio_tungstenite::client_async_with_config(url, stream, Some(config)).await;
    match opened {
        Ok((link, _)) => Ok(link),
        // A node that is not let in is told why.
        Err(tungstenite::Error::Http(answer)) => {
            let body = answer.body().as_deref().unwrap_or_default();
            Err(http::refused(answer.status(), body))
        }
        Err(error) => Err(Error::Link(Box::new(error))),
    }
}

/// Carries messages until the link ends; why it did.
async fn converse(
    mut link: Link,
    settings: &watch::Receiver<LinkSettings>,
    events: &mpsc::Sender<Event>,
) -> String {
    let (sender, mut letters) = mpsc::channel(64);
    if events.send(Event::Opened(sender)).await.is_err() {
        return String::new();
    }
    let mut heard = Instant::now();
    let mut pinged = Instant::now();
    let mut tick = tokio::time::interval(Duration::from_millis(250));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let ping = Duration::from_millis(settings.borrow().ping_ms.max(100));
        tokio::select! {
            letter = letters.recv() => {
                let Some(letter) = letter else {
                    return "this node ended it".to_owned();
                };
                if let Err(why) = send(&mut link, &letter).await {
                    return why;
                }
            }
            frame = link.next() => {
                heard = Instant::now();
                let event = match frame {
                    None => return "the master ended it".to_owned(),
                    Some(Err(error)) => return error.to_string(),
                    Some(Ok(frame)) => match understood(&frame) {
                        Ok(Some(event)) => event,
                        Ok(None) => continue,
                        Err(why) => return why,
                    },
                };
                if events.send(event).await.is_err() {
                    return String::new();
                }
            }
            _ = tick.tick() => {
                if heard.elapsed() > ping * MISSED {
                    return format!("nothing was heard for {} ms", heard.elapsed().as_millis());
                }
                if pinged.elapsed() >= ping {
                    pinged = Instant::now();
                    if let Err(error) = link.send(Message::Ping(Vec::new().into())).await {
                        return error.to_string();
                    }
                }
            }
        }
    }
}

async fn send(link: &mut Link, letter: &FromNode) -> Result<(), String> {
    let text = serde_json::to_string(letter).map_err(|error| error.to_string())?;
    if text.len() > MOST_MESSAGE {
        tracing::warn!(
            bytes = text.len(),
            "a message to the master is too long and is left out"
        );
        return Ok(());
    }
    let sent = link.send(Message::Text(text.into())).await;
    sent.map_err(|error| error.to_string())
}

/// What a frame means; one that means nothing to us ends the link.
fn understood(frame: &Message) -> Result<Option<Event>, String> {
    match frame {
        Message::Text(text) => {
            let message: ToNode = serde_json::from_str(text)
                .map_err(|error| format!("the master says what is not understood: {error}"))?;
            Ok(Some(Event::Message(Box::new(message))))
        }
        Message::Pong(_) => Ok(Some(Event::Alive)),
        Message::Ping(_) | Message::Frame(_) => Ok(None),
        Message::Binary(_) => Err("the master sends bytes instead of text".to_owned()),
        Message::Close(frame) => Err(frame.as_ref().map_or_else(
            || "the master ended it".to_owned(),
            |frame| format!("the master ended it: {}", frame.reason),
        )),
    }
}

/// A random time between the two: a lost master is not found by all of its nodes at once.
fn jitter(min_ms: u64, max_ms: u64) -> Duration {
    let mut random = [0; 8];
    // Without randomness all nodes wait the same, which is no harm to any of them.
    let _filled = getrandom::fill(&mut random);
    let span = max_ms.saturating_sub(min_ms).saturating_add(1);
    Duration::from_millis(min_ms.saturating_add(u64::from_ne_bytes(random) % span))
}
