//! What happens in the fleet, as it happens: a WebSocket of JSON texts.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code};
use axum::http::HeaderMap;
use axum::response::Response;
use model::wire::FleetEvent;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{interval, timeout};

use super::auth::who;
use super::{Access, Caller, Connection, Master, Route};

/// Whoever looks on is asked for so often whether they still may.
const LOOK: Duration = Duration::from_secs(2);
/// A reader takes an event within this time.
const WRITE: Duration = Duration::from_secs(30);

pub(super) fn routes() -> Vec<Route> {
    let about = "What happens in the fleet: a WebSocket of JSON texts";
    vec![
        Route::get("/v1/events", Access::Read, about, events)
            .gives::<FleetEvent>()
            .endless(),
    ]
}

/// Whoever looks on, as they made themselves known.
struct Reader {
    master: Arc<Master>,
    caller: Caller,
    headers: HeaderMap,
    connection: Option<Arc<Connection>>,
}

impl Reader {
    /// Whether they are who they were, with the same rights.
    fn still_may(&self) -> bool {
        who(&self.master, &self.headers, self.connection.as_deref()) == self.caller
    }
}

async fn events(
    State(master): State<Arc<Master>>,
    Extension(caller): Extension<Caller>,
    connection: Option<Extension<Arc<Connection>>>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let events = master.engine.events();
    let reader = Reader {
        master,
        caller,
        headers,
        connection: connection.map(|Extension(connection)| connection),
    };
    let upgrade = upgrade.read_buffer_size(1 << 10).max_message_size(1 << 10);
    upgrade.on_upgrade(move |socket| serve(socket, events, reader))
}

async fn serve(mut socket: WebSocket, mut events: Receiver<FleetEvent>, reader: Reader) {
    let mut look = interval(LOOK);
    loop {
        let event = tokio::select! {
            event = events.recv() => Some(event),
            said = socket.recv() => match said {
                // Nothing is expected; a ping is answered below us.
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => return,
            },
            _ = look.tick() => None,
        };
        if !reader.still_may() {
            return refuse(&mut socket).await;
        }
        let event = match event {
            None => continue,
            Some(Ok(event)) => event,
            Some(Err(RecvError::Lagged(count))) => FleetEvent::Lost { count },
            Some(Err(RecvError::Closed)) => return,
        };
        let text = serde_json::to_string(&event).unwrap_or_default();
        let sent = timeout(WRITE, socket.send(Message::Text(Utf8Bytes::from(text))));
        if !matches!(sent.await, Ok(Ok(()))) {
            return;
        }
    }
}

async fn refuse(socket: &mut WebSocket) {
    let frame = CloseFrame {
        code: close_code::POLICY,
        reason: Utf8Bytes::from_static("you may not look on any more"),
    };
    // They may be gone already.
    drop(timeout(WRITE, socket.send(Message::Close(Some(frame)))).await);
}
