//! Which nodes an update means, and what each of them is to run.

use std::sync::Arc;

use model::envelope::Image;
use model::wire::{NodeName, Update};
use model::{Digest, PackageId};
use resolve::fleet::{self, NodeSoftware};

use super::documents::Made;
use super::images::ImageId;
use super::node::Node;
use super::{Engine, Error, now_ms};
use crate::plan::rollout::Rollout;
use crate::plan::select::{Counting, is_meant, meant};
use crate::plan::waves::{Placed, waves};

/// What an update comes to, before it begins.
#[derive(Default)]
pub(super) struct Preparation {
    pub(super) parts: Vec<Prepared>,
    /// Nodes that are meant and have no part, and why.
    pub(super) notes: Vec<String>,
}

/// One node's part, prepared.
pub(super) struct Prepared {
    pub(super) name: NodeName,
    pub(super) made: Arc<Made>,
    pub(super) wave: u32,
    pub(super) left_out: Option<String>,
}

impl Engine {
    /// The nodes that are meant, by name. A selection that says nothing means all: those that run
    /// already what they are to run have no part.
    pub(super) fn select(&self, update: &Update) -> Result<Vec<NodeName>, Error> {
        let selector = &update.nodes;
        for name in &selector.nodes {
            if !self.nodes.contains_key(name) {
                return Err(Error::no("node", name));
            }
        }
        if let Some(name) = &selector.group
            && !self.groups.contains_key(name)
        {
            return Err(Error::no("group", name));
        }
        let back = match update.back_from {
            Some(id) => Some(self.known_rollout(id)?),
            None => None,
        };
        let image = update.image.as_deref().map(|text| self.image_id(text));
        let image = image.transpose()?.and_then(|id| self.image(&id));
        let nodes = self.nodes.values();
        let nodes = nodes.filter(|node| self.is_meant(node, update, (back, image.as_deref())));
        Ok(nodes.map(|node| node.record.name.clone()).collect())
    }

    fn is_meant(
        &self,
        node: &Node,
        update: &Update,
        (back, image): (Option<&Rollout>, Option<&Image>),
    ) -> bool {
        let (name, labels) = (&node.record.name, &node.record.labels);
        if !node.is_member() || back.is_some_and(|back| !back.parts().contains_key(name)) {
            return false;
        }
        let Some(counting) = self.counting(name) else {
            return false;
        };
        let selector = &update.nodes;
        if let Some(image) = image.filter(|_| selector.is_empty()) {
            return crate::plan::image::names(image, name, &counting.facts);
        }
        selector.is_empty() || is_meant(selector, name, &counting.facts, labels, &self.groups)
    }

    pub(super) fn prepare(&mut self, update: &Update) -> Result<Preparation, Error> {
        let image = update.image.as_deref().map(|text| self.image_id(text));
        let image = image.transpose()?;
        let mut prepared = Vec::new();
        let mut notes = image
            .as_ref()
            .map_or_else(Vec::new, |one| self.image_notes(one));
        for name in self.select(update)? {
            let Some(made) = self.made_for(&name, update, image.as_ref())? else {
                continue;
            };
            if let Some(unknown) = made.unknown.first() {
                return Err(Error::no("package", unknown));
            }
            let Some(node) = self.nodes.get(&name) else {
                continue;
            };
            let wanted = node.wanted.as_ref().map(|wanted| wanted.software);
            let runs = node.software();
            if runs == Some(made.software) && wanted.is_none_or(|wanted| wanted == made.software) {
                continue;
            }
            if runs.is_none() && made.packages.is_empty() && wanted.is_none() {
                notes.push(format!(
                    "{name} runs nothing, and nothing is assigned to it"
                ));
                continue;
            }
            prepared.push(Prepared {
                left_out: left_out(node),
                name,
                made,
                wave: 0,
            });
        }
        self.place(update, &mut prepared);
        Ok(Preparation {
            parts: prepared,
            notes,
        })
    }

    /// Consumers come after the providers that they depend on; within that, as the strategy says.
    fn place(&mut self, update: &Update, prepared: &mut [Prepared]) {
        let now = self.fleet_now();
        let (mut before, mut after, mut placed) = (Vec::new(), Vec::new(), Vec::new());
        for one in prepared.iter() {
            // By name, both: what is prepared is in the fleet.
            let old = now.binary_search_by(|old| old.name.cmp(&one.name));
            let Some(old) = old.ok().and_then(|at| now.get(at)) else {
                continue;
            };
            placed.push(Placed {
                node: one.name.clone(),
                location: self.counting(&one.name).and_then(|one| one.facts.location),
                rank: 0,
            });
            after.push(NodeSoftware {
                name: one.name.clone(),
                node: Arc::clone(&one.made.node),
                software: Arc::clone(&one.made.packages),
            });
            before.push(old.clone());
        }
        for (one, rank) in placed.iter_mut().zip(fleet::ranks(&before, &after)) {
            one.rank = rank;
        }
        let id = model::wire::RolloutId(self.next_rollout);
        let waves = waves(&update.strategy, id, &placed);
        for (one, wave) in prepared.iter_mut().zip(waves) {
            one.wave = wave;
        }
    }

    /// What a node is to have after the update; `None`: it has no part in it.
    fn made_for(
        &mut self,
        name: &NodeName,
        update: &Update,
        image: Option<&ImageId>,
    ) -> Result<Option<Arc<Made>>, Error> {
        let Some(counting) = self.counting(name) else {
            return Ok(None);
        };
        let Counting {
            intent,
            characteristics,
            ..
        } = counting;
        if let Some(id) = update.back_from {
            let part = self.rollouts.get(&id).and_then(|one| one.parts().get(name));
            let Some(part) = part.filter(|part| part.begun) else {
                return Ok(None);
            };
            let before = part.base.zip(part.base_list);
            let Some((_, list)) = before else {
                let what = format!("{name} cannot go back: what it ran before is not known");
                return Err(Error::Conflict(what));
            };
            let order = self.packages_of(&list)?.to_vec();
            return Ok(Some(Arc::new(self.made(order, characteristics))));
        }
        let meant = meant(&intent, &update.packages, &update.remove);
        let current = self.current_ids(name);
        Ok(Some(self.make(
            meant,
            current,
            characteristics,
            image.cloned(),
        )))
    }

    /// The packages that a node says it runs, where it said so since.
    pub(super) fn current_ids(&self, name: &NodeName) -> Vec<PackageId> {
        let node = self.nodes.get(name);
        let have = node
            .filter(|node| !node.have_is_old)
            .and_then(|node| node.have.as_ref());
        have.map(|have| have.active.clone()).unwrap_or_default()
    }

    /// The list that gives what a node runs: one that was decided, or one that is made of what the
    /// node has; offered, so that it can go back to it.
    pub(super) fn base_list(&mut self, name: &NodeName) -> Result<Option<Digest>, Error> {
        let base = self.nodes.get(name).and_then(Node::software);
        let (Some(base), Some(counting)) = (base, self.counting(name)) else {
            return Ok(None);
        };
        if let Some(list) = self.documents.list_of(&base) {
            return Ok(Some(list));
        }
        let ids = self.current_ids(name);
        let known = ids.iter().map(|id| self.candidates.get(id).cloned());
        let Some(order) = known.collect::<Option<Vec<_>>>() else {
            return Ok(None);
        };
        let made = self.made(order, counting.characteristics);
        if made.software != base {
            return Ok(None);
        }
        self.offer(&made)?;
        Ok(Some(made.list))
    }
}

/// Why a node takes no part.
pub(super) fn left_out(node: &Node) -> Option<String> {
    if node.record.quarantined {
        return Some("two live links have its identity".to_owned());
    }
    let hold = node.installed.as_ref()?.hold.as_ref()?;
    let now = now_ms() / 1000;
    (hold.until > now).then(|| format!("held at the node: {}", hold.reason))
}
