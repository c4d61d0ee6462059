//! The socket pair between this daemon and one Self-Managing process, and the way back after this
//! daemon's end: a path of the process's own.
//!
//! A pair cannot go on with another daemon: what one had half read or half said is lost with it. So it
//! ends with its daemon, and the process comes back to the path. As long as nobody listens there it
//! tries again; where the path is gone its session was closed for good.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nix::sys::socket::{getsockopt, sockopt};
use rustix::net::{RecvFlags, SocketType};
use tokio::io::Interest;
use tokio::net::UnixListener;

use super::cgroup::Group;
use super::reap;
use super::sockets::bind_unix;

/// Before the next one is let in after one that was turned away.
const PAUSE: Duration = Duration::from_millis(10);

/// Both ends: ours and the process's. Neither is inherited by accident.
pub fn pair() -> io::Result<(UnixStream, OwnedFd)> {
    let (ours, theirs) = UnixStream::pair()?;
    Ok((ours, theirs.into()))
}

/// How the process introduces itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Greeting {
    /// As this user. A pair's credentials are those of who made it, so the process's own word is
    /// taken: having the socket is the proof.
    User(u32),
    /// Without a name.
    Anonymous,
}

/// Says that there will be a way back at `path`; nobody listens there yet.
pub fn promise(path: &Path) -> io::Result<()> {
    bind_unix(path, SocketType::STREAM, 0o666).map(drop)
}

/// Where a process comes back to that had a session with an earlier daemon.
#[derive(Debug)]
pub struct WayBack {
    listener: UnixListener,
    group: Option<Group>,
    main: Option<u32>,
}

impl WayBack {
    /// Listens at `path` for a member of `group`; must be called on the runtime. At every moment
    /// there is something at the path.
    pub fn open(path: &Path, group: Option<Group>, main: Option<u32>) -> io::Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let new = path.with_file_name(format!(".{name}"));
        let socket = bind_unix(&new, SocketType::STREAM, 0o666)?;
        rustix::net::listen(&socket, 16)?;
        fs_err::rename(&new, path)?;
        Ok(Self {
            listener: UnixListener::from_std(socket.into())?,
            group,
            main,
        })
    }

    /// The next connection of a member.
    pub async fn next(&self) -> io::Result<UnixStream> {
        loop {
            // Without a free descriptor none comes either, for a moment.
            if let Ok((stream, _)) = self.listener.accept().await
                && self.is_of(&stream)
            {
                return stream.into_std();
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Whether its other end was connected by a member that still lives: its number has not been given
    /// to another one meanwhile.
    fn is_of(&self, stream: &tokio::net::UnixStream) -> bool {
        let peer = stream.peer_cred().ok().and_then(|peer| peer.pid());
        let Some(pid) = peer.and_then(|pid| u32::try_from(pid).ok()) else {
            return false;
        };
        // Before Linux 6.5 the kernel has only the number.
        let held = getsockopt(stream, sockopt::PeerPidfd);
        let Ok(held) = held.or_else(|_| reap::open(pid)) else {
            return false;
        };
        let members = self.group.as_ref().map(|group| group.members(self.main));
        let is_member = members.is_some_and(|members| members.contains(&pid));
        is_member && reap::is_alive(&held)
    }
}

/// Waits for the process's first words and looks at them without taking them.
pub async fn greeting(stream: UnixStream) -> io::Result<(UnixStream, Greeting)> {
    stream.set_nonblocking(true)?;
    let stream = tokio::net::UnixStream::from_std(stream)?;
    let greeting = loop {
        stream.readable().await?;
        match stream.try_io(Interest::READABLE, || peek(&stream)) {
            Ok(Some(greeting)) => break greeting,
            // Half a line: the rest comes, but readiness will not tell of it.
            Ok(None) => tokio::time::sleep(Duration::from_millis(5)).await,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    };
    Ok((stream.into_std()?, greeting))
}

fn peek(stream: &tokio::net::UnixStream) -> io::Result<Option<Greeting>> {
    let mut bytes = [0_u8; 256];
    let (count, _) = rustix::net::recv(stream, &mut bytes, RecvFlags::PEEK)?;
    if count == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let seen = bytes.get(..count).unwrap_or_default();
    match seen.iter().position(|byte| *byte == b'\r') {
        Some(end) => Ok(Some(parse(seen.get(..end).unwrap_or_default()))),
        None if count == bytes.len() => Ok(Some(Greeting::Anonymous)),
        None => Ok(None),
    }
}

fn parse(line: &[u8]) -> Greeting {
    let line = String::from_utf8_lossy(line);
    let Some(hex) = line.trim_start_matches('\0').strip_prefix("AUTH EXTERNAL ") else {
        return Greeting::Anonymous;
    };
    let digit = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let text: Option<Vec<u8>> = hex.trim().as_bytes().chunks(2).map(digit).collect();
    let uid = text.and_then(|text| String::from_utf8(text).ok()?.parse().ok());
    uid.map_or(Greeting::Anonymous, Greeting::User)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_says_who() {
        assert_eq!(parse(b"\0AUTH EXTERNAL 313030"), Greeting::User(100));
        assert_eq!(parse(b"\0AUTH ANONYMOUS 7a"), Greeting::Anonymous);
        assert_eq!(parse(b"\0AUTH EXTERNAL zz"), Greeting::Anonymous);
    }
}
