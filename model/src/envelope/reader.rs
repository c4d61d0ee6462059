//! Reads an envelope as a stream.

use std::collections::{HashSet, VecDeque};
use std::io::{self, Read};

use serde::de::DeserializeOwned;
use zstd::zstd_safe::{DCtx, DParameter, ResetDirective};

use super::entry::{self, Entry};
use super::error::ReadError;
use super::expected::{Expected, expected};
use super::image::{self, Image, ReadImage};
use super::input::{Block, Input};
use super::limits::Limits;
use super::object::Object;
use super::{FORMAT, IMAGE_FORMAT, Index, IndexEntry};
use crate::digest::Digest;
use crate::ids::PackageId;
use crate::manifest::{self, Manifest};

/// The largest window that a frame may ask for: 2^23 = 8 MiB of memory.
const WINDOW_LOG_MAX: u32 = 23;

/// A package as an envelope has it: checked against the index and against itself.
#[derive(Debug, Clone)]
pub struct ReadPackage {
    /// Its identity.
    pub id: PackageId,
    /// Its manifest; [`manifest::check`] found nothing against it.
    pub manifest: Manifest,
    /// The manifest's exact bytes: what is hashed, signed and stored.
    pub bytes: Vec<u8>,
    /// The signature beside it, where there is one; not looked at here.
    pub signature: Option<Vec<u8>>,
}

/// An envelope, read from its beginning to its end without seeking.
///
/// [`Reader::open`] reads the index and the manifests; then [`Reader::next_object`] gives object
/// by object. Only when that has answered `None` was the envelope whole.
pub struct Reader<R: Read> {
    input: Input<R>,
    limits: Limits,
    packages: Vec<ReadPackage>,
    image: Option<ReadImage>,
    /// Objects still to come.
    expected: VecDeque<Expected>,
    /// Objects that the caller has already.
    known: HashSet<Digest>,
    /// The header that was read to see whether it is the one wanted.
    peeked: Option<Block>,
    /// Bytes of objects so far, plain and compressed.
    plain: u64,
    packed: u64,
    context: DCtx<'static>,
    ended: bool,
}

/// An object as it stands in an envelope.
pub(super) struct Packed<'a, R> {
    pub(super) digest: Digest,
    /// Its compressed length.
    pub(super) size: u64,
    pub(super) bytes: &'a mut Input<R>,
}

impl<R: Read> std::fmt::Debug for Reader<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader")
            .field("packages", &self.packages.len())
            .field("objects_left", &self.expected.len())
            .finish_non_exhaustive()
    }
}

impl<R: Read> Reader<R> {
    /// Reads the index and every manifest, and checks them.
    pub fn open(read: R, limits: Limits) -> Result<Self, ReadError> {
        let mut context = DCtx::create();
        context
            .set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))
            .map_err(|code| {
                let reason = zstd::zstd_safe::get_error_name(code);
                ReadError::Io(io::Error::other(reason))
            })?;
        let mut reader = Self {
            input: Input::new(read),
            limits,
            packages: Vec::new(),
            image: None,
            expected: VecDeque::new(),
            known: HashSet::new(),
            peeked: None,
            plain: 0,
            packed: 0,
            context,
            ended: false,
        };
        let index = reader.index()?;
        reader.read_image(&index)?;
        reader.manifests(index)?;
        reader.plan_objects()?;
        Ok(reader)
    }

    /// The packages, in the envelope's order; complete as soon as it is open.
    pub fn packages(&self) -> &[ReadPackage] {
        &self.packages
    }

    /// What it has besides packages, where it is a composite image.
    pub fn image(&self) -> Option<&ReadImage> {
        self.image.as_ref()
    }

    /// The objects still to come, with their lengths in plain bytes.
    pub fn objects(&self) -> impl Iterator<Item = (Digest, u64)> + '_ {
        self.expected
            .iter()
            .map(|object| (object.digest, object.size))
    }

    /// Says which objects the caller has already: those may be absent, and where they are not,
    /// they are passed over without being decompressed.
    pub fn already_has(&mut self, has: impl Fn(&Digest) -> bool) {
        let known = self
            .expected
            .iter()
            .map(|object| object.digest)
            .filter(|digest| has(digest));
        self.known = known.collect();
    }

    /// The next object that the caller lacks; `None` at the envelope's proper end.
    pub fn next_object(&mut self) -> Result<Option<Object<'_, R>>, ReadError> {
        while let Some(found) = self.object_entry()? {
            self.charge(&found)?;
            if self.known.contains(&found.digest) {
                continue;
            }
            let reset = self.context.reset(ResetDirective::SessionOnly);
            reset.map_err(|code| {
                ReadError::Io(io::Error::other(zstd::zstd_safe::get_error_name(code)))
            })?;
            let Expected { digest, size } = found;
            return Ok(Some(Object::new(
                digest,
                size,
                &mut self.input,
                &mut self.context,
            )));
        }
        Ok(None)
    }

    /// The next object as it stands in the envelope, compressed, with its length there.
    pub(super) fn next_packed(&mut self) -> Result<Option<Packed<'_, R>>, ReadError> {
        let Some(found) = self.object_entry()? else {
            return Ok(None);
        };
        self.charge(&found)?;
        Ok(Some(Packed {
            digest: found.digest,
            size: self.input.left(),
            bytes: &mut self.input,
        }))
    }

    /// The next object's entry, which must be the next one expected or one after known ones.
    fn object_entry(&mut self) -> Result<Option<Expected>, ReadError> {
        if self.ended {
            return Ok(None);
        }
        let expected = self.expected.front().map_or_else(
            || "the end".to_owned(),
            |object| format!("object {}", object.digest),
        );
        match self.take(&expected)? {
            Block::Entry(found) => self.matching(&found).map(Some),
            Block::End => {
                self.nothing_missing(None)?;
                self.input.end()?;
                self.ended = true;
                Ok(None)
            }
        }
    }

    fn matching(&mut self, found: &Entry) -> Result<Expected, ReadError> {
        let foreign = || ReadError::Foreign {
            found: found.name.clone(),
        };
        let digest = entry::object_digest(&found.name).ok_or_else(foreign)?;
        let place = self
            .expected
            .iter()
            .position(|object| object.digest == digest);
        self.nothing_missing(Some(place.ok_or_else(foreign)?))?;
        self.expected.drain(..place.unwrap_or(0));
        self.expected.pop_front().ok_or_else(foreign)
    }

    /// Whether all objects before `place`, or all, may be absent.
    fn nothing_missing(&self, place: Option<usize>) -> Result<(), ReadError> {
        let passed = self.expected.iter().take(place.unwrap_or(usize::MAX));
        match passed
            .into_iter()
            .find(|object| !self.known.contains(&object.digest))
        {
            Some(object) => Err(ReadError::Missing {
                digest: object.digest,
            }),
            None => Ok(()),
        }
    }

    /// Counts an object before a byte of it is decompressed.
    fn charge(&mut self, object: &Expected) -> Result<(), ReadError> {
        self.plain = self.plain.saturating_add(object.size);
        self.packed = self.packed.saturating_add(self.input.left());
        let limit = (self.packed.saturating_mul(self.limits.expansion))
            .saturating_add(self.limits.free_expansion);
        within(
            &format!("expansion up to object {}", object.digest),
            self.plain,
            limit,
        )
    }

    fn index(&mut self) -> Result<Index, ReadError> {
        let name = "envelope.json";
        let bytes = self.document(name, self.limits.index)?;
        let index: Index = json(name, &bytes, IMAGE_FORMAT)?;
        // Who reads format 1 only would pass an image over without a word.
        if index.image.is_some() != (index.format == IMAGE_FORMAT) {
            return Err(ReadError::WrongImage);
        }
        if index.packages.is_empty() {
            return Err(ReadError::Empty);
        }
        within(
            "the number of packages",
            index.packages.len() as u64,
            self.limits.packages as u64,
        )?;
        let mut seen = HashSet::new();
        for package in &index.packages {
            if !seen.insert((&package.id.name, &package.id.version)) {
                return Err(ReadError::DuplicatePackage {
                    package: package.id.name_version(),
                });
            }
        }
        Ok(index)
    }

    fn read_image(&mut self, index: &Index) -> Result<(), ReadError> {
        let Some(named) = index.image else {
            return Ok(());
        };
        let name = "image.json";
        let bytes = self.document(name, self.limits.image)?;
        if Digest::of(&bytes) != named {
            return Err(ReadError::WrongImage);
        }
        let image: Image = json(name, &bytes, IMAGE_FORMAT)?;
        let problems = image::check(&image);
        if !problems.is_empty() {
            let name = image.name.to_string();
            return Err(ReadError::BadImage { name, problems });
        }
        let signature = self.signature("image.json.sig")?;
        self.image = Some(ReadImage {
            image,
            bytes,
            signature,
        });
        Ok(())
    }

    fn manifests(&mut self, index: Index) -> Result<(), ReadError> {
        let mut left = self.limits.manifests;
        let mut files = 0_usize;
        for listed in index.packages {
            let package = self.package(listed, left)?;
            left = left.saturating_sub(package.bytes.len() as u64);
            files = files.saturating_add(package.manifest.files.len());
            within(
                "the number of files",
                files as u64,
                self.limits.files as u64,
            )?;
            self.packages.push(package);
        }
        Ok(())
    }

    fn package(&mut self, listed: IndexEntry, left: u64) -> Result<ReadPackage, ReadError> {
        let directory = format!("{}_{}", listed.id.name, listed.id.version);
        let name = entry::manifest_name(&directory);
        let bytes = self.document(&name, left.min(self.limits.manifest))?;
        let manifest: Manifest = json(&name, &bytes, FORMAT.max(manifest::FORMAT))?;
        let id = manifest.id(&bytes);
        if id != listed.id || Digest::of(&bytes) != listed.manifest {
            return Err(ReadError::WrongManifest {
                package: listed.id,
                found: id,
            });
        }
        let problems = manifest::check(&manifest);
        if !problems.is_empty() {
            return Err(ReadError::BadManifest {
                package: id,
                problems,
            });
        }
        let signature = self.signature(&entry::signature_name(&directory))?;
        Ok(ReadPackage {
            id,
            manifest,
            bytes,
            signature,
        })
    }

    fn signature(&mut self, name: &str) -> Result<Option<Vec<u8>>, ReadError> {
        let block = self.take(name)?;
        let size = match &block {
            Block::Entry(entry) if entry.name == name => entry.size,
            Block::Entry(_) | Block::End => {
                self.peeked = Some(block);
                return Ok(None);
            }
        };
        within(name, size, self.limits.signature)?;
        self.input.rest().map(Some)
    }

    fn plan_objects(&mut self) -> Result<(), ReadError> {
        let boot = self.image.as_ref().map_or(&[][..], |one| &one.image.boot);
        let manifests = self.packages.iter().map(|package| &package.manifest);
        let order = expected(manifests, boot).map_err(|two| ReadError::TwoSizes {
            digest: two.digest,
            one: two.one,
            other: two.other,
        })?;
        let mut total = 0_u64;
        for object in &order {
            within(
                &format!("object {}", object.digest),
                object.size,
                self.limits.object,
            )?;
            total = total.saturating_add(object.size);
        }
        within("the size of all objects", total, self.limits.total)?;
        self.expected = order.into();
        Ok(())
    }

    fn document(&mut self, name: &str, limit: u64) -> Result<Vec<u8>, ReadError> {
        match self.take(name)? {
            Block::Entry(entry) if entry.name == name => {
                within(name, entry.size, limit)?;
                self.input.rest()
            }
            Block::Entry(entry) => Err(ReadError::Order {
                found: entry.name,
                expected: name.to_owned(),
            }),
            Block::End => Err(ReadError::Truncated {
                what: name.to_owned(),
            }),
        }
    }

    fn take(&mut self, expected: &str) -> Result<Block, ReadError> {
        match self.peeked.take() {
            Some(block) => Ok(block),
            None => self.input.next(expected),
        }
    }
}

fn within(what: &str, found: u64, limit: u64) -> Result<(), ReadError> {
    if found > limit {
        return Err(ReadError::OverLimit {
            what: what.to_owned(),
            found,
            limit,
        });
    }
    Ok(())
}

/// The format first, so that a newer document is not called unreadable.
fn json<T: DeserializeOwned>(name: &str, bytes: &[u8], newest: u32) -> Result<T, ReadError> {
    #[derive(serde::Deserialize)]
    struct Head {
        format: u32,
    }
    let bad = |source| ReadError::Json {
        name: name.to_owned(),
        source,
    };
    let head: Head = serde_json::from_slice(bytes).map_err(bad)?;
    if head.format > newest {
        return Err(ReadError::Format {
            name: name.to_owned(),
            found: head.format,
            newest,
        });
    }
    serde_json::from_slice(bytes).map_err(bad)
}
