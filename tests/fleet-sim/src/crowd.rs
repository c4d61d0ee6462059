//! All simulated nodes together.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use model::Digest;
use tokio::sync::mpsc;

use crate::http::Master;
use crate::link::{Linked, Seen, What};
use crate::measure::Watch;
use crate::tls::{Ground, Identity};

/// Nodes whose links are open.
pub(crate) struct Crowd {
    pub(crate) count: usize,
    pub(crate) watch: Watch,
    /// What they run, those that go with an update.
    pub(crate) runs: Option<Digest>,
    when: HashMap<What, Vec<Duration>>,
    seen: mpsc::UnboundedReceiver<Seen>,
}

impl Crowd {
    /// Every node opens its link; answers how long that took with every answer. One objects to
    /// everything.
    pub(crate) async fn storm(
        master: &Master,
        ground: &Ground,
        nodes: &[Arc<Identity>],
        at_once: usize,
    ) -> Result<(Self, Duration)> {
        let watch = Watch::start();
        let one = |(number, node): (usize, Arc<Identity>)| async move {
            Linked::open(master, ground, &node, number == 0).await
        };
        let linked: Vec<Linked> = stream::iter(nodes.iter().map(Arc::clone).enumerate())
            .map(one)
            .buffer_unordered(at_once)
            .try_collect()
            .await?;
        let took = watch.elapsed();
        let (tell, seen) = mpsc::unbounded_channel();
        for node in linked {
            tokio::spawn(node.live(watch, tell.clone()));
        }
        let crowd = Self {
            count: nodes.len(),
            watch,
            runs: None,
            when: HashMap::new(),
            seen,
        };
        Ok((crowd, took))
    }

    /// When this happened to `count` nodes; no link may be lost meanwhile.
    pub(crate) async fn wait(&mut self, what: What, count: usize) -> Result<Vec<Duration>> {
        loop {
            let when = self.when.entry(what).or_default();
            if when.len() >= count {
                return Ok(std::mem::take(when));
            }
            let have = when.len();
            let next = tokio::time::timeout(Duration::from_mins(2), self.seen.recv()).await;
            let Ok(Some(seen)) = next else {
                anyhow::bail!("{what:?}: {have} of {count} within two minutes");
            };
            ensure!(seen.what != What::Lost, "a link was lost");
            self.runs = seen.runs.or(self.runs);
            // What comes meanwhile of the other kinds is waited for later.
            self.when.entry(seen.what).or_default().push(seen.at);
        }
    }
}
