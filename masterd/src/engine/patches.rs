//! Patches from what nodes run to what they are to run, made beside everything else: one thread, at
//! the lowest priority, one pair of lists after another. A node that comes before its patch is made
//! fetches whole objects.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use model::{Digest, PackageName};
use resolve::Package;
use transfer::{Effort, Shelf, pairs};

use super::Engine;
use super::prepare::Prepared;

/// Pairs of lists that wait; what comes besides is fetched whole.
const QUEUE: usize = 64;
/// Ways that one plan alone has made ready: there, nothing is decided yet.
const FORESEEN: usize = 8;

/// A software list with what is in it.
#[derive(Debug)]
struct Side {
    list: Digest,
    packages: Arc<[Package]>,
    manifests: Vec<(PackageName, Digest)>,
}

#[derive(Debug)]
struct Way {
    old: Side,
    new: Side,
}

/// Whoever makes patches. It ends with the engine.
#[derive(Debug)]
pub(super) struct Patches {
    queue: SyncSender<Way>,
    seen: HashSet<(Digest, Digest)>,
}

impl Patches {
    pub(super) fn start(shelf: Arc<Shelf>) -> Self {
        let (queue, ways) = sync_channel(QUEUE);
        let name = "patches".to_owned();
        let thread = std::thread::Builder::new().name(name);
        if let Err(error) = thread.spawn(move || work(&shelf, &ways)) {
            tracing::error!(%error, "no patches are made: nodes fetch whole objects");
        }
        Self {
            queue,
            seen: HashSet::new(),
        }
    }

    /// These lists are not on the shelf any more: what is needed again is made again.
    pub(super) fn withdrawn(&mut self, lists: &HashSet<Digest>) {
        let gone = |list: &Digest| lists.contains(list);
        self.seen.retain(|(old, new)| !gone(old) && !gone(new));
    }
}

fn work(shelf: &Shelf, ways: &Receiver<Way>) {
    // Of this thread alone, and of those that it starts.
    if let Err(error) = rustix::process::nice(19) {
        tracing::debug!(%error, "patches are made at the usual priority");
    }
    for way in ways {
        let (old, new) = (&way.old, &way.new);
        let mut all = pairs::files(
            old.packages.iter().map(|one| &*one.manifest),
            new.packages.iter().map(|one| &*one.manifest),
        );
        all.extend(pairs::named(&old.manifests, &new.manifests));
        all.push(pairs::Pair {
            old: old.list,
            new: new.list,
        });
        match shelf.offer(&old.list, &new.list, &all, Effort::default()) {
            Ok(made) => tracing::info!(
                from = %old.list, to = %new.list, patches = made.patches, whole = made.whole,
                bytes = made.bytes, out_of_time = made.out_of_time, "patches are ready"
            ),
            Err(error) => {
                let error = model::report::Chain(&error).to_string();
                tracing::warn!(from = %old.list, to = %new.list, %error, "no patches");
            }
        }
    }
}

impl Engine {
    fn side(&mut self, list: Digest) -> Option<Side> {
        let packages = self.packages_of(&list).ok()?;
        let manifest = |one: &Package| {
            let record = self.packages.get(&one.id)?;
            Some((one.id.name.clone(), record.manifest))
        };
        Some(Side {
            list,
            manifests: packages.iter().filter_map(manifest).collect(),
            packages,
        })
    }

    /// Has patches made for nodes that go from one list to another; both are offered.
    pub(super) fn patch(&mut self, old: Digest, new: Digest) {
        if old == new || !self.patches.seen.insert((old, new)) {
            return;
        }
        let (Some(old), Some(new)) = (self.side(old), self.side(new)) else {
            return;
        };
        if let Err(error) = self.patches.queue.try_send(Way { old, new }) {
            tracing::warn!(%error, "too many patches wait: nodes fetch whole objects");
        }
    }

    /// A plan is often followed by its update: patches are begun already.
    pub(super) fn foresee(&mut self, prepared: &[Prepared]) {
        let mut ways = BTreeSet::new();
        for one in prepared {
            let runs = self
                .nodes
                .get(&one.name)
                .and_then(super::node::Node::software);
            let old = runs.and_then(|software| self.documents.list_of(&software));
            let Some(old) = old.filter(|old| *old != one.made.list) else {
                continue;
            };
            if ways.len() < FORESEEN && ways.insert((old, one.made.list)) {
                match self.offer(&one.made) {
                    Ok(()) => self.patch(old, one.made.list),
                    Err(error) => tracing::debug!(%error, "nothing is made ready"),
                }
            }
        }
    }
}
