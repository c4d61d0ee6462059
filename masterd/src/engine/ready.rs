//! Prepare all, then a warm boot: a master that was seeded from one image waits until every node
//! that the image names is here, has each of them store its whole software, and then has all of
//! them start it at one moment.
//!
//! ```text
//! init --image --prepare-all ──► every node is here, or the deadline ──► an update of all together:
//!     fetched before the vote ──► stored and checked ──► all are ready ──► go
//! ```
//!
//! The update is one as any other: it is shown, held where nodes are missing, and decided.

use std::time::Duration;

use model::wire::{FleetName, NodeName, RolloutId, Strategy, Update};
use serde::{Deserialize, Serialize};

use super::node::Node;
use super::writes::Rank;
use super::{Engine, Error, Handle, now_ms, rfc3339};
use crate::audit::Note;

const KEY: &str = "meta/prepare-all";
/// What cannot begin is tried again after this.
const AGAIN_MS: u64 = 10_000;
/// Names that are told of many.
const SHOWN: usize = 12;

/// What is to be prepared, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Record {
    /// `NAME=VERSION`.
    image: String,
    /// Milliseconds that nodes have: to come, and then to store it.
    within_ms: u64,
    /// Until then nodes may come, milliseconds since 1970.
    until_ms: Option<u64>,
}

/// What is to be prepared, and how that stands.
#[derive(Debug)]
pub(super) struct Ready {
    record: Record,
    /// Why it could not begin, and when it is tried again.
    failed: Option<(String, u64)>,
}

impl Handle {
    /// Takes up what an image says of nodes and assignments; with a time, every node is to store
    /// its software within it, and all start it together.
    pub async fn seed(&self, image: String, within: Option<Duration>) -> Result<(), Error> {
        self.ask(move |engine| engine.seed(&image, within)).await
    }
}

impl Engine {
    fn seed(&mut self, image: &str, within: Option<Duration>) -> Result<(), Error> {
        let (name, version) = self.image_id(image)?;
        let image = format!("{name}={version}");
        let update = Update {
            image: Some(image.clone()),
            ..Update::default()
        };
        let before = self.take_up_words(&update)?;
        self.keep_words(before);
        let note = Note::new("masterd", "seed").on(&image);
        self.pending.note(Rank::Head, KEY.to_owned(), note);
        if let Some(within) = within {
            let record = Record {
                image,
                within_ms: u64::try_from(within.as_millis()).unwrap_or(u64::MAX),
                until_ms: None,
            };
            self.keep_ready(record);
        }
        Ok(())
    }

    fn keep_ready(&mut self, record: Record) {
        self.pending.put(Rank::Head, KEY.to_owned(), &record);
        let failed = None;
        self.ready = Some(Ready { record, failed });
    }

    /// From the store. The time runs from the first moment that nodes can come.
    pub(super) async fn read_ready(&mut self) -> Result<(), Error> {
        if let Some((mut record, _)) = self.store.record::<Record>(KEY).await? {
            let until = now_ms().saturating_add(record.within_ms);
            record.until_ms.get_or_insert(until);
            self.keep_ready(record);
        }
        Ok(())
    }

    /// Begins the update of all when every node is here, or the time is over.
    pub(super) fn look_whether_all_are_here(&mut self) {
        let Some(ready) = &self.ready else {
            return;
        };
        let now = now_ms();
        let waits = ready.failed.as_ref().is_some_and(|(_, again)| now < *again);
        let over = ready.record.until_ms.is_some_and(|until| now >= until);
        let anybody = self.nodes.values().any(is_here);
        if waits || !anybody || !over && !self.not_here().is_some_and(|missing| missing.is_empty())
        {
            return;
        }
        let record = ready.record.clone();
        match self.prepare_all(&record) {
            Ok(id) => {
                tracing::info!(rollout = id.0, image = %record.image, "all nodes are being prepared");
                self.ready = None;
                self.pending.delete(Rank::Head, KEY.to_owned());
            }
            Err(error) => {
                let why = model::report::Chain(&error).to_string();
                tracing::warn!(image = %record.image, %why, "not all nodes can be prepared");
                let failed = Some((why, now + AGAIN_MS));
                self.ready = Some(Ready { record, failed });
            }
        }
    }

    fn prepare_all(&mut self, record: &Record) -> Result<RolloutId, Error> {
        let update = Update {
            image: Some(record.image.clone()),
            strategy: Strategy {
                vote_timeout_ms: record.within_ms,
                go_timeout_ms: record.within_ms,
                together: true,
                prefetch: true,
                ..Strategy::default()
            },
            idempotency_key: Some(format!("prepare all by {}", record.image)),
            reason: "every node stores its software, then all start it".to_owned(),
            ..Update::default()
        };
        let by: FleetName = "masterd"
            .parse()
            .map_err(|error: model::ids::NameError| Error::Invalid(error.to_string()))?;
        Ok(self.update(update, by)?.id)
    }

    /// Nodes that the image names and that are not here, by name; `None`: it names none.
    fn not_here(&self) -> Option<Vec<NodeName>> {
        let ready = self.ready.as_ref()?;
        let image = self.image(&self.image_id(&ready.record.image).ok()?)?;
        let here = |name: &NodeName| self.nodes.get(name).is_some_and(is_here);
        let names = image.nodes.iter().map(|one| &one.name);
        let missing = names.filter(|name| !here(name)).cloned().collect();
        (!image.nodes.is_empty()).then_some(missing)
    }

    /// How that stands, for people: nothing where nothing is to be prepared.
    pub(super) fn readiness(&self) -> Option<String> {
        let ready = self.ready.as_ref()?;
        let image = &ready.record.image;
        if let Some((why, _)) = &ready.failed {
            return Some(format!("prepare all by image {image} cannot begin: {why}"));
        }
        let until = ready.record.until_ms.map_or_else(String::new, rfc3339);
        let missing = self.not_here().unwrap_or_default();
        let mut names: Vec<String> = missing.iter().map(ToString::to_string).collect();
        let more = names.len().saturating_sub(SHOWN);
        names.truncate(SHOWN);
        if more > 0 {
            names.push(format!("{more} more"));
        }
        Some(format!(
            "prepare all by image {image} waits until {until} for {}",
            if names.is_empty() {
                "nodes".to_owned()
            } else {
                names.join(", ")
            }
        ))
    }
}

/// Connected, and what it has is known.
fn is_here(node: &Node) -> bool {
    node.is_member() && node.connected() && node.have.is_some() && !node.have_is_old
}
