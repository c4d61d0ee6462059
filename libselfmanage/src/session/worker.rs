//! The thread behind a session: the socket's one owner, over the daemon's restarts too.

use std::future::poll_fn;
use std::ops::ControlFlow;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::time::Duration;

use model::bus::session::{PATH, SessionProxy};
use model::bus::sysmgrd::NAME;
use model::bus::{Error, decode};
use tokio::sync::mpsc::UnboundedReceiver;
use zbus::export::futures_core::Stream;
use zbus::message::Type;
use zbus::{Connection, Message, MessageStream};

use super::{Event, Inbox, Reason, SessionError, way_back};
use crate::{ChangeId, Ended};

/// How long `sysmgrd` has to take an answer; it only notes it down.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// What the program wants of its session.
#[derive(Debug)]
pub(super) enum Command {
    Register(Sender<Result<String, SessionError>>),
    Unregister(Sender<Result<(), SessionError>>),
    MoreTime(ChangeId, Duration, Sender<Result<Duration, SessionError>>),
    Answer(Answer, Sender<Result<(), SessionError>>),
}

/// An answer to one of the questions.
#[derive(Debug)]
pub(super) enum Answer {
    Vote {
        change: ChangeId,
        veto: Option<Reason>,
        reached: bool,
    },
    Prepared {
        change: ChangeId,
        not_ready: Option<Reason>,
    },
    Done {
        change: ChangeId,
        restart: Option<Reason>,
    },
}

/// A connection, and the signals that come over it.
pub(super) type Line = (SessionProxy<'static>, MessageStream);

/// Runs until the program drops its session or the other end goes away for good.
pub(super) fn run(
    stream: UnixStream,
    way_back: Option<PathBuf>,
    commands: UnboundedReceiver<Command>,
    inbox: &Inbox,
    started: &Sender<Result<(), SessionError>>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let worker = Worker {
        commands,
        inbox,
        way_back,
        registered: false,
        registering: Vec::new(),
        last_end: None,
    };
    match runtime {
        Ok(runtime) => runtime.block_on(worker.serve(stream, started)),
        Err(error) => {
            let _told = started.send(Err(error.into()));
        }
    }
}

struct Worker<'a> {
    commands: UnboundedReceiver<Command>,
    inbox: &'a Inbox,
    /// Where the next daemon lets this process in.
    way_back: Option<PathBuf>,
    registered: bool,
    /// Those who wait to hear that this process is registered.
    registering: Vec<Sender<Result<String, SessionError>>>,
    last_end: Option<Ended>,
}

impl Worker<'_> {
    async fn serve(mut self, stream: UnixStream, started: &Sender<Result<(), SessionError>>) {
        let mut line = match connect(stream).await {
            Ok(line) => Some(line),
            // The daemon that started this process is gone already.
            Err(_) if self.way_back.is_some() => None,
            Err(error) => {
                let _told = started.send(Err(Error::Bus(error).into()));
                return;
            }
        };
        let _told = started.send(Ok(()));
        loop {
            if let Some((proxy, messages)) = line.take()
                && self.attend(&proxy, messages).await.is_break()
            {
                return;
            }
            self.inbox.forget_questions();
            line = self.come_back().await;
            if line.is_none() {
                break;
            }
        }
        // Callers that wait, and all later ones, see their channel closed.
        drop(self.commands);
        drop(self.registering);
        self.inbox.put(Event::Disconnected);
    }

    /// Serves a connection until it is lost, or until the program drops its session.
    async fn attend(
        &mut self,
        proxy: &SessionProxy<'_>,
        mut messages: MessageStream,
    ) -> ControlFlow<()> {
        if self.registered || !self.registering.is_empty() {
            self.register(proxy).await;
        }
        loop {
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => self.obey(proxy, command).await,
                    None => return ControlFlow::Break(()),
                },
                message = poll_fn(|cx| std::pin::Pin::new(&mut messages).poll_next(cx)) => match message {
                    Some(Ok(message)) => if let Some(event) = event(&message) {
                        self.take(proxy, event).await;
                    },
                    Some(Err(_)) | None => return ControlFlow::Continue(()),
                },
            }
        }
    }

    /// Finds the next daemon; `None`: there is none for this process, or the program has dropped its
    /// session.
    async fn come_back(&mut self) -> Option<Line> {
        let path = self.way_back.clone()?;
        let mut search = std::pin::pin!(way_back::find(&path));
        loop {
            tokio::select! {
                found = &mut search => return found,
                command = self.commands.recv() => self.put_off(command?),
            }
        }
    }

    /// What becomes of a command that the daemon can no longer take: nobody waits for an answer to a
    /// question that is gone with whoever asked it.
    fn put_off(&mut self, command: Command) {
        match command {
            Command::Register(reply) => self.registering.push(reply),
            Command::Unregister(reply) => {
                self.registered = false;
                let _told = reply.send(Ok(()));
            }
            Command::MoreTime(_, _, reply) => {
                let _told = reply.send(Ok(Duration::ZERO));
            }
            Command::Answer(_, reply) => {
                let _told = reply.send(Ok(()));
            }
        }
    }

    /// Puts an event into the queue. The end of a change is acknowledged when it is in it: until then
    /// `sysmgrd` tells it again, and the program sees it once.
    async fn take(&mut self, proxy: &SessionProxy<'_>, event: Event) {
        let Event::Ended(ended) = &event else {
            return self.inbox.put(event);
        };
        let (change, again) = (ended.change, self.last_end.as_ref() == Some(ended));
        if !again {
            self.last_end = Some(ended.clone());
            self.inbox.put(event);
        }
        // Where it does not arrive the end is told again, or the connection is gone.
        drop(proxy.heard(change.0).await);
    }

    async fn register(&mut self, proxy: &SessionProxy<'_>) {
        let outcome = proxy.register().await;
        if self.can_come_back(&outcome) {
            return;
        }
        self.registered |= outcome.is_ok();
        let mut waiting = std::mem::take(&mut self.registering);
        let last = waiting.pop();
        for reply in waiting {
            let same = outcome.as_ref().map_err(|_| SessionError::Over);
            let _told = reply.send(same.cloned());
        }
        if let Some(reply) = last {
            let _told = reply.send(outcome.map_err(failed));
        }
    }

    async fn obey(&mut self, proxy: &SessionProxy<'_>, command: Command) {
        match command {
            Command::Register(reply) => {
                self.registering.push(reply);
                self.register(proxy).await;
            }
            Command::Unregister(reply) => {
                self.registered = false;
                let outcome = proxy.unregister().await;
                self.reply(&reply, outcome, ());
            }
            Command::MoreTime(change, wanted, reply) => {
                let wanted = u64::try_from(wanted.as_millis()).unwrap_or(u64::MAX);
                let granted = proxy.more_time(change.0, wanted).await;
                let granted = granted.map(Duration::from_millis);
                self.reply(&reply, granted, Duration::ZERO);
            }
            Command::Answer(answer, reply) => {
                let outcome = give(proxy, &answer).await;
                self.reply(&reply, outcome, ());
            }
        }
    }

    /// Answers the program; with `lost` where the daemon has gone and the next one is sought.
    fn reply<T>(
        &self,
        reply: &Sender<Result<T, SessionError>>,
        outcome: Result<T, Error>,
        lost: T,
    ) {
        let said = if self.can_come_back(&outcome) {
            Ok(lost)
        } else {
            outcome.map_err(failed)
        };
        let _told = reply.send(said);
    }

    /// Whether the connection is gone, and that is not the end.
    fn can_come_back<T>(&self, outcome: &Result<T, Error>) -> bool {
        self.way_back.is_some() && outcome.as_ref().is_err_and(is_loss)
    }
}

pub(super) async fn connect(stream: UnixStream) -> zbus::Result<Line> {
    let builder = zbus::connection::Builder::unix_stream(stream).p2p();
    let connection: Connection = builder.method_timeout(ANSWER_TIMEOUT).build().await?;
    // One stream for all signals keeps them in their order.
    let messages = MessageStream::from(&connection);
    Ok((SessionProxy::new(&connection, NAME).await?, messages))
}

/// The event in a message; other messages are none of ours.
fn event(message: &Message) -> Option<Event> {
    let header = message.header();
    let ours = header.message_type() == Type::Signal
        && header.path().is_some_and(|path| path.as_str() == PATH);
    if !ours {
        return None;
    }
    let member = header.member()?.as_str().to_owned();
    parse(&member, message).unwrap_or(None)
}

/// A document that cannot be read is as good as one that did not come: silence is a veto.
fn parse(member: &str, message: &Message) -> Result<Option<Event>, Error> {
    let body = message.body();
    Ok(match member {
        "Evaluate" => {
            let (announcement, asked): (String, String) = body.deserialize()?;
            Some(Event::Evaluate(decode(&announcement)?, decode(&asked)?))
        }
        "Prepare" => Some(Event::Prepare(decode(&body.deserialize::<String>()?)?)),
        "Changed" => Some(Event::Changed(ChangeId(body.deserialize()?))),
        "Ended" => Some(Event::Ended(decode(&body.deserialize::<String>()?)?)),
        _ => None,
    })
}

async fn give(proxy: &SessionProxy<'_>, answer: &Answer) -> Result<(), Error> {
    let words = |reason: &Option<Reason>| reason.as_ref().map_or(String::new(), Reason::to_string);
    match answer {
        Answer::Vote {
            change,
            veto,
            reached,
        } => {
            proxy
                .vote(change.0, veto.is_none(), &words(veto), *reached)
                .await
        }
        Answer::Prepared { change, not_ready } => proxy.prepared(change.0, &words(not_ready)).await,
        Answer::Done { change, restart } => proxy.done(change.0, &words(restart)).await,
    }
}

fn failed(error: Error) -> SessionError {
    if is_loss(&error) {
        SessionError::Over
    } else {
        SessionError::Refused(error)
    }
}

/// Whether the connection is gone.
fn is_loss(error: &Error) -> bool {
    matches!(error, Error::Bus(zbus::Error::InputOutput(_)))
}
