//! The socket, its clients, and the queue of their requests.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use rustix::event::{PollFd, PollFlags};

/// A client that sends more than this without a line end is let go.
const LONGEST_LINE: usize = 4096;

/// Listens, and keeps requests in the order in which they came.
#[derive(Debug)]
pub(crate) struct Server {
    path: PathBuf,
    listener: UnixListener,
    clients: Vec<Client>,
    queue: VecDeque<(u64, String)>,
    next_client: u64,
}

#[derive(Debug)]
struct Client {
    number: u64,
    stream: UnixStream,
    input: Vec<u8>,
    output: Vec<u8>,
    /// It has sent all that it will; it goes when it has its answers.
    finished: bool,
    gone: bool,
}

impl Server {
    pub(crate) fn listen(path: PathBuf) -> io::Result<Self> {
        match fs_err::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let listener = UnixListener::bind(&path)?;
        listener.set_nonblocking(true)?;
        let (clients, queue) = (Vec::new(), VecDeque::new());
        Ok(Self {
            path,
            listener,
            clients,
            queue,
            next_client: 0,
        })
    }

    /// The listening socket, then the clients, in order.
    pub(crate) fn poll_fds(&self) -> Vec<PollFd<'_>> {
        let wanted = |client: &Client| {
            let mut wanted = PollFlags::empty();
            wanted.set(PollFlags::IN, !client.finished);
            wanted.set(PollFlags::OUT, !client.output.is_empty());
            wanted
        };
        let mut all = vec![PollFd::new(&self.listener, PollFlags::IN)];
        all.extend(
            self.clients
                .iter()
                .map(|one| PollFd::new(&one.stream, wanted(one))),
        );
        all
    }

    /// Takes in what has come; `ready` is in the order of [`Self::poll_fds`].
    pub(crate) fn read_ready(&mut self, ready: &[bool]) {
        let (listener, clients) = ready.split_first().unwrap_or((&false, &[]));
        for (client, _) in self
            .clients
            .iter_mut()
            .zip(clients)
            .filter(|(_, ready)| **ready)
        {
            client.read(&mut self.queue);
        }
        if *listener {
            self.accept();
        }
    }

    /// Takes in all that has been sent until now, new clients' requests too.
    pub(crate) fn read_all(&mut self) {
        self.accept();
        for client in &mut self.clients {
            client.read(&mut self.queue);
        }
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            if stream.set_nonblocking(true).is_err() {
                continue;
            }
            let (number, input, output) = (self.next_client, Vec::new(), Vec::new());
            self.next_client += 1;
            let mut client = Client {
                number,
                stream,
                input,
                output,
                finished: false,
                gone: false,
            };
            client.read(&mut self.queue);
            self.clients.push(client);
        }
    }

    /// Answers every request that waits, in order.
    pub(crate) fn answer(&mut self, mut answer: impl FnMut(&str) -> String) {
        while let Some((number, request)) = self.queue.pop_front() {
            let reply = answer(&request);
            let client = self
                .clients
                .iter_mut()
                .find(|client| client.number == number);
            if let Some(client) = client {
                client.output.extend_from_slice(reply.as_bytes());
                client.output.push(b'\n');
            }
        }
    }

    /// Sends what can be sent, and lets clients go that have their answers.
    pub(crate) fn flush(&mut self) {
        let waiting: Vec<u64> = self.queue.iter().map(|(number, _)| *number).collect();
        self.clients.retain_mut(|client| {
            client.write();
            let owed = !client.output.is_empty() || waiting.contains(&client.number);
            !client.gone && (!client.finished || owed)
        });
    }

    /// Sends all answers, waiting for slow clients, and stops listening.
    pub(crate) fn finish(mut self) {
        let _gone = fs_err::remove_file(&self.path);
        for client in &mut self.clients {
            if client.stream.set_nonblocking(false).is_ok() {
                let _sent = client.stream.write_all(&client.output);
            }
        }
    }
}

impl Client {
    fn read(&mut self, queue: &mut VecDeque<(u64, String)>) {
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => self.finished = true,
                Ok(length) => {
                    self.input
                        .extend_from_slice(buffer.get(..length).unwrap_or_default());
                    self.split(queue);
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => self.gone = true,
            }
            return;
        }
    }

    fn split(&mut self, queue: &mut VecDeque<(u64, String)>) {
        while let Some(end) = self.input.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.input.drain(..=end).collect();
            queue.push_back((
                self.number,
                String::from_utf8_lossy(&line).trim().to_owned(),
            ));
        }
        self.gone |= self.input.len() > LONGEST_LINE;
    }

    fn write(&mut self) {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(length) => drop(self.output.drain(..length)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.gone = true;
                    return;
                }
            }
        }
    }
}
