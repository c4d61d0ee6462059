//! `NOTIFY_SOCKET`: what a process says of itself, by systemd's protocol.
//!
//! Each process has a socket of its own, bound before it starts, so a message says whose it is
//! though its sender may be gone when it is read. The sender must still be one that may speak for
//! the process: root, this daemon's user, the process's user, or a member of its control group.

use std::io::{self, IoSliceMut};
use std::path::Path;
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SocketType, recvmsg, sockopt,
};
use tokio::io::unix::AsyncFd;

use super::sockets::bind_unix;
use super::watched;

/// The longest message that is read; systemd's limit.
const LONGEST: usize = 4096;
/// The longest status that is kept.
const LONGEST_STATUS: usize = 512;

/// A process's notification socket.
#[derive(Debug)]
pub struct NotifySocket {
    fd: AsyncFd<OwnedFd>,
}

/// One message, and who sent it.
#[derive(Debug)]
pub struct Message {
    /// What it says.
    pub news: News,
    /// The sender's process.
    pub pid: u32,
    /// The sender's user.
    pub uid: u32,
    /// Descriptors that came with it. Dropping them answers `BARRIER=1`: keep them until what the
    /// message says has been done.
    pub descriptors: Vec<OwnedFd>,
}

/// What a message says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct News {
    /// `READY=1`
    pub ready: bool,
    /// `STOPPING=1`
    pub stopping: bool,
    /// `RELOADING=1`
    pub reloading: bool,
    /// `STATUS=`
    pub status: Option<String>,
    /// `ERRNO=`
    pub errno: Option<i32>,
    /// `MAINPID=`
    pub main_pid: Option<u32>,
    /// `EXTEND_TIMEOUT_USEC=`
    pub extend: Option<Duration>,
}

impl NotifySocket {
    /// Binds it; must be called on the runtime.
    pub fn bind(path: &Path) -> io::Result<Self> {
        let socket = bind_unix(path, SocketType::DGRAM, 0o666)?;
        sockopt::set_socket_passcred(&socket, true)?;
        Ok(Self {
            fd: watched::readable(socket)?,
        })
    }

    /// The next message that can be understood.
    pub async fn next(&self) -> io::Result<Message> {
        loop {
            let mut guard = self.fd.readable().await?;
            match guard.try_io(|fd| receive(fd.get_ref())) {
                Ok(Ok(Some(message))) => return Ok(message),
                Ok(Ok(None)) | Err(_) => {}
                Ok(Err(error)) => return Err(error),
            }
        }
    }
}

fn receive(socket: &OwnedFd) -> io::Result<Option<Message>> {
    let mut bytes = [0_u8; LONGEST];
    let mut space =
        [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253), ScmCredentials(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut iov = [IoSliceMut::new(&mut bytes)];
    let received = recvmsg(socket, &mut iov, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut sender = None;
    let mut descriptors = Vec::new();
    for message in control.drain() {
        match message {
            RecvAncillaryMessage::ScmCredentials(credentials) => sender = Some(credentials),
            RecvAncillaryMessage::ScmRights(rights) => descriptors.extend(rights),
            _ => {}
        }
    }
    let cut = received.flags.contains(ReturnFlags::TRUNC);
    let Some(sender) = sender.filter(|_| !cut) else {
        return Ok(None);
    };
    let length = received.bytes.min(LONGEST);
    let Some(text) = bytes
        .get(..length)
        .and_then(|bytes| std::str::from_utf8(bytes).ok())
    else {
        return Ok(None);
    };
    let pid = u32::try_from(sender.pid.as_raw_nonzero().get()).unwrap_or_default();
    Ok(Some(Message {
        news: parse(text),
        pid,
        uid: sender.uid.as_raw(),
        descriptors,
    }))
}

/// What a message says; unknown lines are passed over, as the protocol wants.
pub fn parse(text: &str) -> News {
    let mut news = News::default();
    for line in text.lines() {
        let Some((name, value)) = line.split_once('=') else {
            continue;
        };
        match name {
            "READY" => news.ready = value == "1",
            "STOPPING" => news.stopping = value == "1",
            "RELOADING" => news.reloading = value == "1",
            "STATUS" => news.status = Some(clean(value)),
            "ERRNO" => news.errno = value.parse().ok(),
            "MAINPID" => news.main_pid = value.parse().ok().filter(|pid| *pid > 1),
            "EXTEND_TIMEOUT_USEC" => news.extend = value.parse().ok().map(Duration::from_micros),
            _ => {}
        }
    }
    news
}

fn clean(status: &str) -> String {
    let mut end = status.len().min(LONGEST_STATUS);
    while !status.is_char_boundary(end) {
        end -= 1;
    }
    status[..end]
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_say_what_the_protocol_says() {
        let news = parse(
            "READY=1\nSTATUS=up \u{1b}[31mred\nMAINPID=77\nEXTEND_TIMEOUT_USEC=1500\nX=1\nrubbish",
        );
        assert!(news.ready && !news.stopping);
        assert_eq!(news.status.as_deref(), Some("up  [31mred"));
        assert_eq!(
            (news.main_pid, news.extend),
            (Some(77), Some(Duration::from_micros(1500)))
        );
        assert_eq!(
            parse("READY=0\nMAINPID=-5\nMAINPID=0\nMAINPID=1"),
            News::default()
        );
    }

    #[test]
    fn a_status_cannot_be_long_even_where_the_cut_meets_a_character() {
        let status = parse(&format!("STATUS=a{}", "é".repeat(2_000)))
            .status
            .unwrap();
        assert_eq!(status.len(), LONGEST_STATUS - 1);
    }

    #[tokio::test]
    async fn a_message_carries_its_sender_and_a_barrier_opens_when_it_is_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sub/x");
        let socket = NotifySocket::bind(&path).unwrap();
        let sender = std::os::unix::net::UnixDatagram::unbound().unwrap();
        sender.send_to(b"\xff\xfe", &path).unwrap();
        sender.send_to(&[b'x'; LONGEST + 10], &path).unwrap();
        sender.send_to(b"READY=1", &path).unwrap();
        let message = socket.next().await.unwrap();
        assert!(message.news.ready);
        assert_eq!(message.pid, std::process::id());
    }
}
