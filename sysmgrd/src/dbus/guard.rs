//! The socket of a session, guarded: the process at its other end may be broken or hostile.
//!
//! A message's length is looked at before it is read, messages are counted, and an answer that is not
//! read in time closes the connection. So one process costs this daemon a bounded amount of memory
//! and time, whatever it sends, and its session ends where it sends too much.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use zbus::connection::socket::{ReadHalf, Split, WriteHalf};
use zbus::export::async_trait::async_trait;

/// The longest message, in bytes; a vote with the longest reason has little over 1,000.
const LONGEST: u64 = 64 * 1024;
/// The longest introduction before the first message.
const LONGEST_GREETING: usize = 4096;
/// The most messages in a second.
const MOST: u32 = 500;
/// An answer is read within this time.
const PATIENCE: Duration = Duration::from_secs(10);
/// The part of a message's header that says its length.
const FIXED: usize = 16;

/// Both halves of a guarded socket; must be called on the runtime.
pub(super) fn guarded(stream: UnixStream) -> io::Result<Halves> {
    stream.set_nonblocking(true)?;
    let (read, write) = tokio::net::UnixStream::from_std(stream)?.into_split();
    let frames = Frames::default();
    let (read, write) = (Reading { read, frames }, Writing { write });
    Ok(Split::new(Box::new(read), Box::new(write)))
}

type Halves = Split<Box<dyn ReadHalf>, Box<dyn WriteHalf>>;

/// What comes.
#[derive(Debug)]
struct Reading {
    read: OwnedReadHalf,
    frames: Frames,
}

/// What goes.
#[derive(Debug)]
struct Writing {
    write: OwnedWriteHalf,
}

#[async_trait]
impl ReadHalf for Reading {
    /// No descriptors are taken: the kernel drops those that come.
    async fn recvmsg(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        loop {
            self.read.readable().await?;
            match self.read.try_read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
                Ok(count) => {
                    let came = buffer.get(..count).unwrap_or_default();
                    self.frames.see(came, Instant::now())?;
                    return Ok((count, Vec::new()));
                }
            }
        }
    }
}

#[async_trait]
impl WriteHalf for Writing {
    async fn sendmsg(&mut self, buffer: &[u8], _: &[BorrowedFd<'_>]) -> io::Result<usize> {
        loop {
            if tokio::time::timeout(PATIENCE, self.write.writable())
                .await
                .is_err()
            {
                // The other half sees the end, and with it the connection ends.
                self.shut()?;
                let why = "the process does not read its session";
                return Err(io::Error::new(io::ErrorKind::TimedOut, why));
            }
            match self.write.try_write(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
        }
    }

    async fn close(&mut self) -> io::Result<()> {
        self.shut()
    }
}

impl Writing {
    fn shut(&self) -> io::Result<()> {
        let stream: &tokio::net::UnixStream = self.write.as_ref();
        Ok(rustix::net::shutdown(stream, rustix::net::Shutdown::Both)?)
    }
}

/// Where messages begin and end in what has come.
#[derive(Debug, Default)]
struct Frames {
    /// The introduction is over.
    greeted: bool,
    /// Bytes of the introduction.
    greeting: usize,
    /// The line of the introduction, or the header of the message, that is coming.
    head: Vec<u8>,
    /// Bytes of the message that are still to come.
    left: u64,
    /// Since when messages are counted, and how many there were.
    counted: Option<(Instant, u32)>,
}

impl Frames {
    /// Looks at bytes that have come at `now`; an error where they are too much.
    fn see(&mut self, mut bytes: &[u8], now: Instant) -> io::Result<()> {
        while let Some((&byte, rest)) = bytes.split_first() {
            if self.left > 0 {
                let passed = self.left.min(bytes.len() as u64);
                self.left -= passed;
                let passed = usize::try_from(passed).unwrap_or(bytes.len());
                bytes = bytes.get(passed..).unwrap_or_default();
                continue;
            }
            bytes = rest;
            self.head.push(byte);
            if !self.greeted {
                self.greet(byte)?;
            } else if self.head.len() == FIXED {
                self.begin(now)?;
            }
        }
        Ok(())
    }

    fn greet(&mut self, byte: u8) -> io::Result<()> {
        self.greeting += 1;
        if self.greeting > LONGEST_GREETING {
            return Err(too_much("its introduction is too long"));
        }
        if byte == b'\n' {
            self.greeted = self.head == b"BEGIN\r\n";
            self.head.clear();
        }
        Ok(())
    }

    fn begin(&mut self, now: Instant) -> io::Result<()> {
        let Some(length) = length(&self.head) else {
            return Err(too_much("that is no message"));
        };
        self.head.clear();
        if length > LONGEST {
            return Err(too_much("its message is too long"));
        }
        self.left = length - FIXED as u64;
        let (since, count) = match self.counted {
            Some((since, count)) if now.duration_since(since) < Duration::from_secs(1) => {
                (since, count + 1)
            }
            Some(_) | None => (now, 1),
        };
        self.counted = Some((since, count));
        if count > MOST {
            return Err(too_much("it sends too many messages"));
        }
        Ok(())
    }
}

fn too_much(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// The length of the message that begins so.
fn length(head: &[u8]) -> Option<u64> {
    let number = |at: usize| -> Option<u64> {
        let bytes: [u8; 4] = head.get(at..at + 4)?.try_into().ok()?;
        match head.first()? {
            b'l' => Some(u32::from_le_bytes(bytes).into()),
            b'B' => Some(u32::from_be_bytes(bytes).into()),
            _ => None,
        }
    };
    let (body, fields) = (number(4)?, number(12)?);
    Some(FIXED as u64 + fields.next_multiple_of(8) + body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(body: u32) -> Vec<u8> {
        let mut bytes = vec![b'l', 1, 0, 1];
        bytes.extend(body.to_le_bytes());
        bytes.extend(1_u32.to_le_bytes());
        bytes.extend(3_u32.to_le_bytes());
        bytes.resize(16 + 8 + body as usize, 0);
        bytes
    }

    fn greeted() -> Frames {
        let mut frames = Frames::default();
        let words = b"\0AUTH EXTERNAL 30\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n";
        frames.see(words, Instant::now()).unwrap();
        assert!(frames.greeted);
        frames
    }

    #[test]
    fn messages_are_found_however_they_come_in_pieces() {
        let now = Instant::now();
        let all = [message(5), message(0), message(1000)].concat();
        for piece in [1, 7, 16, 4096] {
            let mut frames = greeted();
            for bytes in all.chunks(piece) {
                frames.see(bytes, now).unwrap();
            }
            assert_eq!((frames.left, frames.head.len()), (0, 0));
            assert_eq!(frames.counted.unwrap().1, 3);
        }
    }

    #[test]
    fn what_is_too_long_or_no_message_is_refused_before_it_is_read() {
        let now = Instant::now();
        let long = &message(100_000)[..16];
        assert!(greeted().see(long, now).is_err());
        assert!(greeted().see(&[0xff; 16], now).is_err());
        assert!(Frames::default().see(&[b'x'; 5000], now).is_err());
    }

    #[test]
    fn too_many_messages_in_a_second_are_refused() {
        let (mut frames, now) = (greeted(), Instant::now());
        let later = now + Duration::from_secs(1);
        for time in [now, later] {
            for _ in 0..MOST {
                frames.see(&message(0), time).unwrap();
            }
        }
        assert!(frames.see(&message(0), later).is_err());
    }
}
