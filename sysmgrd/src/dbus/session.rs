//! `org.changeover.Session1`: one Self-Managing process over the socket that it inherited, or over
//! the one by which it came back to a new daemon.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use model::bus::Error;
use model::bus::session::PATH;
use model::{ChangeId, ProcessName};
use tokio::sync::{Notify, mpsc, oneshot};
use zbus::connection::{AuthMechanism, Builder};
use zbus::object_server::SignalEmitter;
use zbus::{Connection, Guid, interface};

use super::guard::guarded;
use crate::engine::{Handle, Reply, SessionEvent, SessionSignal};
use crate::process::ballot::Vote;
use crate::sys::session_socket::{Greeting, WayBack, greeting};

/// The longest reason that is read.
const LONGEST_REASON: usize = 1_000;

/// How the process comes to its session.
#[derive(Debug)]
pub enum Way {
    /// It inherits the other end of this.
    Inherited(UnixStream),
    /// It comes back to a new daemon. Where it had registered, what it is told waits until it has
    /// done so again.
    Back(WayBack, bool),
}

/// Whose session it is.
#[derive(Debug, Clone)]
pub struct Served {
    /// The process.
    pub process: ProcessName,
    /// Its run.
    pub run: u64,
    /// Where its words go.
    pub handle: Handle,
}

impl Served {
    async fn say(&self, event: SessionEvent) {
        self.handle
            .session(self.process.clone(), self.run, event)
            .await;
    }

    /// Says something that is answered.
    async fn ask<T>(&self, event: impl FnOnce(Reply<T>) -> SessionEvent) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.say(event(reply)).await;
        let over = |_| Error::Failed("this session is over".to_owned());
        answer.await.map_err(over)?
    }
}

/// Serves the session until the process closes it.
pub async fn serve(way: Way, served: Served, mut signals: mpsc::Receiver<SessionSignal>) {
    let registers = Arc::new(Notify::new());
    let session = Session {
        served: served.clone(),
        registers: Arc::clone(&registers),
    };
    let waits = matches!(way, Way::Back(_, true));
    let result = match come(way, session).await {
        Ok(connection) => {
            let told = async {
                if waits {
                    registers.notified().await;
                }
                forward(&connection, &mut signals).await
            };
            tokio::select! {
                result = told => result,
                () = connection.closed() => Ok(()),
            }
        }
        Err(error) => Err(error),
    };
    if let Err(error) = result {
        tracing::debug!(process = %served.process, %error, "its session ended");
    }
    served.say(SessionEvent::Closed).await;
}

async fn come(way: Way, session: Session) -> zbus::Result<Connection> {
    let back = match way {
        Way::Inherited(stream) => return connect(stream, session).await,
        Way::Back(back, _) => back,
    };
    loop {
        let stream = back.next().await?;
        match connect(stream, session.clone()).await {
            // From now on nobody listens there, as in the first daemon's time.
            Ok(connection) => return Ok(connection),
            Err(error) => {
                tracing::debug!(process = %session.served.process, %error, "it did not come back");
            }
        }
    }
}

async fn connect(stream: UnixStream, session: Session) -> zbus::Result<Connection> {
    let (stream, greeting) = greeting(stream).await?;
    let server = Builder::socket(guarded(stream)?).server(Guid::generate());
    let server = match greeting {
        Greeting::User(uid) => server.user_id(uid),
        Greeting::Anonymous => server.auth_mechanism(AuthMechanism::Anonymous),
    };
    server.p2p().serve_at(PATH, session).build().await
}

async fn forward(
    connection: &Connection,
    signals: &mut mpsc::Receiver<SessionSignal>,
) -> zbus::Result<()> {
    let emitter = SignalEmitter::new(connection, PATH)?;
    while let Some(signal) = signals.recv().await {
        match signal {
            SessionSignal::Evaluate(announcement, asked) => {
                Session::evaluate(&emitter, &announcement, &asked).await?;
            }
            SessionSignal::Prepare(announcement) => {
                Session::prepare(&emitter, &announcement).await?;
            }
            SessionSignal::Changed(change) => Session::changed(&emitter, change).await?,
            SessionSignal::Ended(document) => Session::ended(&emitter, &document).await?,
        }
    }
    Ok(())
}

/// The session object.
#[derive(Debug, Clone)]
pub struct Session {
    served: Served,
    /// Told when it registers.
    registers: Arc<Notify>,
}

#[interface(name = "org.changeover.Session1")]
impl Session {
    /// Registers for every change; answers the process's own name.
    async fn register(&self) -> Result<String, Error> {
        self.served.ask(SessionEvent::Register).await?;
        self.registers.notify_one();
        Ok(self.served.process.to_string())
    }

    /// From now on it is told nothing any more.
    async fn unregister(&self) {
        self.served.say(SessionEvent::Unregister).await;
    }

    /// The vote on a change.
    async fn vote(
        &self,
        change: u64,
        accept: bool,
        reason: &str,
        reached: bool,
    ) -> Result<(), Error> {
        let reason = bounded(reason)?;
        if !accept && reason.is_empty() {
            return Err(Error::Invalid("a veto needs a reason".to_owned()));
        }
        let veto = (!accept).then_some(reason);
        let vote = Vote { veto, reached };
        let event = |reply| SessionEvent::Vote(ChangeId(change), vote, reply);
        self.served.ask(event).await
    }

    /// Needs so many milliseconds more to vote; answers how many were granted. Once a change.
    async fn more_time(&self, change: u64, milliseconds: u64) -> Result<u64, Error> {
        let wanted = Duration::from_millis(milliseconds);
        let event = |reply| SessionEvent::MoreTime(ChangeId(change), wanted, reply);
        let granted = self.served.ask(event).await?;
        Ok(u64::try_from(granted.as_millis()).unwrap_or(u64::MAX))
    }

    /// *Ready and waiting*, or why not.
    async fn prepared(&self, change: u64, reason: &str) -> Result<(), Error> {
        let reason = bounded(reason)?;
        let event = |reply| SessionEvent::Prepared(ChangeId(change), reason, reply);
        self.served.ask(event).await
    }

    /// *Done*, or why it asks to be restarted instead.
    async fn done(&self, change: u64, restart: &str) -> Result<(), Error> {
        let restart = bounded(restart)?;
        let event = |reply| SessionEvent::Done(ChangeId(change), restart, reply);
        self.served.ask(event).await
    }

    /// The end of a change was heard. Until then it is told again, and in the end not any more.
    async fn heard(&self, change: u64) {
        self.served.say(SessionEvent::Heard(ChangeId(change))).await;
    }

    /// The question before anything is touched.
    #[zbus(signal)]
    async fn evaluate(
        emitter: &SignalEmitter<'_>,
        announcement: &str,
        asked: &str,
    ) -> zbus::Result<()>;

    /// *Going to change*.
    #[zbus(signal)]
    async fn prepare(emitter: &SignalEmitter<'_>, announcement: &str) -> zbus::Result<()>;

    /// The view has moved.
    #[zbus(signal)]
    async fn changed(emitter: &SignalEmitter<'_>, change: u64) -> zbus::Result<()>;

    /// The end.
    #[zbus(signal)]
    async fn ended(emitter: &SignalEmitter<'_>, document: &str) -> zbus::Result<()>;
}

fn bounded(reason: &str) -> Result<String, Error> {
    if reason.len() > LONGEST_REASON {
        return Err(Error::Invalid(
            "a reason has at most 1,000 bytes".to_owned(),
        ));
    }
    Ok(reason.to_owned())
}
