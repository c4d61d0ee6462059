//! The socket to sysmgrd: calls with documents in and out, and the watch that sees it come back.

use std::future::poll_fn;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use model::bus;
use model::bus::sysmgrd::{ManagerProxy, PATH};
use model::change::{ProcessStatus, Progress};
use model::fault;
use model::mappings::Mappings;
use model::transition::{Ask, Ended, Prepare, Prepared, Transition, TransitionReport, Votes};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use zbus::export::futures_core::Stream;
use zbus::{Connection, MessageStream, connection::Builder};

/// How often it is tried again while sysmgrd is away.
const PAUSE: Duration = Duration::from_millis(50);
/// A question about processes is answered at once or not at all.
const QUICK: Duration = Duration::from_secs(10);

/// Why sysmgrd gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not there, or went away in the middle.
    #[error("sysmgrd does not answer at {}", socket.display())]
    Away {
        /// Where it should be.
        socket: PathBuf,
        /// What the connection said.
        #[source]
        source: zbus::Error,
    },
    /// It answered too late.
    #[error("sysmgrd did not answer within {} s", limit.as_secs())]
    Late {
        /// How long was waited.
        limit: Duration,
    },
    /// It answered that it would not.
    #[error("sysmgrd refused: {0}")]
    Refused(String),
}

/// A way to sysmgrd that connects when it is first used, and again when the connection broke.
#[derive(Debug)]
pub struct Sysmgr {
    socket: PathBuf,
    /// How long is waited for it to be there.
    limit: Duration,
    connection: Option<Connection>,
}

enum Call {
    Processes,
    Mapped,
    Ask(String),
    Prepare(String),
    Transition(String),
    End(String),
}

impl Call {
    /// For fault points.
    fn name(&self) -> &'static str {
        match self {
            Self::Processes => "call Processes",
            Self::Mapped => "call Mapped",
            Self::Ask(_) => "call Ask",
            Self::Prepare(_) => "call Prepare",
            Self::Transition(_) => "call Transition",
            Self::End(_) => "call End",
        }
    }
}

impl Sysmgr {
    /// sysmgrd at `socket`; each call waits at most `limit` for it to be there.
    pub fn new(socket: &Path, limit: Duration) -> Self {
        Self {
            socket: socket.to_owned(),
            limit,
            connection: None,
        }
    }

    /// Another way to the same, with a limit of its own.
    #[must_use]
    pub fn again(&self, limit: Duration) -> Self {
        Self::new(&self.socket, limit)
    }

    /// Every supervised process.
    pub async fn processes(&mut self) -> Result<Vec<ProcessStatus>, Error> {
        let known = self.connection.is_some();
        match self.document(Call::Processes, QUICK).await {
            // The connection was an old one: sysmgrd may be back already.
            Err(Error::Away { .. }) if known => self.document(Call::Processes, QUICK).await,
            other => other,
        }
    }

    /// What every supervised process has mapped.
    pub async fn mapped(&mut self) -> Result<Mappings, Error> {
        self.document(Call::Mapped, QUICK).await
    }

    /// Asks processes; the answer comes within the question's own time and what may be added.
    pub async fn ask(&mut self, ask: &Ask) -> Result<Votes, Error> {
        let limit = Duration::from_millis(ask.timeout_ms.saturating_add(ask.more_time_ms)) + QUICK;
        self.document(Call::Ask(encode(ask)?), limit).await
    }

    /// Tells processes to get ready.
    pub async fn prepare(&mut self, prepare: &Prepare) -> Result<Prepared, Error> {
        let levels = u32::try_from(prepare.levels.len().max(1)).unwrap_or(u32::MAX);
        let limit = Duration::from_millis(prepare.timeout_ms).saturating_mul(levels) + QUICK;
        self.document(Call::Prepare(encode(prepare)?), limit).await
    }

    /// Moves the machine to the next state. No limit but the connection: each process has its own.
    pub async fn transition(&mut self, next: &Transition) -> Result<TransitionReport, Error> {
        self.document(Call::Transition(encode(next)?), Duration::MAX)
            .await
    }

    /// Tells those who were told of a change that it has ended.
    pub async fn end(&mut self, ended: &Ended) -> Result<(), Error> {
        self.call(Call::End(encode(ended)?), QUICK).await.map(drop)
    }

    /// The mount namespace of the newest generation's view.
    pub async fn open_view(&mut self) -> Result<OwnedFd, Error> {
        let connection = self.connect().await?;
        let away = |source| Error::Away {
            socket: self.socket.clone(),
            source,
        };
        let proxy = proxy(&connection).await.map_err(away)?;
        match timeout(QUICK, proxy.open_view()).await {
            Err(_) => Err(Error::Late { limit: QUICK }),
            Ok(Ok(view)) => Ok(view.into()),
            Ok(Err(error)) => Err(Error::Refused(error.to_string())),
        }
    }

    async fn document<T: serde::de::DeserializeOwned>(
        &mut self,
        call: Call,
        limit: Duration,
    ) -> Result<T, Error> {
        let text = self.call(call, limit).await?;
        serde_json::from_str(&text)
            .map_err(|error| Error::Refused(format!("its answer cannot be read: {error}")))
    }

    async fn call(&mut self, call: Call, limit: Duration) -> Result<String, Error> {
        let connection = self.connect().await?;
        let away = |source| Error::Away {
            socket: self.socket.clone(),
            source,
        };
        let proxy = proxy(&connection).await.map_err(away)?;
        // An answer can be lost with the connection: the call ends when either does.
        let answer = tokio::select! {
            answer = timeout(limit, perform(&proxy, call)) => answer,
            () = connection.closed() => {
                self.connection = None;
                return Err(away(zbus::Error::Failure("the connection broke".to_owned())));
            }
        };
        match answer {
            Err(_) => Err(Error::Late { limit }),
            Ok(Ok(text)) => Ok(text),
            Ok(Err(bus::Error::Bus(source))) => {
                self.connection = None;
                Err(away(source))
            }
            Ok(Err(
                bus::Error::Invalid(text)
                | bus::Error::Unmet(text)
                | bus::Error::Busy(text)
                | bus::Error::NotAllowed(text)
                | bus::Error::LimitsExceeded(text)
                | bus::Error::Failed(text),
            )) => Err(Error::Refused(text)),
        }
    }

    async fn connect(&mut self) -> Result<Connection, Error> {
        if let Some(connection) = &self.connection {
            return Ok(connection.clone());
        }
        let deadline = Instant::now() + self.limit;
        loop {
            match connect(&self.socket).await {
                Ok(connection) => {
                    self.connection = Some(connection.clone());
                    return Ok(connection);
                }
                Err(source) if Instant::now() >= deadline => {
                    return Err(Error::Away {
                        socket: self.socket.clone(),
                        source,
                    });
                }
                Err(_) => sleep(PAUSE).await,
            }
        }
    }
}

fn encode<T: serde::Serialize>(value: &T) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::Refused(error.to_string()))
}

async fn perform(proxy: &ManagerProxy<'_>, call: Call) -> Result<String, bus::Error> {
    let what = call.name();
    fault::point(what);
    let answer = perform_call(proxy, call).await;
    fault::after(what);
    answer
}

async fn perform_call(proxy: &ManagerProxy<'_>, call: Call) -> Result<String, bus::Error> {
    match call {
        Call::Processes => proxy.processes().await,
        Call::Mapped => proxy.mapped().await,
        Call::Ask(text) => proxy.ask(&text).await,
        Call::Prepare(text) => proxy.prepare(&text).await,
        Call::Transition(text) => proxy.transition(&text).await,
        Call::End(text) => proxy.end(&text).await.map(|()| String::new()),
    }
}

async fn connect(socket: &Path) -> zbus::Result<Connection> {
    let stream = tokio::net::UnixStream::connect(socket).await?.into_std()?;
    let build = Builder::unix_stream(stream).p2p().build();
    // One that accepts and says nothing is as good as away.
    timeout(Duration::from_secs(5), build)
        .await
        .unwrap_or_else(|_| Err(zbus::Error::Failure("no handshake".to_owned())))
}

async fn proxy(connection: &Connection) -> zbus::Result<ManagerProxy<'static>> {
    ManagerProxy::builder(connection)
        .path(PATH)
        .cache_properties(zbus::proxy::CacheProperties::No)
        .build()
        .await
}

async fn next(stream: &mut MessageStream) -> Option<zbus::Result<zbus::Message>> {
    poll_fn(|context| Pin::new(&mut *stream).poll_next(context)).await
}

/// What the watch saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// sysmgrd is there, for the first time or again.
    Up,
    /// It went away.
    Down,
    /// A step of a transition.
    Progress(Progress),
}

/// Keeps a connection of its own and tells what it sees, until nobody listens any more.
pub async fn watch(socket: PathBuf, tell: mpsc::Sender<Seen>) {
    loop {
        if let Ok(connection) = connect(&socket).await {
            let mut stream = MessageStream::from(&connection);
            if tell.send(Seen::Up).await.is_err() {
                return;
            }
            while let Some(Ok(message)) = next(&mut stream).await {
                if let Some(progress) = progress(&message)
                    && tell.send(Seen::Progress(progress)).await.is_err()
                {
                    return;
                }
            }
            if tell.send(Seen::Down).await.is_err() {
                return;
            }
        }
        if tell.is_closed() {
            return;
        }
        sleep(PAUSE).await;
    }
}

fn progress(message: &zbus::Message) -> Option<Progress> {
    let header = message.header();
    if header
        .member()
        .is_none_or(|name| name.as_str() != "Progress")
    {
        return None;
    }
    let text: String = message.body().deserialize().ok()?;
    serde_json::from_str(&text).ok()
}
