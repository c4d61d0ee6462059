//! Composite images: kept in every version, and taken up by the update that names one.
//!
//! To import one touches nothing but the packages that are there to be chosen. What it says of
//! nodes and assignments counts from the moment that an update by it begins; a plan takes it up
//! only to look, and puts it back.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::envelope::{Image, ImageNode};
use model::wire::{Assignment, Facts, FleetName, ImageView, NodeName, Scope, Update};
use model::{PackageId, Version};

use super::documents::Candidates;
use super::node::Node;
use super::records::{self, ImageRecord, InUseRecord, NodeRecord};
use super::writes::Rank;
use super::{Engine, Error, Handle, now_ms, rfc3339};
use crate::audit::Note;
use crate::import::TakenImage;
use crate::plan::image as plan;

/// Names that are told of many.
const SHOWN: usize = 12;
/// Bytes that an `image.json` may have.
const MOST_DOCUMENT: u64 = 64 << 20;

/// An image: its name and its version.
pub(super) type ImageId = (FleetName, Version);

/// The images that the master has.
#[derive(Debug, Default)]
pub(super) struct Images {
    all: BTreeMap<ImageId, Kept>,
    /// Which version has its word among what is intended.
    pub(super) in_use: BTreeMap<FleetName, Version>,
}

#[derive(Debug)]
struct Kept {
    record: ImageRecord,
    image: Arc<Image>,
}

/// What was intended before an image was taken up.
pub(super) struct Before {
    id: ImageId,
    assignments: BTreeMap<Scope, Assignment>,
    nodes: Vec<(NodeName, NodeRecord)>,
    in_use: Option<Version>,
}

impl Handle {
    /// Every version of every image, by name.
    pub async fn images(&self) -> Result<Vec<ImageView>, Error> {
        self.ask(|engine| Ok(engine.image_views())).await
    }

    /// Takes an image away, `NAME=VERSION`, that no update has taken up last; its packages stay.
    pub async fn remove_image(&self, text: String, note: Note) -> Result<(), Error> {
        self.ask(move |engine| {
            let (name, version) = engine.remove_image(&text)?;
            let key = records::image(&name, &version);
            engine.pending.note(Rank::Head, key, note);
            Ok(())
        })
        .await
    }
}

impl Engine {
    /// From the store.
    pub(super) fn take_up_image(&mut self, record: ImageRecord) -> Result<(), Error> {
        let bytes = self.object(&record.document, record.size.min(MOST_DOCUMENT))?;
        let image: Image = serde_json::from_slice(&bytes).map_err(|source| Error::Object {
            what: format!("image {}", record.document),
            source,
        })?;
        let id = (image.name.clone(), image.version.clone());
        let image = Arc::new(image);
        self.images.all.insert(id, Kept { record, image });
        Ok(())
    }

    /// One version is one text.
    pub(super) fn may_take_image(&self, taken: TakenImage) -> Result<TakenImage, Error> {
        let id = (taken.image.name.clone(), taken.image.version.clone());
        let old = self.images.all.get(&id);
        if old.is_some_and(|old| old.record.document != taken.digest) {
            return Err(Error::Conflict(format!(
                "image {} {} is there already and says something else; give this one another version",
                id.0, id.1
            )));
        }
        Ok(taken)
    }

    /// The last small write of an import: with it the image can be seen.
    pub(super) fn keep_image(&mut self, taken: TakenImage, packages: Vec<PackageId>) {
        let id = (taken.image.name.clone(), taken.image.version.clone());
        let old = self.images.all.get(&id);
        let record = ImageRecord {
            document: taken.digest,
            size: taken.size,
            packages,
            imported_ms: old.map_or_else(now_ms, |old| old.record.imported_ms),
            signed_by: taken.signed_by,
        };
        self.pending
            .put(Rank::Head, records::image(&id.0, &id.1), &record);
        let image = Arc::new(taken.image);
        self.images.all.insert(id, Kept { record, image });
    }

    /// `NAME`, the newest, or `NAME=VERSION`.
    pub(super) fn image_id(&self, text: &str) -> Result<ImageId, Error> {
        let (name, version) = match text.split_once('=') {
            Some((name, version)) => (name, Some(version)),
            None => (text, None),
        };
        let is_meant = |(own, of): &&ImageId| {
            own.as_str() == name && version.is_none_or(|version| of.to_string() == version)
        };
        let found = self.images.all.keys().rfind(is_meant);
        found.cloned().ok_or_else(|| Error::no("image", &text))
    }

    pub(super) fn image(&self, id: &ImageId) -> Option<Arc<Image>> {
        self.images.all.get(id).map(|kept| Arc::clone(&kept.image))
    }

    /// An image that has the package.
    pub(super) fn image_with(&self, package: &PackageId) -> Option<String> {
        let mut all = self.images.all.iter();
        let found = all.find(|(_, kept)| kept.record.packages.contains(package));
        found.map(|((name, version), _)| format!("{name}={version}"))
    }

    /// The objects of all images: documents and boot images.
    pub(super) fn image_objects(&self) -> impl Iterator<Item = model::Digest> + '_ {
        self.images.all.values().flat_map(|kept| {
            let boot = kept.image.boot.iter().map(|one| one.object);
            boot.chain([kept.record.document])
        })
    }

    /// What an image is, and which of its nodes are not here yet.
    pub(super) fn image_notes(&self, id: &ImageId) -> Vec<String> {
        let Some(kept) = self.images.all.get(id) else {
            return Vec::new();
        };
        let packages = kept.record.packages.iter().map(PackageId::name_version);
        let mut notes = vec![format!("image {} {}: {}", id.0, id.1, shown(packages))];
        let boot = kept.image.boot.iter().map(|one| {
            let of = one.node_type.as_ref().map_or("any type", FleetName::as_str);
            format!("{} for {of} on {}", one.version, one.arch)
        });
        if !kept.image.boot.is_empty() {
            notes.push(format!("its boot images: {}", shown(boot)));
        }
        let missing = self.missing_of(&kept.image);
        if !missing.is_empty() {
            let names = shown(missing.iter().map(ToString::to_string));
            notes.push(format!(
                "nodes of the image that have not enrolled yet: {names}"
            ));
        }
        notes
    }

    /// Nodes that an image names and that are not in the fleet.
    pub(super) fn missing_of(&self, image: &Image) -> Vec<NodeName> {
        let here = |one: &&ImageNode| self.nodes.get(&one.name).is_some_and(Node::is_member);
        let missing = image.nodes.iter().filter(|one| !here(one));
        missing.map(|one| one.name.clone()).collect()
    }

    /// Of names that the image has, only its versions and those that somebody asks for.
    pub(super) fn shelf_of_image(
        &self,
        id: &ImageId,
        shelf: &Candidates,
        meant: &[model::change::PackageRef],
    ) -> Arc<Candidates> {
        let packages = self.images.all.get(id).map(|kept| &kept.record.packages);
        let packages = packages.into_iter().flatten().collect::<Vec<_>>();
        let counts = |one: &&resolve::Package| {
            let asked =
                |of: &model::change::PackageRef| of.version.is_some() && one.is_meant_by(of);
            packages.contains(&&one.id)
                || !packages.iter().any(|own| own.name == one.id.name)
                || meant.iter().any(asked)
        };
        Arc::new(Candidates::new(shelf.iter().filter(counts).cloned()))
    }

    /// What the update's image says of nodes and assignments counts from now on; what counted
    /// before, to be put back.
    pub(super) fn take_up_words(&mut self, update: &Update) -> Result<Option<Before>, Error> {
        let Some(text) = &update.image else {
            return Ok(None);
        };
        let id = self.image_id(text)?;
        let in_use = self.images.in_use.get(&id.0).cloned();
        let words = |id: &ImageId| {
            let kept = self.images.all.get(id);
            kept.map(|kept| plan::pinned(&kept.image, &kept.record.packages))
                .unwrap_or_default()
        };
        let old = in_use
            .clone()
            .map(|version| words(&(id.0.clone(), version)));
        let new = plan::assignments(&self.assignments, &old.unwrap_or_default(), &words(&id));
        let image = self.image(&id);
        let assignments = std::mem::replace(&mut self.assignments, new);
        let mut nodes = Vec::new();
        for one in image.iter().flat_map(|image| &image.nodes) {
            if let Some(node) = self.nodes.get_mut(&one.name) {
                nodes.push((one.name.clone(), node.record.clone()));
                say(&mut node.record, one);
            }
        }
        self.images.in_use.insert(id.0.clone(), id.1.clone());
        Ok(Some(Before {
            id,
            assignments,
            nodes,
            in_use,
        }))
    }

    /// As if the image had not been taken up.
    pub(super) fn put_back(&mut self, before: Option<Before>) {
        let Some(before) = before else {
            return;
        };
        self.assignments = before.assignments;
        for (name, record) in before.nodes {
            if let Some(node) = self.nodes.get_mut(&name) {
                node.record = record;
            }
        }
        match before.in_use {
            Some(version) => self.images.in_use.insert(before.id.0, version),
            None => self.images.in_use.remove(&before.id.0),
        };
    }

    /// It was taken up: that is stored.
    pub(super) fn keep_words(&mut self, before: Option<Before>) {
        let Some(before) = before else {
            return;
        };
        for (scope, assignment) in &self.assignments {
            if before.assignments.get(scope) != Some(assignment) {
                self.pending
                    .put(Rank::Plain, records::assign(scope), assignment);
            }
        }
        for scope in before.assignments.keys() {
            if !self.assignments.contains_key(scope) {
                self.pending.delete(Rank::Plain, records::assign(scope));
            }
        }
        for (name, _) in &before.nodes {
            self.keep_node(name);
        }
        let (name, version) = before.id;
        let key = records::image_in_use(&name);
        self.pending.put(Rank::Plain, key, &InUseRecord { version });
    }

    /// A node that comes for the first time is what the images in use say.
    pub(super) fn foretell(&mut self, name: &NodeName, facts: &Facts) {
        if self.nodes.contains_key(name) {
            return;
        }
        let in_use = self.images.in_use.iter();
        let used = in_use
            .filter_map(|(name, version)| self.images.all.get(&(name.clone(), version.clone())));
        let mut words =
            used.flat_map(|kept| kept.image.nodes.iter().filter(|one| one.name == *name));
        let Some(words) = words.next() else {
            return;
        };
        let mut node = Node::new(name.clone(), facts.clone());
        say(&mut node.record, words);
        self.nodes.insert(name.clone(), node);
        self.keep_node(name);
    }

    fn remove_image(&mut self, text: &str) -> Result<ImageId, Error> {
        if !text.contains('=') {
            return Err(Error::Invalid(format!(
                "{text} is every version of it: which one? {text}=VERSION"
            )));
        }
        let id = self.image_id(text)?;
        if self.images.in_use.get(&id.0) == Some(&id.1) {
            return Err(Error::Conflict(format!(
                "{text} stays: it says what nodes are assigned; take up another version first"
            )));
        }
        self.images.all.remove(&id);
        self.documents.forget_made();
        self.pending
            .delete(Rank::Head, records::image(&id.0, &id.1));
        Ok(id)
    }

    fn image_views(&self) -> Vec<ImageView> {
        let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let view = |((name, version), kept): (&ImageId, &Kept)| ImageView {
            name: name.clone(),
            version: version.clone(),
            summary: kept.image.summary.clone(),
            document: kept.record.document,
            packages: kept.record.packages.clone(),
            boot: kept.image.boot.clone(),
            nodes: count(kept.image.nodes.len()),
            assignments: count(kept.image.assign.len()),
            imported: rfc3339(kept.record.imported_ms),
            signed_by: kept
                .record
                .signed_by
                .iter()
                .map(ToString::to_string)
                .collect(),
            in_use: self.images.in_use.get(name) == Some(version),
        };
        self.images.all.iter().map(view).collect()
    }
}

/// What an image says of a node.
fn say(record: &mut NodeRecord, words: &ImageNode) {
    record.node_type = words.node_type.clone().or(record.node_type.take());
    record.location = words.location.clone().or(record.location.take());
    record.classes.clone_from(&words.classes);
    record.labels.extend(words.labels.clone());
}

/// The first of them, and how many more there are.
fn shown(all: impl Iterator<Item = String>) -> String {
    let all: Vec<String> = all.collect();
    let more = all.len().saturating_sub(SHOWN);
    let first: Vec<&str> = all.iter().take(SHOWN).map(String::as_str).collect();
    match more {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}
