//! What happens in the fleet, as it happens: a WebSocket of JSON texts.

use std::sync::Arc;

use axum::extract::State;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use model::wire::FleetEvent;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::{Access, Master, Route};

pub(super) fn routes() -> Vec<Route> {
    let about = "What happens in the fleet: a WebSocket of JSON texts";
    vec![
        Route::get("/v1/events", Access::Read, about, events)
            .gives::<FleetEvent>()
            .endless(),
    ]
}

async fn events(State(master): State<Arc<Master>>, upgrade: WebSocketUpgrade) -> Response {
    let events = master.engine.events();
    let upgrade = upgrade.read_buffer_size(1 << 10).max_message_size(1 << 10);
    upgrade.on_upgrade(move |socket| serve(socket, events))
}

async fn serve(mut socket: WebSocket, mut events: Receiver<FleetEvent>) {
    loop {
        let event = tokio::select! {
            event = events.recv() => event,
            said = socket.recv() => match said {
                // Nothing is expected; a ping is answered below us.
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => return,
            },
        };
        let event = match event {
            Ok(event) => event,
            Err(RecvError::Lagged(count)) => FleetEvent::Lost { count },
            Err(RecvError::Closed) => return,
        };
        let text = serde_json::to_string(&event).unwrap_or_default();
        if socket
            .send(Message::Text(Utf8Bytes::from(text)))
            .await
            .is_err()
        {
            return;
        }
    }
}
