//! Programs that run beside a process, in its view and its control group, as its user: its
//! `evaluate` and its `check` program.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use model::process::CommandLine;
use model::report::Chain;
use model::transition::Tree;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal as Sig, kill_process_group};
use tokio::net::unix::pipe::Receiver;
use tokio::sync::oneshot;

use super::supervised::Supervised;
use super::views::Views;
use super::{Engine, Tools};
use crate::process::Exit;
use crate::sys::cgroup::Join;
use crate::sys::launch::{Order, identity};
use crate::sys::spawn::Spawned;

/// Lines that are kept of what it says.
const LINES: usize = 10;
/// The longest line; what is longer is cut.
const LONGEST: usize = 1_000;

/// Ends the program when it is dropped.
#[derive(Debug)]
pub(super) struct Leash(
    #[expect(dead_code, reason = "its drop is what is seen")] oneshot::Sender<()>,
);

/// A program to be run beside a process.
#[derive(Debug)]
pub(super) struct Beside {
    tools: Tools,
    views: Views,
    spec: Arc<model::ProcessSpec>,
    tree: Tree,
    group: Join,
    words: CommandLine,
    variables: BTreeMap<String, String>,
    pulled: oneshot::Receiver<()>,
}

/// How it ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// By itself, or because its time was over or its leash dropped.
    pub(super) exit: Exit,
    /// Whether its time was over.
    pub(super) late: bool,
    /// The last lines that it said.
    pub(super) said: Vec<String>,
}

impl Engine {
    /// A program of `process`, not started yet, and what ends it.
    pub(super) fn beside(
        &self,
        process: &Supervised,
        words: CommandLine,
        mut variables: BTreeMap<String, String>,
    ) -> (Beside, Leash) {
        if let Some(main) = process.main {
            variables.insert("MAINPID".to_owned(), main.to_string());
        }
        let (leash, pulled) = oneshot::channel();
        // In the process's own group: whatever it leaves behind ends with the process.
        let group = (process.group.as_ref())
            .and_then(|group| group.join().ok())
            .unwrap_or(Join::Nothing);
        let beside = Beside {
            tools: self.tools.clone(),
            views: self.views.clone(),
            spec: Arc::clone(&process.spec),
            tree: process.tree.clone(),
            group,
            words,
            variables,
            pulled,
        };
        (beside, Leash(leash))
    }
}

impl Beside {
    /// Starts it and waits for its end, at most for as long as `limit` says; `heard` gets each of
    /// its lines.
    pub(super) async fn run(
        self,
        limit: Option<Duration>,
        mut heard: impl FnMut(&str) + Send,
    ) -> Result<Ended, String> {
        let Self {
            tools,
            views,
            mut pulled,
            ..
        } = self;
        let order = move |output, view| Order {
            spec: self.spec,
            words: self.words,
            view,
            own_view: false,
            namespace: None,
            group: self.group,
            output: Arc::new(output),
            variables: self.variables,
            listen: Vec::new(),
            session: None,
            notification: None,
        };
        let (tree, launching) = (self.tree, tools.clone());
        let work = move || {
            let view = views.get(&tree, &launching.places)?;
            let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).map_err(|e| e.to_string())?;
            let order = order(writer, view);
            own(order.output.as_fd(), &launching, &order.spec)?;
            let spawned = launching.children.launch(&order, &launching.places);
            let spawned = spawned.map_err(|error| Chain(&error).to_string())?;
            Ok((spawned, reader))
        };
        let launched = tokio::task::spawn_blocking(work).await;
        let (spawned, reader) = launched.unwrap_or_else(|error| Err(error.to_string()))?;
        let mut lines = Lines::new(reader)?;
        let Spawned { pid, pidfd } = spawned;
        let mut exit = std::pin::pin!(tools.children.exit_of(pid, pidfd));
        let mut limit = std::pin::pin!(tokio::time::sleep(limit.unwrap_or(Duration::MAX)));
        let (exit, late) = loop {
            tokio::select! {
                exit = &mut exit => break (exit, false),
                _ = &mut pulled => {
                    end(pid);
                    break (exit.await, false);
                }
                () = &mut limit => {
                    end(pid);
                    break (exit.await, true);
                }
                () = lines.more(&mut heard) => {}
            }
        };
        lines.drain(&mut heard);
        Ok(Ended {
            exit,
            late,
            said: lines.last.into(),
        })
    }
}

/// Its user may open its output again, as `/dev/stderr`.
fn own(output: impl AsFd, tools: &Tools, spec: &model::ProcessSpec) -> Result<(), String> {
    let user = identity(&tools.places, spec).map_err(|error| Chain(&error).to_string())?;
    let Some(user) = user.0 else { return Ok(()) };
    let (uid, gid) = (
        rustix::fs::Uid::from_raw(user.uid),
        rustix::fs::Gid::from_raw(user.gid),
    );
    rustix::fs::fchown(output, Some(uid), Some(gid)).map_err(|error| error.to_string())
}

/// Ends a program that has not been waited for, with what it has started in its session.
fn end(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // One that has just ended needs no signal.
        let _gone = kill_process_group(pid, Sig::KILL);
    }
}

/// What a program says, line by line.
struct Lines {
    reader: Option<Receiver>,
    partial: Vec<u8>,
    last: VecDeque<String>,
}

impl Lines {
    fn new(reader: OwnedFd) -> Result<Self, String> {
        let reader = Receiver::from_owned_fd(reader).map_err(|error| error.to_string())?;
        Ok(Self {
            reader: Some(reader),
            partial: Vec::new(),
            last: VecDeque::new(),
        })
    }

    /// Waits for more, for ever where nobody can say any more.
    async fn more(&mut self, heard: &mut impl FnMut(&str)) {
        match &self.reader {
            Some(reader) if reader.readable().await.is_ok() => {}
            Some(_) | None => return std::future::pending().await,
        }
        self.read(heard);
    }

    /// Takes what is there; whether there may be more.
    fn read(&mut self, heard: &mut impl FnMut(&str)) -> bool {
        let mut bytes = [0_u8; 4_096];
        let Some(reader) = &self.reader else {
            return false;
        };
        match reader.try_read(&mut bytes) {
            Ok(count) if count > 0 => {
                self.take(bytes.get(..count).unwrap_or_default(), heard);
                true
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => false,
            Ok(_) | Err(_) => {
                self.reader = None;
                false
            }
        }
    }

    /// Takes what its end has left in the pipe, and no more than a pipe holds.
    fn drain(&mut self, heard: &mut impl FnMut(&str)) {
        for _ in 0..16 {
            if !self.read(heard) {
                break;
            }
        }
        if !self.partial.is_empty() {
            self.take(b"\n", heard);
        }
    }

    fn take(&mut self, bytes: &[u8], heard: &mut impl FnMut(&str)) {
        for byte in bytes {
            if *byte != b'\n' {
                if self.partial.len() < LONGEST {
                    self.partial.push(*byte);
                }
                continue;
            }
            let line = String::from_utf8_lossy(&self.partial).into_owned();
            self.partial.clear();
            heard(&line);
            if self.last.len() == LINES {
                self.last.pop_front();
            }
            self.last.push_back(line);
        }
    }
}
