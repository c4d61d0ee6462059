//! Packages from parts: manifests with their signatures, and objects that lie in a spool or are in
//! the store already. Judged, held against their bytes, and made durable as those of an envelope.

use std::collections::HashSet;
use std::io::Read;
use std::path::PathBuf;

use model::Digest;
use model::change::AddedPackage;
use model::envelope::{Limits, ReadPackage};
use model::manifest::{self, Manifest};

use super::{Adding, Awaited, Told, awaited, mark_new, regular};
use crate::sys::db::Db;
use crate::sys::objects::Objects;
use crate::sys::setup::accounts::Accounts;
use crate::sys::trust::Gate;
use crate::sys::{Doing, Error};

/// What packages are put together from.
#[derive(Debug, Clone)]
pub struct Parts {
    /// Read by [`read`].
    pub packages: Vec<ReadPackage>,
    /// A directory with a file for each object, named by its hash; nothing is believed of them.
    pub spool: PathBuf,
    /// They are put into memory, for this boot, and never onto the disk.
    pub loaded: Option<String>,
}

/// A package from the bytes of its manifest, with the checks of an envelope's.
///
/// # Errors
/// [`Error::Refused`] where they are no manifest, or one that is against the rules.
pub fn read(bytes: Vec<u8>, signature: Option<Vec<u8>>) -> Result<ReadPackage, Error> {
    let limits = Limits::default();
    let too_long = |one: usize, most: u64| u64::try_from(one).is_ok_and(|one| one > most);
    let long_signature = signature.as_ref().is_some_and(|one| {
        // A signature is a few lines.
        too_long(one.len(), limits.signature)
    });
    if too_long(bytes.len(), limits.manifest) || long_signature {
        return Err(Error::Refused(
            "a manifest or a signature is longer than any may be".to_owned(),
        ));
    }
    let manifest: Manifest = serde_json::from_slice(&bytes)
        .map_err(|error| Error::Refused(format!("what came as a manifest is none: {error}")))?;
    let id = manifest.id(&bytes);
    let problems = manifest::check(&manifest);
    if let Some(first) = problems.first() {
        return Err(Error::Refused(format!(
            "the manifest of {id} is against the rules: {first}"
        )));
    }
    Ok(ReadPackage {
        id,
        manifest,
        bytes,
        signature,
    })
}

/// Objects that the store has in no form that a package of these could be made of, each once with
/// its plain size.
pub fn lacking(objects: &Objects, packages: &[ReadPackage]) -> Vec<(Digest, u64)> {
    let all = || packages.iter().flat_map(|one| regular(&one.manifest));
    let there: HashSet<Digest> = all()
        .filter(|(spec, _)| objects.has(spec.key()))
        .map(|(spec, _)| spec.digest)
        .collect();
    let mut seen = HashSet::new();
    let missing = all().filter(|(spec, _)| !there.contains(&spec.digest));
    missing
        .filter(|(spec, _)| seen.insert(spec.digest))
        .map(|(spec, file)| (spec.digest, file.size))
        .collect()
}

/// The store as packages are to be put into it.
pub fn meant(objects: &Objects, loaded: bool) -> Objects {
    if loaded {
        objects.loading()
    } else {
        objects.on_disk()
    }
}

/// Takes packages into the store: all of them, or none.
///
/// # Errors
/// [`Error::Refused`] for packages that nobody vouches for and objects that are not what their
/// manifests say; the store is then as it was before.
pub fn add(
    objects: &Objects,
    db: &mut Db,
    accounts: Accounts,
    (gate, parts): (&Gate, &Parts),
    told: Told<'_>,
) -> Result<Vec<AddedPackage>, Error> {
    let admitted = parts.packages.iter().map(|package| gate.admit(package));
    let admitted = admitted.collect::<Result<_, _>>()?;
    let objects = &meant(objects, parts.loaded.is_some());
    let mut adding = Adding {
        objects,
        accounts,
        gate,
        admitted,
        loaded: parts.loaded.as_deref(),
        placed: Vec::new(),
        manifests: Vec::new(),
    };
    let added = adding.put_together(parts, db, told);
    if added.is_err() {
        adding.take_back();
    }
    added
}

impl Adding<'_> {
    fn put_together(
        &mut self,
        parts: &Parts,
        db: &mut Db,
        told: Told<'_>,
    ) -> Result<Vec<AddedPackage>, Error> {
        let packages = &parts.packages;
        let mut awaited = awaited(packages)?;
        mark_new(&mut awaited, packages, db)?;
        self.copies_of_known(&awaited)?;
        let lacking = lacking(self.objects, packages);
        let total = lacking.iter().map(|(_, size)| size).sum();
        let mut done = 0;
        told(done, total);
        for (digest, size) in lacking {
            if let Some(one) = awaited.get(&digest) {
                self.fetched(parts, one, (digest, size))?;
            }
            done += size;
            told(done, total);
        }
        self.keep(packages, db)
    }

    fn fetched(
        &mut self,
        parts: &Parts,
        awaited: &Awaited,
        (digest, size): (Digest, u64),
    ) -> Result<(), Error> {
        let path = parts.spool.join(digest.to_string());
        let what = || format!("read object {digest} from the spool");
        let file = fs_err::File::open(&path).doing(what)?;
        if Digest::of_reader(file).doing(what)? != (digest, size) {
            return Err(Error::Refused(format!(
                "{} is not the object that its name says: remove it, and it is fetched again",
                path.display()
            )));
        }
        let file = fs_err::File::open(&path).doing(what)?;
        self.object(file.take(size), awaited, digest, size)
    }
}
