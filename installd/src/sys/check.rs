//! A program that says whether what was switched to is well, run once as root in the view of the
//! new set.

use std::collections::VecDeque;
use std::io::{PipeReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, pidfd_open};

use super::Error;

/// Lines that are kept, the last ones.
const LINES: usize = 20;
/// Bytes that are kept of what it wrote.
const BYTES: usize = 4096;
/// How often it is looked whether it has ended, or is to end.
const LOOK: u16 = 50;
/// Exit status of one that was ended because its time was over, as `timeout` has it.
pub const TOO_LONG: i32 = 124;
/// Exit status of one that is not there, as shells have it.
const NOT_FOUND: i32 = 127;

/// What a check came to: its exit status (128 and the number of the signal where one ended it) and
/// the last lines that it wrote.
pub type Checked = (i32, String);

/// A check that is to run.
#[derive(Debug)]
pub struct Check {
    /// The mount namespace that it runs in.
    pub view: OwnedFd,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// How long it may take.
    pub within: Duration,
    /// Set when nobody wants to know any more.
    pub stop: Arc<AtomicBool>,
}

impl Check {
    /// Runs it, with whatever it starts, to its end.
    ///
    /// # Errors
    /// It could not be tried at all: that says nothing of the new set.
    pub async fn run(self) -> Result<Checked, Error> {
        let (tell, told) = tokio::sync::oneshot::channel();
        // A thread of its own: entering a view changes the thread for good.
        let thread = std::thread::Builder::new().name("check".to_owned());
        let spawned = thread.spawn(move || drop(tell.send(self.in_view())));
        spawned.map_err(|error| refused(&error))?;
        told.await
            .unwrap_or_else(|_| Err(Error::Refused("the check was lost".to_owned())))
    }

    fn in_view(self) -> Result<Checked, Error> {
        let entered = unshare(CloneFlags::CLONE_FS)
            .and_then(|()| setns(self.view.as_fd(), CloneFlags::CLONE_NEWNS));
        entered.map_err(|error| refused(&error))?;
        let Some((program, arguments)) = self.command.split_first() else {
            return Err(Error::Refused("the check names no program".to_owned()));
        };
        let (said, to_us) = std::io::pipe().map_err(|error| refused(&error))?;
        let also = to_us.try_clone().map_err(|error| refused(&error))?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin")
            .env("LANG", "C.UTF-8")
            .current_dir("/")
            .stdin(std::process::Stdio::null())
            .stdout(to_us)
            .stderr(also)
            .process_group(0);
        let spawned = command.spawn();
        // It holds our ends of the pipe.
        drop(command);
        match spawned {
            Ok(child) => watch(child, said, &self),
            Err(error) => Ok((NOT_FOUND, format!("{program} could not be run: {error}"))),
        }
    }
}

fn refused(error: &dyn std::error::Error) -> Error {
    Error::Refused(format!("the check could not be run: {error}"))
}

/// Waits for its end, and sees to it that it comes.
fn watch(mut child: Child, said: PipeReader, check: &Check) -> Result<Checked, Error> {
    let began = Instant::now();
    let pid = rustix::process::Pid::from_child(&child);
    let ends = pidfd_open(pid, PidfdFlags::empty()).map_err(|error| refused(&error))?;
    let mut output = Output::new(said);
    let (status, why) = loop {
        output.take(Some(&ends));
        if let Some(status) = child.try_wait().map_err(|error| refused(&error))? {
            break (code(status), None);
        }
        let late = began.elapsed() >= check.within;
        if late || check.stop.load(Ordering::Relaxed) {
            end_all(&child);
            let ended = child.wait().map_err(|error| refused(&error))?;
            break if late {
                let why = format!("it was ended after {} s", check.within.as_secs());
                (TOO_LONG, Some(why))
            } else {
                (code(ended), Some("it was not wanted any more".to_owned()))
            };
        }
    };
    // What it started and left ends with it: it was a question, not a service.
    end_all(&child);
    output.take(None);
    Ok((status, output.text(why)))
}

fn end_all(child: &Child) {
    if let Ok(pid) = i32::try_from(child.id()) {
        // The group is gone where all of it has ended.
        let _gone = killpg(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

fn code(status: ExitStatus) -> i32 {
    let by_signal = status.signal().map(|signal| 128 + signal);
    status.code().or(by_signal).unwrap_or(1)
}

/// The end of what it has written.
#[derive(Debug)]
struct Output {
    /// As long as somebody can write.
    from: Option<PipeReader>,
    tail: VecDeque<u8>,
}

impl Output {
    fn new(from: PipeReader) -> Self {
        Self {
            from: Some(from),
            tail: VecDeque::new(),
        }
    }

    /// Takes what is there; with somebody whose end can be seen, waits a moment where nothing is.
    fn take(&mut self, ends: Option<&OwnedFd>) {
        let mut wait = ends.map_or(PollTimeout::ZERO, |_| PollTimeout::from(LOOK));
        loop {
            let both = self.from.as_ref().map(PipeReader::as_fd).into_iter();
            let both = both.chain(ends.map(OwnedFd::as_fd));
            let mut both: Vec<_> = both.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
            let ready = poll(&mut both, wait).is_ok_and(|ready| ready > 0);
            let said = both.first().and_then(PollFd::any).unwrap_or(false);
            wait = PollTimeout::ZERO;
            let Some(from) = self.from.as_mut().filter(|_| ready && said) else {
                return;
            };
            let mut buffer = [0; 4096];
            match from.read(&mut buffer) {
                Ok(read) if read > 0 => self.tail.extend(buffer.iter().take(read)),
                Ok(_) | Err(_) => self.from = None,
            }
            let more = self.tail.len().saturating_sub(BYTES);
            self.tail.drain(..more);
        }
    }

    fn text(&self, why: Option<String>) -> String {
        let bytes: Vec<u8> = self.tail.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        let last = lines.iter().skip(lines.len().saturating_sub(LINES));
        let last = last.map(|line| (*line).to_owned()).chain(why);
        last.collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn check(command: &[&str], within_ms: u64) -> Checked {
        let view = fs_err::File::open("/proc/self/ns/mnt").unwrap();
        let check = Check {
            view: view.into_file().into(),
            command: command.iter().map(|one| (*one).to_owned()).collect(),
            within: Duration::from_millis(within_ms),
            stop: Arc::default(),
        };
        check.run().await.unwrap()
    }

    #[tokio::test]
    async fn a_check_is_told_by_its_exit_status_and_its_last_lines() {
        let (status, lines) = check(&["sh", "-c", "seq 1 100; echo no >&2; exit 3"], 60_000).await;
        assert_eq!(status, 3);
        assert!(
            lines.starts_with("82\n") && lines.ends_with("\n100\nno"),
            "{lines}"
        );
        assert_eq!(check(&["true"], 60_000).await, (0, String::new()));
        let (status, lines) = check(&["/nowhere/check"], 60_000).await;
        assert_eq!(status, NOT_FOUND);
        assert!(lines.contains("/nowhere/check"), "{lines}");
        assert_eq!(check(&["sh", "-c", "kill -9 $$"], 60_000).await.0, 137);
    }

    #[tokio::test]
    async fn a_check_that_takes_too_long_is_ended_with_all_that_it_started() {
        let began = Instant::now();
        let (status, lines) = check(&["sh", "-c", "echo here; sleep 1000 & sleep 1000"], 300).await;
        assert_eq!(status, TOO_LONG);
        assert!(lines.starts_with("here\nit was ended"), "{lines}");
        // One that leaves somebody behind, who has its output open, is not waited for.
        let (status, _) = check(&["sh", "-c", "sleep 1000 & exit 0"], 600_000).await;
        assert_eq!(status, 0);
        assert!(began.elapsed() < Duration::from_secs(20));
    }
}
