//! Packages in the store: read from an envelope, all of them or none.
//!
//! Every package is judged before a byte of an object is read. Then objects, then manifests, one
//! `syncfs` for both, and the database's rows last: a package is in the store when its row is.

pub mod parts;

use std::collections::HashMap;
use std::io::{self, BufReader, Read, Write};
use std::path::PathBuf;

use model::Digest;
use model::change::AddedPackage;
use model::elf::{ElfFacts, Examined};
use model::envelope::{Limits, ReadPackage, Reader};
use model::manifest::{Manifest, Node, RegularFile};
use model::trust::Admitted;
use model::{PackageId, Signature, fault};

use super::clock::Time;
use super::db::{Db, PackageRow};
use super::objects::{Key, Objects, Spec};
use super::setup::accounts::Accounts;
use super::trust::Gate;
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
    (gate, envelope): (&Gate, impl Read),
    told: Told<'_>,
) -> Result<Vec<AddedPackage>, Error> {
    let reader = Reader::open(
        BufReader::with_capacity(1 << 20, envelope),
        Limits::default(),
    )?;
    let admitted = reader
        .packages()
        .iter()
        .map(|package| gate.admit(package))
        .collect::<Result<_, _>>()?;
    // Somebody's own package is there to stay.
    let objects = &objects.on_disk();
    let mut adding = Adding {
        objects,
        accounts,
        gate,
        admitted,
        loaded: None,
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
    /// What the manifests say of its bytes.
    signature: Signature,
    elf: Option<Box<ElfFacts>>,
    /// Whose words these are, for the refusal.
    named_by: String,
    /// Whether a package says so that the store lacks.
    new: bool,
    specs: Vec<Spec>,
}

impl Awaited {
    /// Refuses a manifest that says of the bytes what they are not.
    fn hold_against(&self, found: &Examined) -> Result<(), Error> {
        match model::elf::contradiction(self.signature, self.elf.as_deref(), found) {
            None => Ok(()),
            Some(lie) => Err(Error::Refused(format!(
                "{} {lie}: the manifest is wrong; build the package again",
                self.named_by
            ))),
        }
    }
}

struct Adding<'a> {
    objects: &'a Objects,
    accounts: Accounts,
    gate: &'a Gate,
    /// On whose word each package comes, in the envelope's order.
    admitted: Vec<Admitted>,
    /// In which boot they are in memory only.
    loaded: Option<&'a str>,
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
        let mut awaited = awaited(reader.packages())?;
        mark_new(&mut awaited, reader.packages(), db)?;
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
        self.keep(reader.packages(), db)
    }

    /// The objects are there: manifests, one sync for both, and the rows.
    fn keep(&mut self, packages: &[ReadPackage], db: &mut Db) -> Result<Vec<AddedPackage>, Error> {
        let rows = self.keep_manifests(packages, db)?;
        self.objects.sync()?;
        db.insert_packages(&rows, self.loaded)?;
        let answer = |package: &ReadPackage| {
            Ok(AddedPackage {
                package: package.id.name_version(),
                id: package.id.clone(),
                new: rows.iter().any(|row| row.id == package.id),
                admitted: db.admitted(&package.id)?,
            })
        };
        packages.iter().map(answer).collect()
    }

    /// Where the store has the bytes with another mode or owner, they need not come again.
    fn copies_of_known(&mut self, awaited: &HashMap<Digest, Awaited>) -> Result<(), Error> {
        for one in awaited.values() {
            let known = one.specs.iter().find(|spec| self.objects.has(spec.key()));
            if let Some(known) = known {
                let from = self.objects.path(known.key());
                let what = || format!("read object {}", known.digest);
                if one.new {
                    let file = fs_err::File::open(&from).doing(what)?;
                    one.hold_against(&examine_file(&file, known.digest).doing(what)?)?;
                }
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
        let examined = if size <= SMALL {
            let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
            let mut object = object;
            object.read_to_end(&mut bytes).map_err(from_envelope)?;
            fs_err::write(&temporary, &bytes).doing(|| format!("write object {digest}"))?;
            model::elf::examine(&bytes, digest)
        } else {
            write_large(object, &temporary, digest)?;
            let what = || format!("read object {digest} back");
            let file = fs_err::File::open(&temporary).doing(what)?;
            examine_file(&file, digest).doing(what)?
        };
        awaited.hold_against(&examined)?;
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

    /// Writes the manifests of packages that the store lacks; answers their rows.
    fn keep_manifests(
        &mut self,
        packages: &[ReadPackage],
        db: &mut Db,
    ) -> Result<Vec<PackageRow>, Error> {
        let mut fresh = Vec::new();
        for (package, admitted) in packages.iter().zip(std::mem::take(&mut self.admitted)) {
            let is_here = db.has_package(&package.id)?;
            if is_here && (self.loaded.is_some() || !db.is_loaded(&package.id)?) {
                self.again(package, &admitted, db)?;
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
            fresh.push(row(package, admitted));
        }
        Ok(fresh)
    }

    /// A package that the store has may come with other signatures: that is how keys are changed.
    fn again(&self, package: &ReadPackage, admitted: &Admitted, db: &mut Db) -> Result<(), Error> {
        let old = db.admitted(&package.id)?;
        if old.as_ref() == Some(admitted) || !self.gate.replaces(admitted, old.as_ref()) {
            return Ok(());
        }
        let directory = self.objects.package(&package.id);
        let what = || format!("keep the signature of {}", package.id);
        let stored = fs_err::read(directory.join("manifest.json")).doing(what)?;
        if stored != package.bytes {
            return Err(Error::Refused(format!(
                "{} has the identity of another package in the store: remove that first",
                package.id
            )));
        }
        let (now, new) = (
            directory.join("manifest.json.sig"),
            directory.join("manifest.json.sig.new"),
        );
        let bytes = package.signature.as_deref().unwrap_or_default();
        fs_err::write(&new, bytes).doing(what)?;
        fs_err::rename(&new, &now).doing(what)?;
        db.set_admitted(&package.id, admitted)
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
                elf: file.elf.clone(),
                named_by: named_by(),
                new: false,
                specs: Vec::new(),
            });
            if one.signature != file.signature || one.elf != file.elf {
                return Err(Error::Refused(format!(
                    "{} and {} have the same bytes but claim different things of them: a manifest \
                     is wrong; build the packages again",
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

/// Marks what packages that the store lacks say: their words must be held against bytes that it has.
fn mark_new(
    awaited: &mut HashMap<Digest, Awaited>,
    packages: &[ReadPackage],
    db: &Db,
) -> Result<(), Error> {
    for package in packages {
        if !db.has_package(&package.id)? {
            for (spec, _) in regular(&package.manifest) {
                if let Some(one) = awaited.get_mut(&spec.digest) {
                    one.new = true;
                }
            }
        }
    }
    Ok(())
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

fn examine_file(file: &fs_err::File, digest: Digest) -> io::Result<Examined> {
    model::elf::examine_file(file.file(), digest)
}

fn row(package: &ReadPackage, admitted: Admitted) -> PackageRow {
    PackageRow {
        id: package.id.clone(),
        summary: package.manifest.summary.clone(),
        size: size(&package.manifest),
        added: Time::now(),
        admitted: Some(admitted),
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
    let path = objects.package(id).join("manifest.json");
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
    for directory in objects.all_packages() {
        sweep_one(&directory, known)?;
    }
    Ok(())
}

fn sweep_one(directory: &std::path::Path, known: &[PackageId]) -> Result<(), Error> {
    let what = || "sweep the store".to_owned();
    for entry in fs_err::read_dir(directory).doing(what)? {
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
    let directory = objects.package(id);
    let what = || format!("remove {id} from the store");
    fault::before("remove a manifest").doing(what)?;
    fs_err::remove_dir_all(directory).doing(what)?;
    fault::after("remove a manifest");
    Ok(())
}
