//! The thread behind a session: the socket's one owner.

use std::future::poll_fn;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::Sender;
use std::time::Duration;

use model::bus::session::{PATH, SessionProxy};
use model::bus::sysmgrd::NAME;
use model::bus::{Error, decode};
use tokio::sync::mpsc::UnboundedReceiver;
use zbus::export::futures_core::Stream;
use zbus::message::Type;
use zbus::{Connection, Message, MessageStream};

use super::{Event, Inbox, Reason, SessionError};
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

/// Runs until the program drops its session or the other end goes away.
pub(super) fn run(
    stream: UnixStream,
    commands: UnboundedReceiver<Command>,
    inbox: &Inbox,
    started: &Sender<Result<(), SessionError>>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(serve(stream, commands, inbox, started)),
        Err(error) => {
            let _told = started.send(Err(error.into()));
        }
    }
}

async fn serve(
    stream: UnixStream,
    mut commands: UnboundedReceiver<Command>,
    inbox: &Inbox,
    started: &Sender<Result<(), SessionError>>,
) {
    let (proxy, mut messages) = match connect(stream).await {
        Ok(connected) => connected,
        Err(error) => {
            let _told = started.send(Err(Error::Bus(error).into()));
            return;
        }
    };
    let _told = started.send(Ok(()));
    let mut last_end = None;
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(command) => obey(&proxy, command).await,
                None => return,
            },
            message = poll_fn(|cx| std::pin::Pin::new(&mut messages).poll_next(cx)) => match message {
                Some(Ok(message)) => if let Some(event) = event(&message) {
                    take(&proxy, event, &mut last_end, inbox).await;
                },
                Some(Err(_)) | None => break,
            },
        }
    }
    // Callers that wait, and all later ones, see their channel closed.
    drop(commands);
    inbox.put(Event::Disconnected);
}

/// Puts an event into the queue. The end of a change is acknowledged when it is in it: until then
/// `sysmgrd` tells it again, and the program sees it once.
async fn take(proxy: &SessionProxy<'_>, event: Event, last_end: &mut Option<Ended>, inbox: &Inbox) {
    let Event::Ended(ended) = &event else {
        return inbox.put(event);
    };
    let (change, again) = (ended.change, last_end.as_ref() == Some(ended));
    if !again {
        *last_end = Some(ended.clone());
        inbox.put(event);
    }
    // Where it does not arrive the end is told again, or the connection is gone.
    drop(proxy.heard(change.0).await);
}

async fn connect(stream: UnixStream) -> zbus::Result<(SessionProxy<'static>, MessageStream)> {
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

async fn obey(proxy: &SessionProxy<'_>, command: Command) {
    match command {
        Command::Register(reply) => {
            let _told = reply.send(proxy.register().await.map_err(failed));
        }
        Command::Unregister(reply) => {
            let _told = reply.send(proxy.unregister().await.map_err(failed));
        }
        Command::MoreTime(change, wanted, reply) => {
            let wanted = u64::try_from(wanted.as_millis()).unwrap_or(u64::MAX);
            let granted = proxy.more_time(change.0, wanted).await;
            let _told = reply.send(granted.map(Duration::from_millis).map_err(failed));
        }
        Command::Answer(answer, reply) => {
            let _told = reply.send(give(proxy, answer).await.map_err(failed));
        }
    }
}

async fn give(proxy: &SessionProxy<'_>, answer: Answer) -> Result<(), Error> {
    let words = |reason: &Option<Reason>| reason.as_ref().map_or(String::new(), Reason::to_string);
    match answer {
        Answer::Vote {
            change,
            veto,
            reached,
        } => {
            proxy
                .vote(change.0, veto.is_none(), &words(&veto), reached)
                .await
        }
        Answer::Prepared { change, not_ready } => {
            proxy.prepared(change.0, &words(&not_ready)).await
        }
        Answer::Done { change, restart } => proxy.done(change.0, &words(&restart)).await,
    }
}

fn failed(error: Error) -> SessionError {
    if matches!(error, Error::Bus(zbus::Error::InputOutput(_))) {
        SessionError::Over
    } else {
        SessionError::Refused(error)
    }
}
