//! The socket pair between this daemon and one Self-Managing process.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::net::RecvFlags;
use tokio::io::Interest;

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
    /// It did so to an earlier daemon: these are the words of a message.
    Over,
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
    // A greeting begins with NUL, a message with its byte order.
    if matches!(seen.first(), Some(b'l' | b'B')) {
        return Ok(Some(Greeting::Over));
    }
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
