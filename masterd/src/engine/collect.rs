//! What nobody runs, wants or may go back to leaves the master's disk.
//!
//! Packages are people's to take away, one by one, and only where nobody needs them. What is
//! collected is what nothing names any more: lists of updates that were forgotten, objects of
//! packages that were taken away, imports that were cut short, and patches between all of these.

use std::collections::HashSet;

use model::Digest;
use model::wire::{Collected, SoftwareList};

use super::writes::Rank;
use super::{Engine, Error, Handle};
use crate::audit::Note;
use crate::import;

impl Handle {
    /// Collects. Imports wait meanwhile, and it waits for those that are on their way.
    pub async fn collect(&self, note: Note) -> Result<Collected, Error> {
        let _alone = self.shelf_in_use.write().await;
        self.ask(move |engine| {
            let collected = tokio::task::block_in_place(|| engine.collect())?;
            let what = format!("{} objects, {} bytes", collected.objects, collected.bytes);
            let key = "meta/collected".to_owned();
            engine.pending.note(Rank::Plain, key, note.on(what));
            Ok(collected)
        })
        .await
    }
}

impl Engine {
    fn collect(&mut self) -> Result<Collected, Error> {
        let needed = self.needed_lists();
        let published = self.shelf.lists()?;
        let others = published.into_iter().filter(|list| !needed.contains(list));
        // Not every list on the shelf is a software list.
        let old: HashSet<Digest> = others.filter(|list| self.is_software(list)).collect();
        for list in &old {
            self.shelf.withdraw(list)?;
        }
        self.documents.withdrawn(&old);
        self.patches.withdrawn(&old);
        let mut keep = needed;
        keep.extend(self.image_objects());
        for record in self.packages.values() {
            keep.insert(record.manifest);
        }
        for package in self.candidates.iter() {
            keep.extend(import::objects(&package.manifest).map(|(digest, _)| digest));
        }
        let freed = self.shelf.collect(&|digest| keep.contains(digest))?;
        Ok(Collected {
            lists: old.len() as u64,
            objects: freed.objects as u64,
            blobs: freed.blobs as u64,
            bytes: freed.bytes,
        })
    }

    /// Lists that nodes run, are to run, or may go back to.
    fn needed_lists(&self) -> HashSet<Digest> {
        let mut needed = HashSet::new();
        for node in self.nodes.values() {
            needed.extend(node.wanted.as_ref().map(|wanted| wanted.list));
            let says = node.installed.iter();
            let runs = says.flat_map(|says| [says.software, says.committed]);
            let runs = runs.flatten();
            needed.extend(runs.filter_map(|software| self.documents.list_of(&software)));
        }
        for rollout in self.rollouts.values() {
            let parts = rollout.parts().values();
            needed.extend(
                parts
                    .flat_map(|part| [Some(part.list), part.base_list])
                    .flatten(),
            );
        }
        needed
    }

    fn is_software(&self, list: &Digest) -> bool {
        let bytes = self.object(list, u64::MAX).unwrap_or_default();
        serde_json::from_slice::<SoftwareList>(&bytes).is_ok()
    }
}
