//! The node's daemons, over the bus.

use std::os::fd::OwnedFd;
use std::pin::Pin;

use anyhow::Context;
use model::bus::{self, installd, sysmgrd};
use model::change::Progress;
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;
use zbus::Connection;
use zbus::export::futures_core::Stream;

use crate::outcome::{CommandError, Kind};
use crate::show::ProgressLine;

/// Where a node's bus is.
#[derive(Debug, Clone, Default)]
pub struct Address(Option<String>);

impl Address {
    /// This D-Bus address; the system bus where absent, empty or `system`.
    pub fn new(address: Option<&str>) -> Self {
        Self(
            address
                .filter(|text| !matches!(*text, "" | "system"))
                .map(str::to_owned),
        )
    }

    /// Connects to it.
    pub fn connect(&self) -> Result<Node, CommandError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("could not start the event loop")?;
        let builder = match &self.0 {
            Some(address) => zbus::connection::Builder::address(address.as_str()),
            None => zbus::connection::Builder::system(),
        };
        let connected = runtime.block_on(async { builder.build().await });
        let bus = connected.map_err(|error| self.unreachable(error))?;
        Ok(Node { runtime, bus })
    }

    fn unreachable(&self, error: zbus::Error) -> CommandError {
        let which = match &self.0 {
            Some(address) => format!("the bus at {address}"),
            None => "the system bus".to_owned(),
        };
        let mut report = CommandError::from(error).context(format!("could not reach {which}"));
        if self.0.is_some() {
            report = report
                .hint("a sandbox's bus is reached from inside only: pkgtool sandbox --root DIR");
        } else {
            report = report
                .hint("start the machine's bus: systemctl start dbus")
                .hint("or try it on a private node: pkgtool sandbox");
        }
        report
    }
}

/// A node's daemons.
#[derive(Debug)]
pub struct Node {
    runtime: Runtime,
    bus: Connection,
}

impl Node {
    /// Calls installd.
    pub fn installd<T>(
        &self,
        call: impl AsyncFnOnce(&installd::ManagerProxy<'_>) -> Result<T, bus::Error>,
    ) -> Result<T, CommandError> {
        self.runtime.block_on(async {
            let proxy = installd::ManagerProxy::new(&self.bus).await?;
            call(&proxy)
                .await
                .map_err(|error| explain(error, "installd"))
        })
    }

    /// Calls sysmgrd.
    pub fn sysmgrd<T>(
        &self,
        call: impl AsyncFnOnce(&sysmgrd::ManagerProxy<'_>) -> Result<T, bus::Error>,
    ) -> Result<T, CommandError> {
        self.runtime.block_on(async {
            let proxy = sysmgrd::ManagerProxy::new(&self.bus).await?;
            call(&proxy)
                .await
                .map_err(|error| explain(error, "sysmgrd"))
        })
    }

    /// A document that a call to installd answers.
    pub fn ask<T: DeserializeOwned>(
        &self,
        call: impl AsyncFnOnce(&installd::ManagerProxy<'_>) -> Result<String, bus::Error>,
    ) -> Result<T, CommandError> {
        decode(&self.installd(call)?)
    }

    /// A document that a long call to installd answers, with each step told as it comes.
    pub fn ask_with_progress<T: DeserializeOwned>(
        &self,
        call: impl AsyncFnOnce(&installd::ManagerProxy<'_>) -> Result<String, bus::Error>,
        mut step: impl FnMut(&Progress),
    ) -> Result<T, CommandError> {
        let document = self.installd(async |proxy| {
            let mut steps = proxy.receive_progress().await?;
            let answer = call(proxy);
            tokio::pin!(answer);
            loop {
                tokio::select! {
                    biased;
                    Some(signal) = next(&mut steps) => {
                        if let Ok(arguments) = signal.args()
                            && let Ok(progress) = bus::decode(arguments.document())
                        {
                            step(&progress);
                        }
                    }
                    answer = &mut answer => return answer,
                }
            }
        })?;
        decode(&document)
    }

    /// The same, shown in a line that goes away.
    pub fn ask_showing<T: DeserializeOwned>(
        &self,
        call: impl AsyncFnOnce(&installd::ManagerProxy<'_>) -> Result<String, bus::Error>,
        line: &mut ProgressLine,
    ) -> Result<T, CommandError> {
        let answer = self.ask_with_progress(call, |progress| line.step(progress));
        line.clear();
        answer
    }

    /// A descriptor of the newest generation's view.
    pub fn open_view(&self) -> Result<OwnedFd, CommandError> {
        Ok(self.sysmgrd(async |proxy| proxy.open_view().await)?.into())
    }

    /// Waits for as long as this, or until interrupted.
    pub fn pause(&self, time: std::time::Duration) {
        self.runtime
            .block_on(async { tokio::time::sleep(time).await });
    }
}

async fn next<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    std::future::poll_fn(|context| Pin::new(&mut *stream).poll_next(context)).await
}

/// A document that a daemon answered.
pub fn decode<T: DeserializeOwned>(document: &str) -> Result<T, CommandError> {
    serde_json::from_str(document).map_err(|error| {
        CommandError::new(Kind::Failed, error)
            .context("the daemon answered something that this pkgtool does not know")
            .hint("use the pkgtool that came with the daemons")
    })
}

/// What a daemon's error means, without the bus's words for it.
fn explain(error: bus::Error, daemon: &str) -> CommandError {
    let words = |kind, text: String| CommandError::new(kind, anyhow::Error::msg(text));
    match error {
        bus::Error::Invalid(text) | bus::Error::Failed(text) => {
            let full = text.contains("No space left on device");
            let error = words(Kind::Failed, text);
            if !full {
                return error;
            }
            error.hint("make room: pkgtool remove, pkgtool forget, or what else fills the disk")
        }
        bus::Error::Unmet(text) => words(Kind::Dependencies, text),
        bus::Error::Busy(text) => {
            words(Kind::Busy, text).hint("pkgtool status shows the change that is running")
        }
        // A node of a fleet refuses root, too, and says what else can be done.
        bus::Error::NotAllowed(text) if text.contains("--override") => {
            words(Kind::NotAllowed, text)
        }
        bus::Error::NotAllowed(text) => words(Kind::NotAllowed, text).hint("run it as root"),
        bus::Error::LimitsExceeded(text) => words(Kind::Busy, text),
        bus::Error::Bus(error) => explain_bus(error, daemon),
    }
}

fn explain_bus(error: zbus::Error, daemon: &str) -> CommandError {
    let name = if let zbus::Error::FDO(error) = &error {
        zbus::DBusError::name(&**error).to_string()
    } else {
        String::new()
    };
    match name
        .strip_prefix("org.freedesktop.DBus.Error.")
        .unwrap_or_default()
    {
        "ServiceUnknown" | "NameHasNoOwner" => {
            let error = CommandError::failed(format!("{daemon} is not running on this node"));
            return match log_in_sandbox(daemon) {
                Some(log) => error.hint(format!("read why in {log}")),
                None => error
                    .hint(format!("systemctl start {daemon}"))
                    .hint("or try it on a private node: pkgtool sandbox"),
            };
        }
        "AccessDenied" | "AuthFailed" => {
            let text = format!("this bus does not let you speak with {daemon}");
            return CommandError::new(Kind::NotAllowed, anyhow::Error::msg(text))
                .hint("run it as root");
        }
        "NoReply" | "Disconnected" => {
            return CommandError::failed(format!("{daemon} ended before it answered"))
                .hint(match log_in_sandbox(daemon) {
                    Some(log) => format!("read why in {log}"),
                    None => format!("journalctl -u {daemon}"),
                })
                .hint("pkgtool status and pkgtool history show what came of it");
        }
        _ => {}
    }
    CommandError::new(Kind::Failed, error).context(format!("the call to {daemon} failed"))
}

/// Where the daemon's log is when this runs in a sandbox.
fn log_in_sandbox(daemon: &str) -> Option<String> {
    let root = std::env::var("CHANGEOVER_ROOT").ok()?;
    Some(format!("{root}/var/log/changeover/{daemon}.log"))
}
