//! People's own programs are told: an update is held, was vetoed, a node failed, something is true that
//! should not be, an update has ended.
//!
//! ```text
//! engine ──(a queue; never waits)──► teller: one occasion after another ──► program: JSON on stdin
//!                                                                      └──► webhook: POST of the same
//! ```
//!
//! Told once, as well as it goes: what a program that fails, or a master that is killed at that moment,
//! did not hear is in the audit log and in the update. The decision never hangs on it.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use model::wire::{FleetName, NodeName, Phase, RolloutId, Tally};
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Serialize;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::mpsc;

use crate::clock;

/// Occasions that wait to be told; what comes besides is only in the log.
const QUEUE: usize = 1024;

/// Who is told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// A program with its arguments; empty: none.
    pub program: Vec<String>,
    /// A URL; absent: none.
    pub webhook: Option<String>,
    /// Each has so long.
    pub within: Duration,
}

/// What has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// An operator has to decide.
    Held,
    /// A node objects.
    Vetoed,
    /// A node failed.
    Failed,
    /// Something is true that should not be.
    Discrepancy,
    /// An update has ended; its phase says how.
    Done,
}

/// One thing that people's programs are told, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Occasion {
    /// What.
    pub event: What,
    /// When, RFC 3339 in UTC.
    pub at: String,
    /// Of which update.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutId>,
    /// Where that update is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// Whose update it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<FleetName>,
    /// Of which node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeName>,
    /// Why, or what.
    pub reason: String,
    /// The votes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tally: Option<Box<Tally>>,
}

impl Occasion {
    /// Just now, and nothing more is known.
    pub fn new(event: What, reason: impl Into<String>) -> Self {
        Self {
            event,
            at: clock::rfc3339(clock::now()),
            rollout: None,
            phase: None,
            by: None,
            node: None,
            reason: reason.into(),
            tally: None,
        }
    }
}

/// Whoever tells; without settings it tells nobody.
#[derive(Debug, Clone, Default)]
pub struct Hooks {
    queue: Option<mpsc::Sender<Occasion>>,
}

/// Why somebody was not told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The webhook's client cannot be made.
    #[error("the webhook cannot be used")]
    Client(#[source] reqwest::Error),
    /// The program could not be run, or did not take what it was told.
    #[error("the hook program could not be told")]
    Program(#[from] std::io::Error),
    /// It ended badly.
    #[error("the hook program ended with {0}")]
    Ended(std::process::ExitStatus),
    /// The webhook could not be reached, or refused.
    #[error("the webhook could not be told")]
    Webhook(#[from] reqwest::Error),
    /// It took too long.
    #[error("it took longer than {} s", .0.as_secs())]
    Late(Duration),
}

impl Hooks {
    /// Starts the teller, where somebody is to be told.
    ///
    /// # Errors
    /// Where the webhook's client cannot be made.
    pub fn start(settings: Settings) -> Result<Self, Error> {
        if settings.program.is_empty() && settings.webhook.is_none() {
            return Ok(Self::default());
        }
        // reqwest takes the process's own; where there is one already it is the same.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(settings.within)
            .build()
            .map_err(Error::Client)?;
        let (queue, mut occasions) = mpsc::channel::<Occasion>(QUEUE);
        let settings = Arc::new(settings);
        tokio::spawn(async move {
            while let Some(occasion) = occasions.recv().await {
                tell(&settings, &client, &occasion).await;
            }
        });
        Ok(Self { queue: Some(queue) })
    }

    /// Tells it, some time; never waits.
    pub fn tell(&self, occasion: Occasion) {
        let Some(queue) = &self.queue else {
            return;
        };
        if let Err(error) = queue.try_send(occasion) {
            tracing::warn!(%error, "the hooks are too slow: nobody is told");
        }
    }
}

async fn tell(settings: &Settings, client: &reqwest::Client, occasion: &Occasion) {
    // Our own type: it can be written down.
    let text = serde_json::to_string(occasion).unwrap_or_default();
    let (program, webhook) = tokio::join!(
        run(&settings.program, &text, settings.within),
        post(client, settings.webhook.as_deref(), &text),
    );
    for result in [program, webhook] {
        if let Err(error) = result {
            let error = model::report::Chain(&error).to_string();
            tracing::warn!(event = ?occasion.event, %error, "a hook was not told");
        }
    }
}

async fn post(client: &reqwest::Client, url: Option<&str>, text: &str) -> Result<(), Error> {
    let Some(url) = url else {
        return Ok(());
    };
    let request = client.post(url).header("content-type", "application/json");
    let answer = request.body(text.to_owned()).send().await?;
    answer.error_for_status()?;
    Ok(())
}

async fn run(program: &[String], text: &str, within: Duration) -> Result<(), Error> {
    let Some((name, arguments)) = program.split_first() else {
        return Ok(());
    };
    let mut child = Command::new(name)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let group = child.id().and_then(|id| i32::try_from(id).ok());
    let stdin = child.stdin.take();
    let told = async {
        if let Some(mut stdin) = stdin {
            let written = stdin.write_all(text.as_bytes()).await;
            // A program may well not read what it is told.
            let is_gone = |error: &std::io::Error| error.kind() == std::io::ErrorKind::BrokenPipe;
            written.or_else(|error| if is_gone(&error) { Ok(()) } else { Err(error) })?;
        }
        child.wait().await
    };
    let ended = tokio::time::timeout(within, told).await;
    // What it has left behind does not stay.
    if let Some(group) = group.and_then(Pid::from_raw) {
        // There may be nothing left.
        let _gone = kill_process_group(group, Signal::KILL);
    }
    match ended {
        Err(_) => Err(Error::Late(within)),
        Ok(Err(error)) => Err(Error::Program(error)),
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(Error::Ended(status)),
    }
}
