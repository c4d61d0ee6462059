//! Software lists: made, put onto the shelf, offered, and found again by what they give.

use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::sync::Arc;

use model::change::PackageRef;
use model::wire::{Listed, SoftwareList};
use model::{Digest, Manifest, PackageId};
use resolve::{Characteristics, Package, deps, fleet};

use super::images::ImageId;
use super::records::PackageRecord;
use super::{Engine, Error};
use crate::import;
use crate::plan::select::{self, Software};

/// Bytes that a software list may have.
const MOST_LIST: u64 = 64 << 20;

/// What is known of software lists.
#[derive(Debug, Default)]
pub(super) struct Documents {
    /// From software hashes to a list that gives them.
    lists: HashMap<Digest, Digest>,
    /// Offered to nodes since the master started.
    offered: HashSet<Digest>,
    /// Packages of lists.
    packages: HashMap<Digest, Arc<[Package]>>,
    /// What is meant gives on nodes of a kind: most nodes are like others.
    made: HashMap<Kind, Arc<Made>>,
    /// What each architecture can run.
    shelves: HashMap<String, Arc<Candidates>>,
}

/// What is meant, on a node that runs this and is this, by which image.
type Kind = (
    Vec<PackageRef>,
    Vec<PackageId>,
    Characteristics,
    Option<ImageId>,
);

/// What a set gives on a node.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) node: Arc<Characteristics>,
    pub(super) packages: Arc<[Package]>,
    pub(super) document: SoftwareList,
    pub(super) list: Digest,
    pub(super) software: Digest,
    /// What was asked for and the master does not have.
    pub(super) unknown: Vec<PackageRef>,
}

impl Documents {
    pub(super) fn learn(&mut self, software: Digest, list: Digest) {
        self.lists.insert(software, list);
    }

    pub(super) fn list_of(&self, software: &Digest) -> Option<Digest> {
        self.lists.get(software).copied()
    }

    /// The lists that were withdrawn are offered anew where they are needed again.
    pub(super) fn withdrawn(&mut self, lists: &HashSet<Digest>) {
        self.offered.retain(|list| !lists.contains(list));
        self.packages.retain(|list, _| !lists.contains(list));
        self.lists.retain(|_, list| !lists.contains(list));
        self.made.clear();
    }

    /// Packages came or went: what is meant may be something else.
    pub(super) fn forget_made(&mut self) {
        self.made.clear();
        self.shelves.clear();
    }
}

/// A package as a software list has it.
fn listed(record: &PackageRecord) -> Listed {
    Listed {
        id: record.id.clone(),
        manifest: record.manifest,
        signatures: record.signatures.clone(),
    }
}

/// A list's exact bytes, whose digest is its identity.
fn bytes_of(list: &SoftwareList) -> Vec<u8> {
    // Our own type: it can be written down.
    serde_json::to_vec(list).unwrap_or_default()
}

impl Engine {
    /// A package's manifest from the shelf of objects, taken among those that sets are made of.
    pub(super) fn take_up(&mut self, record: &PackageRecord) -> Result<(), Error> {
        let bytes = self.object(&record.manifest, record.manifest_size)?;
        let manifest: Manifest =
            serde_json::from_slice(&bytes).map_err(|source| Error::Object {
                what: format!("manifest of {}", record.id),
                source,
            })?;
        self.candidates
            .put(Package::new(record.id.clone(), Arc::new(manifest)));
        Ok(())
    }

    pub(super) fn object(&self, digest: &Digest, most: u64) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        let read = self.shelf.read(digest)?.take(most).read_to_end(&mut bytes);
        read.map_err(|source| import::Error::Io {
            doing: "read an object of the shelf",
            source,
        })?;
        Ok(bytes)
    }

    /// The packages of a software list.
    pub(super) fn packages_of(&mut self, list: &Digest) -> Result<Arc<[Package]>, Error> {
        if let Some(packages) = self.documents.packages.get(list) {
            return Ok(Arc::clone(packages));
        }
        let bytes = self.object(list, MOST_LIST)?;
        let document: SoftwareList =
            serde_json::from_slice(&bytes).map_err(|source| Error::Object {
                what: format!("software list {list}"),
                source,
            })?;
        let one = |listed: &Listed| {
            let found = self.candidates.get(&listed.id);
            found
                .cloned()
                .ok_or_else(|| Error::no("package", &listed.id))
        };
        let packages: Arc<[Package]> = document
            .packages
            .iter()
            .map(one)
            .collect::<Result<_, _>>()?;
        self.documents.packages.insert(*list, Arc::clone(&packages));
        Ok(packages)
    }

    /// What is meant by these, front first, gives on a node of this kind that runs `current`; of
    /// names that an image has, only its versions count, but for those that somebody asks for.
    pub(super) fn make(
        &mut self,
        meant: Vec<PackageRef>,
        current: Vec<PackageId>,
        node: Characteristics,
        image: Option<ImageId>,
    ) -> Arc<Made> {
        let key = (meant, current, node, image);
        if let Some(made) = self.documents.made.get(&key) {
            return Arc::clone(made);
        }
        let current: Vec<Package> = key
            .1
            .iter()
            .filter_map(|id| self.candidates.get(id).cloned())
            .collect();
        let shelf = self.shelf_for(&key.2);
        let shelf = match &key.3 {
            Some(image) => self.shelf_of_image(image, &shelf, &key.0),
            None => shelf,
        };
        let Software { ordered, hash } = select::software(&key.0, &current, &shelf, &key.2);
        let made = self.made_of(ordered.order, hash, key.2.clone());
        let made = Arc::new(Made {
            unknown: ordered.unknown,
            ..made
        });
        self.documents.made.insert(key, Arc::clone(&made));
        made
    }

    fn shelf_for(&mut self, node: &Characteristics) -> Arc<Candidates> {
        let shelves = &mut self.documents.shelves;
        let shelf = shelves
            .entry(node.arch.clone())
            .or_insert_with(|| Arc::new(fleet::shelf_for(&self.candidates, node)));
        Arc::clone(shelf)
    }

    /// Exactly these packages, in this order, on a node of this kind.
    pub(super) fn made(&mut self, order: Vec<Package>, node: Characteristics) -> Made {
        let software = fleet::software_hash(&order, &node);
        self.made_of(order, software, node)
    }

    fn made_of(&mut self, order: Vec<Package>, software: Digest, node: Characteristics) -> Made {
        let records = order.iter().filter_map(|one| self.packages.get(&one.id));
        let document = SoftwareList {
            packages: records.map(listed).collect(),
        };
        let list = Digest::of(&bytes_of(&document));
        let packages: Arc<[Package]> = order.into();
        self.documents.packages.insert(list, Arc::clone(&packages));
        Made {
            node: Arc::new(node),
            packages,
            document,
            list,
            software,
            unknown: Vec::new(),
        }
    }

    /// Puts a list onto the shelf and offers it with all that a node may need of it. Nothing is
    /// done twice while the master runs.
    pub(super) fn offer(&mut self, made: &Made) -> Result<(), Error> {
        self.documents.learn(made.software, made.list);
        if self.documents.offered.contains(&made.list) {
            return Ok(());
        }
        let shelf = Arc::clone(&self.shelf);
        tokio::task::block_in_place(|| {
            let bytes = bytes_of(&made.document);
            let mut batch = shelf.begin();
            batch.put(&made.list, bytes.len() as u64, &bytes[..])?;
            batch.finish()?;
            let mut seen = HashSet::from([made.list]);
            let mut objects = vec![made.list];
            let manifests = made.document.packages.iter().map(|one| one.manifest);
            let of_files = made.packages.iter();
            let of_files =
                of_files.flat_map(|one| import::objects(&one.manifest).map(|(digest, _)| digest));
            objects.extend(manifests.chain(of_files).filter(|one| seen.insert(*one)));
            shelf.publish(&made.list, &objects)
        })?;
        self.documents.offered.insert(made.list);
        Ok(())
    }
}

/// Whether a set meets its own dependencies is the whole fleet's check; this is only the shelf type
/// that it takes.
pub(super) type Candidates = deps::Shelf;

impl Engine {
    /// `NAME=VERSION` of a list's packages, where the list was used since the master started.
    pub(super) fn known_packages_of(&self, list: &Digest) -> Option<Vec<String>> {
        let packages = self.documents.packages.get(list)?;
        Some(packages.iter().map(|one| one.id.name_version()).collect())
    }
}
