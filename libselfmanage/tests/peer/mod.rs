//! sysmgrd's end of a session, for tests: serves `org.changeover.Session1` on a thread of its own
//! and notes every answer.

#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test program uses a part of it"
)]

use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread::JoinHandle;

use model::bus::session::PATH;
use model::bus::{Error, encode};
use model::transition::{Announcement, Asked, Ended};
use selfmanage::{ChangeId, Session};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use zbus::object_server::SignalEmitter;
use zbus::{Connection, Guid};

/// A change that this end knows nothing of.
pub(crate) const UNKNOWN: u64 = 99;

/// The most that this end grants, in milliseconds.
pub(crate) const GRANTED: u64 = 30_000;

/// An answer that came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// `Vote`
    Vote(u64, bool, String, bool),
    /// `Prepared`
    Prepared(u64, String),
    /// `Done`
    Done(u64, String),
    /// `MoreTime`
    MoreTime(u64, u64),
    /// `Unregister`
    Unregister,
}

struct Served(mpsc::Sender<Taken>, mpsc::Sender<u64>);

impl Served {
    fn take(&self, change: u64, taken: Taken) -> Result<(), Error> {
        if change == UNKNOWN {
            return Err(Error::Invalid("no such change".to_owned()));
        }
        let _sent = self.0.send(taken);
        Ok(())
    }
}

#[zbus::interface(name = "org.changeover.Session1")]
impl Served {
    #[expect(clippy::unused_self, reason = "the interface wants it")]
    fn register(&self) -> String {
        "app".to_owned()
    }

    fn vote(&self, change: u64, accept: bool, reason: String, reached: bool) -> Result<(), Error> {
        self.take(change, Taken::Vote(change, accept, reason, reached))
    }

    fn unregister(&self) {
        let _sent = self.0.send(Taken::Unregister);
    }

    fn more_time(&self, change: u64, milliseconds: u64) -> Result<u64, Error> {
        self.take(change, Taken::MoreTime(change, milliseconds))?;
        Ok(milliseconds.min(GRANTED))
    }

    fn heard(&self, change: u64) {
        let _sent = self.1.send(change);
    }

    fn prepared(&self, change: u64, reason: String) -> Result<(), Error> {
        self.take(change, Taken::Prepared(change, reason))
    }

    fn done(&self, change: u64, restart: String) -> Result<(), Error> {
        self.take(change, Taken::Done(change, restart))
    }

    #[zbus(signal)]
    async fn evaluate(at: &SignalEmitter<'_>, change: &str, asked: &str) -> zbus::Result<()>;

    #[zbus(signal)]
    async fn prepare(at: &SignalEmitter<'_>, change: &str) -> zbus::Result<()>;

    #[zbus(signal)]
    async fn changed(at: &SignalEmitter<'_>, change: u64) -> zbus::Result<()>;

    #[zbus(signal)]
    async fn ended(at: &SignalEmitter<'_>, document: &str) -> zbus::Result<()>;
}

enum Say {
    Evaluate(String, String),
    Prepare(String),
    Changed(u64),
    Ended(String),
}

/// The served end.
pub(crate) struct Peer {
    says: Option<UnboundedSender<Say>>,
    taken: mpsc::Receiver<Taken>,
    heard: mpsc::Receiver<u64>,
    thread: Option<JoinHandle<()>>,
}

impl Peer {
    /// A served end, and the session at the other.
    pub(crate) fn start() -> (Self, Session) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let peer = Self::serve(ours);
        (peer, Session::over(theirs).unwrap())
    }

    /// Serves this socket.
    pub(crate) fn serve(stream: UnixStream) -> Self {
        let (says, orders) = unbounded_channel();
        let (take, taken) = mpsc::channel();
        let (hear, heard) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime
                .unwrap()
                .block_on(run(stream, orders, Served(take, hear)));
        });
        Self {
            says: Some(says),
            taken,
            heard,
            thread: Some(thread),
        }
    }

    fn say(&self, say: Say) {
        self.says.as_ref().unwrap().send(say).ok().unwrap();
    }

    pub(crate) fn evaluate(&self, announcement: &Announcement, asked: &Asked) {
        self.say(Say::Evaluate(
            encode(announcement).unwrap(),
            encode(asked).unwrap(),
        ));
    }

    pub(crate) fn prepare(&self, announcement: &Announcement) {
        self.say(Say::Prepare(encode(announcement).unwrap()));
    }

    pub(crate) fn garbage(&self) {
        self.say(Say::Prepare("{".to_owned()));
    }

    pub(crate) fn changed(&self, change: ChangeId) {
        self.say(Say::Changed(change.0));
    }

    pub(crate) fn ended(&self, ended: &Ended) {
        self.say(Say::Ended(encode(ended).unwrap()));
    }

    /// The next answer.
    pub(crate) fn taken(&self) -> Taken {
        self.taken.recv().unwrap()
    }

    /// The change whose end was acknowledged next.
    pub(crate) fn heard(&self) -> u64 {
        self.heard.recv().unwrap()
    }

    /// The answers that have come and were not taken yet.
    pub(crate) fn taken_so_far(&self) -> Vec<Taken> {
        self.taken.try_iter().collect()
    }

    /// Waits until the other end has gone.
    pub(crate) fn wait_for_the_end(mut self) {
        self.thread.take().unwrap().join().unwrap();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.says = None;
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

async fn run(stream: UnixStream, mut orders: UnboundedReceiver<Say>, served: Served) {
    let connection = zbus::connection::Builder::unix_stream(stream)
        .server(Guid::generate())
        .p2p()
        .serve_at(PATH, served)
        .build()
        .await
        .unwrap();
    loop {
        tokio::select! {
            say = orders.recv() => match say {
                Some(say) => speak(&connection, say).await,
                None => return connection.graceful_shutdown().await,
            },
            () = connection.closed() => return,
        }
    }
}

async fn speak(connection: &Connection, say: Say) {
    let at = SignalEmitter::new(connection, PATH).unwrap();
    match say {
        Say::Evaluate(change, asked) => Served::evaluate(&at, &change, &asked).await,
        Say::Prepare(change) => Served::prepare(&at, &change).await,
        Say::Changed(change) => Served::changed(&at, change).await,
        Say::Ended(document) => Served::ended(&at, &document).await,
    }
    .unwrap();
}
