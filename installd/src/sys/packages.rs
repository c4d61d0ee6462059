//! Packages in the store: read from an envelope, all of them or none.
//!
//! Objects first, then manifests, one `syncfs` for both, and the database's rows last: a package
//! is in the store when its row is.

use std::collections::HashMap;
use std::io::{self, BufReader, Read, Write};
use std::path::PathBuf;

use model::Digest;
use model::change::AddedPackage;
use model::envelope::{Limits, ReadPackage, Reader};
use model::manifest::{Manifest, Node, RegularFile};
use model::{PackageId, Signature, fault};

use super::clock::Time;
use super::db::{Db, PackageRow};
use super::objects::{Key, Objects, Spec};
use super::setup::accounts::Accounts;
use super::{Doing, Error};

/// Objects up to this size are looked at in memory before they are written.
const SMALL: u64 = 4 << 20;

/// Tells how far an `add` is: bytes of objects done, and in all.
pub type Told<'a> = &'a mut dyn FnMut(u64, u64);

/// Reads an envelope into the store.
///
/// # Errors
/// [`Error::Envelope`] and [`Error::Refused`] for what the envelope did wrong; the store is then
/// as it was before.
pub fn add(
    objects: &Objects,
    db: &mut Db,
    accounts: Accounts,
    envelope: impl Read,
    told: Told<'_>,
) -> Result<Vec<AddedPackage>, Error> {
    let reader = Reader::open(
        BufReader::with_capacity(1 << 20, envelope),
        Limits::default(),
    )?;
    let mut adding = Adding {
        objects,
        accounts,
        placed: Vec::new(),
        manifests: Vec::new(),
    };
    let added = adding.run(reader, db, told);
    if added.is_err() {
        adding.take_back();
    }
    added
}

/// One object's part in the packages that are being added.
struct Awaited {
    signature: Signature,
    /// Whose signature it is, for the refusal.
    named_by: String,
    specs: Vec<Spec>,
}

struct Adding<'a> {
    objects: &'a Objects,
    accounts: Accounts,
    /// What was not there before, to be removed again should it fail.
    placed: Vec<Key>,
    manifests: Vec<PathBuf>,
}

impl Adding<'_> {
    fn run<R: Read>(
        &mut self,
        mut reader: Reader<R>,
        db: &mut Db,
        told: Told<'_>,
    ) -> Result<Vec<AddedPackage>, Error> {
        let awaited = awaited(reader.packages())?;
        self.copies_of_known(&awaited)?;
        let objects = self.objects;
        let present = |one: &Awaited| one.specs.iter().all(|spec| objects.has(spec.key()));
        reader.already_has(|digest| awaited.get(digest).is_some_and(present));
        let total = reader.objects().map(|(_, size)| size).sum();
        let mut done = 0;
        told(done, total);
        while let Some(object) = reader.next_object()? {
            let (digest, size) = (object.digest(), object.size());
            let awaited = awaited.get(&digest).ok_or_else(|| {
                Error::Refused(format!(
                    "object {digest} belongs to no file of the envelope"
                ))
            })?;
            self.object(object, awaited, digest, size)?;
            done += size;
            told(done, total);
        }
        let packages = reader.packages();
        let fresh = self.keep_manifests(packages, db)?;
        self.objects.sync()?;
        let rows: Vec<PackageRow> = fresh.iter().map(|package| row(package)).collect();
        db.insert_packages(&rows)?;
        let answer = |package: &ReadPackage| AddedPackage {
            package: package.id.name_version(),
            id: package.id.clone(),
            new: rows.iter().any(|row| row.id == package.id),
        };
        Ok(packages.iter().map(answer).collect())
    }

    /// Where the store has the bytes with another mode or owner, they need not come again.
    fn copies_of_known(&mut self, awaited: &HashMap<Digest, Awaited>) -> Result<(), Error> {
        for one in awaited.values() {
            let known = one.specs.iter().find(|spec| self.objects.has(spec.key()));
            if let Some(known) = known {
                let from = self.objects.path(known.key());
                self.copies(&from, &one.specs)?;
            }
        }
        Ok(())
    }

    fn object(
        &mut self,
        object: impl Read,
        awaited: &Awaited,
        digest: Digest,
        size: u64,
    ) -> Result<(), Error> {
        let temporary = self.objects.temporary().join("object");
        fault::before("write an object").doing(|| format!("write object {digest}"))?;
        let signature = if size <= SMALL {
            let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
            let mut object = object;
            object.read_to_end(&mut bytes).map_err(from_envelope)?;
            let signature = model::elf::signature(&bytes, digest);
            fs_err::write(&temporary, &bytes).doing(|| format!("write object {digest}"))?;
            signature
        } else {
            write_large(object, &temporary, digest)?;
            let what = || format!("read object {digest} back");
            let file = fs_err::File::open(&temporary).doing(what)?;
            model::elf::examine_file(file.file(), digest)
                .doing(what)?
                .signature
        };
        if signature != awaited.signature {
            return Err(Error::Refused(format!(
                "{} says that its signature is {}, but its bytes give {signature}: the manifest is \
                 wrong; build the package again",
                awaited.named_by, awaited.signature
            )));
        }
        let first = awaited.specs.first().ok_or_else(|| {
            Error::Refused(format!(
                "object {digest} belongs to no file of the envelope"
            ))
        })?;
        if self.objects.place(&temporary, first, &self.accounts)? {
            self.placed.push(first.key());
        }
        let from = self.objects.path(first.key());
        self.copies(&from, &awaited.specs)
    }

    /// An object of its own for each further mode, owner or capability.
    fn copies(&mut self, from: &std::path::Path, specs: &[Spec]) -> Result<(), Error> {
        for spec in specs.iter().filter(|spec| !self.objects.has(spec.key())) {
            let temporary = self.objects.temporary().join("copy");
            fault::before("copy an object").doing(|| format!("copy object {}", spec.digest))?;
            fs_err::copy(from, &temporary).doing(|| format!("copy object {}", spec.digest))?;
            if self.objects.place(&temporary, spec, &self.accounts)? {
                self.placed.push(spec.key());
            }
        }
        Ok(())
    }

    /// Writes the manifests of packages that the store lacks; answers those.
    fn keep_manifests<'p>(
        &mut self,
        packages: &'p [ReadPackage],
        db: &Db,
    ) -> Result<Vec<&'p ReadPackage>, Error> {
        let mut fresh = Vec::new();
        for package in packages {
            if db.has_package(&package.id)? {
                continue;
            }
            let directory = self.objects.packages().join(package.id.to_string());
            let what = || format!("keep the manifest of {}", package.id);
            if directory.exists() {
                fs_err::remove_dir_all(&directory).doing(what)?;
            }
            self.manifests.push(directory.clone());
            fs_err::create_dir(&directory).doing(what)?;
            fault::before("write a manifest").doing(what)?;
            fs_err::write(directory.join("manifest.json"), &package.bytes).doing(what)?;
            fault::after("write a manifest");
            if let Some(signature) = &package.signature {
                fs_err::write(directory.join("manifest.json.sig"), signature).doing(what)?;
            }
            fresh.push(package);
        }
        Ok(fresh)
    }

    /// Leaves the store as it was. What cannot be removed is swept at the next start.
    fn take_back(&mut self) {
        for key in self.placed.drain(..) {
            if let Err(error) = self.objects.remove(key) {
                tracing::warn!(error = %model::report::Chain(&error), "object left behind");
            }
        }
        for directory in self.manifests.drain(..) {
            drop(fs_err::remove_dir_all(directory));
        }
        for name in ["object", "copy"] {
            drop(fs_err::remove_file(self.objects.temporary().join(name)));
        }
    }
}

/// Every object of the packages, with the inodes that are made of it.
fn awaited(packages: &[ReadPackage]) -> Result<HashMap<Digest, Awaited>, Error> {
    let mut all: HashMap<Digest, Awaited> = HashMap::new();
    for package in packages {
        for entry in &package.manifest.files {
            let Node::File(file) = &entry.node else {
                continue;
            };
            let named_by = || format!("{} of {}", entry.path, package.id.name_version());
            let one = all.entry(file.digest).or_insert_with(|| Awaited {
                signature: file.signature,
                named_by: named_by(),
                specs: Vec::new(),
            });
            if one.signature != file.signature {
                return Err(Error::Refused(format!(
                    "{} and {} have the same bytes but claim different signatures: a manifest is \
                     wrong; build the packages again",
                    one.named_by,
                    named_by()
                )));
            }
            let spec = Spec::of(entry, file);
            if !one.specs.contains(&spec) {
                one.specs.push(spec);
            }
        }
    }
    Ok(all)
}

fn write_large(mut object: impl Read, path: &std::path::Path, digest: Digest) -> Result<(), Error> {
    let what = || format!("write object {digest}");
    let mut file = fs_err::File::create(path).doing(what)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = object.read(&mut buffer).map_err(from_envelope)?;
        let Some(part) = buffer.get(..count).filter(|part| !part.is_empty()) else {
            break;
        };
        file.write_all(part).doing(what)?;
    }
    Ok(())
}

fn from_envelope(error: io::Error) -> Error {
    model::envelope::ReadError::from_io(error).into()
}

fn row(package: &ReadPackage) -> PackageRow {
    PackageRow {
        id: package.id.clone(),
        summary: package.manifest.summary.clone(),
        size: size(&package.manifest),
        added: Time::now(),
    }
}

/// Bytes of all files of a package.
pub fn size(manifest: &Manifest) -> u64 {
    regular(manifest).map(|(_, file)| file.size).sum()
}

/// The regular files of a package, each with the object that stands there.
pub fn regular(manifest: &Manifest) -> impl Iterator<Item = (Spec, &RegularFile)> {
    manifest.files.iter().filter_map(|entry| match &entry.node {
        Node::File(file) => Some((Spec::of(entry, file), &**file)),
        Node::Link { .. } | Node::Directory => None,
    })
}

/// The manifest of a stored package.
///
/// # Errors
/// [`Error::Damaged`] where the bytes are not those that its identity was made of.
pub fn manifest(objects: &Objects, id: &PackageId) -> Result<Manifest, Error> {
    let path = objects
        .packages()
        .join(id.to_string())
        .join("manifest.json");
    let bytes = fs_err::read(&path).doing(|| format!("read the manifest of {id}"))?;
    let manifest: Option<Manifest> = serde_json::from_slice(&bytes).ok();
    manifest
        .filter(|manifest| manifest.id(&bytes) == *id)
        .ok_or_else(|| {
            Error::Damaged(format!(
                "{} is not the manifest that was stored: add {} again",
                path.display(),
                id.name_version()
            ))
        })
}

/// Removes the manifests of packages that have no row: an `add` was killed before its end.
pub fn sweep(objects: &Objects, known: &[PackageId]) -> Result<(), Error> {
    let what = || "sweep the store".to_owned();
    for entry in fs_err::read_dir(objects.packages()).doing(what)? {
        let entry = entry.doing(what)?;
        let id = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<PackageId>().ok());
        if !id.is_some_and(|id| known.contains(&id)) {
            fault::before("sweep a manifest").doing(what)?;
            fs_err::remove_dir_all(entry.path()).doing(what)?;
        }
    }
    Ok(())
}

/// Forgets a package: its row first, so that a kill leaves nothing half there.
pub fn remove(objects: &Objects, db: &mut Db, id: &PackageId) -> Result<(), Error> {
    db.delete_package(id)?;
    let directory = objects.packages().join(id.to_string());
    let what = || format!("remove {id} from the store");
    fault::before("remove a manifest").doing(what)?;
    fs_err::remove_dir_all(directory).doing(what)?;
    fault::after("remove a manifest");
    Ok(())
}
