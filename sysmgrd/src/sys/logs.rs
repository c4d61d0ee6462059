//! What processes write: a FIFO each, read here into memory and into `RUN_DIR/log/NAME`.
//!
//! The process holds its FIFO open for reading too, so a daemon that is dead for a while neither
//! ends it by SIGPIPE nor loses what fits the pipe; a restarted daemon opens it by its name.

use std::collections::VecDeque;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{CWD, Gid, Mode, OFlags, Uid};
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};

/// Lines kept in memory.
const LINES: usize = 1_000;
/// The longest line; what is longer goes on in the next.
const LONGEST: usize = 4_096;
/// The file's size at which it becomes `NAME.1` and a new one begins.
const FILE: u64 = 1024 * 1024;

/// What a process has written, for as long as this daemon knows the process.
#[derive(Debug, Clone)]
pub struct Log {
    ring: Arc<Mutex<VecDeque<String>>>,
    flush: mpsc::Sender<oneshot::Sender<()>>,
    fifo: PathBuf,
    /// Whose the FIFO is known to be.
    owner: Arc<Mutex<Option<(u32, u32)>>>,
}

impl Log {
    /// Opens the log of process `name`; must be called on the runtime. Ends when dropped.
    pub fn open(run_dir: &Path, name: &str) -> std::io::Result<Self> {
        let directory = run_dir.join("log");
        fs_err::create_dir_all(&directory)?;
        // A dot, which no process's name begins with.
        let fifo = directory.join(format!(".{name}.fifo"));
        match rustix::fs::mknodat(
            CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            Mode::RUSR | Mode::WUSR,
            0,
        ) {
            Err(rustix::io::Errno::EXIST) | Ok(()) => {}
            Err(error) => return Err(error.into()),
        }
        // For writing too: the reader then never sees an end while nobody writes.
        let receiver = pipe::OpenOptions::new()
            .read_write(true)
            .open_receiver(&fifo)?;
        let ring = Arc::new(Mutex::new(VecDeque::new()));
        let (flush, flushes) = mpsc::channel(16);
        let lines = Lines {
            ring: Arc::clone(&ring),
            file: File::new(directory.join(name)),
            partial: Vec::new(),
        };
        tokio::spawn(read(receiver, lines, flushes));
        let owner = Arc::default();
        Ok(Self {
            ring,
            flush,
            fifo,
            owner,
        })
    }

    /// The end that a process gets as standard output and error. Its user may open it again by
    /// `/dev/stderr`, so it is made the user's.
    pub fn writer(&self, owner: Option<(u32, u32)>) -> std::io::Result<OwnedFd> {
        let (uid, gid) = owner.unwrap_or_default();
        let mut known = self.owner.lock().unwrap_or_else(PoisonError::into_inner);
        if *known != Some((uid, gid)) {
            let ids = (Uid::from_raw(uid), Gid::from_raw(gid));
            rustix::fs::chown(&self.fifo, Some(ids.0), Some(ids.1))?;
            *known = Some((uid, gid));
        }
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        Ok(rustix::fs::open(&self.fifo, flags, Mode::empty())?)
    }

    /// Waits until everything written so far has been read.
    pub async fn flush(&self) {
        let (sender, receiver) = oneshot::channel();
        if self.flush.send(sender).await.is_ok() {
            drop(receiver.await);
        }
    }

    /// The last `count` lines, oldest first.
    pub fn last(&self, count: usize) -> Vec<String> {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.iter()
            .skip(ring.len().saturating_sub(count))
            .cloned()
            .collect()
    }

    /// Removes the FIFO; the file stays for people.
    pub fn remove(&self) {
        drop(fs_err::remove_file(&self.fifo));
    }
}

async fn read(
    receiver: pipe::Receiver,
    mut lines: Lines,
    mut flushes: mpsc::Receiver<oneshot::Sender<()>>,
) {
    loop {
        tokio::select! {
            ready = receiver.readable() => {
                if ready.is_err() {
                    return;
                }
                drain(&receiver, &mut lines);
            }
            flush = flushes.recv() => {
                let Some(done) = flush else { return };
                drain(&receiver, &mut lines);
                let _ = done.send(());
            }
        }
    }
}

fn drain(receiver: &pipe::Receiver, lines: &mut Lines) {
    let mut buffer = [0_u8; 16 * 1024];
    while let Ok(count) = receiver.try_read(&mut buffer) {
        lines.take(buffer.get(..count).unwrap_or_default());
        if count == 0 {
            return;
        }
    }
}

struct Lines {
    ring: Arc<Mutex<VecDeque<String>>>,
    file: File,
    partial: Vec<u8>,
}

impl Lines {
    fn take(&mut self, bytes: &[u8]) {
        self.file.append(bytes);
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.partial.extend_from_slice(piece);
            while self.partial.len() > LONGEST {
                let rest = self.partial.split_off(LONGEST);
                let line = std::mem::replace(&mut self.partial, rest);
                self.keep(&line);
            }
            if self.partial.ends_with(b"\n") {
                let line = std::mem::take(&mut self.partial);
                self.keep(line.strip_suffix(b"\n").unwrap_or(&line));
            }
        }
    }

    fn keep(&self, line: &[u8]) {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        if ring.len() == LINES {
            ring.pop_front();
        }
        ring.push_back(String::from_utf8_lossy(line).into_owned());
    }
}

struct File {
    path: PathBuf,
    open: Option<(fs_err::File, u64)>,
}

impl File {
    fn new(path: PathBuf) -> Self {
        Self { path, open: None }
    }

    fn append(&mut self, bytes: &[u8]) {
        if let Err(error) = self.try_append(bytes) {
            tracing::debug!(%error, "output is kept in memory only");
            self.open = None;
        }
    }

    fn try_append(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        if self.open.as_ref().is_some_and(|(_, size)| *size >= FILE) {
            self.open = None;
            let mut old = self.path.clone().into_os_string();
            old.push(".1");
            fs_err::rename(&self.path, old)?;
        }
        if self.open.is_none() {
            let file = fs_err::OpenOptions::new()
                .create(true)
                .append(true)
                .open(&self.path)?;
            let size = file.metadata()?.len();
            self.open = Some((file, size));
        }
        if let Some((file, size)) = &mut self.open {
            file.write_all(bytes)?;
            *size += u64::try_from(bytes.len()).unwrap_or_default();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_kept_bounded_and_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let log = Log::open(directory.path(), "x").unwrap();
        let mut writer = std::fs::File::from(log.writer(None).unwrap());
        for number in 0..LINES + 5 {
            writeln!(writer, "line {number}").unwrap();
            log.flush().await;
        }
        writer.write_all(&vec![b'y'; LONGEST + 3]).unwrap();
        writer.write_all(b"\nend\n").unwrap();
        log.flush().await;
        let last = log.last(4);
        assert_eq!(last[0], format!("line {}", LINES + 4));
        assert_eq!(
            (last[1].len(), last[2].as_str(), last[3].as_str()),
            (LONGEST, "yyy", "end")
        );
        assert_eq!(log.last(usize::MAX).len(), LINES);
    }

    #[tokio::test]
    async fn the_file_is_turned_over_when_it_is_full() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        let mut file = File::new(path.clone());
        let chunk = vec![b'z'; 400 * 1024];
        for _ in 0..4 {
            file.try_append(&chunk).unwrap();
        }
        assert_eq!(
            fs_err::metadata(directory.path().join("x.1"))
                .unwrap()
                .len(),
            1_228_800
        );
        assert_eq!(fs_err::metadata(&path).unwrap().len(), 409_600);
    }
}
