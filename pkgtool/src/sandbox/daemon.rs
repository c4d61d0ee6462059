//! A node's bus and daemons: started, ready, watched.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::Plan;
use super::layout::Layout;
use super::store::{Ear, Store};
use crate::outcome::{CommandError, Kind};

/// How long a daemon may take until it is ready.
const READY_LIMIT: Duration = Duration::from_mins(1);

/// Which one it is; started in this order, ended in the reverse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The D-Bus broker.
    Bus,
    /// The process supervisor.
    Sysmgrd,
    /// The installer.
    Installd,
}

impl Which {
    /// All, in the order of starting.
    pub const ALL: [Self; 3] = [Self::Bus, Self::Sysmgrd, Self::Installd];

    /// The program's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bus => "dbus-daemon",
            Self::Sysmgrd => "sysmgrd",
            Self::Installd => "installd",
        }
    }

    fn program(self, plan: &Plan) -> PathBuf {
        match self {
            Self::Bus => self.name().into(),
            Self::Sysmgrd | Self::Installd => plan.binaries.join(self.name()),
        }
    }

    fn arguments(self, layout: &Layout) -> Vec<String> {
        let own = |name: &str| layout.own(name).to_string_lossy().into_owned();
        match self {
            Self::Bus => vec![
                "--nofork".into(),
                "--nopidfile".into(),
                "--nosyslog".into(),
                format!("--config-file={}", own("bus.conf")),
            ],
            Self::Sysmgrd => vec!["--config".into(), own("sysmgrd.toml")],
            Self::Installd => vec!["--config".into(), own("installd.toml")],
        }
    }

    /// What to do when it is not there.
    fn how_to_get(self, plan: &Plan) -> String {
        match self {
            Self::Bus => "apt-get install dbus-daemon".to_owned(),
            Self::Sysmgrd | Self::Installd => format!(
                "build or install {} beside pkgtool in {}, or say where it is with CHANGEOVER_BIN_DIR",
                self.name(),
                plan.binaries.display()
            ),
        }
    }
}

/// A running daemon.
#[derive(Debug)]
pub struct Daemon {
    /// Which.
    pub which: Which,
    /// Its process, as its parent sees it.
    pub pid: i32,
    handle: OwnedFd,
    /// Open as long as it runs: it may tell more than that it is ready.
    ear: Ear,
}

impl Daemon {
    /// Starts it and waits until it says that it is ready.
    pub fn start(
        which: Which,
        layout: &Layout,
        plan: &Plan,
        store: &Arc<Store>,
    ) -> Result<Self, CommandError> {
        let daemon = Self::spawn(which, layout, plan, store)?;
        daemon.await_ready(layout, plan)?;
        Ok(daemon)
    }

    /// Starts it; `sysmgrd` with what the last one had kept in `store`.
    pub fn spawn(
        which: Which,
        layout: &Layout,
        plan: &Plan,
        store: &Arc<Store>,
    ) -> Result<Self, CommandError> {
        let address = layout.run().join(format!(".ready-{}", which.name()));
        drop(fs_err::remove_file(&address));
        let socket = UnixDatagram::bind(&address)
            .with_context(|| format!("could not make the socket {}", address.display()))?;
        let store = (which == Which::Sysmgrd).then(|| Arc::clone(store));
        let ear = Ear::open(socket, store.clone()).context("could not listen to a daemon")?;
        let log = fs_err::OpenOptions::new()
            .create(true)
            .append(true)
            .open(layout.log(which.name()))?;
        let (log, _) = log.into_parts();
        let mut command = Command::new(which.program(plan));
        command
            .args(which.arguments(layout))
            .env("NOTIFY_SOCKET", &address)
            // Its log is a file, whatever started this pkgtool.
            .env("NO_COLOR", "1")
            .env_remove("JOURNAL_STREAM")
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Not in the terminal's foreground group: Ctrl-C is for the user's command.
            .process_group(0);
        let child = match &store {
            Some(store) => store.spawn(&mut command),
            None => command.spawn(),
        };
        let child = child.map_err(|error| {
            let program = which.program(plan);
            let message = format!("could not start {}: {error}", program.display());
            CommandError::failed(message).hint(which.how_to_get(plan))
        })?;
        let pid = i32::try_from(child.id())?;
        let handle = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())
            .with_context(|| format!("could not watch {}", which.name()))?;
        fs_err::write(
            layout.run().join(format!("{}.pid", which.name())),
            format!("{pid}\n"),
        )?;
        Ok(Self {
            which,
            pid,
            handle,
            ear,
        })
    }

    fn await_ready(&self, layout: &Layout, plan: &Plan) -> Result<(), CommandError> {
        let limit = PollTimeout::try_from(READY_LIMIT).unwrap_or(PollTimeout::MAX);
        let mut events = [
            PollFd::new(self.ear.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.handle.as_fd(), PollFlags::POLLIN),
        ];
        if poll(&mut events, limit).context("poll")? == 0 {
            let seconds = READY_LIMIT.as_secs();
            return Err(self.failed(&format!("was not ready within {seconds} s"), layout, plan));
        }
        if self.ear.is_ready() {
            return Ok(());
        }
        Err(self.failed("ended before it was ready", layout, plan))
    }

    /// Of one that has ended: whether it had said that it is ready. All that it had said is heard.
    pub fn was_ready(&mut self) -> bool {
        self.ear.close();
        self.ear.is_ready()
    }

    /// The error that says what became of it, with the last lines that it wrote.
    pub fn failed(&self, what: &str, layout: &Layout, plan: &Plan) -> CommandError {
        let log = layout.log(self.which.name());
        let text = fs_err::read(&log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let last = lines
            .get(lines.len().saturating_sub(8)..)
            .unwrap_or_default();
        let said = if last.is_empty() {
            " and wrote nothing".to_owned()
        } else {
            format!("\n    {}", last.join("\n    "))
        };
        let message = format!("{} {what}{said}", self.which.name());
        CommandError::new(Kind::Failed, anyhow::Error::msg(message)).hint(if plan.temporary {
            "use --root DIR, or --keep, to read the whole log afterwards".to_owned()
        } else {
            format!("read all of it in {}", log.display())
        })
    }

    /// Asks it to end.
    pub fn terminate(&self) {
        // It may have ended by itself.
        let _ = pidfd_send_signal(&self.handle, Signal::TERM);
    }
}

impl AsFd for Daemon {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}
