//! Those who listen hear what happens: the first thing at once, and from then on ten times a second
//! what has become of each process. A change of many processes so costs them, and those who stand
//! between, a few messages instead of many for each process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::ProcessName;
use model::change::Progress;
use tokio::sync::{Notify, broadcast};

use super::Signal;
use super::supervised::Task;

/// How long things are gathered before they are told.
const PAUSE: Duration = Duration::from_millis(100);
/// As many signals may be on their way before the next ones wait for the slowest listener.
const ON_THEIR_WAY: usize = 512;

/// Everybody who listens.
#[derive(Debug)]
pub(super) struct Listeners {
    untold: Arc<Mutex<Untold>>,
    wake: Arc<Notify>,
    _task: Task,
}

/// The newest of each kind.
#[derive(Debug, Default)]
struct Untold {
    progress: Option<Progress>,
    processes: BTreeMap<ProcessName, Signal>,
}

impl Listeners {
    /// Those who receive from `sender`; must be called on the runtime.
    pub(super) fn new(sender: broadcast::Sender<Signal>) -> Self {
        let untold = Arc::<Mutex<Untold>>::default();
        let wake = Arc::<Notify>::default();
        let work = tell(sender, Arc::clone(&untold), Arc::clone(&wake));
        Self {
            untold,
            wake,
            _task: Task::spawn(work),
        }
    }

    /// Tells them, soon.
    pub(super) fn tell(&self, signal: Signal) {
        let mut untold = self.untold.lock().unwrap_or_else(PoisonError::into_inner);
        untold.take(signal);
        drop(untold);
        self.wake.notify_one();
    }
}

impl Untold {
    fn take(&mut self, signal: Signal) {
        match signal {
            Signal::Progress(progress) => self.progress = Some(progress),
            Signal::ProcessChanged(status) => {
                let name = status.name.clone();
                self.processes.insert(name, Signal::ProcessChanged(status));
            }
            Signal::ProcessGone(name) => {
                let gone = Signal::ProcessGone(name.clone());
                self.processes.insert(name, gone);
            }
        }
    }

    fn into_signals(self) -> impl Iterator<Item = Signal> {
        let progress = self.progress.map(Signal::Progress);
        self.processes.into_values().chain(progress)
    }
}

async fn tell(sender: broadcast::Sender<Signal>, untold: Arc<Mutex<Untold>>, wake: Arc<Notify>) {
    loop {
        wake.notified().await;
        let now = std::mem::take(&mut *untold.lock().unwrap_or_else(PoisonError::into_inner));
        for signal in now.into_signals() {
            // Nobody listening is no failure.
            drop(sender.send(signal));
            if sender.len() > ON_THEIR_WAY {
                tokio::time::sleep(PAUSE).await;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(what: &str) -> Signal {
        Signal::Progress(Progress {
            phase: "process".to_owned(),
            what: what.to_owned(),
            count: None,
        })
    }

    #[tokio::test]
    async fn the_first_is_told_at_once_and_of_what_follows_the_last() {
        let (sender, mut receiver) = broadcast::channel(16);
        let listeners = Listeners::new(sender);
        let mut heard = Vec::new();
        listeners.tell(progress("first"));
        let what = |signal| match signal {
            Signal::Progress(progress) => progress.what,
            Signal::ProcessGone(name) => format!("{name} is gone"),
            Signal::ProcessChanged(status) => format!("{} is {}", status.name, status.state),
        };
        heard.push(what(receiver.recv().await.unwrap()));
        for step in ["second", "third", "last"] {
            listeners.tell(progress(step));
        }
        listeners.tell(Signal::ProcessGone("a".parse().unwrap()));
        heard.push(what(receiver.recv().await.unwrap()));
        heard.push(what(receiver.recv().await.unwrap()));
        assert_eq!(heard, ["first", "a is gone", "last"]);
    }
}
