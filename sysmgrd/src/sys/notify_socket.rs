//! `NOTIFY_SOCKET`: what a process says of itself, by systemd's protocol.
//!
//! Each process has a socket of its own, bound before it starts, so a message says whose it is
//! though its sender may be gone when it is read. The sender must still be one that may speak for
//! the process: root, this daemon's user, the process's user, or a member of its control group.

use std::io::{self, IoSliceMut};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SocketType, recvmsg, sockopt,
};
use tokio::io::unix::AsyncFd;

use super::sockets::bind_unix;
use super::watched;

/// The longest message that is read; systemd's limit.
const LONGEST: usize = 4096;
/// The most messages in a second that are taken as they come; of more, those that only talk are
/// passed over, and the others are taken one by one with a pause.
const MOST: u32 = 200;
/// The pause between messages of a flood.
const PAUSE: Duration = Duration::from_millis(10);
/// The longest status that is kept.
const LONGEST_STATUS: usize = 512;

/// A process's notification socket.
#[derive(Debug)]
pub struct NotifySocket {
    fd: AsyncFd<OwnedFd>,
    /// Since when messages are counted, and how many there were.
    counted: Mutex<(Instant, u32)>,
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
    /// The descriptor that came with `BARRIER=1`. Dropping it answers: keep it until what the
    /// message says has been done. Whatever else comes is closed at once, so that nobody fills this
    /// daemon's table of descriptors.
    pub barrier: Option<OwnedFd>,
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

impl AsFd for NotifySocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.get_ref().as_fd()
    }
}

impl NotifySocket {
    /// Binds it; must be called on the runtime.
    pub fn bind(path: &Path) -> io::Result<Self> {
        let socket = bind_unix(path, SocketType::DGRAM, 0o666)?;
        sockopt::set_socket_passcred(&socket, true)?;
        Ok(Self {
            fd: watched::readable(socket)?,
            counted: Mutex::new((Instant::now(), 0)),
        })
    }

    /// One that an earlier daemon bound: what was sent to it meanwhile waits in it.
    pub fn adopt(socket: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self {
            fd: watched::readable(socket)?,
            counted: Mutex::new((Instant::now(), 0)),
        })
    }

    /// The next message that can be understood.
    pub async fn next(&self) -> io::Result<Message> {
        loop {
            let mut guard = self.fd.readable().await?;
            match guard.try_io(|fd| receive(fd.get_ref())) {
                Ok(Ok(Some(message))) if !self.is_flooded() => return Ok(message),
                // Words about itself can be missed; what a change waits for comes a little later.
                Ok(Ok(Some(message))) if message.is_talk() => {}
                Ok(Ok(Some(message))) => {
                    tokio::time::sleep(PAUSE).await;
                    return Ok(message);
                }
                Ok(Ok(None)) | Err(_) => {}
                Ok(Err(error)) => return Err(error),
            }
        }
    }
}

impl NotifySocket {
    /// Counts a message; whether there were too many in this second.
    fn is_flooded(&self) -> bool {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        if counted.0.elapsed() > Duration::from_secs(1) {
            *counted = (Instant::now(), 0);
        }
        counted.1 = counted.1.saturating_add(1);
        counted.1 > MOST
    }
}

impl Message {
    /// Whether nobody waits for what it says.
    fn is_talk(&self) -> bool {
        let talk = News {
            status: self.news.status.clone(),
            errno: self.news.errno,
            ..News::default()
        };
        self.news == talk && self.barrier.is_none()
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
    let barrier = text.lines().any(|line| line == "BARRIER=1");
    let barrier = if barrier && descriptors.len() == 1 {
        descriptors.pop()
    } else {
        None
    };
    let pid = u32::try_from(sender.pid.as_raw_nonzero().get()).unwrap_or_default();
    Ok(Some(Message {
        news: parse(text),
        pid,
        uid: sender.uid.as_raw(),
        barrier,
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

    fn send_with(sender: &std::os::unix::net::UnixDatagram, path: &Path, text: &[u8], fds: usize) {
        let address = rustix::net::SocketAddrUnix::new(path).unwrap();
        let null = fs_err::File::open("/dev/null").unwrap();
        let rights = vec![null.file().as_fd(); fds];
        let mut space = vec![std::mem::MaybeUninit::uninit(); 4096];
        let mut control = rustix::net::SendAncillaryBuffer::new(&mut space);
        assert!(control.push(rustix::net::SendAncillaryMessage::ScmRights(&rights)));
        let iov = [io::IoSlice::new(text)];
        let flags = rustix::net::SendFlags::empty();
        rustix::net::sendmsg_addr(sender, &address, &iov, &mut control, flags).unwrap();
    }

    #[tokio::test]
    async fn descriptors_are_kept_for_a_barrier_only_and_then_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        let socket = NotifySocket::bind(&path).unwrap();
        let sender = std::os::unix::net::UnixDatagram::unbound().unwrap();
        let mut barriers = Vec::new();
        for (text, fds) in [(&b"READY=1"[..], 200), (b"BARRIER=1", 1), (b"BARRIER=1", 9)] {
            send_with(&sender, &path, text, fds);
            barriers.push(socket.next().await.unwrap().barrier.is_some());
        }
        assert_eq!(barriers, [false, true, false]);
    }

    #[tokio::test]
    async fn a_flood_of_talk_is_passed_over_and_readiness_comes_through() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        let socket = NotifySocket::bind(&path).unwrap();
        let flood = tokio::task::spawn_blocking(move || {
            let sender = std::os::unix::net::UnixDatagram::unbound().unwrap();
            for number in 0..20_000 {
                sender
                    .send_to(format!("STATUS={number}").as_bytes(), &path)
                    .unwrap();
            }
            sender.send_to(b"READY=1", &path).unwrap();
        });
        let mut heard = 0;
        while !socket.next().await.unwrap().news.ready {
            heard += 1;
        }
        flood.await.unwrap();
        assert!(heard < 20_000 / 2, "{heard}");
    }
}
