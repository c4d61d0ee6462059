//! The way back to a `sysmgrd` that was restarted: a path that `sysmgrd` leaves behind.
//!
//! Nobody listens there until the next daemon does. Without the path the session was closed for good.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::sleep;

use super::worker::{Line, connect};

/// Between two tries: first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// Tries until the next daemon lets this process in; `None`: there is no way back.
pub(super) async fn find(path: &Path) -> Option<Line> {
    let (mut pause, longest) = PAUSES;
    loop {
        match UnixStream::connect(path).await {
            // A daemon that lets in and says nothing has ended too: then this fails at once.
            Ok(stream) => {
                if let Ok(stream) = stream.into_std()
                    && let Ok(line) = connect(stream).await
                {
                    return Some(line);
                }
            }
            Err(error) if is_waiting(&error) => {}
            Err(_) => return None,
        }
        sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
}

/// Whether somebody will listen there.
fn is_waiting(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::WouldBlock
            | io::ErrorKind::Interrupted
    )
}
